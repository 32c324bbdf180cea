//! Locks on image files, so that no two processes change one, in QEMU's way, so that it and myvmm
//! respect each other. It must not know formats.
//!
//! QEMU (`block/file-posix.c`, `raw_apply_lock_bytes` and `raw_check_lock_bytes`; `include/block/block-common.h`
//! for the permissions) keeps shared open-file-description locks on single bytes: byte 100 + p says "I
//! do p", byte 200 + p says "nobody else may do p". Whoever comes takes its own locks first and then
//! looks for those of others that forbid it, so that of two at once at most one goes on.

use std::fs::File;
use std::io;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{F_RDLCK, F_UNLCK, F_WRLCK, SEEK_SET, c_int, flock};

const DOES: i64 = 100;
const FORBIDS: i64 = 200;

/// Permissions by their bits.
const READ: i64 = 0;
const WRITE: i64 = 1;
const RESIZE: i64 = 3;

/// Locks an image until `file` and its copies are closed; `false` if others use it otherwise. A file
/// system without locks is taken as it is.
pub fn take(file: &File, read_only: bool) -> io::Result<bool> {
    let does: &[i64] = if read_only { &[READ] } else { &[READ, WRITE] };
    let forbids = &[WRITE, RESIZE];
    match apply(file, does, forbids) {
        Err(error) if is_without_locks(&error) => Ok(true),
        result => result,
    }
}

fn apply(file: &File, does: &[i64], forbids: &[i64]) -> io::Result<bool> {
    for byte in bytes(DOES, does).chain(bytes(FORBIDS, forbids)) {
        fcntl(file, FcntlArg::F_OFD_SETLK(&request(F_RDLCK, byte)))?;
    }
    for byte in bytes(FORBIDS, does).chain(bytes(DOES, forbids)) {
        if is_locked(file, byte)? {
            return Ok(false);
        }
    }
    Ok(true)
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
    use super::*;

    #[test]
    fn writers_are_alone_and_readers_are_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = || File::options().read(true).write(true).open(file.path()).unwrap();
        let writer = open();
        assert!(take(&writer, false).unwrap());
        assert!(!take(&open(), false).unwrap());
        assert!(!take(&open(), true).unwrap());
        drop(writer);
        let readers = [open(), open()];
        assert!(readers.iter().all(|reader| take(reader, true).unwrap()));
        assert!(!take(&open(), false).unwrap());
        drop(readers);
        assert!(take(&open(), false).unwrap());
    }
}
