//! What became of guests that moved: for each move the first decision, which stays, in a directory that processes
//! share. So two processes never decide otherwise, whichever of them ends when. It must not know how guests move.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::message::Identity;

/// What became of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It was taken over.
    Running,
    /// It will never be.
    Aborted,
}

impl Decision {
    const ALL: [Self; 2] = [Self::Running, Self::Aborted];

    fn word(self) -> &'static [u8] {
        match self {
            Self::Running => b"running\n",
            Self::Aborted => b"aborted\n",
        }
    }
}

/// Holds what tells this register from others.
const IDENTITY: &str = "register";
const ENDING: &str = ".move";
/// Nobody asks any more after so long.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The register in a directory. If that is lost, so is what tells it from others: whoever asks by the old identity
/// then learns that nobody knows.
#[derive(Clone, Debug)]
pub struct Register {
    directory: PathBuf,
    /// What tells it from others.
    pub identity: Identity,
}

impl Register {
    /// Opens the register in `directory`, which is there; makes it if need be.
    ///
    /// # Errors
    /// Fails as the host does.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let file = directory.join(IDENTITY);
        put(directory, &file, &random()?)?;
        let identity =
            fs::read(&file)?.try_into().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        let register = Self { directory: directory.to_owned(), identity };
        register.forget_old();
        Ok(register)
    }

    /// Decides what becomes of the guest of `identity`, unless that is decided; gives what is decided then.
    ///
    /// # Errors
    /// Fails as the host does.
    pub fn decide(&self, identity: &Identity, decision: Decision) -> io::Result<Decision> {
        let file = self.file(identity);
        put(&self.directory, &file, decision.word())?;
        self.decision(identity)?.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// What is decided.
    ///
    /// # Errors
    /// Fails as the host does.
    pub fn decision(&self, identity: &Identity) -> io::Result<Option<Decision>> {
        match fs::read(self.file(identity)) {
            Ok(word) => match Decision::ALL.into_iter().find(|decision| decision.word() == word) {
                None => Err(io::ErrorKind::InvalidData.into()),
                decision => Ok(decision),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn file(&self, identity: &Identity) -> PathBuf {
        let name: String = identity.iter().map(|byte| format!("{byte:02x}")).collect();
        self.directory.join(name + ENDING)
    }

    /// What cannot be read or removed stays.
    fn forget_old(&self) {
        let old = |entry: &fs::DirEntry| {
            let changed = entry.metadata().and_then(|about| about.modified()).ok();
            let age = changed.and_then(|changed| SystemTime::now().duration_since(changed).ok());
            entry.file_name().to_string_lossy().ends_with(ENDING) && age.is_some_and(|age| age > KEPT)
        };
        let entries = fs::read_dir(&self.directory).into_iter().flatten().filter_map(Result::ok);
        entries.filter(old).for_each(|entry| drop(fs::remove_file(entry.path())));
    }
}

/// Makes `file` with these bytes, at once and whole, unless it is there.
fn put(directory: &Path, file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut aside = tempfile::Builder::new().prefix(".move-").tempfile_in(directory)?;
    aside.write_all(bytes)?;
    match aside.persist_noclobber(file) {
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
        Ok(_) => Ok(()),
    }
}

/// Bytes that nobody else has.
pub(super) fn random() -> io::Result<Identity> {
    let mut identity = Identity::default();
    rustix::rand::getrandom(&mut identity, rustix::rand::GetRandomFlags::empty())?;
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_decision_stays_and_all_see_the_same() {
        let directory = tempfile::tempdir().unwrap();
        for round in 0..50 {
            let identity = [round; 16];
            let decided = std::thread::scope(|scope| {
                let decide = |decision| {
                    let directory = directory.path();
                    scope.spawn(move || {
                        Register::open(directory).unwrap().decide(&identity, decision).unwrap()
                    })
                };
                let threads = [Decision::Running, Decision::Aborted, Decision::Running].map(decide);
                threads.map(|thread| thread.join().unwrap())
            });
            assert!(decided.iter().all(|decision| *decision == decided[0]), "{decided:?}");
            let register = Register::open(directory.path()).unwrap();
            assert_eq!(register.decision(&identity).unwrap(), Some(decided[0]));
        }
        let register = Register::open(directory.path()).unwrap();
        assert_eq!(register.decision(&[99; 16]).unwrap(), None);
        assert_ne!(register.identity, Register::open(tempfile::tempdir().unwrap().path()).unwrap().identity);
    }
}
