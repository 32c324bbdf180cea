//! Many VMs at once: programs, small machines and Linux, each a process of its own, that are paused, resumed, reset,
//! saved, restored, ended and killed in any order through the real command line and control sockets. What must hold is
//! that each goes on to work, and that nothing is left behind: files, threads, memory, sockets, temporary files.
//!
//! `MYVMM_CROWD_SECONDS` says how long (default 15), `MYVMM_CROWD_SEED` what happens (default 1).

mod host;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use fuzzing::Numbers;
use host::control::{Client, PATIENCE, Place};
use host::guest::Guest;
use serde_json::{Value, json};

/// So many act on their share of the crowd at the same time.
const DRIVERS: u64 = 4;
/// What the share of a driver is: all drivers together have 24.
const SHARE: [Kind; 6] =
    [Kind::Program, Kind::Machine, Kind::Program, Kind::Machine, Kind::Machine, Kind::Linux];
/// What a machine may have more in the end than in the beginning: what the host's allocator keeps.
const MEMORY_SLACK: u64 = 24 << 20;

/// Runs on and on.
const PROGRAM: &str = "main: addiu $t0, $t0, 1\n sw $t0, 0($sp)\n jal next\n j main\nnext: jr $ra\n";

/// What Linux does.
const SCRIPT: &str = "while true; do echo tick; sleep 1; done";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Program,
    /// A kernel of a few instructions that prints back what is typed.
    Machine,
    Linux,
}

/// What a process has of the host.
#[derive(Clone, Copy, Debug)]
struct Held {
    files: usize,
    threads: usize,
    /// Bytes of memory of its own, which RAM of a guest is not.
    memory: u64,
}

impl Held {
    fn by(process: u32) -> Self {
        let count = |what: &str| fs::read_dir(format!("/proc/{process}/{what}")).map_or(0, Iterator::count);
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        Self { files: count("fd"), threads: count("task"), memory: kilobytes.unwrap_or(0) << 10 }
    }

    /// Whether it is no more than `before`.
    fn is_within(self, before: Self) -> bool {
        self.files <= before.files
            && self.threads <= before.threads
            && self.memory <= before.memory + MEMORY_SLACK
    }
}

/// What all have in common.
struct Crowd {
    place: Place,
    /// Where programs and snapshots are.
    files: PathBuf,
    /// Where the processes put what is temporary.
    temporary: PathBuf,
    guest: Guest,
}

/// One VM.
struct Member {
    name: String,
    kind: Kind,
    child: Child,
    client: Client,
    /// What it held when it had started and its guest ran.
    before: Held,
    paused: bool,
    /// Its guest has come so far that it goes on to print.
    prints: bool,
    /// How many bytes it has printed.
    printed: Arc<AtomicU64>,
}

impl Crowd {
    fn new() -> Self {
        let place = Place::new();
        let [files, temporary] = ["files", "temporary"].map(|name| place.0.path().join(name));
        fs::create_dir(&files).unwrap();
        fs::create_dir(&temporary).unwrap();
        fs::write(files.join("program.s"), PROGRAM).unwrap();
        Self { place, files, temporary, guest: Guest::monitor() }
    }

    /// Starts a VM, from a snapshot if there is one.
    fn start(&self, name: String, kind: Kind, snapshot: Option<&Path>) -> Member {
        let mut command = self.place.myvmm(match kind {
            Kind::Program => &["--slice", "10000"],
            Kind::Machine => &["run", "--net", "none", "--smp", "2"],
            Kind::Linux => &["debian", "--net", "none", "--smp", "2"],
        });
        command.args(["--name", &name]).env("TMPDIR", &self.temporary);
        match kind {
            Kind::Program => drop(command.arg("-v").arg(self.files.join("program.s"))),
            // From a snapshot too, so that it can be reset.
            Kind::Machine => drop(command.args(["--mem", "4M", "--kernel"]).arg(self.guest.path())),
            Kind::Linux => drop(command.args(["--mem", "96M"])),
        }
        match snapshot {
            Some(snapshot) => drop(command.arg("--restore").arg(snapshot)),
            None if kind == Kind::Linux => drop(command.args(["--run", SCRIPT])),
            None => {}
        }
        if kind != Kind::Program {
            command.arg("--snapshots").arg(&self.files);
        }
        // What cannot be read any more is not waited for.
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let printed = Arc::new(AtomicU64::new(0));
        listen(&mut child, Arc::clone(&printed));
        let mut client = self.place.client(&name);
        let begun = Instant::now();
        while client.execute("query-cpus-fast")[0]["thread-id"].as_u64().is_none_or(|thread| thread == 0) {
            assert!(begun.elapsed() < PATIENCE, "{name} has no vCPU");
            thread::sleep(Duration::from_millis(5));
        }
        let before = Held { files: 0, threads: 0, memory: 0 };
        let mut member =
            Member { name, kind, child, client, before, paused: false, prints: kind != Kind::Linux, printed };
        // Its last thread is there when its guest runs.
        member.check_that_it_works();
        member.before = Held::by(member.child.id());
        member
    }
}

/// Takes what the process prints until it ends.
fn listen(child: &mut Child, printed: Arc<AtomicU64>) {
    let mut pipe = child.stdout.take().unwrap();
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = pipe.read(&mut bytes) {
            printed.fetch_add(length as u64, Relaxed);
        }
    });
}

impl Member {
    fn set_paused(&mut self, paused: bool) {
        self.client.execute(if paused { "stop" } else { "cont" });
        self.paused = paused;
        let status = self.client.execute("query-status");
        assert_eq!(status["running"], Value::Bool(!paused), "{}", self.name);
    }

    /// Has it do something, as soon as it is there: a machine that is just being reset is not, for a moment.
    fn order(&mut self, command: &Value) {
        let begun = Instant::now();
        loop {
            let reply = self.client.ask(command);
            if reply["return"].is_object() {
                return;
            }
            let comes =
                reply["error"]["desc"] == "The machine is not yet there" && begun.elapsed() < PATIENCE;
            assert!(comes, "{}: {reply}", self.name);
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Saves it, and waits until the file is there.
    fn save(&mut self, file: &Path) {
        let arguments = json!({ "file": file, "form": "mapped" });
        self.order(&json!({ "execute": "x-myvmm-snapshot", "arguments": arguments }));
        let begun = Instant::now();
        loop {
            let saved = self.client.execute("x-myvmm-query-snapshot");
            if saved["status"] != "active" {
                assert!(saved["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{}: {saved}", self.name);
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{} is still being saved", self.name);
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Its guest runs: a program by its instructions, a machine because it answers, Linux because it prints, once it has
    /// come so far.
    fn check_that_it_works(&mut self) {
        self.set_paused(false);
        let begun = Instant::now();
        let before = self.progress();
        if self.kind == Kind::Machine {
            self.child.stdin.as_ref().unwrap().write_all(b"z").unwrap();
        }
        self.prints |= before > 0;
        while self.prints && self.progress() <= before {
            assert!(begun.elapsed() < PATIENCE, "{} does not go on", self.name);
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn progress(&mut self) -> u64 {
        match self.kind {
            Kind::Program => self.client.execute("x-myvmm-query")["instructions"].as_u64().unwrap(),
            Kind::Machine | Kind::Linux => self.printed.load(Relaxed),
        }
    }

    /// It holds no more of the host than when it had started. Linux takes more of its devices into use as it boots.
    fn check_that_it_holds_no_more(&self) {
        if self.kind == Kind::Linux {
            return;
        }
        let begun = Instant::now();
        loop {
            let now = Held::by(self.child.id());
            if now.is_within(self.before) {
                return;
            }
            // Those who were connected leave in their own time.
            assert!(begun.elapsed() < PATIENCE, "{}: {now:?}, {:?} before", self.name, self.before);
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn quit(mut self) {
        self.client.execute("quit");
        let status = host::pty::wait(&mut self.child, PATIENCE);
        // A script that does not come to its end is a failure.
        let is_right = status.code() == Some(0) || self.kind == Kind::Linux && status.code() == Some(1);
        assert!(is_right, "{}: {status}", self.name);
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A test that fails leaves none behind.
impl Drop for Member {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and need not be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One who does anything to a share of the crowd.
struct Driver<'a> {
    crowd: &'a Crowd,
    number: u64,
    numbers: Numbers,
    started: u64,
    members: Vec<Member>,
    done: BTreeMap<&'static str, u32>,
}

impl<'a> Driver<'a> {
    fn new(crowd: &'a Crowd, number: u64, numbers: Numbers) -> Self {
        let mut driver =
            Self { crowd, number, numbers, started: 0, members: Vec::new(), done: BTreeMap::new() };
        for kind in SHARE {
            let member = driver.start(kind, None);
            driver.members.push(member);
        }
        driver
    }

    fn start(&mut self, kind: Kind, snapshot: Option<&Path>) -> Member {
        self.started += 1;
        self.crowd.start(format!("vm-{}-{}", self.number, self.started), kind, snapshot)
    }

    fn act(&mut self) {
        let place = self.numbers.index(self.members.len());
        let member = &mut self.members[place];
        let kind = member.kind;
        let action = match self.numbers.below(16) {
            0..4 => {
                member.set_paused(!member.paused);
                "pauses"
            }
            4 | 5 => {
                member.check_that_it_works();
                "checks"
            }
            6 | 7 if kind == Kind::Machine => {
                member.order(&json!({ "execute": "system_reset" }));
                "resets"
            }
            8 | 9 => {
                let (code, text) = self.crowd.place.run(&["control", &member.name, "query-status"]);
                assert_eq!(code, Some(0), "{text}");
                "commands"
            }
            10 => {
                self.crowd.place.list();
                "lists"
            }
            11 => {
                self.replace(place, Member::kill, None);
                "kills"
            }
            12 => {
                self.replace(place, Member::quit, None);
                "ends"
            }
            _ if kind == Kind::Machine || kind == Kind::Linux && self.numbers.once_in(4) => {
                self.restore(place);
                "restores"
            }
            _ => {
                member.check_that_it_holds_no_more();
                "counts"
            }
        };
        *self.done.entry(action).or_default() += 1;
    }

    /// Ends a member and starts another of its kind, which goes on from a snapshot if there is one.
    fn replace(&mut self, place: usize, end: impl FnOnce(Member), snapshot: Option<&Path>) {
        let member = self.members.swap_remove(place);
        let (kind, prints) = (member.kind, member.prints);
        end(member);
        let mut member = self.start(kind, snapshot);
        member.prints |= prints && snapshot.is_some();
        member.check_that_it_works();
        self.members.push(member);
    }

    /// Saves a member, ends it and lets it go on from the snapshot.
    fn restore(&mut self, place: usize) {
        let file = self.crowd.files.join(format!("{}-{}.snapshot", self.number, self.started));
        self.members[place].save(&file);
        let end = if self.numbers.once_in(2) { Member::kill } else { Member::quit };
        self.replace(place, end, Some(&file));
        fs::remove_file(&file).unwrap();
    }

    /// All that are left work, hold no more than ever, and end.
    fn finish(self) -> BTreeMap<&'static str, u32> {
        for mut member in self.members {
            member.check_that_it_works();
            member.check_that_it_holds_no_more();
            member.quit();
        }
        self.done
    }
}

fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    entries.map(|name| name.into_string().unwrap()).collect()
}

#[test]
fn a_crowd_comes_and_goes_and_leaves_nothing_behind() {
    let (time, seed) = (setting("MYVMM_CROWD_SECONDS", 15), setting("MYVMM_CROWD_SEED", 1));
    let crowd = Crowd::new();
    let until = Instant::now() + Duration::from_secs(time);
    let drive = |number| {
        let mut driver = Driver::new(&crowd, number, Numbers::new(seed + number));
        while Instant::now() < until {
            driver.act();
        }
        driver.finish()
    };
    let done: Vec<_> = thread::scope(|scope| {
        let drivers: Vec<_> = (0..DRIVERS).map(|number| scope.spawn(move || drive(number))).collect();
        drivers.into_iter().map(|driver| driver.join().expect("a driver comes to its end")).collect()
    });
    println!("{done:?}");

    assert!(crowd.place.list().is_empty());
    // Listing takes away the sockets of those that were killed; the lock remains.
    let sockets = names(&crowd.place.0.path().join("myvmm"));
    assert!(sockets.iter().all(|name| !name.ends_with(".qmp")), "{sockets:?}");
    let listening = fs::read_to_string("/proc/net/unix").unwrap();
    assert!(!listening.contains(crowd.place.0.path().to_str().unwrap()), "{listening}");
    assert_eq!(names(&crowd.temporary), [""; 0]);
    assert_eq!(names(&crowd.files), ["program.s"]);
}
