//! Images in QEMU's format qcow2, by the crate imago. Backing files that an image names are opened too,
//! to be read only. It must not know who uses them.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use imago::file::File as Storage;
use imago::{FormatAccess, FormatDriverBuilder as _, PermissiveImplicitOpenGate, StorageOpenOptions};

use super::Disk;

/// A qcow2 image.
pub struct Qcow2 {
    /// To give storage back, imago wants to be alone with the image.
    access: RwLock<FormatAccess<Storage>>,
    size: u64,
    read_only: bool,
}

impl Qcow2 {
    /// The image in `file`, which was opened at `path`: names in the image are relative to that.
    ///
    /// # Errors
    /// Refuses what is no such image, is damaged, or uses what imago does not know: compression by zstd
    /// and extended entries.
    pub fn new(file: File, path: &Path, read_only: bool) -> io::Result<Self> {
        let options = StorageOpenOptions::new().filename(path).write(!read_only);
        let storage = Storage::from_open_file(file, options)?;
        let image = imago::qcow2::Qcow2::<Storage>::builder(storage).write(!read_only);
        let access = FormatAccess::new(image.open(PermissiveImplicitOpenGate::default())?);
        let size = access.size();
        Ok(Self { access: RwLock::new(access), size, read_only })
    }

    fn shared(&self) -> RwLockReadGuard<'_, FormatAccess<Storage>> {
        self.access.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn alone(&self) -> RwLockWriteGuard<'_, FormatAccess<Storage>> {
        self.access.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for Qcow2 {
    fn size(&self) -> u64 {
        self.size
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn read(&self, place: u64, to: &mut [u8]) -> io::Result<()> {
        self.shared().read(to, place)
    }

    fn write(&self, place: u64, from: &[u8]) -> io::Result<()> {
        self.shared().write(from, place)
    }

    /// First imago's own caches of tables, then the host's cache.
    fn flush(&self) -> io::Result<()> {
        let access = self.shared();
        access.flush()?;
        access.sync()
    }

    fn discard(&self, place: u64, length: u64) -> io::Result<()> {
        match self.alone().discard_to_any(place, length) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            result => result,
        }
    }

    fn write_zeroes(&self, place: u64, length: u64, unmap: bool) -> io::Result<()> {
        if unmap {
            self.alone().discard_to_zero(place, length)
        } else {
            self.shared().write_zeroes(place, length)
        }
    }
}
