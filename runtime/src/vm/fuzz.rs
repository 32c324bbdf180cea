//! Snapshots that were damaged in a few places, with right checksums or without: each is refused with a sentence, or the
//! machine that goes on from it runs, whatever it does then.

use std::fs;
use std::io;
use std::thread;

use fuzzing::{Corpus, Numbers};
use translator::model::MIPS64R2;

use super::snapshots::Form;
use super::*;
use crate::backend::disk::{Format, Image};
use crate::snapshot::{PartFacts, Reader, Writer, format};

/// How long a machine runs that is not refused.
const LIFE: Duration = Duration::from_millis(2);
const RAM: u64 = 2 << 20;

/// A part as it is in a file.
#[derive(Clone)]
struct Part {
    kind: String,
    version: u16,
    plain: Vec<u8>,
}

/// A snapshot that is right.
struct Example {
    /// All before the parts.
    front: Vec<u8>,
    parts: Vec<Part>,
    whole: Corpus,
}

fn config(disk: &Path) -> Config {
    let image = Image { file: disk.into(), format: Some(Format::Raw), read_only: true, snapshot: false };
    Config {
        name: "fuzzed".into(),
        kernel: PathBuf::new(),
        initrd: None,
        command_line: String::new(),
        ram: RAM,
        vcpus: 2,
        model: &MIPS64R2,
        schedule: Schedule::Threads,
        engine: Engine::Auto,
        watching: Default::default(),
        disks: vec![SharedDisk::open(&image).expect("the image is there")],
        cards: Vec::new(),
        consoles: Vec::new(),
    }
}

/// A machine that writes Count to memory over and over, saved in `form`.
fn example(config: &Config, file: &Path, form: &Form) -> Example {
    // lui $t1, 0x8000; loop: mfc0 $t0, Count; sw $t0, 0x2000($t1); b loop; nop
    const CODE: [u32; 5] = [0x3c09_8000, 0x4008_4800, 0xad28_2000, 0x1000_fffd, 0];
    let assembly = Assembly::new(config, true, Box::new(io::sink())).expect("the host has room");
    for (word, place) in CODE.iter().zip((0x1000..).step_by(4)) {
        assembly.ram.write(Pa(place), &word.to_le_bytes()).expect("RAM is there");
    }
    let vm = assembly.finish(config, Symbols::default()).expect("the host has room");
    vm.handle.vcpus.member(0).cpu.pc = 0xffff_ffff_8000_1000;
    vm.snapshots.save(file, form).expect("the file can be written");
    let bytes = fs::read(file).expect("it was written");
    let mut reader = Reader::open(&fs::File::open(file).expect("it was written")).expect("it is right");
    let (start, facts) = (reader.start(), reader.facts().to_vec());
    let part = |facts: PartFacts| {
        let plain = reader.take(&facts.kind, facts.version).expect("it is right").expect("it is there");
        Part { kind: facts.kind, version: facts.version, plain }
    };
    let parts = facts.into_iter().map(part).collect();
    Example { front: bytes[..start as usize].to_vec(), parts, whole: Corpus::new([bytes]) }
}

/// The example with something wrong in it.
fn damaged(example: &Example, numbers: &mut Numbers) -> Vec<u8> {
    if numbers.once_in(8) {
        return example.whole.bytes(numbers);
    }
    let mut parts = example.parts.clone();
    for _ in 0..=numbers.below(2) {
        let place = numbers.index(parts.len());
        match numbers.below(12) {
            0 => drop(parts.remove(place)),
            1 => parts.insert(place, parts[place].clone()),
            2 => {
                let other = numbers.index(parts.len());
                parts.swap(place, other);
            }
            3 => parts[place].version = numbers.value() as u16,
            _ => parts[place].plain = Corpus::new([&parts[place].plain]).bytes(numbers),
        }
    }
    let mut writer = Writer::default();
    for part in &parts {
        writer.add(&part.kind, part.version, &part.plain);
    }
    let mut file = example.front.clone();
    file[..format::HEAD as usize].copy_from_slice(&format::head(example.front.len() as u64));
    file.extend(writer.parts());
    file
}

#[test]
fn fuzz_snapshot() {
    let directory = tempfile::tempdir().expect("the host has room");
    let at = |name: &str| directory.path().join(name);
    fs::write(at("disk"), [7; 4096]).expect("the host has room");
    let config = config(&at("disk"));
    let examples = [Form::Compressed, Form::Mapped].map(|form| example(&config, &at("good"), &form));
    let (mut refused, mut ran) = (0, 0);
    fuzzing::run(|numbers| {
        let file = damaged(&examples[numbers.index(2)], numbers);
        fs::write(at("bad"), file).expect("the host has room");
        match Vm::restore(&config, &at("bad"), Box::new(io::sink())) {
            Err(VmError::Restore { source, .. }) => {
                assert!(!source.to_string().is_empty());
                refused += 1;
            }
            Err(VmError::Board(_) | VmError::Ram(_)) => refused += 1,
            Err(other) => panic!("{other:?}"),
            Ok(vm) => {
                let handle = vm.handle();
                let machine = thread::spawn(move || vm.run());
                thread::sleep(LIFE);
                handle.quit();
                machine.join().expect("a thread of the machine goes on").expect("the vCPUs go on");
                ran += 1;
            }
        }
    });
    eprintln!("{refused} were refused, {ran} ran");
}
