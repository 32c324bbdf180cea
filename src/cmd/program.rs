//! `myvmm -v FILE ...`: runs programs in assembly, each in a machine of its own. Here are the options and what they
//! belong to; loading, running and printing are in `program`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, ValueEnum};
use runtime::program::Execution;
use runtime::vcpu::Engine;

use crate::connection::ConnectionOptions;
use crate::control::{Address, directory};
use crate::exit::Refused;
use crate::options::{self, EngineChoice};
use crate::program::moves::Roads;
use crate::program::{self, Dialect, DumpFormat, Request, Session};
use crate::sandbox::SandboxOptions;
use crate::watch::WatchOptions;

/// The slice if nothing else is asked for: short enough that turns are felt, long enough to cost nothing.
const DEFAULT_SLICE: u64 = 100_000;

/// Programs to run, and how.
#[derive(Debug, Args)]
pub struct Programs {
    /// Run a program: assembly, an ELF file, or a flat binary called *.bin; may be repeated. A file of
    /// configuration parameters counts as the programs that it lists
    #[arg(short = 'v', long = "vm", value_name = "FILE", help_heading = PROGRAMS)]
    vm: Vec<PathBuf>,
    /// Go on from a snapshot of the program of the -v before it
    #[arg(short = 's', long = "snapshot", value_name = "FILE", help_heading = PROGRAMS)]
    snapshot: Vec<PathBuf>,
    /// Read programs and the slice from lines of parameters: vm_binary=FILE, vm_exec_slice_in_instructions=N
    #[arg(short = 'c', long = "config", value_name = "FILE", help_heading = PROGRAMS)]
    config: Option<PathBuf>,
    #[command(flatten, next_help_heading = PROGRAMS)]
    dialect: Dialect,
    /// Which program runs when: in slices one after the other, the same in every run, or each on a thread
    #[arg(long, value_enum, default_value_t = Schedule::Slices, help_heading = PROGRAMS)]
    schedule: Schedule,
    /// Instructions of a slice [default: 100000, or what the configuration says]
    #[arg(long, value_name = "N", value_parser = program::config::slice, help_heading = PROGRAMS)]
    slice: Option<u64>,
    /// What runs the programs: interp, jit, or auto for each where it is better
    #[arg(long, value_enum, default_value_t = EngineChoice::Auto, hide_possible_values = true,
          help_heading = PROGRAMS)]
    engine: EngineChoice,
    /// Begin each line that a program prints with the program's name
    #[arg(long, help_heading = PROGRAMS)]
    prefix: bool,
    /// What to call the session: `myvmm ps` lists it, `myvmm control` gives it commands [default: made from the first
    /// program and the process]
    #[arg(long, value_name = "NAME", value_parser = directory::name, help_heading = PROGRAMS)]
    name: Option<String>,
    /// How DUMP_PROCESSOR_STATE prints
    #[arg(long, value_enum, default_value_t = DumpFormat::Text, help_heading = PROGRAMS)]
    dump_format: DumpFormat,
    #[command(flatten, next_help_heading = PROGRAMS)]
    watch: WatchOptions,
    /// Let `myvmm migrate` move the programs: they may then make connections. A directory is that of certificates for
    /// them
    #[arg(long, value_name = "TLS-DIR", num_args = 0..=1, require_equals = true, value_parser = options::directory(),
          help_heading = PROGRAMS)]
    movable: Option<Option<PathBuf>>,
    /// For what MIGRATE in programs connects to.
    #[command(flatten, next_help_heading = PROGRAMS)]
    connection: ConnectionOptions,
    #[command(flatten, next_help_heading = PROGRAMS)]
    sandbox: SandboxOptions,
}

const PROGRAMS: &str = "Programs";

/// Which program runs when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Schedule {
    /// In turns
    Slices,
    /// All at once
    Threads,
}

impl Programs {
    /// Runs the programs to their ends; gives the exit code. `matches` tell which option came before which.
    ///
    /// # Errors
    /// Refuses what cannot be loaded, and fails if the host fails the machines.
    pub fn execute(self, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
        let mut requests = self.requests(matches)?;
        let mut slice = self.slice;
        if let Some(path) = &self.config {
            let config = program::config::read(path)?;
            slice = slice.or(config.slice);
            requests.splice(0..0, config.binaries.into_iter().map(Request::new));
        }
        let mut expanded = Vec::new();
        for request in requests {
            slice = slice.or(request.expand(&mut expanded)?);
        }
        if expanded.is_empty() {
            return Err(Refused("There is no program to run; name one with -v".into()).into());
        }
        let images = program::load::all(&expanded, self.dialect)?;
        let engine = Engine::from(self.engine);
        let (watch, watching) = self.watch.open(engine)?;
        let session = Session {
            execution: Execution { engine, watching },
            slice: slice.unwrap_or(DEFAULT_SLICE),
            threads: self.schedule == Schedule::Threads,
            prefix: self.prefix,
            watch,
            dump_format: self.dump_format,
            roads: Roads::of(images.iter().map(|program| &*program.image), &self.connection)?,
        };
        let address = Address::take(self.name.as_deref(), &expanded[0].program)?;
        let mut needs = program::load::needs(&expanded, &images);
        needs.writable.extend(address.directory().map(Path::to_owned));
        needs.writable.extend(self.watch.late_files());
        needs.network = self.movable.is_some() || !session.roads.is_empty();
        needs.readable.extend(self.movable.iter().flatten().cloned());
        self.sandbox.enter(&needs)?;
        session.run(images, address)
    }

    /// The programs with their snapshots: each `-s` belongs to the `-v` before it.
    fn requests(&self, matches: &ArgMatches) -> Result<Vec<Request>, Refused> {
        let places = |id: &str| match matches.value_source(id) {
            Some(ValueSource::CommandLine) => matches.indices_of(id).into_iter().flatten().collect(),
            _ => Vec::new(),
        };
        let vms = places("vm").into_iter().zip(self.vm.iter().cloned().map(Request::new));
        let mut vms: Vec<(usize, Request)> = vms.collect();
        for (place, snapshot) in places("snapshot").into_iter().zip(&self.snapshot) {
            let before = vms.iter_mut().rfind(|(vm, _)| *vm < place);
            let Some((_, request)) = before else {
                let name = snapshot.display();
                return Err(Refused(format!("-s {name}: there is no -v before it that it could belong to")));
            };
            if let Some(other) = request.snapshot.replace(snapshot.clone()) {
                let (program, other) = (request.program.display(), other.display());
                return Err(Refused(format!(
                    "-v {program} has two snapshots: {other} and {}",
                    snapshot.display()
                )));
            }
        }
        Ok(vms.into_iter().map(|(_, request)| request).collect())
    }
}
