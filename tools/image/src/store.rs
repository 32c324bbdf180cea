//! Files that are either whole or not there: everything is written aside, brought to the disk and then renamed, and
//! one process at a time does so. This file knows no package and no image.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::{Error, Progress};

/// `$XDG_CACHE_HOME/myvmm`, or `~/.cache/myvmm`.
///
/// # Errors
/// [`Error::NoCacheDirectory`] if the environment names neither.
pub fn default_cache() -> Result<PathBuf, Error> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    cache.map(|cache| cache.join("myvmm")).ok_or(Error::NoCacheDirectory)
}

/// Writes a file, whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".new{}", std::process::id()));
    let aside = PathBuf::from(aside);
    let written = File::create(&aside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&aside, path)) {
        // The first error is the one to tell; a leftover would do no harm.
        let _ = fs::remove_file(&aside);
        return Err(Error::file("write", path)(error));
    }
    Ok(())
}

/// Moves a finished directory to where it is looked for, instead of what was there.
pub(crate) fn place(finished: &Path, path: &Path) -> Result<(), Error> {
    sync(finished)?;
    remove(path)?;
    fs::rename(finished, path).map_err(Error::file("create", path))?;
    path.parent().map_or(Ok(()), sync)
}

/// Moves a finished file to where it is looked for, instead of what was there.
pub(crate) fn replace(finished: &Path, path: &Path) -> Result<(), Error> {
    sync(finished)?;
    fs::rename(finished, path).map_err(Error::file("create", path))?;
    path.parent().map_or(Ok(()), sync)
}

/// Removes a file, if there is one.
pub(crate) fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", path)(error)),
        _ => Ok(()),
    }
}

fn sync(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::file("write", path))
}

/// Removes a directory and all in it, if there is one.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", path)(error)),
        _ => Ok(()),
    }
}

/// An empty directory at `path`, whatever an earlier process may have left there.
pub(crate) fn fresh(path: &Path) -> Result<(), Error> {
    remove(path)?;
    fs::create_dir_all(path).map_err(Error::file("create", path))
}

/// The right to change the files of a cache; it ends when this is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until no other process changes the files in `directory`, which is made if need be.
    pub fn take(directory: &Path, progress: &mut dyn Progress) -> Result<Self, Error> {
        fs::create_dir_all(directory).map_err(Error::file("create", directory))?;
        let path = directory.join("lock");
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(Error::file("open", &path))?;
        match file.try_lock() {
            Ok(()) => return Ok(Self { _file: file }),
            Err(TryLockError::Error(error)) => return Err(Error::file("lock", &path)(error)),
            Err(TryLockError::WouldBlock) => {}
        }
        progress.step("waiting for another process that makes images in the same cache", 0, None);
        file.lock().map_err(Error::file("lock", &path))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Silent;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(matches!(write(&directory.path().join("no/file"), b""), Err(Error::File { .. })));
    }

    #[test]
    fn a_directory_is_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let (aside, path) = (directory.path().join("aside"), directory.path().join("done"));
        for name in ["first", "second"] {
            fresh(&aside).unwrap();
            write(&aside.join(name), b"x").unwrap();
            place(&aside, &path).unwrap();
        }
        assert!(path.join("second").exists() && !path.join("first").exists() && !aside.exists());
    }

    #[test]
    fn the_second_process_waits_and_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let held = Lock::take(directory.path(), &mut Silent).unwrap();
        let (said, hear) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let path = directory.path();
            let waiter = scope.spawn(move || {
                let mut progress = |what: &str, _: u64, _: Option<u64>| said.send(what.to_owned()).unwrap();
                Lock::take(path, &mut progress).is_ok()
            });
            assert!(hear.recv().unwrap().starts_with("waiting"));
            assert!(!waiter.is_finished());
            drop(held);
            assert!(waiter.join().unwrap());
        });
    }
}
