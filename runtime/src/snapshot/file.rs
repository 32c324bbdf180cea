//! Files that are there whole or not at all: written aside, brought to the disk, then renamed.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Replaces or makes the file `path`. A link is followed; a device or a directory is never replaced.
///
/// # Errors
/// Fails if the host refuses; what was there before is then still there.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, |file| file.write_all(bytes))
}

/// As [`write()`], with what `fill` puts into the file, which is empty.
///
/// # Errors
/// As [`write()`], and if `fill` fails.
pub fn replace(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match std::fs::metadata(path) {
        Ok(there) if there.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(there) if !there.is_file() => return Err(io::Error::other("there is a device, not a file")),
        _ => {}
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // As any new file, as far as the user's mask allows; a temporary one would be private.
    let permissions = Permissions::from_mode(0o666);
    let mut aside =
        tempfile::Builder::new().prefix(".myvmm-").permissions(permissions).tempfile_in(directory)?;
    fill(aside.as_file_mut())?;
    aside.as_file().sync_all()?;
    aside.persist(path).map_err(|error| error.error)?;
    // The rename itself must reach the disk too.
    File::open(directory)?.sync_all()
}
