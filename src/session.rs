//! A machine at the console from its start to its end, over any number of reboots. The machine runs on a thread of its
//! own; the main thread waits for what happens first, so that a person or a signal can always end it. It must not
//! know what is booted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;
use std::{io, mem};

use anyhow::Context as _;
use runtime::machine::Ending;
use runtime::migrate::Arrival;
use runtime::vm::moving::{Arriving, Shape};
use runtime::vm::requests::Place;
use runtime::vm::snapshots::{Form, SaveError, Saved};
use runtime::vm::{Config, Vm, VmError};
use signal_hook::consts::{SIGCONT, SIGTSTP};
use signal_hook::low_level::emulate_default_handler;

use crate::console::keys;
use crate::console::line::Line;
use crate::console::output::{Output, Rest, Seen};
use crate::console::{self, Console, signals};
use crate::control::machine::Machine;
use crate::control::{self, Address, Control, Notices, Target as _, migration};
use crate::exit::{self, Refused};
use crate::observed::Observed;
use crate::report::Report;
use crate::watch::Watch;

/// How long a machine that is to end may take for it before the process ends without its statistics.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often a process in the background looks whether it is in the foreground again.
const BACKGROUND_REST: Duration = Duration::from_millis(200);

/// What to run, and how.
pub struct Session {
    /// How it is reached from outside.
    pub address: Address,
    /// The machine.
    pub config: Config,
    /// What it goes on from.
    pub origin: Origin,
    /// Where the guest and the person at the console may have the machine saved.
    pub snapshots: Option<PathBuf>,
    /// Whether a machine that resets starts again.
    pub reboots: bool,
    /// What is to be learnt of it.
    pub watch: Arc<Watch>,
}

/// What a machine goes on from.
pub enum Origin {
    /// Nothing: it boots.
    Boot,
    /// A snapshot.
    Snapshot(PathBuf),
    /// A machine of this shape that comes from elsewhere.
    Elsewhere(Box<(Shape, Arrival)>),
}

impl From<Option<PathBuf>> for Origin {
    fn from(snapshot: Option<PathBuf>) -> Self {
        snapshot.map_or(Self::Boot, Self::Snapshot)
    }
}

/// The first machine of a session.
struct First {
    vm: Vm,
    rest: Rest,
    /// How it comes, if it does.
    newcomer: Option<(Arriving, Arrival)>,
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The guest turned its power off.
    PoweredOff,
    /// The guest reset itself, and that was to be the end.
    Reset,
    /// The guest's kernel panicked, and said this.
    Panicked(String),
    /// The guest reset itself before it printed anything: it would do so for ever.
    Mute,
    /// The person at the console left.
    Left,
    /// The guest runs elsewhere now.
    Moved,
}

impl End {
    /// The exit code that tells it.
    pub fn exit_code(&self) -> std::process::ExitCode {
        if self.is_orderly() { 0.into() } else { exit::PANICKED.into() }
    }

    /// Whether guest and user ended as they meant to.
    pub fn is_orderly(&self) -> bool {
        matches!(self, Self::PoweredOff | Self::Reset | Self::Left | Self::Moved)
    }
}

/// How a session ended.
pub struct Closing {
    /// Why.
    pub end: End,
    /// The status of the script that the guest's image ran.
    pub script_status: Option<u8>,
}

/// What the main thread waits for.
enum Event {
    Console(console::Event),
    /// Someone outside asked for the end.
    Quit,
    /// The guest runs elsewhere. What is left of it here may take long to be taken apart, and is of no use.
    Moved,
    /// The last machine has ended.
    Ended(anyhow::Result<End>),
}

impl From<console::Event> for Event {
    fn from(event: console::Event) -> Self {
        Self::Console(event)
    }
}

/// Why the main thread stopped waiting.
enum Stop {
    Ended(anyhow::Result<End>),
    Moved,
    Left,
    Quit,
    OutputFailed(io::Error),
    Signal(i32),
    /// The snapshot that the machine went on from is no longer as it was.
    PageLost,
}

impl Stop {
    /// What those who control the VM are told.
    fn notice(&self) -> control::Event {
        let (guest, reason) = match self {
            Self::Ended(Ok(End::PoweredOff)) => (true, "guest-shutdown"),
            Self::Ended(Ok(End::Reset | End::Mute)) => (true, "guest-reset"),
            Self::Ended(Ok(End::Panicked(_))) => (true, "guest-panic"),
            Self::Moved | Self::Ended(Ok(End::Moved)) => (false, "host-qmp-quit"),
            Self::Ended(Ok(End::Left) | Err(_)) | Self::OutputFailed(_) | Self::PageLost => {
                (false, "host-error")
            }
            Self::Left => (false, "host-ui"),
            Self::Quit => (false, "host-qmp-quit"),
            Self::Signal(_) => (false, "host-signal"),
        };
        control::Event::Shutdown { guest, reason }
    }
}

impl Session {
    /// Runs the machine on standard input and output until it ends for good.
    ///
    /// # Errors
    /// Fails if the machine cannot be built or the host fails it. A signal that ends the session ends the process.
    pub fn run(self) -> anyhow::Result<Closing> {
        let (events, happened) = channel();
        let (seen, line, report) = (Seen::default(), Arc::new(Line::default()), Report::of("vCPU"));
        let watch = self.watch;
        let quit = events.clone();
        // Without a listener the process is about to end.
        let quit = Box::new(move || drop(quit.send(Event::Quit)));
        let moved = events.clone();
        let moved = Box::new(move || drop(moved.send(Event::Moved)));
        let machine = Arc::new(Machine::new(&self.config, self.reboots, quit, moved));
        let target = Arc::clone(&machine);
        let arrival = match &self.origin {
            Origin::Elsewhere(newcomer) => Some(newcomer.1.waiting()),
            Origin::Boot | Origin::Snapshot(_) => None,
        };
        let notices = Notices::new().context("Cannot prepare the control of the VM")?;
        let course = Course {
            config: self.config,
            place: self.snapshots.clone().map(guests_place),
            reboots: self.reboots,
            seen: seen.clone(),
            line: Arc::clone(&line),
            report: report.clone(),
            watch: Arc::clone(&watch),
            machine: Arc::clone(&machine),
            notices: notices.clone(),
            events: events.clone(),
        };
        if matches!(self.origin, Origin::Snapshot(_)) {
            signals::watch_lost_pages(events.clone()).context("Cannot watch over the snapshot")?;
        }
        let first = course.begin(self.origin)?;
        // Whoever gets an answer may remove what the machine goes on from.
        let control = Control::start(self.address, target, arrival, notices)?;
        let console = Console::open(line, &events)?;
        drop(events);
        thread::Builder::new()
            .name("machine".into())
            .spawn(move || course.follow(first))
            .context("Cannot start a thread of the machine")?;

        let snapshots = self.snapshots;
        let desk =
            Desk { console: &console, happened: &happened, machine: &machine, control: &control, snapshots };
        let stop = desk.wait();
        let moved = matches!(stop, Stop::Moved);
        if !moved && !matches!(stop, Stop::Ended(_)) {
            end_machine(&machine, &happened);
        }
        let is_terminal = console.is_terminal();
        drop(console);
        control.notices().publish(stop.notice());
        drop(control);
        if moved {
            // Its name is free while what is left of it here is taken apart.
            end_machine(&machine, &happened);
        }
        let seen = mem::take(&mut *seen.lock());
        if is_terminal && seen.is_within_line() {
            eprintln!();
        }
        let watched = watch.close(&report);
        let closing = conclude(stop, seen.script_status)?;
        watched.map(|()| closing)
    }
}

fn conclude(stop: Stop, script_status: Option<u8>) -> anyhow::Result<Closing> {
    let end = match stop {
        Stop::Ended(end) => end?,
        Stop::Moved => End::Moved,
        Stop::Left | Stop::Quit => End::Left,
        Stop::OutputFailed(error) => {
            return Err(error).context("Cannot write what the guest prints to standard output");
        }
        Stop::PageLost => anyhow::bail!(
            "A page of the snapshot that the machine went on from can no longer be read: the file was made shorter, or \
             its disk fails. It must stay as it is while the machine runs"
        ),
        Stop::Signal(signal) => {
            emulate_default_handler(signal).context("Cannot end as the signal asks")?;
            End::Left
        }
    };
    match &end {
        End::Panicked(message) => eprintln!("myvmm: The guest's kernel panicked: {message}"),
        End::Mute => eprintln!(
            "myvmm: The guest reset itself before it printed anything; see more with --append earlycon"
        ),
        End::Moved => eprintln!("myvmm: The guest runs elsewhere now"),
        End::PoweredOff | End::Reset | End::Left => {}
    }
    Ok(Closing { end, script_status })
}

/// The course of a session: one machine after the other.
struct Course {
    config: Config,
    /// Where the guest may have the machine saved.
    place: Option<Arc<Place>>,
    reboots: bool,
    seen: Seen,
    line: Arc<Line>,
    report: Report,
    watch: Arc<Watch>,
    machine: Arc<Machine>,
    notices: Notices,
    events: Sender<Event>,
}

impl Course {
    /// The first machine.
    fn begin(&self, origin: Origin) -> Result<First, VmError> {
        let (output, rest) = Output::new(self.seen.clone(), self.events.clone());
        let output = Box::new(output);
        // What one from elsewhere has printed so far was seen there.
        self.seen.lock().spoke = !matches!(origin, Origin::Boot);
        let (vm, newcomer) = match origin {
            Origin::Boot => (Vm::build(&self.config, output)?, None),
            Origin::Snapshot(snapshot) => (Vm::restore(&self.config, &snapshot, output)?, None),
            Origin::Elsewhere(newcomer) => {
                let (shape, arrival) = *newcomer;
                let (vm, arriving) = Arriving::new(&shape, &self.config, output)?;
                (vm, Some((arriving, arrival)))
            }
        };
        Ok(First { vm, rest, newcomer })
    }

    /// Waits until the machine is there and may run.
    fn welcome(&self, (mut arriving, arrival): (Arriving, Arrival)) -> anyhow::Result<()> {
        let name = arrival.hello().name.clone();
        let arrived = arrival.receive(&mut arriving, |why| migration::say_lost(&name, why));
        let arrived = arrived.with_context(|| format!("{name} did not arrive"))?;
        if arrived.paused {
            self.machine.set_paused(true).map_err(|failure| anyhow::anyhow!("{failure}"))?;
        }
        Ok(())
    }

    fn build(&self) -> Result<(Vm, Rest), VmError> {
        let (output, rest) = Output::new(self.seen.clone(), self.events.clone());
        Ok((Vm::build(&self.config, Box::new(output))?, rest))
    }

    /// Runs machine after machine, and says how the last one ended.
    fn follow(self, First { vm, rest, newcomer }: First) {
        let there = newcomer.map_or(Ok(()), |newcomer| self.welcome(newcomer));
        let end = there.and_then(|()| Ok(self.run_all((vm, rest))?));
        // Nobody hears it if the session is already over.
        let _ = self.events.send(Event::Ended(end));
    }

    fn run_all(&self, (mut vm, mut rest): (Vm, Rest)) -> Result<End, VmError> {
        loop {
            let ending = self.run_one(vm)?;
            if ending == Ending::Quit {
                return Ok(End::Left);
            }
            rest.wait();
            if let Some(end) = self.judge(ending) {
                return Ok(end);
            }
            *self.seen.lock() = Default::default();
            self.notices.publish(control::Event::Reset { guest: ending == Ending::Reset });
            (vm, rest) = self.build()?;
        }
    }

    fn run_one(&self, mut vm: Vm) -> Result<Ending, VmError> {
        if let Some(place) = &self.place {
            vm.set_place(Arc::clone(place));
        }
        self.line.connect(vm.serial_input());
        self.machine.connect(vm.handle(), vm.snapshots());
        let observer = vm.observer();
        let result = vm.run();
        // What it printed is whole only when nobody holds it any more.
        self.machine.disconnect();
        let (ending, statistics) = result?;
        self.report.add(&statistics);
        self.report.note_first_turn(observer.first_turn());
        self.watch.look(|| vec![Observed::machine(observer, self.watch.symbols.clone())]);
        Ok(ending)
    }

    /// Whether the ending of one machine is the end of all.
    fn judge(&self, ending: Ending) -> Option<End> {
        let seen = self.seen.lock();
        match (ending, &seen.panic) {
            (_, Some(message)) => Some(End::Panicked(message.clone())),
            (Ending::Reset, None) if !seen.spoke => Some(End::Mute),
            (Ending::Reset | Ending::HostReset, None) => (!self.reboots).then_some(End::Reset),
            (Ending::PowerOff, None) => Some(End::PoweredOff),
            (Ending::Quit, None) => Some(End::Left),
            (Ending::Moved, None) => Some(End::Moved),
        }
    }
}

/// Where the main thread sits.
struct Desk<'a> {
    console: &'a Console,
    happened: &'a Receiver<Event>,
    machine: &'a Arc<Machine>,
    control: &'a Control,
    snapshots: Option<PathBuf>,
}

impl Desk<'_> {
    /// Answers what happens until something is the end.
    fn wait(self) -> Stop {
        loop {
            let stop = match self.next() {
                Some(Event::Ended(end)) => return Stop::Ended(end),
                Some(Event::Quit) => Some(Stop::Quit),
                Some(Event::Moved) => Some(Stop::Moved),
                Some(Event::Console(event)) => self.answer(event),
                None => Some(Stop::Left),
            };
            if let Some(stop) = stop {
                return stop;
            }
        }
    }

    /// The next event; none if none can come any more. A process in the background is not told when a shell brings it
    /// to the foreground, and so looks now and then.
    fn next(&self) -> Option<Event> {
        while !self.console.take_terminal() {
            match self.happened.recv_timeout(BACKGROUND_REST) {
                Err(RecvTimeoutError::Timeout) => {}
                event => return event.ok(),
            }
        }
        self.happened.recv().ok()
    }

    fn answer(&self, event: console::Event) -> Option<Stop> {
        use console::Event::{Command, OutputFailed, PageLost, Signal};
        match event {
            Command(keys::Command::Leave) => Some(Stop::Left),
            Command(keys::Command::Help) => {
                show_keys();
                None
            }
            Command(keys::Command::Pause) => {
                self.toggle();
                None
            }
            Command(keys::Command::Save) => {
                self.save();
                None
            }
            OutputFailed(error) => Some(Stop::OutputFailed(error)),
            PageLost => Some(Stop::PageLost),
            Signal(SIGTSTP) => {
                self.stop_process();
                None
            }
            Signal(SIGCONT) => {
                self.console.lose_terminal();
                None
            }
            Signal(signal) => Some(Stop::Signal(signal)),
        }
    }

    /// Pauses the machine, or lets it go on.
    fn toggle(&self) {
        let vm = &self.control.vm;
        let paused = vm.status() == "running";
        if let Err(failure) = vm.set_paused(paused) {
            eprint!("\r\nmyvmm: {failure}\r\n");
        } else if paused {
            eprint!("\r\nmyvmm: The machine stands still; Ctrl-A p lets it go on.\r\n");
        }
    }

    /// Has the machine saved to a new file, while the console goes on.
    fn save(&self) {
        let Some(directory) = &self.snapshots else {
            eprint!("\r\nmyvmm: There is nowhere to save to; start with --snapshots DIRECTORY.\r\n");
            return;
        };
        let name = |number: u32| directory.join(format!("{}-{number}.snap", self.control.vm.name));
        let file = (1..).map(name).find(|file| file.symlink_metadata().is_err());
        let (Some(file), machine) = (file, Arc::clone(self.machine)) else { return };
        let save = move || tell_saved(&file, &machine.save(&file, &Form::Mapped));
        if let Err(error) = thread::Builder::new().name("save".into()).spawn(save) {
            eprint!("\r\nmyvmm: Cannot start a thread to save the machine: {}\r\n", exit::words(&error));
        }
    }

    /// Stops as other programs do; the system sends SIGCONT when it goes on.
    fn stop_process(&self) {
        self.console.give_terminal_back();
        // If it cannot stop, it goes on.
        let _ = emulate_default_handler(SIGTSTP);
    }
}

/// Ends the machine, if it has not ended, and waits a while for its last words.
fn end_machine(machine: &Machine, happened: &Receiver<Event>) {
    machine.end();
    while let Ok(event) = happened.recv_timeout(PATIENCE) {
        if matches!(event, Event::Ended(_)) {
            return;
        }
    }
}

/// The place in `directory` where the guest may have the machine saved.
fn guests_place(directory: PathBuf) -> Arc<Place> {
    let told = |file: &Path, saved: &Result<Saved, SaveError>| {
        tell_saved(file, &saved.as_ref().copied().map_err(Refused::because));
    };
    Arc::new(Place::new(directory, Box::new(told)))
}

/// Says what came of saving the machine.
fn tell_saved(file: &Path, result: &Result<Saved, Refused>) {
    match result {
        Ok(Saved { pause, .. }) => eprint!(
            "\r\nmyvmm: Saved to {}; the guest stood still for {:.1} ms.\r\n",
            file.display(),
            pause.as_secs_f64() * 1e3
        ),
        Err(error) => eprint!("\r\nmyvmm: Not saved to {}: {error}\r\n", file.display()),
    }
}

/// The terminal is raw, so a line needs both of its ends.
fn show_keys() {
    eprint!("\r\n{}", keys::HELP.replace('\n', "\r\n"));
}
