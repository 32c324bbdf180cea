//! The options that every command with a machine has, and what they mean to the runtime. It must not know what is
//! booted.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Args, ValueEnum};
use runtime::backend::net::{Link, stream, tap, user};
use runtime::drive::Schedule;
use runtime::observe::Watching;
use runtime::vcpu::Engine;
use runtime::vm::{Config, VmError, snapshots};

use crate::control::{Address, directory};
use crate::devices::DeviceOptions;
use crate::exit::{self, Refused};
use crate::sandbox::{Needs, SandboxOptions};
use crate::watch::WatchOptions;

/// What a kernel for MIPS keeps of its command line (`COMMAND_LINE_SIZE`), without the zero at its end. The runtime
/// adds a word if the memory is small.
const LONGEST_COMMAND_LINE: usize = 4095 - " nokaslr".len();

/// A kernel that panics asks for a reset at once; the session knows the one from the other. What the user appends
/// comes later, and so wins.
const PANIC_ENDS: &str = "panic=-1";

/// What a machine is called if nobody says it, so that its network cards have the same addresses at each start.
const UNNAMED: &str = "myvmm";

/// How a machine is built and run.
#[derive(Clone, Debug, Args)]
pub struct MachineOptions {
    /// Memory: a number with K, M or G; without, M is meant
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = size)]
    mem: u64,
    /// Number of CPUs
    #[arg(long, value_name = "N", default_value_t = 1)]
    smp: usize,
    /// What runs the guest's code: interp, jit, or auto for each where it is better
    #[arg(long, value_enum, default_value_t = EngineChoice::Auto, hide_possible_values = true)]
    engine: EngineChoice,
    /// How CPUs share the host: `threads`, each on one of its own, or `slices`, all on one in turns of N guest
    /// instructions, with guest time by instructions, so that every run is like the other
    #[arg(long, value_name = "threads|slices[=N]", value_parser = schedule, default_value = "threads")]
    schedule: Schedule,
    /// Words to add to the kernel's command line
    #[arg(
        long,
        value_name = "WORDS",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    append: String,
    /// What to call the VM: `myvmm ps` lists it, `myvmm control` gives it commands [default: made from the file and
    /// the process]
    #[arg(long, value_name = "NAME", value_parser = directory::name)]
    pub name: Option<String>,
    /// What the run should tell.
    #[command(flatten)]
    pub watch: WatchOptions,
    /// End instead of rebooting
    #[arg(long)]
    pub no_reboot: bool,
    /// Let `myvmm migrate` move the VM though it is on no network that needs the host's: it may then make connections.
    /// A directory is that of certificates for them
    #[arg(long, value_name = "TLS-DIR", num_args = 0..=1, require_equals = true, value_parser = directory())]
    movable: Option<Option<PathBuf>>,
    /// A directory in which snapshots may be written, as the control socket, Ctrl-A s, or the guest asks
    #[arg(long, value_name = "DIRECTORY", value_parser = writable_directory())]
    pub snapshots: Option<PathBuf>,
    /// Go on from a snapshot instead of booting: it says how large the machine is and which disks it has
    #[arg(short = 's', long, value_name = "FILE")]
    pub restore: Option<PathBuf>,
    #[command(flatten)]
    devices: DeviceOptions,
    #[command(flatten)]
    sandbox: SandboxOptions,
}

/// What runs the guest's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineChoice {
    /// Interpret what is cold, translate what is warm
    Auto,
    /// Translate everything
    Jit,
    /// Interpret everything
    Interp,
    /// Translate everything, but come back after each block: for comparisons
    Blocks,
}

impl From<EngineChoice> for Engine {
    fn from(choice: EngineChoice) -> Self {
        match choice {
            EngineChoice::Auto => Self::Auto,
            EngineChoice::Jit => Self::Jit,
            EngineChoice::Interp => Self::Interpreter,
            EngineChoice::Blocks => Self::Blocks,
        }
    }
}

impl MachineOptions {
    /// The machine of these options that boots `kernel`. `words` go to the kernel's command line before those of
    /// the user.
    ///
    /// # Errors
    /// Refuses a command line that the kernel would cut, and devices that cannot be.
    pub fn config(&self, kernel: PathBuf, initrd: Option<PathBuf>, words: &str) -> Result<Config, Refused> {
        Ok(Config {
            name: self.name.clone().unwrap_or_else(|| UNNAMED.to_owned()),
            kernel,
            initrd,
            command_line: self.command_line(words)?,
            ram: self.mem,
            vcpus: self.smp,
            model: if self.snapshots.is_some() {
                &translator::model::PROGRAM_MIPS64R2
            } else {
                &translator::model::MIPS64R2
            },
            schedule: self.schedule,
            engine: self.engine.into(),
            watching: Watching::default(),
            disks: self.devices.open_disks()?,
            cards: self.devices.cards(self.schedule == Schedule::Threads)?,
            consoles: self.devices.open_consoles()?,
        })
    }

    /// Gives a machine that goes on from a snapshot what it had there and nothing else was said of.
    ///
    /// # Errors
    /// Refuses what is no snapshot, and disks that are no longer there.
    pub fn complete(&self, config: &mut Config) -> anyhow::Result<()> {
        let Some(file) = &self.restore else { return Ok(()) };
        let failed = |source| VmError::Restore { file: file.clone(), source };
        let state = snapshots::state_of(file).map_err(failed)?;
        Ok(self.devices.complete(config, &state)?)
    }

    /// Confines the process to what the machine of `config` needs, which has opened its disks and files.
    ///
    /// # Errors
    /// Fails if the host cannot and the user insists on it.
    pub fn confine(&self, config: &Config, address: &Address) -> anyhow::Result<()> {
        let mut needs = needs(config, address);
        needs.network |= self.movable.is_some();
        needs.readable.extend(self.movable.iter().flatten().cloned());
        needs.readable.extend(self.restore.iter().flat_map(|file| snapshots::files(file)));
        needs.writable.extend(self.watch.late_files());
        needs.writable.extend(self.snapshots.clone());
        // They are removed in the end.
        self.devices.console_sockets().for_each(|path| needs.write_beside(path));
        self.sandbox.enter(&needs)
    }

    fn command_line(&self, words: &str) -> Result<String, Refused> {
        let parts = [PANIC_ENDS, words, self.append.trim()];
        let line = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        if line.len() > LONGEST_COMMAND_LINE {
            return Err(Refused(format!(
                "The kernel's command line has {} bytes, and the kernel takes {LONGEST_COMMAND_LINE}; \
                 shorten --append",
                line.len()
            )));
        }
        Ok(line)
    }
}

/// What any machine of `config` needs of the host.
pub fn needs(config: &Config, address: &Address) -> Needs {
    let mut needs = Needs::default();
    // A reboot loads them again; the console asks which signals are ignored.
    needs.readable.extend([config.kernel.clone(), "/proc/self/status".into()]);
    needs.readable.extend(config.initrd.clone());
    needs.writable.extend(address.directory().map(Path::to_owned));
    for card in &config.cards {
        match &card.link {
            Link::User(_) => {
                needs.network = true;
                needs.readable.push(user::RESOLVER_FILE.into());
            }
            Link::Stream(end) => {
                needs.local_sockets = true;
                if let stream::End::Listen(path) = end {
                    needs.write_beside(path);
                }
            }
            Link::Tap(_) => {
                needs.taps = true;
                needs.writable.push(tap::DEVICE.into());
            }
        }
    }
    needs
}

/// Reads a schedule. The usual slice is 100 microseconds of the guest's time.
fn schedule(text: &str) -> Result<Schedule, String> {
    const USUAL: NonZeroU64 = NonZeroU64::new(10_000).unwrap();
    let slice = match text.split_once('=') {
        None if text == "threads" => return Ok(Schedule::Threads),
        None if text == "slices" => Some(USUAL),
        Some(("slices", count)) => count.parse().ok(),
        _ => None,
    };
    let slice = slice.ok_or("write threads, slices, or slices=N with a number of instructions above 0")?;
    Ok(Schedule::Slices(slice))
}

/// Reads a size: a number of MB, or of what the letter behind it says.
pub fn size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().last() {
        Some((end, 'k' | 'K')) => (&text[..end], 10),
        Some((end, 'm' | 'M')) => (&text[..end], 20),
        Some((end, 'g' | 'G')) => (&text[..end], 30),
        _ => (text, 20),
    };
    let number = digits.parse::<u64>().ok();
    let bytes = number.and_then(|number| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| "write a whole number and K, M or G, as in 512M".to_owned())
}

/// Reads the name of a directory. A process that is confined finds none that is made later, so it must be there.
pub fn directory() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match path.metadata() {
        Ok(about) if about.is_dir() => Ok(path),
        Ok(_) => Err("it is no directory".to_owned()),
        Err(error) => Err(format!("{}; name a directory that is there", exit::words(&error))),
    })
}

/// Reads the name of a directory in which this user may make files.
pub fn writable_directory() -> impl TypedValueParser<Value = PathBuf> {
    directory().try_map(|path| match tempfile::tempfile_in(&path) {
        Ok(_) => Ok(path),
        Err(error) => Err(format!("{}; name one that you may write in", exit::words(&error))),
    })
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _};

    use super::*;

    fn options(words: &[&str]) -> MachineOptions {
        let command = MachineOptions::augment_args(clap::Command::new("test").no_binary_name(true));
        MachineOptions::from_arg_matches(&command.get_matches_from(words)).unwrap()
    }

    #[test]
    fn sizes_have_units() {
        let sizes = [("512M", 512 << 20), ("1g", 1 << 30), ("65536K", 64 << 20), ("64", 64 << 20), ("0", 0)];
        for (text, bytes) in sizes {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "M", "1.5G", "-1M", "12MB", "1T", "99999999999999999999", "18446744073709551615G"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn directories_are_there() {
        let there = tempfile::tempdir().unwrap();
        let missing = there.path().join("missing");
        let file = there.path().join("file");
        std::fs::write(&file, "").unwrap();
        let command = || MachineOptions::augment_args(clap::Command::new("test").no_binary_name(true));
        let read = |option: &str, path: &Path| {
            command()
                .try_get_matches_from([format!("{option}={}", path.display())])
                .map_err(|error| error.to_string())
        };
        for option in ["--snapshots", "--movable"] {
            assert!(read(option, there.path()).is_ok());
            assert!(read(option, &missing).unwrap_err().contains("No such file or directory; name"));
            assert!(read(option, &file).unwrap_err().contains("it is no directory"));
        }
        // Where nobody, not even root, makes files.
        assert!(
            read("--snapshots", Path::new("/proc/self/fdinfo")).unwrap_err().contains("you may write in")
        );
    }

    #[test]
    fn slices_have_a_length() {
        let slices = |count| Ok(Schedule::Slices(NonZeroU64::new(count).unwrap()));
        assert_eq!(schedule("threads"), Ok(Schedule::Threads));
        assert_eq!(schedule("slices"), slices(10_000));
        assert_eq!(schedule("slices=1"), slices(1));
        for bad in ["", "slice", "slices=", "slices=0", "slices=-1", "slices=1k", "threads=2"] {
            assert!(schedule(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_users_words_come_last() {
        let options = options(&["--append", " panic=5 "]);
        assert_eq!(options.command_line("quiet").unwrap(), "panic=-1 quiet panic=5");
        assert_eq!(options.command_line("").unwrap(), "panic=-1 panic=5");
    }

    #[test]
    fn a_command_line_that_would_be_cut_is_refused() {
        assert!(options(&["--append", &"x".repeat(4000)]).command_line("").is_ok());
        assert!(options(&["--append", &"x".repeat(4090)]).command_line("").is_err());
    }

    #[test]
    fn the_command_line_is_well_formed() {
        crate::Cli::command().debug_assert();
    }
}
