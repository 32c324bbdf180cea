//! Moves between processes, by the command line.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::faults::RUNNING;
use crate::guests::{PATIENCE, wait_until};
use crate::host::guest::{self, Guest};
use crate::host::{myvmm, text};
use crate::proxy::{Proxy, Way};

/// A receiver with a directory of its own, as if on another host.
pub struct Receiver {
    pub child: Child,
    pub place: String,
    directory: TempDir,
}

impl Receiver {
    pub fn new() -> Self {
        Self::with(&[])
    }

    pub fn with(options: &[&str]) -> Self {
        Self::started(myvmm([""; 0]), options)
    }

    /// A receiver that `command` starts, to which the arguments are still to be added.
    pub fn started(mut command: Command, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        command.args(["receive", "--listen", "127.0.0.1:0", "--log"]).arg(directory.path());
        command.args(options).env("XDG_RUNTIME_DIR", directory.path());
        let mut child = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
        let place = said.trim().rsplit(' ').next().unwrap().to_owned();
        assert!(place.starts_with("127.0.0.1:"), "{said}");
        Self { child, place, directory }
    }

    /// What the guest called `name` prints here, once it says `text`.
    fn expect(&self, name: &str, text: &str) -> String {
        wait_until(text, || self.log(name).contains(text));
        self.log(name)
    }

    /// What the guest called `name` has printed here.
    pub fn log(&self, name: &str) -> String {
        let log = std::fs::read(self.directory.path().join(format!("{name}.log")));
        log.map_or_else(|_| String::new(), |log| text(&log))
    }

    /// The program, with these arguments, beside this receiver.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = myvmm(arguments);
        command.env("XDG_RUNTIME_DIR", self.directory.path());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // What ends the receiver does not end the guests, and a test that fails leaves some.
        guests(self.child.id()).into_iter().for_each(kill);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processes of guests that came to a receiver.
pub fn guests(receiver: u32) -> Vec<Pid> {
    let children = std::fs::read_to_string(format!("/proc/{receiver}/task/{receiver}/children"));
    let children = children.unwrap_or_default();
    children.split_whitespace().filter_map(|child| Pid::from_raw(child.parse().ok()?)).collect()
}

/// Kills a process, if it has not ended by itself.
pub fn kill(process: Pid) {
    let _ = kill_process(process, Signal::KILL);
}

/// The VM called `name` that is controlled in the directory of `receiver`.
pub fn listed(receiver: &Receiver, name: &str) -> Option<serde_json::Value> {
    let output = receiver.run(&["ps", "--format", "json"]);
    let vms: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    vms.into_iter().find(|vm| vm["name"] == name)
}

#[test]
fn a_machine_moves_between_processes_and_back() {
    let (here, there) = (Receiver::new(), Receiver::new());
    let guest = Guest::monitor();
    let mut command =
        myvmm(["run", "--net", "none", "--mem", "2M", "--movable", "--name", "demo", "--kernel"]);
    command.arg(guest.path()).env("XDG_RUNTIME_DIR", here.directory.path()).stdin(Stdio::piped());
    let mut first = command.spawn().unwrap();
    first.stdin.as_mut().unwrap().write_all(b"abc").unwrap();
    let mut heard = vec![0; guest::GREETING.len() + 3];
    first.stdout.as_mut().unwrap().read_exact(&mut heard).unwrap();
    assert!(text(&heard).ends_with("abc"));
    let moved = here.run(&["migrate", "demo", &there.place]);
    assert_eq!(moved.status.code(), Some(0), "{}", text(&moved.stderr));
    assert!(text(&moved.stderr).contains("stood still for"), "{}", text(&moved.stderr));
    assert_eq!(first.wait().unwrap().code(), Some(0));
    assert!(listed(&here, "demo").is_none());
    let vm = listed(&there, "demo").expect("it is there");
    assert_eq!((vm["state"].as_str(), vm["memory"].as_u64()), (Some("running"), Some(2 << 20)));
    let back = there.run(&["migrate", "demo", &here.place]);
    assert_eq!(back.status.code(), Some(0), "{}", text(&back.stderr));
    assert_eq!(listed(&here, "demo").expect("it is back")["state"], "running");
    let quit = here.run(&["control", "demo", "quit"]);
    assert_eq!(quit.status.code(), Some(0), "{}", text(&quit.stderr));
}

/// A process that does not outlast its test.
pub struct Machine(pub Child);

impl Deref for Machine {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Machine {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A machine called `demo` that runs beside `here`, and has greeted.
pub fn start(here: &Receiver, guest: &Guest, options: &[&str]) -> Machine {
    let mut command = myvmm(["run", "--net", "none", "--mem", "2M", "--name", "demo"]);
    command.args(options).arg("--kernel").arg(guest.path());
    command.env("XDG_RUNTIME_DIR", here.directory.path()).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut heard = vec![0; guest::GREETING.len()];
    child.stdout.as_mut().unwrap().read_exact(&mut heard).unwrap();
    Machine(child)
}

#[test]
fn a_machine_takes_its_disk_along_and_resets_where_it_is() {
    let shared = tempfile::tempdir().unwrap();
    let image = shared.path().join("disk.qcow2");
    let name = image.to_str().unwrap();
    let made = Command::new("qemu-img").args(["create", "-q", "-f", "qcow2", name, "1M"]).status();
    assert!(made.expect("qemu-img runs: install qemu-utils").success());
    let (here, there) = (Receiver::new(), Receiver::with(&["--disks", shared.path().to_str().unwrap()]));
    let guest = Guest::monitor();
    let mut first = start(&here, &guest, &["--movable", "--disk", &format!("{name},format=qcow2")]);
    let refused = here.run(&["migrate", "demo", &here.place]);
    assert!(text(&refused.stderr).contains("--disks"), "{}", text(&refused.stderr));
    let moved = here.run(&["migrate", "demo", &there.place]);
    assert_eq!(moved.status.code(), Some(0), "{}", text(&moved.stderr));
    assert_eq!(first.wait().unwrap().code(), Some(0));
    // It has its disk, and its kernel.
    let second =
        here.run(&["run", "--kernel", guest.path().to_str().unwrap(), "--disk", name, "--net", "none"]);
    assert!(text(&second.stderr).contains("is in use"), "{}", text(&second.stderr));
    let reset = there.run(&["control", "demo", "system_reset"]);
    assert_eq!(reset.status.code(), Some(0), "{}", text(&reset.stderr));
    there.expect("demo", guest::GREETING);
    let quit = there.run(&["control", "demo", "quit"]);
    assert_eq!(quit.status.code(), Some(0), "{}", text(&quit.stderr));
}

#[test]
fn a_machine_whose_kernel_is_not_there_is_said_to_end_when_it_resets() {
    let (here, there) = (Receiver::new(), Receiver::new());
    let guest = Guest::monitor();
    let mut first = start(&here, &guest, &["--movable"]);
    // As on another host, there is no such file any more.
    drop(guest);
    let moved = here.run(&["migrate", "demo", &there.place]);
    assert_eq!(moved.status.code(), Some(0), "{}", text(&moved.stderr));
    assert!(text(&moved.stderr).contains("when the guest resets there it ends"), "{}", text(&moved.stderr));
    assert_eq!(first.wait().unwrap().code(), Some(0));
    there.run(&["control", "demo", "system_reset"]);
    let begun = Instant::now();
    while listed(&there, "demo").is_some() {
        assert!(begun.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_host_is_found_by_any_of_its_addresses() {
    let (here, there) = (Receiver::new(), Receiver::new());
    let guest = Guest::monitor();
    let mut first = start(&here, &guest, &["--movable"]);
    // Nobody listens at the first, and nobody knows the name.
    let addresses = format!("x-myvmm-addresses=[\"127.0.0.1:1\",\"{}\"]", there.place);
    let begun = here.run(&["control", "demo", "migrate", "uri=tcp:there.invalid:1", &addresses]);
    assert_eq!(begun.status.code(), Some(0), "{}", text(&begun.stderr));
    assert_eq!(first.wait().unwrap().code(), Some(0));
    assert_eq!(listed(&there, "demo").expect("it is there")["state"], "running");
}

#[test]
fn a_machine_that_is_handed_over_is_not_reset_here() {
    let (here, there) = (Receiver::new(), Receiver::new());
    let answer = Arc::<Mutex<Option<Output>>>::default();
    let (kept, directory) = (Arc::clone(&answer), here.directory.path().to_owned());
    // It runs there already, and here nobody knows that yet.
    let hook = move || {
        let mut reset = myvmm(["control", "demo", "system_reset"]);
        *kept.lock().unwrap() = Some(reset.env("XDG_RUNTIME_DIR", &directory).output().unwrap());
    };
    let place = there.place.parse().unwrap();
    let proxy = Proxy::calling(place, Way::Back, RUNNING, Arc::new(hook));
    let guest = Guest::monitor();
    let mut first = start(&here, &guest, &["--movable"]);
    let moved = here.run(&["migrate", "demo", &proxy.address.to_string()]);
    assert_eq!(moved.status.code(), Some(0), "{}", text(&moved.stderr));
    assert_eq!(first.wait().unwrap().code(), Some(0));
    let answer = answer.lock().unwrap().take().expect("it was asked");
    assert!(text(&answer.stderr).contains("being moved"), "{}", text(&answer.stderr));
    let mut rest = String::new();
    first.stdout.as_mut().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "it has begun anew here");
}

#[test]
fn a_move_to_nowhere_leaves_the_guest() {
    let here = Receiver::new();
    let guest = Guest::monitor();
    let mut first = start(&here, &guest, &["--movable"]);
    // Nobody listens at this port, which only root could.
    let failed = here.run(&["migrate", "demo", "127.0.0.1:1"]);
    assert_eq!(failed.status.code(), Some(1));
    let said = text(&failed.stderr);
    assert!(said.contains("demo stays here") && said.lines().count() == 1, "{said}");
    let query = here.run(&["control", "demo", "query-migrate"]);
    let info: serde_json::Value = serde_json::from_slice(&query.stdout).unwrap();
    assert_eq!(info["status"], "failed");
    first.stdin.as_mut().unwrap().write_all(&[guest::POWER_OFF]).unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(0));
}

/// A program that prints, asks to be moved to `place`, and prints again.
fn program(place: &str) -> String {
    format!(
        "        .data\nbefore: .asciiz \"before\\n\"\nafter: .asciiz \"after\\n\"\n        .text\n\
         main:   li $v0, 4\n        la $a0, before\n        syscall\n        li $s0, 1234\n\
         \x20       MIGRATE {place}\n\
         \x20       li $v0, 1\n        move $a0, $s0\n        syscall\n\
         \x20       li $v0, 4\n        la $a0, after\n        syscall\n        li $v0, 17\n        li $a0, 7\n\
         \x20       syscall\n"
    )
}

#[test]
fn a_program_goes_where_it_asks_to() {
    let there = Receiver::new();
    let here = tempfile::tempdir().unwrap();
    let file = here.path().join("wanderer.s");
    std::fs::write(&file, program(&there.place)).unwrap();
    let run = || {
        let mut command = myvmm(["-v"]);
        command.arg(&file).env("XDG_RUNTIME_DIR", here.path()).current_dir(here.path()).output().unwrap()
    };
    let moved = run();
    assert_eq!(text(&moved.stdout), "before\n", "{}", text(&moved.stderr));
    assert_eq!(moved.status.code(), Some(0), "{}", text(&moved.stderr));
    assert!(text(&moved.stderr).contains("It has moved to"), "{}", text(&moved.stderr));
    let logs = || std::fs::read_dir(there.directory.path()).unwrap().filter_map(Result::ok);
    let begun = Instant::now();
    let log = loop {
        let log = logs().find(|entry| entry.file_name().to_string_lossy().ends_with(".log"));
        match log {
            Some(log) => break log.file_name().to_string_lossy().trim_end_matches(".log").to_owned(),
            None => assert!(begun.elapsed() < PATIENCE),
        }
    };
    assert!(there.expect(&log, "after\n").contains("1234after\n"));
    drop(there);
    let stayed = run();
    assert_eq!(text(&stayed.stdout), "before\n1234after\n", "{}", text(&stayed.stderr));
    assert!(text(&stayed.stderr).contains("the program goes on"), "{}", text(&stayed.stderr));
    assert_eq!(stayed.status.code(), Some(7));
}
