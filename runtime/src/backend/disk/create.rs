//! New images: files that have no name until they are whole, so that whatever happens before, nothing is left of them. It
//! must not know what is in them.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::Mutex;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open, openat, unlinkat};

use crate::device::lock;

/// A file that gets its name later.
pub(super) struct NewFile {
    file: File,
    /// Where it gets its name.
    directory: File,
    name: OsString,
    is_named: Mutex<bool>,
}

impl NewFile {
    /// An empty file, that its owner alone can open, to be called `path`.
    ///
    /// # Errors
    /// Refuses a name that is taken, and fails where there are no files without names.
    pub fn new(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        if path.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let directory = match path.parent() {
            Some(parent) if parent != OsStr::new("") => parent,
            _ => Path::new("."),
        };
        let directory = open(directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = openat(&directory, ".", flags, Mode::RUSR | Mode::WUSR)?;
        let is_named = Mutex::new(false);
        Ok(Self { file: file.into(), directory: directory.into(), name: name.to_owned(), is_named })
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives it its name, if it has none, for good: not even a host that fails now forgets it.
    ///
    /// # Errors
    /// Refuses a name that was taken meanwhile, and fails as the host does; it then has none.
    pub fn name(&self) -> io::Result<()> {
        let mut is_named = lock(&self.is_named);
        if !*is_named {
            // By its number an open file can be linked without privileges (open(2), O_TMPFILE).
            let number = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            linkat(CWD, number, &self.directory, &self.name, AtFlags::SYMLINK_FOLLOW)?;
            *is_named = true;
            self.directory.sync_all().inspect_err(|_| self.take_name(&mut is_named))?;
        }
        Ok(())
    }

    /// Takes its name from it. It never gets another: only a file that never had one may be linked.
    pub fn forget(&self) {
        self.take_name(&mut lock(&self.is_named));
    }

    /// What cannot be removed stays, whole.
    fn take_name(&self, is_named: &mut bool) {
        if std::mem::take(is_named) {
            let _ = unlinkat(&self.directory, &self.name, AtFlags::empty());
        }
    }
}
