//! Confinement of the process to what its guests need, once the command line has been read and the files that it names
//! are open: a guest that breaks out of its machine can then do no more than the machine may. No root is needed.
//!
//! Landlock says which files can still be opened, seccomp which system calls the kernel still answers (`syscalls`), and
//! "no new privileges" keeps both for whatever the process might become. It must not know what a machine is.

mod syscalls;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus,
};

/// The rights that are asked of the kernel; one that knows fewer is told apart by [`RulesetStatus`]. This form knows
/// everything that opens, makes or removes files.
const RIGHTS: ABI = ABI::V3;

/// Whether the process confines itself.
#[derive(Clone, Debug, Args)]
pub struct SandboxOptions {
    /// Confine myvmm to the files and system calls that its guests need: auto does so where the host can, on insists
    /// on it, off does not
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = When::Auto, hide_possible_values = true)]
    sandbox: When,
}

/// When the process confines itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum When {
    /// Where the host can
    Auto,
    /// Always, or myvmm ends
    On,
    /// Never
    Off,
}

/// What a process still has to do once it is confined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Files, and directories with all below them, that are opened to read.
    pub readable: Vec<PathBuf>,
    /// Directories below which files are made, changed and removed.
    pub writable: Vec<PathBuf>,
    /// Directories in which files that are open get names, and lose them.
    pub nameable: Vec<PathBuf>,
    /// Whether it has sockets of the Internet protocols.
    pub network: bool,
    /// Whether it has sockets with names in the file system.
    pub local_sockets: bool,
    /// Whether it attaches to network devices of the kernel.
    pub taps: bool,
}

impl Needs {
    /// Adds the directory that the file `path` is in, to make and replace files there.
    pub fn write_beside(&mut self, path: &Path) {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        self.writable.push(parent.unwrap_or(Path::new(".")).to_owned());
    }
}

impl SandboxOptions {
    /// Confines this thread and all that it will start. Those that run already are confined in what they ask of the
    /// kernel, but not in the files that they open, so this comes before all others.
    ///
    /// # Errors
    /// Fails if the host cannot and the user insists on it.
    pub fn enter(&self, needs: &Needs) -> anyhow::Result<()> {
        if self.sandbox == When::Off {
            return Ok(());
        }
        match (enter(needs), self.sandbox) {
            (Err(error), When::Auto) => {
                tell_line!("myvmm: Not confined: {error:#}; --sandbox off says that this is meant");
                Ok(())
            }
            (result, _) => result.context("--sandbox on"),
        }
    }
}

/// Confines this thread to `needs`, for good.
fn enter(needs: &Needs) -> anyhow::Result<()> {
    confine_files(needs)?;
    syscalls::confine(needs)
}

fn confine_files(needs: &Needs) -> anyhow::Result<()> {
    let all = AccessFs::from_all(RIGHTS);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let name = AccessFs::MakeReg | AccessFs::RemoveFile;
    let write = read | name | AccessFs::MakeSock | AccessFs::WriteFile | AccessFs::Truncate;
    let mut rules =
        Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(all)?.create()?;
    let wanted = [(&needs.readable, read), (&needs.writable, write), (&needs.nameable, name)];
    for (path, access) in
        wanted.into_iter().flat_map(|(paths, access)| paths.iter().map(move |path| (path, access)))
    {
        // What is not there needs no right.
        let Ok(place) = PathFd::new(path) else { continue };
        let access = if path.is_dir() { access } else { access & AccessFs::from_file(RIGHTS) };
        rules = rules.add_rule(PathBeneath::new(place, access))?;
    }
    let status = rules.restrict_self().context("the kernel does not confine files")?;
    match status.ruleset {
        RulesetStatus::NotEnforced => anyhow::bail!("the kernel has no Landlock, which confines files"),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
    }
}

#[cfg(test)]
mod tests;
