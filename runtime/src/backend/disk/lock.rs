//! Locks on image files, so that no two processes change one, in QEMU's way, so that it and myvmm
//! respect each other. It must not know formats.
//!
//! QEMU (`block/file-posix.c`, `raw_apply_lock_bytes` and `raw_check_lock_bytes`; `include/block/block-common.h`
//! for the permissions) keeps shared open-file-description locks on single bytes: byte 100 + p says "I
//! do p", byte 200 + p says "nobody else may do p". Whoever comes takes its own locks first and then
//! looks for those of others that forbid it, so that of two at once at most one goes on.

use std::fs::File;
use std::io;
use std::sync::Mutex;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{F_RDLCK, F_UNLCK, F_WRLCK, SEEK_SET, c_int, flock};

use crate::device::lock;

const DOES: i64 = 100;
const FORBIDS: i64 = 200;

/// Permissions by their bits.
const READ: i64 = 0;
const WRITE: i64 = 1;
const RESIZE: i64 = 3;

/// What others may not do, whoever holds an image.
const FORBIDDEN: &[i64] = &[WRITE, RESIZE];

/// The lock of an image. It goes when this and all other copies of the opened file are closed.
pub struct Lock {
    file: File,
    read_only: bool,
    is_held: Mutex<bool>,
}

impl Lock {
    /// That of the image in `file`, which is not taken yet.
    pub fn new(file: &File, read_only: bool) -> io::Result<Self> {
        Ok(Self { file: file.try_clone()?, read_only, is_held: Mutex::new(false) })
    }

    /// Whether it is taken.
    pub fn is_held(&self) -> bool {
        *lock(&self.is_held)
    }

    /// Takes the lock, if it is not held; `false` if others use the image otherwise. A file system without locks is
    /// taken as it is.
    pub fn take(&self) -> io::Result<bool> {
        let mut is_held = lock(&self.is_held);
        if *is_held {
            return Ok(true);
        }
        *is_held = match apply(&self.file, self.does(), FORBIDDEN) {
            Err(error) if is_without_locks(&error) => true,
            result => result?,
        };
        if !*is_held {
            // What was taken before others were found must not keep them out.
            self.unlock()?;
        }
        Ok(*is_held)
    }

    /// Gives the lock up.
    pub fn release(&self) -> io::Result<()> {
        *lock(&self.is_held) = false;
        self.unlock()
    }

    /// Whether somebody else holds the image to change it; said of any on a file system without locks.
    pub fn is_changed_by_others(&self) -> io::Result<bool> {
        match is_locked(&self.file, DOES + WRITE) {
            Err(error) if is_without_locks(&error) => Ok(true),
            result => result,
        }
    }

    fn does(&self) -> &'static [i64] {
        if self.read_only { &[READ] } else { &[READ, WRITE] }
    }

    fn unlock(&self) -> io::Result<()> {
        for byte in bytes(DOES, self.does()).chain(bytes(FORBIDS, FORBIDDEN)) {
            match set(&self.file, F_UNLCK, byte) {
                Err(error) if !is_without_locks(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

fn apply(file: &File, does: &[i64], forbids: &[i64]) -> io::Result<bool> {
    for byte in bytes(DOES, does).chain(bytes(FORBIDS, forbids)) {
        set(file, F_RDLCK, byte)?;
    }
    for byte in bytes(FORBIDS, does).chain(bytes(DOES, forbids)) {
        if is_locked(file, byte)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn set(file: &File, kind: c_int, byte: i64) -> io::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&request(kind, byte)))?;
    Ok(())
}

fn bytes(base: i64, permissions: &[i64]) -> impl Iterator<Item = i64> {
    permissions.iter().map(move |permission| base + permission)
}

/// Whether another open file has the byte locked.
fn is_locked(file: &File, byte: i64) -> io::Result<bool> {
    let mut request = request(F_WRLCK, byte);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut request))?;
    Ok(c_int::from(request.l_type) != F_UNLCK)
}

fn request(kind: c_int, byte: i64) -> flock {
    flock { l_type: kind as i16, l_whence: SEEK_SET as i16, l_start: byte, l_len: 1, l_pid: 0 }
}

fn is_without_locks(error: &io::Error) -> bool {
    let codes = [rustix::io::Errno::NOLCK, rustix::io::Errno::OPNOTSUPP, rustix::io::Errno::INVAL];
    codes.iter().any(|code| error.raw_os_error() == Some(code.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    /// Whether `lock` can be taken after files were closed: a process that another test has just forked has copies of them
    /// until it runs its program.
    fn is_free_soon(lock: &Lock) -> bool {
        const PATIENCE: Duration = Duration::from_secs(10);
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if lock.take().unwrap() {
                return true;
            }
            thread::sleep(Duration::from_millis(1));
        }
        false
    }

    #[test]
    fn writers_are_alone_and_readers_are_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lock = |read_only| {
            let file = File::options().read(true).write(true).open(file.path()).unwrap();
            Lock::new(&file, read_only).unwrap()
        };
        let writer = lock(false);
        assert!(!lock(true).is_changed_by_others().unwrap());
        assert!(writer.take().unwrap() && writer.take().unwrap());
        let next = lock(false);
        assert!(next.is_changed_by_others().unwrap());
        assert!(!next.take().unwrap() && !lock(true).take().unwrap());
        writer.release().unwrap();
        assert!(next.take().unwrap());
        assert!(!writer.take().unwrap());
        drop(next);
        let readers = [lock(true), lock(true)];
        assert!(readers.iter().all(is_free_soon));
        assert!(!readers[0].is_changed_by_others().unwrap() && !writer.take().unwrap());
        drop(readers);
        assert!(is_free_soon(&writer));
    }
}
