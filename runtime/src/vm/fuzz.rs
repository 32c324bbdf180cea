//! Snapshots that were damaged in a few places, with right checksums or without: each is refused with a sentence, or the
//! machine that goes on from it runs, whatever it does then. Its devices are in use when it is saved.

use std::fs;
use std::io;
use std::thread;

use translator::model::MIPS64R2;

use super::snapshots::{Form, Opened, files, state_of};
use super::*;
use crate::backend::disk::{Format, Image};
use crate::backend::net::{Link, stream};
use crate::backend::terminal::{End, Terminal};
use crate::device::Size;
use crate::snapshot::Reader;
use crate::snapshot::damage::Example;

/// How long a machine runs that is not refused.
const LIFE: Duration = Duration::from_millis(2);
const RAM: u64 = 2 << 20;

/// A machine with a disk, whose cable leads nowhere, and whose console prints to `shown`.
fn config(disk: &Path, shown: &Path) -> Config {
    let cable = Link::Stream(stream::End::Connect("/no/such/socket".into()));
    let console = Terminal::open(&End::File(shown.into())).expect("it can be written");
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
        cards: vec![Card { mac: None, link: cable }],
        consoles: vec![console],
    }
}

/// Does what drivers do until their devices run (virtio 1.2, sections 3.1.1 and 4.2.2), with up to two queues each.
fn start_devices(bus: &Bus) {
    const VERSION_1: u64 = 1;
    const SIZE: u64 = 8;
    let windows = bus.windows().filter(|(name, _)| name.contains("virtio"));
    for (number, base) in (0..).zip(windows.map(|(_, window)| window.base)) {
        let write = |offset: u64, value: u64| {
            bus.write(base + offset, Size::Word, 0, value).expect("a device is there");
        };
        let features = [(0x70, 1), (0x70, 3), (0x24, 1), (0x20, VERSION_1), (0x70, 11)];
        features.into_iter().for_each(|(offset, value)| write(offset, value));
        for queue in 0..2 {
            let rings = (1 << 20) + 0x1_0000 * number + 0x4000 * queue;
            let setting =
                [(0x30, queue), (0x38, SIZE), (0x80, rings), (0x90, rings + 0x1000), (0xa0, rings + 0x2000)];
            setting.into_iter().for_each(|(offset, value)| write(offset, value));
            write(0x44, 1);
        }
        write(0x70, 15);
    }
}

/// A machine that writes Count to memory over and over, saved in `form`; in `before` it was saved earlier.
fn example(config: &Config, file: &Path, before: &Path, form: &Form) -> Example {
    // lui $t1, 0x8000; loop: mfc0 $t0, Count; sw $t0, 0x2000($t1); b loop; nop
    const CODE: [u32; 5] = [0x3c09_8000, 0x4008_4800, 0xad28_2000, 0x1000_fffd, 0];
    let assembly = Assembly::new(config, true, Box::new(io::sink())).expect("the host has room");
    for (word, place) in CODE.iter().zip((0x1000..).step_by(4)) {
        assembly.ram.write(Pa(place), &word.to_le_bytes()).expect("RAM is there");
    }
    let vm = assembly.finish(config, Symbols::default()).expect("the host has room");
    vm.handle.vcpus.member(0).cpu.pc = 0xffff_ffff_8000_1000;
    start_devices(&vm.handle.machine.bus);
    vm.snapshots.save(before, &Form::Compressed).expect("the file can be written");
    vm.snapshots.save(file, form).expect("the file can be written");
    let bytes = fs::read(file).expect("it was written");
    Example::new(bytes, Reader::open(&fs::File::open(file).expect("it was written")).expect("it is right"))
}

/// Looks at a snapshot without going on from it.
fn look(file: &Path) {
    files(file);
    let refused = state_of(file).err().map(|error| error.to_string());
    assert!(refused.is_none_or(|refused| !refused.is_empty()));
    if let Ok(mut opened) = Opened::new(file) {
        let refused = opened.verify().err().or(opened.vcpus().err()).map(|error| error.to_string());
        assert!(refused.is_none_or(|refused| !refused.is_empty()));
    }
}

#[test]
fn fuzz_snapshot() {
    let directory = tempfile::tempdir().expect("the host has room");
    let at = |name: &str| directory.path().join(name);
    fs::write(at("disk"), [7; 4096]).expect("the host has room");
    let config = config(&at("disk"), &at("shown"));
    let before = at("before");
    let forms = [Form::Compressed, Form::Mapped, Form::Since(before.clone())];
    let examples = forms.map(|form| example(&config, &at("good"), &before, &form));
    let (mut refused, mut ran) = (0, 0);
    fuzzing::run(|numbers| {
        let file = examples[numbers.index(examples.len())].damaged(numbers);
        fs::write(at("bad"), file).expect("the host has room");
        look(&at("bad"));
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
