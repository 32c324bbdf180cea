//! Snapshots of whole machines: what goes on from one, and what is refused. The guest is a kernel of a few
//! instructions that prints back what is typed.

mod host;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use host::guest::{self, Guest};
use host::machine::{Printed, RAM, config};
use host::{myvmm, run_with_input, text};
use runtime::backend::disk::{Format, Image, SharedDisk};
use runtime::device::uart::SerialInput;
use runtime::drive::Schedule;
use runtime::machine::Ending;
use runtime::vcpu::Engine;
use runtime::vm::requests::Place;
use runtime::vm::snapshots::{Form, Opened, SaveError, Snapshots};
use runtime::vm::{Config, Handle, Vm};
use translator::model::PROGRAM_MIPS64R2;

const ENGINES: [Engine; 2] = [Engine::Interpreter, Engine::Jit];
const PATIENCE: Duration = Duration::from_secs(30);

/// A machine that runs.
struct Running {
    printed: Printed,
    input: SerialInput,
    snapshots: Snapshots,
    handle: Handle,
    thread: JoinHandle<Ending>,
}

impl Running {
    fn new(build: impl FnOnce(Box<dyn Write + Send>) -> Vm) -> Self {
        let printed = Printed::default();
        let vm = build(Box::new(printed.clone()));
        let (input, snapshots, handle) = (vm.serial_input(), vm.snapshots(), vm.handle());
        let thread = thread::spawn(move || vm.run().unwrap().0);
        Self { printed, input, snapshots, handle, thread }
    }

    fn boot(guest: &Guest, engine: Engine) -> Self {
        let running = Self::new(|output| Vm::build(&config(guest.path(), engine), output).unwrap());
        running.expect(guest::GREETING);
        running
    }

    /// As [`Running::boot`], with a guest that may have its machine saved in `place`.
    fn boot_in(guest: &Guest, config: &Config, place: &Arc<Place>) -> Self {
        let config = Config { kernel: guest.path().into(), model: &PROGRAM_MIPS64R2, ..config.clone() };
        let running = Self::new(|output| {
            let mut vm = Vm::build(&config, output).unwrap();
            vm.set_place(Arc::clone(place));
            vm
        });
        running.expect(guest::GREETING);
        running
    }

    fn restore(file: &Path, engine: Engine) -> Self {
        Self::new(|output| Vm::restore(&config(Path::new("none"), engine), file, output).unwrap())
    }

    fn expect(&self, text: &str) {
        let begun = Instant::now();
        while !self.printed.text().ends_with(text) {
            assert!(begun.elapsed() < PATIENCE, "no `{text}` at the end of `{}`", self.printed.text());
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Types `keys`, which the guest prints back, but for those that mean something to it.
    fn talk(&self, keys: &str) {
        self.input.push(keys.as_bytes()).unwrap();
        self.expect(keys);
    }

    fn power_off(self) {
        self.input.push(&[guest::POWER_OFF]).unwrap();
        assert_eq!(self.thread.join().unwrap(), Ending::PowerOff);
    }

    fn quit(self) {
        self.handle.quit();
        self.thread.join().unwrap();
    }
}

#[test]
fn a_machine_goes_on_under_any_engine() {
    let directory = tempfile::tempdir().unwrap();
    let guest = Guest::monitor();
    for (from, to) in ENGINES.into_iter().flat_map(|from| ENGINES.map(|to| (from, to))) {
        for form in [Form::Mapped, Form::Compressed] {
            let file = directory.path().join("a.snap");
            let first = Running::boot(&guest, from);
            first.talk("abc");
            first.snapshots.save(&file, &form).unwrap();
            first.talk("still");
            let second = Running::restore(&file, to);
            let third = Running::restore(&file, to);
            second.talk("xyz");
            third.talk("black");
            first.quit();
            assert_eq!(second.printed.text(), "xyz");
            second.power_off();
            third.power_off();
        }
    }
}

#[test]
fn incremental_snapshots_stand_on_their_parents() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let running = Running::boot(&Guest::monitor(), Engine::Auto);
    let early = running.snapshots.save(&at("0"), &Form::Since(at("none")));
    assert!(matches!(early, Err(SaveError::Parent { .. })), "{early:?}");
    running.snapshots.save(&at("1"), &Form::Mapped).unwrap();
    running.talk("eins");
    running.snapshots.save(&at("2"), &Form::Since(at("1"))).unwrap();
    let stranger = running.snapshots.save(&at("0"), &Form::Since(at("1")));
    assert!(matches!(stranger, Err(SaveError::Stranger(_))), "{stranger:?}");
    running.quit();
    let again = Running::restore(&at("2"), Engine::Jit);
    again.talk("zwei");
    again.snapshots.save(&at("3"), &Form::Since(at("2"))).unwrap();
    again.quit();
    let last = Running::restore(&at("3"), Engine::Interpreter);
    last.talk("fuenf");
    last.power_off();
    fs::copy(at("3"), at("1")).unwrap();
    let output = myvmm(["run", "--restore"]).arg(at("2")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("is another snapshot than it was"), "{}", text(&output.stderr));
}

#[test]
fn a_guest_has_its_machine_saved() {
    let guest = Guest::monitor();
    let slices = Schedule::Slices(std::num::NonZeroU64::new(1000).unwrap());
    for (engine, schedule) in
        [(Engine::Interpreter, Schedule::Threads), (Engine::Jit, Schedule::Threads), (Engine::Jit, slices)]
    {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(guest::SAVED);
        let config = Config { schedule, ..config(Path::new("none"), engine) };
        let place = || Arc::new(Place::new(directory.path().to_owned(), Box::new(|_, _| ())));
        let own = place();
        let first = Running::boot_in(&guest, &config, &own);
        first.input.push(&[guest::SAVE]).unwrap();
        // It is the one that asked, and the other is the one that was saved.
        first.expect("0");
        let second = Running::restore(&file, engine);
        second.expect("1");
        second.quit();
        // What it made it may replace.
        let before = fs::metadata(&file).unwrap().modified().unwrap();
        first.talk("x");
        first.input.push(&[guest::SAVE]).unwrap();
        first.expect("0");
        assert!(fs::metadata(&file).unwrap().modified().unwrap() > before);
        first.quit();
        // It may so after a reset.
        let next = Running::boot_in(&guest, &config, &own);
        next.input.push(&[guest::SAVE]).unwrap();
        next.expect("0");
        next.quit();
        // What was there before it may not: EEXIST, negated, is shown as 17 characters below zero.
        let other = Running::boot_in(&guest, &config, &place());
        other.input.push(&[guest::SAVE]).unwrap();
        other.expect("\x1f");
        other.quit();
    }
}

#[test]
fn a_machine_goes_on_under_any_schedule() {
    let directory = tempfile::tempdir().unwrap();
    let guest = Guest::monitor();
    let slices = |count| Schedule::Slices(std::num::NonZeroU64::new(count).unwrap());
    let schedules = [Schedule::Threads, slices(1000), slices(50_000)];
    for (from, to) in schedules.into_iter().flat_map(|from| schedules.map(|to| (from, to))) {
        let with = |schedule| Config { schedule, ..config(guest.path(), Engine::Auto) };
        let file = directory.path().join("a.snap");
        let first = Running::new(|output| Vm::build(&with(from), output).unwrap());
        first.expect(guest::GREETING);
        first.talk("abc");
        first.snapshots.save(&file, &Form::Mapped).unwrap();
        let lived = Opened::new(&file).unwrap().state.elapsed;
        let second = Running::new(|output| Vm::restore(&with(to), &file, output).unwrap());
        second.talk("xyz");
        second.snapshots.save(&file, &Form::Mapped).unwrap();
        let state = Opened::new(&file).unwrap().state;
        // Its clock went on from there: by less than a minute, whichever clock it is.
        assert!((lived..lived + 60_000_000_000).contains(&state.elapsed), "{lived} {}", state.elapsed);
        first.quit();
        second.power_off();
    }
}

#[test]
fn a_snapshot_that_is_cut_under_a_machine_ends_it_with_a_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.snap");
    fs::write(&file, sample(&Form::Mapped)).unwrap();
    let mut command = myvmm(["run", "--net", "none", "--restore"]);
    let mut child = command.arg(&file).stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    input.write_all(b"x").unwrap();
    let mut printed = [0];
    io::Read::read_exact(&mut output, &mut printed).unwrap();
    assert_eq!(&printed, b"x");
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(4096).unwrap();
    // The guest writes to memory.
    input.write_all(&[guest::SAVE]).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(text(&ended.stderr).contains("can no longer be read"), "{}", text(&ended.stderr));
}

#[test]
fn a_machine_finds_its_disks_again_if_they_are_as_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let (file, disk) = (directory.path().join("a.snap"), directory.path().join("disk.img"));
    fs::write(&disk, [7; 8192]).unwrap();
    let image = Image { file: disk.clone(), format: Some(Format::Raw), read_only: false, snapshot: false };
    let guest = Guest::monitor();
    let config =
        Config { disks: vec![SharedDisk::open(&image).unwrap()], ..config(guest.path(), Engine::Auto) };
    let first = Running::new(|output| Vm::build(&config, output).unwrap());
    first.expect(guest::GREETING);
    first.snapshots.save(&file, &Form::Mapped).unwrap();
    first.quit();
    drop(config);
    let go_on = |options: &[&str]| {
        let command = ["run", "--restore", file.to_str().unwrap()];
        run_with_input(myvmm(command.iter().chain(options)), &[guest::POWER_OFF])
    };
    let restore = || go_on(&[]);
    let forgetful = format!("{},snapshot=on", disk.display());
    for output in [restore(), go_on(&["--disk", &forgetful])] {
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
    fs::write(&disk, [8; 8192]).unwrap();
    let changed = text(&restore().stderr);
    assert!(changed.contains("disk.img has changed since") && changed.contains("put back"), "{changed}");
    fs::remove_file(&disk).unwrap();
    let gone = restore();
    assert_eq!(gone.status.code(), Some(2));
    assert!(text(&gone.stderr).contains("disk.img: No such file"), "{}", text(&gone.stderr));
}

#[test]
fn no_half_of_a_snapshot_is_left_when_the_machine_ends_meanwhile() {
    let guest = Guest::monitor();
    for delay in 0..12 {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.snap");
        let running = Running::boot(&guest, Engine::Auto);
        let (snapshots, path) = (running.snapshots.clone(), file.clone());
        let form = if delay % 2 == 0 { Form::Mapped } else { Form::Compressed };
        let saving = thread::spawn(move || snapshots.save(&path, &form));
        thread::sleep(Duration::from_micros(300 * delay));
        running.handle.quit();
        running.snapshots.give_up(PATIENCE);
        let left: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        match saving.join().unwrap() {
            Ok(_) => assert_eq!(left, [file]),
            Err(SaveError::Ended) => assert!(left.is_empty(), "{left:?}"),
            Err(error) => panic!("{error}"),
        }
        running.thread.join().unwrap();
    }
}

/// A snapshot of a machine with little in it.
fn sample(form: &Form) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.snap");
    let running = Running::boot(&Guest::monitor(), Engine::Auto);
    running.snapshots.save(&file, form).unwrap();
    running.quit();
    fs::read(file).unwrap()
}

/// What `myvmm inspect --verify` does with the file; gives what is said.
fn refusal(file: &Path) -> Option<String> {
    let said = |error: &dyn std::error::Error| match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    match Opened::new(file) {
        Ok(mut opened) => opened.verify().err().map(|error| said(&error)),
        Err(error) => Some(said(&error)),
    }
}

#[test]
fn every_truncation_and_every_flipped_byte_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bad.snap");
    for form in [Form::Compressed, Form::Mapped] {
        let good = sample(&form);
        fs::write(&file, &good).unwrap();
        assert_eq!(refusal(&file), None);
        // Every byte of the parts; of an image in front of them, a few will do.
        let parts = good.len() % 0x1000;
        let is_tested = |at: &usize| at + parts >= good.len() || *at < 64 || at.is_multiple_of(4099);
        let open = fs::OpenOptions::new().write(true).open(&file).unwrap();
        for at in (0..good.len()).filter(is_tested) {
            open.write_all_at(&[good[at] ^ 1 << (at % 8)], at as u64).unwrap();
            let said = refusal(&file).unwrap_or_else(|| panic!("byte {at} of {} was changed", good.len()));
            let names = ["part `", "head", "no snapshot", "format", "truncated", "ram image"];
            assert!(names.iter().any(|name| said.contains(name)), "{said}");
            open.write_all_at(&good[at..=at], at as u64).unwrap();
        }
        for length in (0..good.len()).rev().filter(is_tested) {
            open.set_len(length as u64).unwrap();
            assert!(refusal(&file).is_some(), "{length} of {} bytes", good.len());
        }
    }
}

#[test]
fn the_command_line_refuses_what_is_damaged_with_a_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.snap");
    let good = sample(&Form::Mapped);
    fs::write(&file, &good).unwrap();
    let shown = myvmm(["inspect", "--verify", "--format", "json"]).arg(&file).output().unwrap();
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
    let facts: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(facts["ram_bytes"], RAM);
    assert_eq!(facts["vcpus"].as_array().unwrap().len(), 2);
    for (at, part) in [
        (3, "no snapshot"),
        (0x10_0000, "ram image"),
        (good.len() - 1, "`end`"),
        (good.len() - 200, "part `"),
    ] {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(&file, bad).unwrap();
        for command in [&["run", "--restore"][..], &["inspect", "--verify"]] {
            let output = myvmm(command).arg(&file).output().unwrap();
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains(part) && said.lines().count() == 1, "{at}: {said}");
        }
    }
}

/// A full disk is played by a limit on the length of files, which holds for the whole process, and so gets one of
/// its own.
#[test]
fn a_full_disk_leaves_the_old_snapshot_and_the_guest() {
    const ALONE: &str = "MYVMM_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return save_to_a_full_disk();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_full_disk_leaves_the_old_snapshot_and_the_guest"]).env(ALONE, "1");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

fn save_to_a_full_disk() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.snap");
    let running = Running::boot(&Guest::monitor(), Engine::Auto);
    running.snapshots.save(&file, &Form::Mapped).unwrap();
    let before = fs::read(&file).unwrap();
    // Caught, the signal is an error of the write.
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default()).unwrap();
    let limit = rustix::process::Rlimit { current: Some(1 << 20), maximum: None };
    rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
    let failed = running.snapshots.save(&file, &Form::Mapped);
    assert!(matches!(failed, Err(SaveError::Host(_))), "{failed:?}");
    assert_eq!(fs::read(&file).unwrap(), before);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "something is left behind");
    running.talk("still");
    running.power_off();
}

#[test]
fn a_machine_is_saved_through_its_control_socket() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.snap");
    let guest = Guest::monitor();
    let start = |arguments: &[&std::ffi::OsStr]| {
        let mut command = myvmm(["run", "--net", "none", "--mem", "2M"]);
        command.args(arguments).env("XDG_RUNTIME_DIR", directory.path()).stdin(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    let mut first = start(&[
        "--name".as_ref(),
        "demo".as_ref(),
        "--kernel".as_ref(),
        guest.path().as_ref(),
        "--snapshots".as_ref(),
        directory.path().as_ref(),
    ]);
    let begun = Instant::now();
    loop {
        let mut save = myvmm(["snapshot", "demo"]);
        let output = save.arg(&file).env("XDG_RUNTIME_DIR", directory.path()).output().unwrap();
        if output.status.success() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{}", text(&output.stderr));
        thread::sleep(Duration::from_millis(20));
    }
    let mut second = start(&["--restore".as_ref(), file.as_ref()]);
    for child in [&mut first, &mut second] {
        child.stdin.as_mut().unwrap().write_all(b"still\no").unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let mut said = String::new();
        io::Read::read_to_string(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        assert!(said.contains("still"), "{said}");
    }
}
