//! QEMU beside myvmm: the programs in its user mode, and Debian on its Malta board. It must not know what is compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use super::elf;
use crate::exit::Refused;

/// The system emulator.
pub const SYSTEM: &str = "qemu-system-mips64el";
const USER: &str = "qemu-mips64el-static";

/// A program that QEMU's user mode can run.
pub struct Executable {
    path: PathBuf,
    qemu: PathBuf,
}

impl Executable {
    /// Writes `program` as `name` to `directory`.
    ///
    /// # Errors
    /// Refuses if QEMU is not installed; fails if the file cannot be written.
    pub fn new(directory: &Path, name: &str, program: &translator::asm::Program) -> anyhow::Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let (path, qemu) = (directory.join(name), find(USER, "qemu-user-static")?);
        fs::write(&path, elf::executable(program))
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o700)))
            .with_context(|| format!("Cannot write {}", path.display()))?;
        Ok(Self { path, qemu })
    }

    /// Runs it, and gives the processor time of all of QEMU, in seconds.
    ///
    /// # Errors
    /// Fails if the program does not end well.
    pub fn run(&self) -> anyhow::Result<f64> {
        let mut command = Command::new(&self.qemu);
        // Any 64-bit CPU of Release 2 would do.
        command.args(["-cpu", "MIPS64R2-generic"]).arg(&self.path);
        let (output, seconds) = timed(&mut command)?;
        if !output.status.success() {
            let (name, words) = (self.path.display(), String::from_utf8_lossy(&output.stderr));
            bail!("{name} under {USER} ended with {}: {words}", output.status);
        }
        Ok(seconds)
    }
}

/// Runs `command` to its end without input, and gives what it printed and its processor time in seconds. No other
/// process of ours may end meanwhile.
///
/// # Errors
/// Fails if it cannot be started.
pub fn timed(command: &mut Command) -> anyhow::Result<(Output, f64)> {
    let before = children_seconds()?;
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("Cannot run {}", command.get_program().display()))?;
    Ok((output, children_seconds()? - before))
}

/// The processor time of all processes of ours that have ended.
fn children_seconds() -> anyhow::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("Cannot measure processor time")?;
    Ok((usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6)
}

/// The path of `program`.
///
/// # Errors
/// Refuses if it is not there, and names the package.
pub fn find(program: &str, package: &str) -> Result<PathBuf, Refused> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file());
    found.ok_or_else(|| {
        Refused(format!("--vs qemu: {program} is not installed; install the package {package}"))
    })
}
