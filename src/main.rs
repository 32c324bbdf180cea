//! The command line of myvmm: it parses, calls the subcommand and turns what comes back into an exit code.
//! It owns nothing and knows nothing of machines.
#![forbid(unsafe_code)]
// They panic if nobody listens; see `telling`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
mod telling;

mod bench;
mod cmd;
mod connection;
mod console;
mod control;
mod devices;
mod excerpt;
mod exit;
#[cfg(test)]
mod fuzz;
mod guest_code;
mod naming;
mod observed;
mod options;
mod program;
mod rendering;
mod report;
mod sandbox;
mod session;
mod watch;

use std::num::NonZeroU64;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

/// Runs MIPS programs and MIPS64 Linux machines on x86-64 by dynamic binary translation.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = exit::CODES,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    programs: cmd::program::Programs,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(cmd::run::Run),
    Snapshot(cmd::snapshot::Snapshot),
    Debian(cmd::debian::Debian),
    Dump(cmd::dump::Dump),
    Migrate(cmd::migrate::Migrate),
    Receive(cmd::receive::Receive),
    Ps(cmd::ps::Ps),
    Control(cmd::control::Control),
    Bench(cmd::bench::Bench),
    Inspect(cmd::inspect::Inspect),
}

/// Has timers go off when they are due: Linux lets threads sleep 50 microseconds longer unless they ask it not to
/// (prctl(2), PR_SET_TIMERSLACK), which the threads of vCPUs and timers inherit. Guests do their own rounding.
fn keep_time_exactly() {
    // A kernel that cannot do this only makes guests' timers a little later.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
}

fn main() -> ExitCode {
    exit::report_panics();
    exit::outlive_file_limits();
    keep_time_exactly();
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let result = match cli.command {
        Some(Command::Run(run)) => run.execute(),
        Some(Command::Snapshot(snapshot)) => snapshot.execute(),
        Some(Command::Debian(debian)) => debian.execute(),
        Some(Command::Dump(dump)) => dump.execute(),
        Some(Command::Migrate(migrate)) => migrate.execute(),
        Some(Command::Receive(receive)) => receive.execute(),
        Some(Command::Ps(ps)) => ps.execute(),
        Some(Command::Control(control)) => control.execute(),
        Some(Command::Bench(bench)) => bench.execute(),
        Some(Command::Inspect(inspect)) => inspect.execute(),
        None => cli.programs.execute(&matches),
    };
    result.unwrap_or_else(|error| exit::report(&error))
}
