//! How myvmm ends when something went wrong: which exit code, and which sentence. It must not know how machines or
//! terminals work.

use std::fmt::Write as _;
use std::panic::PanicHookInfo;
use std::process::ExitCode;

use runtime::load::LoadError;
use runtime::vm::VmError;

/// The exit codes, for `--help`.
pub const CODES: &str = "\
Exit codes:
  0  the guest turned its power off, the user left with Ctrl-A x, or all programs ended well
  1  myvmm failed, or the host failed it
  2  the command line or a file it names was refused
  3  the guest's kernel panicked, or a program did what cannot be
  A program's own exit code is passed on; of several, the first that is not 0.
  Ended by a signal, myvmm passes the signal on, once the terminal is as it was.";

/// From now on a write past the limit on the size of files (`ulimit -f`) fails, as on a full disk, and does not end the
/// process by SIGXFSZ.
pub fn outlive_file_limits() {
    // Every process may catch it.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default());
}

/// Myvmm, or the host below it, failed.
pub const FAILED: u8 = 1;
/// What the user gave was refused.
pub const REFUSED: u8 = 2;
/// The guest's kernel panicked.
pub const PANICKED: u8 = 3;

/// The command line asks for what cannot be.
#[derive(Debug)]
pub struct Refused(pub String);

impl Refused {
    /// What the user gave led to `error`.
    pub fn because(error: impl std::error::Error) -> Self {
        let mut sentence = words(&error);
        let mut cause = error.source();
        while let Some(error) = cause {
            // Writing to a string cannot fail.
            let _ = write!(sentence, ": {}", words(error));
            cause = error.source();
        }
        Self(sentence)
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Says what went wrong on standard error, and gives the exit code for it.
pub fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("myvmm: {}", sentence(error));
    code(error).into()
}

fn code(error: &anyhow::Error) -> u8 {
    let refused = match error.downcast_ref::<VmError>() {
        Some(
            VmError::Board(_)
            | VmError::Load(_)
            | VmError::Network(_)
            | VmError::Target { .. }
            | VmError::Restore { .. },
        ) => true,
        Some(VmError::Ram(_) | VmError::Thread(_) | VmError::Vcpu { .. }) => false,
        None => {
            use image::Error::{BadMirror, LongScript};
            error.is::<Refused>()
                || matches!(error.downcast_ref(), Some(BadMirror { .. } | LongScript { .. }))
        }
    };
    if refused { REFUSED } else { FAILED }
}

/// The error with its causes and, where there is one, what to do.
fn sentence(error: &anyhow::Error) -> String {
    let mut sentence = String::new();
    let mut last = String::new();
    for cause in error.chain() {
        let text = words(cause);
        // A transparent error says the same as its source.
        if text != last {
            let gap = if last.is_empty() { "" } else { ": " };
            // Writing to a string cannot fail.
            let _ = write!(sentence, "{gap}{text}");
        }
        last = text;
    }
    let of_machine = error.downcast_ref().and_then(advice);
    match of_machine.or_else(|| error.downcast_ref().and_then(image_advice)) {
        Some(advice) => format!("{sentence}; {advice}"),
        None => sentence,
    }
}

/// What an error says, without the host's number for it.
pub fn words(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error ").map_or(text.as_str(), |(words, _)| words).to_owned()
}

/// Which option could help.
fn advice(error: &VmError) -> Option<&'static str> {
    const KERNEL: &str =
        "--kernel takes the vmlinux or the ELF vmlinuz of a 64-bit little-endian MIPS kernel";
    const MEMORY: &str = "give the machine more with --mem";
    match error {
        VmError::Board(_) => Some("see --mem and --smp"),
        VmError::Ram(_) => Some("ask for less with --mem"),
        VmError::Target { .. } => Some(KERNEL),
        VmError::Network(_) => Some("see --net"),
        VmError::Thread(_) | VmError::Vcpu { .. } | VmError::Restore { .. } => None,
        VmError::Load(error) => match error {
            LoadError::Unreadable { .. } => Some("check its name and permissions"),
            LoadError::TooLarge { .. } | LoadError::OutsideRam { .. } | LoadError::TooLittleMemory { .. } => {
                Some(MEMORY)
            }
            LoadError::NotElf { .. }
            | LoadError::WrongMachine { .. }
            | LoadError::NotExecutable { .. }
            | LoadError::Empty { .. }
            | LoadError::Mapped { .. } => Some(KERNEL),
            LoadError::Damaged { .. } => Some("get the file again"),
            LoadError::DeviceTree { .. } | LoadError::Refused { .. } => None,
        },
    }
}

/// Which option of `myvmm debian` could help.
fn image_advice(error: &image::Error) -> Option<&'static str> {
    match error {
        image::Error::NoMirror => Some("name a mirror with --mirror"),
        image::Error::NoCacheDirectory => Some("name one with --cache"),
        image::Error::LongScript { .. } => Some("have it read the rest from a --disk or the network"),
        _ => None,
    }
}

/// From now on a panic of any thread, which is a bug of myvmm, ends the program with a sentence: a machine that
/// lacks a thread is of no use.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("myvmm: {}", bug(panic));
        std::process::exit(FAILED.into());
    }));
}

fn bug(panic: &PanicHookInfo<'_>) -> String {
    let place = panic.location().map(|place| format!(" at {place}")).unwrap_or_default();
    let payload = panic.payload();
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let what = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
    let what = what.replace('\n', " ");
    format!("Internal error{place}: {what}; this is a bug of myvmm, please report it with the command line")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_missing_file_is_one_sentence_and_refused() {
        let source = io::Error::from_raw_os_error(2);
        let error = VmError::Load(LoadError::Unreadable { file: "a file".into(), source }).into();
        let expected = "Cannot read a file: No such file or directory; check its name and permissions";
        assert_eq!(sentence(&error), expected);
        assert_eq!(code(&error), REFUSED);
    }

    #[test]
    fn what_an_option_could_mend_names_the_option() {
        let error = image::Error::NoCacheDirectory.into();
        assert!(sentence(&error).ends_with("there is no cache directory; name one with --cache"));
        assert_eq!(code(&error), FAILED);
        let error = image::Error::LongScript { size: 3000, limit: 2600 }.into();
        assert!(
            sentence(&error).contains("only 2600 fit the kernel's command line; have it read the rest from")
        );
        assert_eq!(code(&error), REFUSED);
    }

    #[test]
    fn a_host_without_threads_is_a_failure() {
        let error = VmError::Thread(io::Error::from_raw_os_error(11)).into();
        assert_eq!(code(&error), FAILED);
        assert!(sentence(&error).starts_with("Cannot start a thread of the machine: "));
    }
}
