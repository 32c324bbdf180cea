//! Runs programs of the host, hears what they say, and turns their failures into errors that say what to do.
//! This file knows apt's and dpkg's ways of complaining, but not what they are asked to do.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{ChildStderr, Command, ExitStatus, Stdio};

use crate::Error;

/// A program that the host must have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    pub name: &'static str,
    /// The Debian package that holds it, for the person who lacks it.
    pub package: &'static str,
}

pub(crate) const APT_GET: Program = Program { name: "apt-get", package: "apt" };
pub(crate) const APT_CACHE: Program = Program { name: "apt-cache", package: "apt" };
pub(crate) const DPKG_DEB: Program = Program { name: "dpkg-deb", package: "dpkg" };

impl Program {
    /// The command, ready for arguments. Its messages will be in English, since some of them are read here.
    pub fn command(self) -> Command {
        let mut command = Command::new(self.name);
        command.env("LC_ALL", "C").env_remove("LANGUAGE").env_remove("APT_CONFIG");
        command
    }

    /// Runs `command`, which does `what` in `directory`, to its end. `hear` gets its output line by line.
    pub fn run(
        self,
        command: &mut Command,
        what: &str,
        directory: &Path,
        mut hear: impl FnMut(&str),
    ) -> Result<(), Error> {
        self.stream(command, what, directory, |output| {
            BufReader::new(output).lines().map_while(Result::ok).for_each(|line| hear(&line));
            Ok(())
        })
    }

    /// Runs `command` as [`run`](Self::run) does, but `read` gets its output as it is. A failure of the program is told
    /// rather than that of `read`, which may come from it.
    pub fn stream<T>(
        self,
        command: &mut Command,
        what: &str,
        directory: &Path,
        read: impl FnOnce(&mut dyn Read) -> Result<T, Error>,
    ) -> Result<T, Error> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| self.not_started(what, &error))?;
        let complaints = child.stderr.take();
        // Both pipes are read at once, or the program would wait for room in one while this waits for the other.
        let complaints = std::thread::spawn(move || complaints.map(read_all).unwrap_or_default());
        let mut output = child.stdout.take().expect("it was asked for");
        let result = read(&mut output);
        // A program that cannot get rid of the rest would call that a failure.
        let _ = std::io::copy(&mut output, &mut std::io::sink());
        let status = child.wait().map_err(|error| self.not_started(what, &error))?;
        let complaints = complaints.join().unwrap_or_default();
        if status.success() { result } else { Err(failure(what, directory, &complaints, status)) }
    }

    /// Runs `command` and gives all of its output.
    pub fn output(self, command: &mut Command, what: &str, directory: &Path) -> Result<String, Error> {
        let mut output = String::new();
        self.run(command, what, directory, |line| {
            output.push_str(line);
            output.push('\n');
        })?;
        Ok(output)
    }

    fn not_started(self, what: &str, error: &std::io::Error) -> Error {
        if error.kind() == std::io::ErrorKind::NotFound {
            return Error::MissingProgram { program: self.name, package: self.package };
        }
        Error::Program {
            what: what.to_owned(),
            detail: format!("{} could not be started: {error}", self.name),
        }
    }
}

fn read_all(mut complaints: ChildStderr) -> String {
    let mut bytes = Vec::new();
    // What was read before an error is still worth showing.
    let _ = complaints.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

const SIGNS_OF_FULL_DISK: [&str; 3] = ["No space left on device", "enough free space", "Disk quota exceeded"];
const SIGNS_OF_BAD_SIGNATURE: [&str; 4] = ["NO_PUBKEY", "is not signed", "EXPKEYSIG", "BADSIG"];
const SIGNS_OF_NO_NETWORK: [&str; 8] = [
    "Could not resolve",
    "Temporary failure resolving",
    "Could not connect",
    "Cannot initiate the connection",
    "Network is unreachable",
    "Connection timed out",
    "Connection failed",
    "Failed to fetch",
];

/// The error behind what a failed program wrote.
fn failure(what: &str, directory: &Path, complaints: &str, status: ExitStatus) -> Error {
    let what = what.to_owned();
    let detail = first_complaint(complaints).unwrap_or_else(|| status.to_string());
    let says = |signs: &[&str]| signs.iter().any(|sign| complaints.contains(sign));
    if says(&SIGNS_OF_FULL_DISK) {
        Error::DiskFull { what, directory: directory.to_owned() }
    } else if says(&SIGNS_OF_BAD_SIGNATURE) {
        Error::Signature { what, detail }
    } else if says(&SIGNS_OF_NO_NETWORK) {
        Error::Network { what, detail }
    } else {
        Error::Program { what, detail }
    }
}

/// The first error among apt's lines, or else the last line: the first says what went wrong, the rest what followed.
fn first_complaint(complaints: &str) -> Option<String> {
    let lines = || complaints.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines().find_map(|line| line.strip_prefix("E: "));
    error.or_else(|| lines().next_back()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    fn classify(complaints: &str) -> Error {
        failure("the test", Path::new("/cache"), complaints, ExitStatus::from_raw(100 << 8))
    }

    #[test]
    fn complaints_become_errors_with_advice() {
        let network =
            "W: x\nE: Failed to fetch a  Temporary failure resolving 'b'\nE: Some index files failed";
        let error = classify(network);
        assert!(matches!(error, Error::Network { .. }));
        assert!(error.to_string().ends_with("Failed to fetch a  Temporary failure resolving 'b'"));
        assert!(matches!(
            classify("E: Write error - write (28: No space left on device)"),
            Error::DiskFull { .. }
        ));
        assert!(matches!(classify("W: GPG error: NO_PUBKEY 1\nE: is not signed."), Error::Signature { .. }));
        assert!(classify("").to_string().contains("exit status: 100"));
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let program = Program { name: "no-such-program-at-all", package: "some-package" };
        let error = program.output(&mut program.command(), "the test", Path::new("/")).unwrap_err();
        assert!(error.to_string().contains("install the package some-package"));
    }
}
