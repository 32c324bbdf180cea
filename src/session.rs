//! A machine at the console from its start to its end, over any number of reboots. The machine runs on a thread of its
//! own; the main thread waits for what happens first, so that a person or a signal can always end it. It must not
//! know what is booted.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;
use std::{io, mem};

use anyhow::Context as _;
use runtime::machine::Ending;
use runtime::vm::{Config, Vm, VmError};
use signal_hook::consts::{SIGCONT, SIGTSTP};
use signal_hook::low_level::emulate_default_handler;

use crate::console::keys;
use crate::console::line::Line;
use crate::console::output::{Output, Rest, Seen};
use crate::console::{self, Console};
use crate::control::machine::Machine;
use crate::control::{self, Address, Control, Notices};
use crate::exit;
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
    /// The snapshot from which it goes on instead of booting.
    pub restore: Option<PathBuf>,
    /// Whether a machine that resets starts again.
    pub reboots: bool,
    /// What is to be learnt of it.
    pub watch: Arc<Watch>,
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
    /// The last machine has ended.
    Ended(Result<End, VmError>),
}

impl From<console::Event> for Event {
    fn from(event: console::Event) -> Self {
        Self::Console(event)
    }
}

/// Why the main thread stopped waiting.
enum Stop {
    Ended(Result<End, VmError>),
    Left,
    Quit,
    OutputFailed(io::Error),
    Signal(i32),
}

impl Stop {
    /// What those who control the VM are told.
    fn notice(&self) -> control::Event {
        let (guest, reason) = match self {
            Self::Ended(Ok(End::PoweredOff)) => (true, "guest-shutdown"),
            Self::Ended(Ok(End::Reset | End::Mute)) => (true, "guest-reset"),
            Self::Ended(Ok(End::Panicked(_))) => (true, "guest-panic"),
            Self::Ended(Ok(End::Moved)) => (false, "host-qmp-quit"),
            Self::Ended(Ok(End::Left) | Err(_)) | Self::OutputFailed(_) => (false, "host-error"),
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
        let machine = Arc::new(Machine::new(&self.config, quit));
        let target = Arc::clone(&machine);
        let control = Control::start(self.address, target)?;
        let course = Course {
            config: self.config,
            restore: self.restore,
            reboots: self.reboots,
            seen: seen.clone(),
            line: Arc::clone(&line),
            report: report.clone(),
            watch: Arc::clone(&watch),
            machine: Arc::clone(&machine),
            notices: control.notices().clone(),
            events: events.clone(),
        };
        let first = course.begin()?;
        let console = Console::open(line, &events)?;
        drop(events);
        thread::Builder::new()
            .name("machine".into())
            .spawn(move || course.follow(first))
            .context("Cannot start a thread of the machine")?;

        let stop = Desk { console: &console, happened, machine, control: &control }.wait();
        let is_terminal = console.is_terminal();
        drop(console);
        control.notices().publish(stop.notice());
        drop(control);
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
        Stop::Left | Stop::Quit => End::Left,
        Stop::OutputFailed(error) => {
            return Err(error).context("Cannot write what the guest prints to standard output");
        }
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
        End::PoweredOff | End::Reset | End::Left | End::Moved => {}
    }
    Ok(Closing { end, script_status })
}

/// The course of a session: one machine after the other.
struct Course {
    config: Config,
    restore: Option<PathBuf>,
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
    fn begin(&self) -> Result<(Vm, Rest), VmError> {
        let Some(snapshot) = &self.restore else { return self.build() };
        let (output, rest) = Output::new(self.seen.clone(), self.events.clone());
        // What it has printed so far was seen elsewhere.
        self.seen.lock().spoke = true;
        Ok((Vm::restore(&self.config, snapshot, Box::new(output))?, rest))
    }

    fn build(&self) -> Result<(Vm, Rest), VmError> {
        let (output, rest) = Output::new(self.seen.clone(), self.events.clone());
        Ok((Vm::build(&self.config, Box::new(output))?, rest))
    }

    /// Runs machine after machine, and says how the last one ended.
    fn follow(self, first: (Vm, Rest)) {
        let end = self.run_all(first);
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

    fn run_one(&self, vm: Vm) -> Result<Ending, VmError> {
        self.line.connect(vm.serial_input());
        self.machine.connect(vm.handle(), vm.snapshots());
        let observer = vm.observer();
        let result = vm.run();
        // What it printed is whole only when nobody holds it any more.
        self.machine.disconnect();
        let (ending, statistics) = result?;
        self.report.add(&statistics);
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
    happened: Receiver<Event>,
    machine: Arc<Machine>,
    control: &'a Control,
}

impl Desk<'_> {
    /// Answers what happens until something is the end.
    fn wait(self) -> Stop {
        loop {
            let stop = match self.next() {
                Some(Event::Ended(end)) => return Stop::Ended(end),
                Some(Event::Quit) => Some(Stop::Quit),
                Some(Event::Console(event)) => self.answer(event),
                None => Some(Stop::Left),
            };
            if let Some(stop) = stop {
                self.end_machine();
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
        use console::Event::{Command, OutputFailed, Signal};
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
            OutputFailed(error) => Some(Stop::OutputFailed(error)),
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
        vm.set_paused(paused);
        if paused {
            eprint!("\r\nmyvmm: The machine stands still; Ctrl-A p lets it go on.\r\n");
        }
    }

    /// Stops as other programs do; the system sends SIGCONT when it goes on.
    fn stop_process(&self) {
        self.console.give_terminal_back();
        // If it cannot stop, it goes on.
        let _ = emulate_default_handler(SIGTSTP);
    }

    /// Ends the machine, and waits a while for its last words.
    fn end_machine(&self) {
        self.machine.end();
        while let Ok(event) = self.happened.recv_timeout(PATIENCE) {
            if matches!(event, Event::Ended(_)) {
                return;
            }
        }
    }
}

/// The terminal is raw, so a line needs both of its ends.
fn show_keys() {
    eprint!("\r\n{}", keys::HELP.replace('\n', "\r\n"));
}
