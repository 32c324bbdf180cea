//! All programs of a command from start to end, and what is told afterwards.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use runtime::migrate::Arrival;
use runtime::pause::Pausable;
use runtime::program::moving::{Arriving, pausable};
use runtime::program::{Execution, ProgramVm};
use runtime::schedule;
use runtime::vcpu::Statistics;
use signal_hook::consts::{SIGCONT, SIGTSTP};
use signal_hook::low_level::emulate_default_handler;

use super::input::Input;
use super::load::Loaded;
use super::moves::{Manner, Moves, Roads};
use super::output::Output;
use super::player::{DumpFormat, Player, Terminal};
use crate::console::{self, signals};
use crate::control::programs::Programs;
use crate::control::{self, Address, Control, Notices, migration};
use crate::observed::Observed;
use crate::report::Report;
use crate::watch::Watch;

/// How long programs that are to end may take for it before the process ends without them.
const PATIENCE: Duration = Duration::from_secs(1);

/// How programs are run.
pub struct Session {
    /// What runs them, and what is to be learnt of them.
    pub execution: Execution,
    /// Instructions of a slice.
    pub slice: u64,
    /// Whether each has a thread.
    pub threads: bool,
    /// Whether lines begin with names.
    pub prefix: bool,
    /// Who is told what they did.
    pub watch: Arc<Watch>,
    /// How dumps are printed.
    pub dump_format: DumpFormat,
    /// The ways to where programs want to go.
    pub roads: Roads,
}

impl Session {
    /// Runs the programs to their ends. Gives the first exit code that is not 0, in the order of the command line.
    ///
    /// # Errors
    /// Refuses snapshots that do not fit, and fails if the host has no memory or threads.
    pub fn run(&self, programs: Vec<Loaded>, address: Address) -> anyhow::Result<ExitCode> {
        let vms =
            programs.into_iter().enumerate().map(|(number, program)| program.build(self.execution(number)));
        let programs = pausable(vms.collect::<anyhow::Result<_>>()?);
        self.conduct(&programs, address, None)
    }

    /// As [`Session::run`], with programs that are yet to arrive.
    ///
    /// # Errors
    /// Fails if they do not arrive, and as [`Session::run`].
    pub fn welcome(
        &self,
        programs: &Arc<Pausable<ProgramVm>>,
        newcomers: Newcomers,
        address: Address,
    ) -> anyhow::Result<ExitCode> {
        self.conduct(programs, address, Some(newcomers))
    }

    fn conduct(
        &self,
        programs: &Arc<Pausable<ProgramVm>>,
        address: Address,
        newcomers: Option<Newcomers>,
    ) -> anyhow::Result<ExitCode> {
        let count = programs.count();
        let names: Vec<String> = match &newcomers {
            Some(newcomers) => newcomers.names.clone(),
            None => (0..count).map(|number| programs.member(number).image().name.clone()).collect(),
        };
        let (input, output) = (Input::new(count == 1), Output::stdout());
        let (events, happened) = channel();
        let control = self.control(programs, address, newcomers.as_ref(), &events)?;
        let moves = Moves { vm: Arc::clone(&control.vm), roads: self.roads.clone(), manner: self.manner() };
        let player = |number| {
            let prefix = self.prefix.then(|| format!("{}| ", title(&names, number)));
            let is_called = {
                let programs = Arc::clone(programs);
                Box::new(move || programs.is_called(number))
            };
            let terminal = Terminal { port: output.port(number, prefix), input: input.clone(), is_called };
            let (format, colour) = (self.dump_format, output.is_terminal);
            Player::new(Arc::clone(programs), number, terminal, format, colour, Some(moves.clone()))
        };
        let players: Vec<_> = (0..names.len()).map(player).collect();
        let report = Report::of("program");
        self.start(players, newcomers, events)?;
        let Some(players) = wait(&happened, control)? else { return Ok(ExitCode::SUCCESS) };
        output.flush().context("Cannot write to standard output")?;
        self.tell(&names, &players, &report)?;
        let code = players.iter().map(Player::exit_code).find(|code| *code != 0);
        Ok(code.unwrap_or(0).into())
    }

    /// How program `number` runs.
    fn execution(&self, number: usize) -> Execution {
        let mut execution = self.execution.clone();
        execution.watching.trace.iter_mut().for_each(|tracing| tracing.first = number);
        execution
    }

    /// Tells what the programs did, if someone wants to know.
    fn tell(&self, names: &[String], players: &[Player], report: &Report) -> anyhow::Result<()> {
        let observed = |(number, player): (usize, &Player)| {
            let one = Observed::program(&player.vm(), self.watch.symbols.as_ref());
            if names.len() > 1 { one.called(&format!("{}:", title(names, number))) } else { one }
        };
        self.watch.look(|| players.iter().enumerate().map(observed).collect());
        if self.watch.prints_statistics() {
            statistics(players, report.elapsed());
        }
        let each: Vec<Statistics> = players.iter().map(|player| player.vm().statistics().clone()).collect();
        report.add(&each);
        self.watch.close(report)
    }

    /// How programs are run.
    fn manner(&self) -> Manner {
        let json = self.dump_format == DumpFormat::Json;
        Manner { slice: self.slice, threads: self.threads, prefix: self.prefix, json }
    }

    /// Puts the programs under control.
    fn control(
        &self,
        programs: &Arc<Pausable<ProgramVm>>,
        address: Address,
        newcomers: Option<&Newcomers>,
        events: &Sender<Event>,
    ) -> anyhow::Result<Control> {
        let (vms, sender) = (Arc::clone(programs), events.clone());
        let quit = Box::new(move || {
            vms.end();
            // Without a listener the process is about to end.
            let _ = sender.send(Event::Quit);
        });
        let watching = &self.execution.watching;
        let (vms, shape) = (Arc::clone(programs), self.manner().encode());
        let target = Arc::new(Programs { vms, shape, profiled: watching.profiled, quit });
        let notices = Notices::new().context("Cannot prepare the control of the programs")?;
        let arrival = newcomers.map(|newcomers| newcomers.arrival.waiting());
        let control = Control::start(address, target, arrival, notices)?;
        signals::watch(events.clone()).context("Cannot watch for signals")?;
        Ok(control)
    }

    /// Starts the thread that runs the programs to their ends, once they are there.
    fn start(
        &self,
        mut players: Vec<Player>,
        newcomers: Option<Newcomers>,
        events: Sender<Event>,
    ) -> anyhow::Result<()> {
        let (threads, slice) = (self.threads, self.slice);
        let run = move || {
            if let Some(newcomers) = newcomers
                && let Err(error) = newcomers.arrive()
            {
                let _ = events.send(Event::Lost(error));
                return;
            }
            let result = if threads {
                schedule::threads(&mut players, slice)
            } else {
                schedule::slices(&mut players, slice);
                Ok(())
            };
            // As above.
            let _ = events.send(Event::Ended(result.map(|()| players)));
        };
        thread::Builder::new().name("programs".into()).spawn(run).context("Cannot start a thread")?;
        Ok(())
    }
}

/// Programs that are yet to arrive.
pub struct Newcomers {
    /// What they are called.
    pub names: Vec<String>,
    /// Where they arrive.
    pub arriving: Arriving,
    /// How they arrive.
    pub arrival: Arrival,
}

impl Newcomers {
    fn arrive(self) -> anyhow::Result<()> {
        let Self { mut arriving, arrival, .. } = self;
        let name = arrival.hello().name.clone();
        let arrived = arrival.receive(&mut arriving, |why| migration::say_lost(&name, why));
        let arrived = arrived.with_context(|| format!("{name} did not arrive"))?;
        if arrived.paused {
            arriving.pause();
        }
        Ok(())
    }
}

/// What the main thread waits for.
enum Event {
    /// All programs have ended, or the host starts no threads.
    Ended(io::Result<Vec<Player>>),
    /// The programs did not arrive.
    Lost(anyhow::Error),
    /// Someone outside asked for the end.
    Quit,
    Console(console::Event),
}

impl From<console::Event> for Event {
    fn from(event: console::Event) -> Self {
        Self::Console(event)
    }
}

/// Waits for the end of all programs. A signal that ends the session ends the process.
fn wait(happened: &Receiver<Event>, control: Control) -> anyhow::Result<Option<Vec<Player>>> {
    let shutdown = |guest, reason| control::Event::Shutdown { guest, reason };
    loop {
        match happened.recv() {
            Ok(Event::Ended(players)) => {
                control.notices().publish(shutdown(true, "guest-shutdown"));
                return players.map(Some).context("Cannot start a thread for each program");
            }
            Ok(Event::Lost(error)) => return Err(error),
            Ok(Event::Console(console::Event::Signal(SIGCONT))) => {}
            Ok(Event::Console(console::Event::Signal(SIGTSTP))) => {
                // If it cannot stop, it goes on.
                let _ = emulate_default_handler(SIGTSTP);
            }
            // Programs map no files.
            Ok(Event::Console(console::Event::PageLost)) => {}
            Ok(Event::Console(console::Event::Signal(signal))) => {
                control.notices().publish(shutdown(false, "host-signal"));
                drop(control);
                emulate_default_handler(signal).context("Cannot end as the signal asks")?;
                return Ok(None);
            }
            // There is no console that could say anything else.
            Ok(Event::Console(_) | Event::Quit) | Err(_) => {
                control.notices().publish(shutdown(false, "host-qmp-quit"));
                return match happened.recv_timeout(PATIENCE) {
                    Ok(Event::Ended(players)) => Ok(players.ok()),
                    _ => Ok(None),
                };
            }
        }
    }
}

/// What tells a program from others: its name, with a number where two have the same.
fn title(names: &[String], number: usize) -> String {
    let name = &names[number];
    let twins = names.iter().filter(|other| *other == name).count();
    if twins > 1 { format!("{name}#{}", number + 1) } else { name.clone() }
}

/// A line a program.
fn statistics(players: &[Player], elapsed: Duration) {
    tell_line!(
        "{:<24} {:>15} {:>10} {:>8} {:>10} {:>10} {:>9}",
        "program",
        "instructions",
        "slices",
        "blocks",
        "translated",
        "exceptions",
        "seconds"
    );
    for player in players {
        let vm = player.vm();
        let statistics = vm.statistics();
        tell_line!(
            "{:<24} {:>15} {:>10} {:>8} {:>10} {:>10} {:>9.3}",
            vm.image().name,
            vm.retired(),
            player.slices,
            statistics.decoded,
            statistics.translated,
            statistics.exceptions.iter().sum::<u64>(),
            player.busy.as_secs_f64(),
        );
    }
    let busy: Duration = players.iter().map(|player| player.busy).sum();
    let all: u64 = players.iter().map(|player| player.vm().retired()).sum();
    tell_line!("{:<24} {all:>15} {:>52.3} of {:.3}", "all", busy.as_secs_f64(), elapsed.as_secs_f64());
}
