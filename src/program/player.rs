//! One program with its console: it runs slices, and does what the program asks its host for. It must not know of
//! other programs.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use std::sync::{Arc, MutexGuard};

use runtime::migrate::Outcome;
use runtime::pause::Pausable;
use runtime::program::{Console, End, ProgramVm, Turn, Until};
use runtime::schedule::{Guest, Progress};
use runtime::snapshot::file;
use translator::asm::{Compat, Para};

use super::input::Input;
use super::load::reason;
use super::moves::Moves;
use super::output::Port;
use crate::exit::{self, Refused};

/// How DUMP_PROCESSOR_STATE prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DumpFormat {
    /// For people
    Text,
    /// A line of JSON
    Json,
}

/// A person should not wait longer for what was printed.
const VISIBLE_DELAY: Duration = Duration::from_millis(20);

/// A program's console on standard input and output.
pub struct Terminal {
    /// Where it prints.
    pub port: Port,
    /// Where it reads.
    pub input: Input,
    /// Whether the program is to stand still rather than wait for input.
    pub is_called: Box<dyn Fn() -> bool + Send>,
}

impl Console for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.port.write(bytes)
    }

    fn read(&mut self, until: Until) -> io::Result<Option<Vec<u8>>> {
        // What is asked must be seen before it is answered.
        self.port.flush()?;
        self.input.read(until, &self.is_called)
    }
}

/// A program that is run to its end.
pub struct Player {
    /// The programs of the session.
    programs: Arc<Pausable<ProgramVm>>,
    /// Which of them this is.
    number: usize,
    /// Its console.
    pub terminal: Terminal,
    /// How dumps are printed.
    pub format: DumpFormat,
    /// Whether dumps are in colour.
    pub colour: bool,
    /// The slices that it had.
    pub slices: u64,
    /// The time that it ran for.
    pub busy: Duration,
    /// The exit code for what went wrong without the program's knowing; 0 if nothing did.
    pub failure: u8,
    shown: Instant,
    /// How it gets elsewhere, if it can.
    moves: Option<Moves>,
}

impl Guest for Player {
    fn run(&mut self, slice: u64) -> Progress {
        let started = Instant::now();
        self.slices += 1;
        let progress = self.play(slice);
        self.busy += started.elapsed();
        if started.duration_since(self.shown) > VISIBLE_DELAY {
            self.shown = started;
            // What fails here fails again at the end, and is reported then.
            let _ = self.terminal.port.flush();
        }
        progress
    }
}

impl Player {
    /// A program at its start, or where its snapshot was taken.
    pub fn new(
        programs: Arc<Pausable<ProgramVm>>,
        number: usize,
        terminal: Terminal,
        format: DumpFormat,
        colour: bool,
        moves: Option<Moves>,
    ) -> Self {
        let (slices, busy, failure, shown) = (0, Duration::ZERO, 0, Instant::now());
        Self { programs, number, terminal, format, colour, slices, busy, failure, shown, moves }
    }

    /// The program, when it does not run.
    pub fn vm(&self) -> MutexGuard<'_, ProgramVm> {
        self.programs.member(self.number)
    }

    /// Runs a slice. A pause within it makes no difference to the program: it goes on with the same slice.
    fn play(&mut self, slice: u64) -> Progress {
        let programs = Arc::clone(&self.programs);
        let mut is_granted = false;
        while let Some(mut vm) = programs.enter(self.number) {
            if !std::mem::replace(&mut is_granted, true) {
                vm.grant(slice);
            }
            if let Some(progress) = self.play_until_called(&mut vm) {
                return progress;
            }
        }
        // Someone outside asked for the end. What cannot be printed now, nobody wants.
        let _ = self.terminal.port.close();
        Progress::Ended
    }

    /// How the program goes on; `None` if someone wants it to stand still first.
    fn play_until_called(&mut self, vm: &mut ProgramVm) -> Option<Progress> {
        loop {
            match vm.run(&mut self.terminal) {
                Turn::Slice => return Some(Progress::Ready),
                Turn::Called | Turn::Waiting(_) if self.programs.is_called(self.number) => return None,
                Turn::Called => {}
                Turn::Waiting(limit) => {
                    // As above.
                    let _ = self.terminal.port.flush();
                    return Some(Progress::Waiting(limit));
                }
                Turn::Para(para) => {
                    self.answer(vm, para);
                    // It may run elsewhere now.
                    if self.programs.is_called(self.number) {
                        return None;
                    }
                }
                Turn::Notice(notice) => self.say(vm, &notice.to_string()),
                Turn::Ended => {
                    self.conclude(vm);
                    return Some(Progress::Ended);
                }
            }
        }
    }

    fn answer(&mut self, vm: &mut ProgramVm, para: Para) {
        match para {
            Para::DumpProcessorState => self.dump(vm),
            Para::Snapshot(name) => self.snapshot(vm, &name.into()),
            Para::Migrate(host) => self.depart(vm, &host),
        }
    }

    /// Moves the program to `host`. If that works, it has ended here.
    fn depart(&mut self, vm: &mut ProgramVm, host: &str) {
        // What it has printed so far was printed here; what fails here fails again at the end.
        let _ = self.terminal.port.flush();
        let moved = match &self.moves {
            Some(moves) => moves.depart(vm, host),
            None => Err("it is only looked at here".into()),
        };
        let why = match moved {
            Ok(Outcome::Moved) => return self.say(vm, &format!("It has moved to {host}, and goes on there")),
            Ok(Outcome::Stayed(error) | Outcome::Stuck(error, _)) => Refused::because(error).to_string(),
            Err(why) => why,
        };
        self.failure = exit::REFUSED;
        let here = vm.here();
        self.say(vm, &format!("MIGRATE {host}: {why}; the program goes on{here}"));
    }

    fn dump(&mut self, vm: &mut ProgramVm) {
        let (now, before) = vm.dump();
        let text = match self.format {
            DumpFormat::Text => now.text(before.as_ref(), self.colour),
            DumpFormat::Json => now.json(before.as_ref()) + "\n",
        };
        if let Err(error) = self.terminal.port.write_lines(&text) {
            self.say(vm, &format!("Cannot print the processor state: {}", reason(&error)));
        }
    }

    fn snapshot(&mut self, vm: &mut ProgramVm, path: &PathBuf) {
        let bytes = vm.snapshot();
        if let Err(error) = file::write(path, &bytes) {
            self.failure = exit::REFUSED;
            let (name, here) = (Path::new(path).display(), vm.here());
            self.say(vm, &format!("SNAPSHOT {name}: {}; the program goes on{here}", reason(&error)));
        }
    }

    /// Tells why the program ended, if it did not mean to.
    fn conclude(&mut self, vm: &ProgramVm) {
        if let Err(error) = self.terminal.port.close() {
            self.failure = exit::FAILED;
            self.say(vm, &format!("Cannot print what the program prints: {}", reason(&error)));
        }
        let mars = vm.image().options.compat == Compat::Mars;
        let what = match vm.end() {
            // MARS takes it for an end like any other.
            Some(End::RanOff(_)) if mars => return,
            Some(End::Fault(fault) | End::Halted(fault) | End::RanOff(fault)) => fault.to_string(),
            Some(End::Console(error)) => format!("The console failed: {}", reason(error)),
            Some(End::Exit(_) | End::Returned) | None => return,
        };
        self.say(vm, &what);
    }

    /// A sentence to the user, after what the program has printed so far.
    fn say(&mut self, vm: &ProgramVm, what: &str) {
        // What cannot be printed is reported at the end.
        let _ = self.terminal.port.flush();
        tell_line!("myvmm: {}: {what}", vm.image().name);
    }

    /// The exit code that this program asks for.
    pub fn exit_code(&self) -> u8 {
        let vm = self.vm();
        let own = match vm.end() {
            Some(End::Exit(code)) => *code as u8,
            Some(End::RanOff(_)) if vm.image().options.compat == Compat::Mars => 0,
            Some(End::Returned) | None => 0,
            Some(End::RanOff(_) | End::Fault(_) | End::Halted(_)) => exit::PANICKED,
            Some(End::Console(_)) => exit::FAILED,
        };
        if own == 0 { self.failure } else { own }
    }
}
