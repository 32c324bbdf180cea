//! `myvmm bench`: measures and compares. Here are the options and the files that results go to. It must not know how
//! anything is measured or drawn.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use runtime::snapshot::file;
use rustix::fs::{Access, access};

use crate::bench::{self, Plan, Results, WORKLOADS};
use crate::exit::{self, Refused};
use crate::telling::answer;

/// Compare the engines by built-in guest programs
#[derive(Debug, Args)]
#[command(after_help = format!("Programs:\n{}\n{}", programs(), exit::CODES), max_term_width = 100)]
pub struct Bench {
    /// How often everything is measured at most, after one round that does not count
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// How long the rounds of the programs may take together: on a busy host there are fewer, but always one
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    minutes: u16,
    /// Only these programs
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = names())]
    only: Vec<String>,
    /// Boot Debian and run scripts in it, too: takes minutes
    #[arg(long)]
    linux: bool,
    /// Compare with QEMU, which must be installed, or with the same in Rust on the bare host
    #[arg(long, value_name = "WHOM,...", value_delimiter = ',', value_enum)]
    vs: Vec<Whom>,
    /// Write a report with plots, which needs no other file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write everything that was measured
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a line for each run
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Earlier files of --json, to show in the report
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "html")]
    history: Vec<PathBuf>,
}

/// Whom to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Whom {
    /// QEMU
    Qemu,
    /// The host
    Native,
}

fn names() -> clap::builder::PossibleValuesParser {
    WORKLOADS.iter().map(|workload| workload.name).collect::<Vec<_>>().into()
}

fn programs() -> String {
    WORKLOADS.iter().map(|workload| format!("  {:11} {}\n", workload.name, workload.about)).collect()
}

impl Bench {
    /// Measures, prints a table and writes the files that were asked for.
    ///
    /// # Errors
    /// Refuses files that cannot be written or read before anything is measured; fails if a guest does.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        for path in [&self.html, &self.json, &self.csv].into_iter().flatten() {
            check_writable(path)?;
        }
        let history = self.history.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
        let plan = Plan {
            rounds: self.rounds.into(),
            limit: Duration::from_secs(60 * u64::from(self.minutes)),
            only: self.only,
            linux: self.linux,
            qemu: self.vs.contains(&Whom::Qemu),
            native: self.vs.contains(&Whom::Native),
        };
        let results = bench::run(&plan)?;
        if results.rounds < plan.rounds {
            tell_line!(
                "myvmm: the host is busy: {} of {} rounds fitted into --minutes {}",
                results.rounds,
                plan.rounds,
                self.minutes
            );
        }
        answer(&bench::table(&results))?;
        let files = [
            (&self.html, bench::html(&results, &history)),
            (&self.json, format!("{:#}\n", serde_json::to_value(&results)?)),
            (&self.csv, bench::csv(&results)),
        ];
        for (path, text) in files {
            let Some(path) = path else { continue };
            file::write(path, text.as_bytes()).with_context(|| format!("Cannot write {}", path.display()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Minutes later would be too late to find out.
fn check_writable(path: &Path) -> Result<(), Refused> {
    let refused = |reason: String| Refused(format!("Cannot write {}: {reason}", path.display()));
    if path.is_dir() {
        return Err(refused("it is a directory".into()));
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    access(directory, Access::EXISTS | Access::WRITE_OK).map_err(|error| refused(exit::words(&error)))
}

fn read(path: &Path) -> Result<Results, Refused> {
    let refused = |reason: String| Refused(format!("--history {}: {reason}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| refused(exit::words(&error)))?;
    Results::parse(&text).map_err(refused)
}
