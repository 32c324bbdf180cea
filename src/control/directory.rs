//! Where control sockets are: a directory of the user's own, with a socket for each VM that runs, called by its name. It
//! must not know what is said on them.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};
use rustix::process::geteuid;

use crate::exit::Refused;

const ENDING: &str = ".qmp";
/// Whoever adds or takes away a socket holds this file's lock.
const LOCK: &str = ".lock";
/// Linux has 108 bytes for the path of a socket, with the zero at its end.
const LONGEST_PATH: usize = 107;
const LONGEST_NAME: usize = 48;

/// Reads the name of a VM: what can be part of a file's name and of a command line without quotes.
///
/// # Errors
/// Refuses everything else.
pub fn name(text: &str) -> Result<String, String> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty()
        || text.len() > LONGEST_NAME
        || text.starts_with(['-', '.'])
        || !text.chars().all(is_fine)
    {
        return Err(format!(
            "a name has 1 to {LONGEST_NAME} letters, digits, `-`, `_`, `.`, and begins with none of `-` and `.`"
        ));
    }
    Ok(text.to_owned())
}

/// A name for a VM that runs `file`, told from others by the process.
pub fn default_name(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let fine = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    let stem: String = fine.skip_while(|c| *c == '-').take(24).collect();
    let stem = if stem.is_empty() { "vm" } else { &stem };
    format!("{stem}-{}", std::process::id())
}

/// The directory.
pub struct Directory(PathBuf);

/// A VM's place in the directory, until it is dropped.
pub struct Place {
    path: PathBuf,
}

impl Directory {
    /// The user's directory, made if it is not there.
    ///
    /// # Errors
    /// Refuses a directory that others may write to.
    pub fn open() -> anyhow::Result<Self> {
        let uid = geteuid().as_raw();
        let path = match std::env::var_os("XDG_RUNTIME_DIR").filter(|path| Path::new(path).is_absolute()) {
            Some(path) => Path::new(&path).join("myvmm"),
            None => PathBuf::from(format!("/tmp/myvmm-{uid}")),
        };
        Self::at(path, uid)
    }

    /// Where it is.
    pub fn place(&self) -> &Path {
        &self.0
    }

    fn at(path: PathBuf, uid: u32) -> anyhow::Result<Self> {
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                let what = format!("Cannot make {} for control sockets; set XDG_RUNTIME_DIR", path.display());
                return Err(error).context(what);
            }
            _ => {}
        }
        // A link is no directory here: somebody else could have put it into /tmp.
        let about =
            fs::symlink_metadata(&path).with_context(|| format!("Cannot look at {}", path.display()))?;
        if !about.is_dir() || about.uid() != uid || about.mode() & 0o077 != 0 {
            let what = format!(
                "{} is not a directory of this user that nobody else can enter; remove it, or set XDG_RUNTIME_DIR",
                path.display()
            );
            return Err(Refused(what).into());
        }
        Ok(Self(path))
    }

    /// Listens for clients of the VM `name`.
    ///
    /// # Errors
    /// Refuses a name that a running VM has.
    pub fn listen(&self, name: &str) -> anyhow::Result<(UnixListener, Place)> {
        let path = self.path(name)?;
        let _lock = self.lock()?;
        if remove_if_stale(&path) == Found::Alive {
            return Err(Refused(format!("A VM called {name} runs already; choose another --name")).into());
        }
        let listener =
            UnixListener::bind(&path).with_context(|| format!("Cannot listen at {}", path.display()))?;
        Ok((listener, Place { path }))
    }

    /// Connects to the VM `name`.
    ///
    /// # Errors
    /// Refuses names of VMs that do not run.
    pub fn connect(&self, name: &str) -> anyhow::Result<UnixStream> {
        let connected = UnixStream::connect(self.path(name)?);
        connected.map_err(|_| Refused(format!("There is no VM called {name}; see `myvmm ps`")).into())
    }

    /// The names of all VMs that run. Sockets of VMs that were killed are removed.
    ///
    /// # Errors
    /// Fails if the directory cannot be read.
    pub fn names(&self) -> anyhow::Result<Vec<String>> {
        let _lock = self.lock()?;
        let entries = fs::read_dir(&self.0).with_context(|| format!("Cannot read {}", self.0.display()))?;
        let mut names = Vec::new();
        for entry in entries.filter_map(Result::ok) {
            let file = entry.file_name().to_string_lossy().into_owned();
            if let Some(name) = file.strip_suffix(ENDING)
                && remove_if_stale(&entry.path()) == Found::Alive
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn path(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.0.join(format!("{name}{ENDING}"));
        if path.as_os_str().len() > LONGEST_PATH {
            let what = format!(
                "{} is too long for the path of a socket; set a shorter XDG_RUNTIME_DIR",
                path.display()
            );
            return Err(Refused(what).into());
        }
        Ok(path)
    }

    /// Keeps others from adding and removing sockets as long as the file is open.
    fn lock(&self) -> anyhow::Result<File> {
        let path = self.0.join(LOCK);
        let lock = || {
            let file = File::create(&path)?;
            flock(&file, FlockOperation::LockExclusive)?;
            Ok(file)
        };
        lock().map_err(|error: io::Error| error).with_context(|| format!("Cannot lock {}", path.display()))
    }
}

impl Place {
    /// The directory that it is in.
    pub fn directory(&self) -> Option<&Path> {
        self.path.parent()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // While this process listened, nobody took it for stale, so it is still this one's.
        let _ = fs::remove_file(&self.path);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Alive,
}

/// Removes a socket that nobody listens at.
fn remove_if_stale(path: &Path) -> Found {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|about| about.file_type().is_socket());
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && is_socket => {
            // If it stays, binding to it fails and says so.
            let _ = fs::remove_file(path);
            Found::Nothing
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Nothing,
        _ => Found::Alive,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn names_are_one_word() {
        assert_eq!(name("a-1_b.c"), Ok("a-1_b.c".into()));
        for wrong in ["", ".a", "-a", "a/b", "a b", "ä", &"x".repeat(99)] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
        for file in ["/x/vmlinuz-6.1.0-50", "a.s", "…", ".s"] {
            let made = default_name(Path::new(file));
            assert_eq!(name(&made).as_ref(), Ok(&made));
        }
    }

    #[test]
    fn a_name_is_taken_while_its_vm_lives() {
        let parent = tempfile::tempdir().unwrap();
        let directory = Directory::at(parent.path().join("run"), geteuid().as_raw()).unwrap();
        let (listener, place) = directory.listen("one").unwrap();
        assert!(directory.listen("one").is_err());
        assert!(directory.connect("one").is_ok() && directory.connect("two").is_err());
        assert_eq!(directory.names().unwrap(), ["one"]);
        // Killed: the socket stays, and nobody listens.
        drop(listener);
        std::mem::forget(place);
        let (_listener, place) = directory.listen("one").unwrap();
        drop(_listener);
        std::mem::forget(place);
        assert!(directory.names().unwrap().is_empty());
        let (_listener, place) = directory.listen("one").unwrap();
        drop(place);
        let left: Vec<_> =
            fs::read_dir(&directory.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [LOCK]);
    }

    #[test]
    fn a_directory_that_others_can_enter_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let uid = geteuid().as_raw();
        assert!(Directory::at(path.clone(), uid).is_err());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(Directory::at(path.clone(), uid).is_ok());
        assert!(Directory::at(path.clone(), uid + 1).is_err());
        let link = parent.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(Directory::at(link, uid).is_err());
    }
}
