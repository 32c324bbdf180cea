//! Programs from files: what kind of file it is, and the assembler with its messages. It must not know how programs
//! run.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runtime::program::{Execution, Image, ProgramVm, RestoreError};
use translator::asm::{self, Para, Sources, Text, Unreadable};

use super::Dialect;
use super::config;
use crate::exit::Refused;
use crate::sandbox::Needs;

/// The largest file that is read.
const MAX_FILE: u64 = 256 << 20;
const ELF: &[u8] = b"\x7fELF";
const FLAT: &str = "bin";

/// A program to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its file.
    pub program: PathBuf,
    /// What it goes on from.
    pub snapshot: Option<PathBuf>,
}

/// A program and the snapshot that it goes on from, with that file's name.
pub struct Loaded {
    /// The program.
    pub image: Arc<Image>,
    /// The snapshot.
    pub snapshot: Option<(PathBuf, Vec<u8>)>,
}

impl Loaded {
    /// The program as a machine at its start, or where the snapshot was taken.
    ///
    /// # Errors
    /// Refuses a snapshot that does not fit, and fails if the host has no memory.
    pub fn build(self, execution: Execution) -> anyhow::Result<ProgramVm> {
        let Some((path, snapshot)) = self.snapshot else {
            return Ok(ProgramVm::new(self.image, execution)?);
        };
        ProgramVm::resume(self.image, execution, &snapshot).map_err(|error| match error {
            RestoreError::Build(error) => error.into(),
            error => Refused(format!("{}: {}", path.display(), Refused::because(error))).into(),
        })
    }
}

impl Request {
    /// A program from its start.
    pub fn new(program: PathBuf) -> Self {
        Self { program, snapshot: None }
    }

    /// Loads the program.
    ///
    /// # Errors
    /// Refuses a file that is none, and a snapshot that cannot be read.
    pub fn load(&self, dialect: Dialect) -> Result<Loaded, Refused> {
        let image = image(&self.program, dialect)?;
        let snapshot = match &self.snapshot {
            Some(file) => Some((file.clone(), read(file)?)),
            None => None,
        };
        Ok(Loaded { image: Arc::new(image), snapshot })
    }

    /// Adds the program to `requests`, or the programs that the file lists if it is a configuration, which may also
    /// say the slice.
    ///
    /// # Errors
    /// Refuses a senseless configuration.
    pub fn expand(self, requests: &mut Vec<Request>) -> Result<Option<u64>, Refused> {
        let Some(text) = configuration(&self.program) else {
            requests.push(self);
            return Ok(None);
        };
        let config = config::parse(&self.program, &text)?;
        if let (Some(snapshot), [_, _, ..] | []) = (&self.snapshot, &config.binaries[..]) {
            let (snapshot, file, count) = (snapshot.display(), self.program.display(), config.binaries.len());
            return Err(Refused(format!(
                "-s {snapshot}: it belongs to one program, and {file} lists {count}"
            )));
        }
        let snapshot = self.snapshot;
        requests.extend(
            config.binaries.into_iter().map(|program| Request { program, snapshot: snapshot.clone() }),
        );
        Ok(config.slice)
    }
}

/// The text of the file if it is a configuration. A file that cannot be read is refused later.
fn configuration(path: &Path) -> Option<String> {
    let text = String::from_utf8(read(path).ok()?).ok()?;
    config::is_config(&text).then_some(text)
}

/// Loads all programs, or says all that is wrong with them.
///
/// # Errors
/// Refuses files that are no programs, with all their errors.
pub fn all(requests: &[Request], dialect: Dialect) -> Result<Vec<Loaded>, Refused> {
    let mut errors = Vec::new();
    let mut loaded = Vec::new();
    for request in requests {
        match request.load(dialect) {
            Ok(program) => loaded.push(program),
            Err(Refused(error)) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(loaded) } else { Err(Refused(errors.join("\nmyvmm: "))) }
}

/// What programs need of the host: files in the current directory, beside themselves and their snapshots, and where they
/// say that snapshots go.
pub fn needs(requests: &[Request], programs: &[Loaded]) -> Needs {
    let mut needs = Needs { writable: vec![".".into()], ..Needs::default() };
    // The session asks which signals are ignored.
    needs.readable.push("/proc/self/status".into());
    for request in requests {
        needs.write_beside(&request.program);
        request.snapshot.iter().for_each(|snapshot| needs.write_beside(snapshot));
    }
    for para in programs.iter().flat_map(|program| program.image.paras()) {
        if let Para::Snapshot(file) = para {
            needs.write_beside(file.as_ref());
        }
    }
    needs
}

fn image(path: &Path, dialect: Dialect) -> Result<Image, Refused> {
    let options = dialect.machine();
    let name = path.display().to_string();
    let bytes = read(path)?;
    if bytes.starts_with(ELF) {
        return Image::elf(&name, &bytes, options).map_err(Refused::because);
    }
    if path.extension().is_some_and(|extension| extension == FLAT) {
        return Image::flat(&name, bytes, options).map_err(Refused::because);
    }
    if bytes.contains(&0) {
        let what = "the file is neither assembly nor ELF; a flat binary must be called *.bin";
        return Err(Refused(format!("{name}: {what}")));
    }
    let program = asm::assemble(&name, &Files, &dialect.assembler());
    let program = program
        .map_err(|errors| Refused(format!("{name} cannot be assembled\n{errors}").trim_end().into()))?;
    if !program.warnings.items.is_empty() {
        eprint!("{}", program.warnings);
    }
    Image::assembled(&name, program, options).map_err(Refused::because)
}

/// The bytes of a file that the command line, or a program, names.
///
/// # Errors
/// Refuses what cannot be read, and what does not end where files of programs do: a device does not tell its length.
pub fn read(path: &Path) -> Result<Vec<u8>, Refused> {
    let refused = |reason: String| Refused(format!("Cannot read {}: {reason}", path.display()));
    if path.is_dir() {
        return Err(refused("it is a directory".into()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| refused(reason(&error)))?;
    let mut beginning = file.take(MAX_FILE + 1);
    beginning.read_to_end(&mut bytes).map_err(|error| refused(reason(&error)))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(refused(format!("it is larger than {} MB", MAX_FILE >> 20)));
    }
    Ok(bytes)
}

/// What an error says, without the host's number for it.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error ").map_or(text.as_str(), |(words, _)| words).to_owned()
}

/// The assembler's files are the host's; what a file includes is looked for beside it.
pub struct Files;

impl Sources for Files {
    fn read(&self, path: &str, from: Option<&str>) -> Result<Text, Unreadable> {
        let beside = from.and_then(|from| Path::new(from).parent()).unwrap_or(Path::new(""));
        let place = beside.join(path);
        let bytes = read(&place).map_err(|Refused(error)| {
            Unreadable(error.split_once(": ").map_or(error.clone(), |(_, reason)| reason.to_owned()))
        })?;
        // Old programs are in Latin-1, whose bytes are the first characters of Unicode.
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect());
        Ok(Text { name: place.display().to_string(), text })
    }
}
