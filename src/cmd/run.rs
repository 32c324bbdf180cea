//! `myvmm run`: boots a kernel that the user names. It must not know how a machine or a console works.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::console::keys;
use crate::control::Address;
use crate::exit;
use crate::options::MachineOptions;
use crate::session::Session;

/// Boot a MIPS64 Linux kernel on the virtual board.
#[derive(Debug, Args)]
#[command(after_help = format!("{}\n{}", keys::HELP, exit::CODES), max_term_width = 100)]
pub struct Run {
    /// The kernel: a vmlinux, or a vmlinuz that is an ELF file
    #[arg(long, value_name = "FILE", required_unless_present = "restore")]
    kernel: Option<PathBuf>,
    /// The initial RAM disk
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    #[command(flatten)]
    machine: MachineOptions,
}

impl Run {
    /// Runs the machine until it ends; gives myvmm's exit code.
    ///
    /// # Errors
    /// Fails if the machine cannot be built or the host fails it.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        // A machine that was restored without a kernel has nothing to boot again.
        let reboots = !self.machine.no_reboot && self.kernel.is_some();
        let mut config = self.machine.config(self.kernel.unwrap_or_default(), self.initrd, "")?;
        let (watch, watching) = self.machine.watch.open(config.engine)?;
        config.watching = watching;
        let file = self.machine.restore.as_ref().unwrap_or(&config.kernel);
        let address = Address::take(self.machine.name.as_deref(), file)?;
        self.machine.confine(&config, &address)?;
        let closing = Session { address, config, restore: self.machine.restore, reboots, watch }.run()?;
        Ok(closing.end.exit_code())
    }
}
