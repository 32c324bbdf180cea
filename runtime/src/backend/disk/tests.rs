//! Images of all formats against a plain array, and against the real qemu-img.

use std::process::Command;

use proptest::prelude::*;

use super::*;

const SIZE: usize = 1 << 20;

fn image(file: &Path, format: Format) -> Image {
    Image { file: file.into(), format: Some(format), read_only: false, snapshot: false }
}

/// Runs qemu-img, which must be content.
fn qemu_img(arguments: &[&str]) {
    let output = Command::new("qemu-img").args(arguments).output();
    let output = output.expect("qemu-img runs: install qemu-utils");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Something that is done to a disk: what, where, how long, and with which byte.
type Change = (u8, usize, usize, u8);

/// Does the same to a disk and to an array.
fn apply(disk: &SharedDisk, model: &mut [u8], changes: &[Change]) {
    for (kind, place, length, byte) in changes {
        let range = *place..(place + length).min(model.len());
        let (at, length) = (range.start as u64, range.len() as u64);
        match kind {
            0 => {
                disk.write(at, &vec![*byte; range.len()]).unwrap();
                model[range].fill(*byte);
            }
            1 | 2 => {
                disk.write_zeroes(at, length, *kind == 1).unwrap();
                model[range].fill(0);
            }
            _ => {
                let mut bytes = vec![0; range.len()];
                disk.read(at, &mut bytes).unwrap();
                assert_eq!(bytes, model[range]);
            }
        }
    }
    let mut bytes = vec![0; model.len()];
    disk.read(0, &mut bytes).unwrap();
    assert!(bytes == model, "the disk differs");
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    proptest::collection::vec((0u8..4, 0..SIZE, 0..SIZE / 3, any::<u8>()), 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_is_handed_over_is_what_was_written(all in proptest::collection::vec(changes(), 1..6), qcow2: bool) {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(SIZE as u64).unwrap();
        let mut image = image(file.path(), Format::Raw);
        if qcow2 {
            qemu_img(&["create", "-q", "-f", "qcow2", file.path().to_str().unwrap(), &SIZE.to_string()]);
            image.format = Some(Format::Qcow2);
        }
        let disks = [SharedDisk::open(&image).unwrap(), SharedDisk::open_to_take(&image).unwrap()];
        let mut model = vec![0; SIZE];
        for (turn, changes) in all.iter().enumerate() {
            let (here, there) = (&disks[turn % 2], &disks[(turn + 1) % 2]);
            apply(here, &mut model, changes);
            assert!(matches!(there.take(), Err(DiskError::Busy { .. })));
            here.hand_over().unwrap();
            there.take().unwrap();
            assert!(matches!(here.take(), Err(DiskError::Busy { .. })));
        }
        apply(&disks[all.len() % 2], &mut model, &[]);
        disks.iter().for_each(|disk| disk.hand_over().unwrap());
        if qcow2 {
            qemu_img(&["check", "-q", file.path().to_str().unwrap()]);
        }
        assert!(matches!(SharedDisk::open_to_take(&image), Err(DiskError::Another { .. })));
    }

    #[test]
    fn an_overlay_changes_and_the_image_does_not(changes in changes()) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut model: Vec<u8> = (0..SIZE).map(|at| (at / 512) as u8).collect();
        std::fs::write(file.path(), &model).unwrap();
        let before = model.clone();
        let disk = SharedDisk::open(&Image { snapshot: true, ..image(file.path(), Format::Raw) }).unwrap();
        apply(&disk, &mut model, &changes);
        drop(disk);
        prop_assert!(std::fs::read(file.path()).unwrap() == before);
    }

    #[test]
    fn a_qcow2_image_is_as_qemu_has_it(changes in changes(), is_old: bool) {
        let directory = tempfile::tempdir().unwrap();
        let [file, raw] = ["image.qcow2", "image.raw"].map(|name| directory.path().join(name));
        let [name, raw_name] = [&file, &raw].map(|path| path.to_str().unwrap());
        // Version 2 of the format has no clusters that are zero.
        let version = if is_old { "compat=0.10" } else { "compat=1.1" };
        qemu_img(&["create", "-q", "-f", "qcow2", "-o", version, name, &SIZE.to_string()]);
        let mut model = vec![0; SIZE];
        let disk = SharedDisk::open(&image(&file, Format::Qcow2)).unwrap();
        apply(&disk, &mut model, &changes);
        disk.discard(0, SIZE as u64 / 2).unwrap();
        disk.read(0, &mut model[..SIZE / 2]).unwrap();
        disk.flush().unwrap();
        drop(disk);
        qemu_img(&["check", "-q", name]);
        qemu_img(&["convert", "-f", "qcow2", "-O", "raw", name, raw_name]);
        prop_assert!(std::fs::read(&raw).unwrap() == model, "QEMU reads something else");
    }
}

/// Copies the blocks at `places`.
fn copy(places: Vec<u64>, from: &SharedDisk, to: &SharedDisk) {
    for at in places {
        let mut block = vec![0; (from.size() - at).min(BLOCK) as usize];
        from.read(at, &mut block).unwrap();
        to.write(at, &block).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_a_watch_tells_keeps_a_copy_up_to_date(
        before in changes(),
        rounds in proptest::collection::vec(changes(), 0..4),
        qcow2: bool,
    ) {
        // The last block is not whole.
        const BYTES: usize = SIZE + 512;
        let format = if qcow2 { Format::Qcow2 } else { Format::Raw };
        let directory = tempfile::tempdir().unwrap();
        let disks = ["here", "there"]
            .map(|name| SharedDisk::create(&image(&directory.path().join(name), format), BYTES as u64).unwrap());
        let [here, there] = &disks;
        let mut model = vec![0; BYTES];
        apply(here, &mut model, &before);
        let mut watch = here.watch();
        copy(watch.changed().unwrap(), here, there);
        for changes in &rounds {
            apply(here, &mut model, changes);
            let told = watch.changed().unwrap();
            prop_assert!(told.is_sorted() && watch.changed().unwrap().is_empty());
            copy(told, here, there);
        }
        apply(there, &mut model, &[]);
        drop(watch);
        apply(here, &mut model, &[(0, 0, 100, 1)]);
        // Whoever looks later sees all that there is.
        copy(here.watch().changed().unwrap(), here, there);
        apply(there, &mut model, &[]);
    }
}

#[test]
fn a_new_image_has_no_name_until_it_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let names = || std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
    for format in [Format::Raw, Format::Qcow2] {
        let image = image(&directory.path().join("disk"), format);
        let disk = SharedDisk::create(&image, SIZE as u64).unwrap();
        disk.write(1000, &[7; 1000]).unwrap();
        assert_eq!(names().count(), 0);
        drop(disk);
        assert_eq!(names().count(), 0, "something is left");
        let disk = SharedDisk::create(&image, SIZE as u64).unwrap();
        let mut model = vec![0; SIZE];
        apply(&disk, &mut model, &[(0, 1000, 1000, 7)]);
        disk.take().unwrap();
        assert!(names().eq(["disk"]));
        disk.give_back().unwrap();
        assert_eq!(names().count(), 0);
        drop(disk);
        let disk = SharedDisk::create(&image, SIZE as u64).unwrap();
        apply(&disk, &mut vec![0; SIZE], &[(0, 1000, 1000, 7)]);
        disk.take().unwrap();
        disk.take().unwrap();
        let error = SharedDisk::create(&image, SIZE as u64).unwrap_err();
        assert!(matches!(error, DiskError::Create { .. }), "{error}");
        assert!(matches!(SharedDisk::open(&image), Err(DiskError::Busy { .. })));
        disk.flush().unwrap();
        drop(disk);
        apply(&SharedDisk::open(&image).unwrap(), &mut model, &[]);
        if format == Format::Qcow2 {
            qemu_img(&["check", "-q", image.file.to_str().unwrap()]);
        }
        std::fs::remove_file(&image.file).unwrap();
    }
}

#[test]
fn a_name_that_somebody_took_meanwhile_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let image = image(&directory.path().join("disk"), Format::Raw);
    let disk = SharedDisk::create(&image, 512).unwrap();
    std::os::unix::fs::symlink("/nowhere", &image.file).unwrap();
    assert!(matches!(disk.take(), Err(DiskError::Create { .. })));
    disk.give_back().unwrap();
    assert_eq!(std::fs::read_link(&image.file).unwrap(), Path::new("/nowhere"));
    assert!(matches!(SharedDisk::create(&image, 512), Err(DiskError::Create { .. })));
}

#[test]
fn a_backing_file_is_read_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let [base, top] = ["base.raw", "top.qcow2"].map(|name| directory.path().join(name));
    std::fs::write(&base, vec![5; SIZE]).unwrap();
    let create = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", "base.raw", top.to_str().unwrap()];
    qemu_img(&create);
    let disk = SharedDisk::open(&image(&top, Format::Qcow2)).unwrap();
    let mut model = vec![5; SIZE];
    apply(&disk, &mut model, &[(0, 1000, 100_000, 9), (1, 300_000, 70_000, 0)]);
    drop(disk);
    assert_eq!(std::fs::read(&base).unwrap(), vec![5; SIZE]);
}

#[test]
fn a_qcow2_image_that_is_cut_or_forgot_its_counts_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("disk");
    qemu_img(&["create", "-q", "-f", "qcow2", file.to_str().unwrap(), "64M"]);
    let whole = std::fs::read(&file).unwrap();
    assert!(SharedDisk::open(&image(&file, Format::Qcow2)).is_ok());
    let refused = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        let error = SharedDisk::open(&image(&file, Format::Qcow2)).unwrap_err();
        let source = std::error::Error::source(&error).expect("it has a reason").to_string();
        assert!(source.contains("cut or damaged"), "{source}");
    };
    for length in [64, 100, 1000, 0x1_0000, 0x2_0000, whole.len() - 1] {
        refused(&whole[..length]);
        let mut older = whole[..length].to_vec();
        older[7] = 2;
        refused(&older);
    }
    // The table of reference counts is the second cluster, the first counts are the third.
    for cluster in [1, 2] {
        let mut damaged = whole.clone();
        damaged[cluster << 16..(cluster + 1) << 16].fill(0);
        refused(&damaged);
    }
}

/// The offset that is in the header of a qcow2 image, or in a table of it, at `at`.
fn double(image: &[u8], at: usize) -> usize {
    u64::from_be_bytes(image[at..at + 8].try_into().unwrap()) as usize & 0x00ff_ffff_ffff_fe00
}

#[test]
fn a_qcow2_image_whose_counts_do_not_tell_of_what_is_in_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("disk");
    // So large that its first table has two entries.
    qemu_img(&["create", "-q", "-f", "qcow2", file.to_str().unwrap(), "1G"]);
    let disk = SharedDisk::open(&image(&file, Format::Qcow2)).unwrap();
    disk.write(0, &[7; 0x2_0000]).unwrap();
    disk.flush().unwrap();
    drop(disk);
    let whole = std::fs::read(&file).unwrap();
    let open = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        SharedDisk::open(&image(&file, Format::Qcow2))
    };
    open(&whole).unwrap();
    let (l1_table, count_table) = (double(&whole, 40), double(&whole, 48));
    let (l2_table, counts) = (double(&whole, l1_table), double(&whole, count_table));
    let alone = 1 << 63;
    let first = double(&whole, l2_table) | alone;
    let entry = |at: usize, value: usize| (at, value.to_be_bytes().to_vec());
    let count = |place: usize, uses: u16| (counts + 2 * (place >> 16), uses.to_be_bytes().to_vec());
    let (uncounted, behind_end) = (1 << 40 | alone, whole.len().next_multiple_of(1 << 16));
    // imago would free what was never counted and then look for its count for ever; and what has two uses is changed by
    // the one without the other's knowledge. Tables that are shared make an image of any size out of a small file.
    let all = [
        vec![entry(l2_table, uncounted)],
        vec![entry(l2_table + 8, first)],
        vec![entry(l2_table, counts | alone)],
        vec![entry(l1_table, uncounted)],
        vec![entry(l2_table, behind_end | alone), count(behind_end, 1)],
        vec![entry(l1_table, l2_table), entry(l1_table + 8, l2_table), count(l2_table, 2)],
        vec![entry(count_table + 8, counts), count(counts, 2)],
    ];
    for wrong in all {
        let mut damaged = whole.clone();
        for (at, bytes) in &wrong {
            damaged[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        let error = open(&damaged).expect_err(&format!("{wrong:x?}"));
        let source = std::error::Error::source(&error).expect("it has a reason").to_string();
        assert!(source.contains("cut or damaged"), "{source}");
    }
}

#[test]
fn a_qcow2_image_that_stands_on_itself_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("disk");
    let name = file.to_str().unwrap();
    qemu_img(&["create", "-q", "-f", "qcow2", name, "1M"]);
    qemu_img(&["rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", "disk", name]);
    let error = SharedDisk::open(&image(&file, Format::Qcow2)).unwrap_err();
    let source = std::error::Error::source(&error).expect("it has a reason").to_string();
    assert!(source.contains("stand on one another"), "{source}");
}

#[test]
fn what_a_qcow2_image_names_is_neither_changed_nor_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let [top, data, pipe] = ["top", "data", "pipe"].map(|name| directory.path().join(name));
    let [top_name, data_name, pipe_name] = [&top, &data, &pipe].map(|path| path.to_str().unwrap());
    let refused = |read_only, why: &str| {
        let error = SharedDisk::open(&Image { read_only, ..image(&top, Format::Qcow2) }).unwrap_err();
        let source = std::error::Error::source(&error).expect("it has a reason").to_string();
        assert!(source.contains(why), "{source}");
    };
    qemu_img(&["create", "-q", "-f", "qcow2", "-o", &format!("data_file={data_name}"), top_name, "1M"]);
    [false, true].iter().for_each(|read_only| refused(*read_only, "data is in another file"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    qemu_img(&["create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", pipe_name, top_name, "1M"]);
    refused(false, "neither a regular file");
}

#[test]
fn an_image_that_says_it_is_of_any_size_has_no_overlay() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("disk");
    qemu_img(&["create", "-q", "-f", "qcow2", file.to_str().unwrap(), "1M"]);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[24..32].copy_from_slice(&(u64::MAX - 511).to_be_bytes());
    std::fs::write(&file, bytes).unwrap();
    let forgotten = Image { snapshot: true, ..image(&file, Format::Qcow2) };
    assert!(SharedDisk::open(&forgotten).is_err());
}

#[test]
fn what_is_no_image_or_in_use_is_refused_in_a_sentence() {
    let sentence = |image: &Image| SharedDisk::open(image).unwrap_err().to_string();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("disk");
    assert!(sentence(&image(&file, Format::Raw)).starts_with("Cannot open"));
    assert!(sentence(&image(directory.path(), Format::Raw)).contains("neither a regular file"));
    std::fs::write(&file, [0; 511]).unwrap();
    assert!(sentence(&image(&file, Format::Raw)).contains("smaller than a sector"));
    std::fs::write(&file, [0; 512]).unwrap();
    assert!(sentence(&image(&file, Format::Qcow2)).starts_with("Cannot open"));
    let disk = SharedDisk::open(&image(&file, Format::Raw)).unwrap();
    assert!(sentence(&image(&file, Format::Raw)).contains("in use"));
    drop(disk);
    std::fs::write(&file, [b"QFI\xfb".as_slice(), &[0; 508]].concat()).unwrap();
    let unsaid = Image { format: None, ..image(&file, Format::Raw) };
    assert!(sentence(&unsaid).contains("format=qcow2"));
    assert!(SharedDisk::open(&image(&file, Format::Raw)).is_ok());
}
