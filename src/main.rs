//! The command line of myvmm: it parses, calls the subcommand and turns what comes back into an exit code.
//! It owns nothing and knows nothing of machines.
#![forbid(unsafe_code)]

mod cmd;
mod console;
mod devices;
mod exit;
mod options;
mod report;
mod session;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs MIPS64 Linux machines on x86-64 by dynamic binary translation.
#[derive(Debug, Parser)]
#[command(version, after_help = exit::CODES, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(cmd::run::Run),
    Debian(cmd::debian::Debian),
}

fn main() -> ExitCode {
    exit::report_panics();
    let result = match Cli::parse().command {
        Command::Run(run) => run.execute(),
        Command::Debian(debian) => debian.execute(),
    };
    result.unwrap_or_else(|error| exit::report(&error))
}
