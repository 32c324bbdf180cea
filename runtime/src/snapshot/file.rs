//! Files that are there whole or not at all: written aside, brought to the disk, then renamed.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Replaces or makes the file `path`.
///
/// # Errors
/// Fails if the host refuses; what was there before is then still there.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // As any new file, as far as the user's mask allows; a temporary one would be private.
    let permissions = Permissions::from_mode(0o666);
    let mut aside =
        tempfile::Builder::new().prefix(".myvmm-").permissions(permissions).tempfile_in(directory)?;
    aside.write_all(bytes)?;
    aside.as_file().sync_all()?;
    aside.persist(path).map_err(|error| error.error)?;
    // The rename itself must reach the disk too.
    File::open(directory)?.sync_all()
}
