//! qcow2 images that were damaged in a few places: each is refused, or its disk reads and writes or says that it cannot.
//! Nothing panics or hangs.

use std::os::fd::AsFd as _;
use std::process::Command;

use fuzzing::{Corpus, Numbers, run};
use rustix::fs::{MemfdFlags, memfd_create};

use super::*;

/// Small enough for the tables to be a good part of the file.
const SIZE: u64 = 96 * 1024;
/// What is asked of one disk.
const STEPS: u64 = 24;
/// How much is moved at once.
const MOST: u64 = 20_000;

fn qemu(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; install qemu-utils"));
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Images of several kinds with some data, one of which stands on a file beside it.
fn examples(directory: &Path) -> Vec<Vec<u8>> {
    let at = |name: &str| directory.join(name).display().to_string();
    let size = SIZE.to_string();
    std::fs::write(at("base"), vec![5; SIZE as usize]).expect("there is room");
    let kinds = [
        "cluster_size=512",
        "cluster_size=4096,lazy_refcounts=on,refcount_bits=2",
        "cluster_size=65536,compat=0.10",
        "cluster_size=2048,refcount_bits=64,preallocation=metadata",
    ];
    let image = at("image");
    let take = || std::fs::read(&image).expect("it was made");
    let mut examples = Vec::new();
    for kind in kinds {
        qemu("qemu-img", &["create", "-q", "-f", "qcow2", "-o", kind, &image, &size]);
        let writes = ["write -P 1 0 3000", "write -P 2 40000 9000", "write -z 8192 4096"];
        writes.iter().for_each(|write| qemu("qemu-io", &["-c", write, &image]));
        qemu("qemu-img", &["snapshot", "-c", "before", &image]);
        qemu("qemu-io", &["-c", "write -P 3 1000 20000", &image]);
        examples.push(take());
    }
    let on_base = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", "base", "-o", kinds[1], &image, &size];
    qemu("qemu-img", &on_base);
    qemu("qemu-io", &["-c", "write -P 1 5000 3000", &image]);
    examples.push(take());
    qemu("qemu-img", &["convert", "-q", "-c", "-O", "qcow2", "-o", kinds[1], &at("base"), &image]);
    examples.push(take());
    examples
}

/// Where a table of `image` begins that the header names at `field`.
fn table(image: &[u8], field: usize) -> usize {
    let bytes = image.get(field..field + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, |bytes| u64::from_be_bytes(bytes) as usize)
}

/// Makes a number wrong where numbers mean most: in the header, or in one of the tables (QEMU's docs/interop/qcow2.txt).
fn damage(image: &mut [u8], numbers: &mut Numbers) {
    const L1_TABLE: usize = 40;
    const COUNT_TABLE: usize = 48;
    let (l1, counts) = (table(image, L1_TABLE), table(image, COUNT_TABLE));
    let below = |at: usize| table(image, at) & 0x00ff_ffff_ffff_fe00;
    let start = numbers.one_of(&[0, 0, l1, below(l1), counts, below(counts)]);
    let width = numbers.one_of(&[1, 2, 4, 8]);
    let at = start.saturating_add(numbers.index(112) / width * width);
    let clusters = numbers.below(64) * 512;
    let value =
        if numbers.once_in(2) { numbers.value() } else { clusters | numbers.one_of(&[0, 1 << 63, 1 << 62]) };
    if let Some(bytes) = image.get_mut(at..at + width) {
        bytes.copy_from_slice(&value.to_be_bytes()[8 - width..]);
    }
}

/// Asks `disk` for something; it may refuse.
fn step(disk: &dyn Disk, numbers: &mut Numbers) {
    let size = disk.size();
    let place =
        if numbers.once_in(8) { size - numbers.below(size.min(4096)) } else { numbers.below(size.min(SIZE)) };
    let length = numbers.below(MOST).min(size - place);
    let mut bytes = vec![9; length as usize];
    let _ = match numbers.below(8) {
        0 => disk.flush(),
        1 => disk.discard(place, length),
        2 => disk.write_zeroes(place, length, numbers.once_in(2)),
        3 => disk.refresh(),
        4 | 5 => disk.read(place, &mut bytes),
        _ => disk.write(place, &bytes),
    };
}

/// A file in memory with `content`.
fn in_memory(content: &[u8]) -> File {
    let memory = memfd_create("image", MemfdFlags::CLOEXEC).expect("the host has memory");
    rustix::io::pwrite(memory.as_fd(), content, 0).expect("the host has memory");
    File::from(memory)
}

#[test]
fn fuzz_image() {
    let directory = tempfile::tempdir().expect("there is a temporary directory");
    let examples = examples(directory.path());
    // Only its directory counts, in which names are looked for.
    let path = directory.path().join("image");
    for example in &examples {
        let disk = Qcow2::new(in_memory(example), &path, false).expect("it is an image");
        disk.check().expect("it is sound");
    }
    let (mut refused, mut used) = (0, 0);
    run(|numbers| {
        let mut image = examples[numbers.index(examples.len())].clone();
        (0..=numbers.below(3)).for_each(|_| damage(&mut image, numbers));
        if numbers.once_in(8) {
            image = Corpus::new([image]).bytes(numbers);
        }
        match Qcow2::new(in_memory(&image), &path, numbers.once_in(4)) {
            Ok(disk) if disk.size() > 0 && disk.check().is_ok() => {
                (0..STEPS).for_each(|_| step(&disk, numbers));
                used += 1;
            }
            _ => refused += 1,
        }
    });
    eprintln!("{refused} were refused, {used} were used");
}
