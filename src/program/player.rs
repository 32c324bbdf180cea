//! One program with its console: it runs slices, and does what the program asks its host for. It must not know of
//! other programs.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use runtime::program::{Console, End, ProgramVm, Turn, Until};
use runtime::schedule::{Guest, Progress};
use runtime::snapshot::file;
use translator::asm::{Compat, Para};

use super::input::Input;
use super::load::reason;
use super::output::Port;
use crate::exit;

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
}

impl Console for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.port.write(bytes)
    }

    fn read(&mut self, until: Until) -> io::Result<Option<Vec<u8>>> {
        // What is asked must be seen before it is answered.
        self.port.flush()?;
        self.input.read(until)
    }
}

/// A program that is run to its end.
pub struct Player {
    /// The program.
    pub vm: ProgramVm,
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
}

impl Guest for Player {
    fn run(&mut self, slice: u64) -> Progress {
        let started = Instant::now();
        self.slices += 1;
        self.vm.grant(slice);
        let progress = self.play();
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
    pub fn new(vm: ProgramVm, terminal: Terminal, format: DumpFormat, colour: bool) -> Self {
        let (slices, busy, failure, shown) = (0, Duration::ZERO, 0, Instant::now());
        Self { vm, terminal, format, colour, slices, busy, failure, shown }
    }

    fn play(&mut self) -> Progress {
        loop {
            match self.vm.run(&mut self.terminal) {
                Turn::Slice => return Progress::Ready,
                Turn::Waiting(limit) => {
                    // As above.
                    let _ = self.terminal.port.flush();
                    return Progress::Waiting(limit);
                }
                Turn::Para(para) => self.answer(para),
                Turn::Notice(notice) => self.say(&notice.to_string()),
                Turn::Ended => {
                    self.conclude();
                    return Progress::Ended;
                }
            }
        }
    }

    fn answer(&mut self, para: Para) {
        match para {
            Para::DumpProcessorState => self.dump(),
            Para::Snapshot(name) => self.snapshot(&name.into()),
            Para::Migrate(host) => {
                let here = self.vm.here();
                self.say(&format!(
                    "MIGRATE {host}: this myvmm cannot migrate yet; the program goes on{here}"
                ));
            }
        }
    }

    fn dump(&mut self) {
        let (now, before) = self.vm.dump();
        let text = match self.format {
            DumpFormat::Text => now.text(before.as_ref(), self.colour),
            DumpFormat::Json => now.json(before.as_ref()) + "\n",
        };
        if let Err(error) = self.terminal.port.write_lines(&text) {
            self.say(&format!("Cannot print the processor state: {}", reason(&error)));
        }
    }

    fn snapshot(&mut self, path: &PathBuf) {
        let bytes = self.vm.snapshot();
        if let Err(error) = file::write(path, &bytes) {
            self.failure = exit::REFUSED;
            let (name, here) = (Path::new(path).display(), self.vm.here());
            self.say(&format!("SNAPSHOT {name}: {}; the program goes on{here}", reason(&error)));
        }
    }

    /// Tells why the program ended, if it did not mean to.
    fn conclude(&mut self) {
        if let Err(error) = self.terminal.port.close() {
            self.failure = exit::FAILED;
            self.say(&format!("Cannot print what the program prints: {}", reason(&error)));
        }
        let mars = self.vm.image().options.compat == Compat::Mars;
        let what = match self.vm.end() {
            // MARS takes it for an end like any other.
            Some(End::RanOff(_)) if mars => return,
            Some(End::Fault(fault) | End::Halted(fault) | End::RanOff(fault)) => fault.to_string(),
            Some(End::Console(error)) => format!("The console failed: {}", reason(error)),
            Some(End::Exit(_) | End::Returned) | None => return,
        };
        self.say(&what);
    }

    /// A sentence to the user, after what the program has printed so far.
    fn say(&mut self, what: &str) {
        // What cannot be printed is reported at the end.
        let _ = self.terminal.port.flush();
        eprintln!("myvmm: {}: {what}", self.vm.image().name);
    }

    /// The exit code that this program asks for.
    pub fn exit_code(&self) -> u8 {
        let own = match self.vm.end() {
            Some(End::Exit(code)) => *code as u8,
            Some(End::RanOff(_)) if self.vm.image().options.compat == Compat::Mars => 0,
            Some(End::Returned) | None => 0,
            Some(End::RanOff(_) | End::Fault(_) | End::Halted(_)) => exit::PANICKED,
            Some(End::Console(_)) => exit::FAILED,
        };
        if own == 0 { self.failure } else { own }
    }
}
