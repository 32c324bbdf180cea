//! Images in QEMU's format qcow2, by the crate imago. Backing files that an image names are opened too, to be read only;
//! no file is changed because an image names it. It must not know who uses them.

mod check;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use imago::file::File as Storage;
use imago::format::gate::ImplicitOpenGate;
use imago::{FormatAccess, FormatCreateBuilder as _, FormatDriverBuilder, Mapping, StorageOpenOptions};

use super::{Disk, is_storage, write_plain_zeroes};
use crate::device::lock;

/// A qcow2 image.
pub struct Qcow2 {
    /// To give storage back, imago wants to be alone with the image.
    access: RwLock<FormatAccess<Storage>>,
    file: File,
    path: PathBuf,
    below: Below,
    size: u64,
    read_only: bool,
}

/// How many images may stand on one another. One that stands on itself has no end.
const MOST_LEVELS: usize = 64;

/// The files that an image names. They stay open, since a confined process cannot open them again.
#[derive(Clone, Default)]
struct Below {
    files: Arc<Mutex<HashMap<PathBuf, File>>>,
    /// How many images are above.
    level: usize,
}

impl ImplicitOpenGate<Storage> for Below {
    fn open_format<F: FormatDriverBuilder<Storage>>(
        &mut self,
        builder: F,
    ) -> io::Result<FormatAccess<Storage>> {
        let below = Self { level: self.level + 1, ..self.clone() };
        if below.level > MOST_LEVELS {
            let what = format!("more than {MOST_LEVELS} images stand on one another, or one on itself");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(FormatAccess::new(builder.open(below)?))
    }

    fn open_storage(&mut self, options: StorageOpenOptions) -> io::Result<Storage> {
        let refused = |why: &str| Err(io::Error::new(io::ErrorKind::Unsupported, why));
        if options.get_writable() {
            // Whoever made the image may name any file of the user's, and nothing locks it.
            return refused(
                "the image's data is in another file; `qemu-img convert -O qcow2` makes one of both",
            );
        }
        let path = options.get_filename().map(Path::to_owned).ok_or(io::ErrorKind::InvalidInput)?;
        let file = match lock(&self.files).entry(path) {
            Entry::Occupied(open) => open.get().try_clone()?,
            Entry::Vacant(place) if is_storage(place.key())? => {
                let file = File::open(place.key())?;
                place.insert(file).try_clone()?
            }
            Entry::Vacant(_) => return refused("it is neither a regular file nor a block device"),
        };
        Storage::from_open_file(file, options)
    }
}

impl Qcow2 {
    /// The image in `file`, which was opened at `path`: names in the image are relative to that.
    ///
    /// # Errors
    /// Refuses what is no such image, is cut, has its data in another file, or uses what imago does not know: compression by
    /// zstd and extended entries.
    pub fn new(file: File, path: &Path, read_only: bool) -> io::Result<Self> {
        let below = Below::default();
        let access = open(&file, path, read_only, &below)?;
        let (path, size) = (path.to_owned(), access.size());
        Ok(Self { access: RwLock::new(access), file, path, below, size, read_only })
    }

    /// Makes the empty `file` an image of `size` zero bytes.
    ///
    /// # Errors
    /// Fails if the host has no room for its tables.
    pub fn create(file: &File, size: u64) -> io::Result<()> {
        let storage = Storage::from_open_file(file.try_clone()?, StorageOpenOptions::new().write(true))?;
        imago::qcow2::Qcow2::<Storage>::create_builder(storage).size(size).create()
    }

    fn shared(&self) -> RwLockReadGuard<'_, FormatAccess<Storage>> {
        self.access.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn alone(&self) -> RwLockWriteGuard<'_, FormatAccess<Storage>> {
        self.access.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(file: &File, path: &Path, read_only: bool, below: &Below) -> io::Result<FormatAccess<Storage>> {
    check::tables(file)?;
    let options = StorageOpenOptions::new().filename(path).write(!read_only);
    let storage = Storage::from_open_file(file.try_clone()?, options)?;
    let image = imago::qcow2::Qcow2::<Storage>::builder(storage).write(!read_only);
    Ok(FormatAccess::new(image.open(below.clone())?))
}

impl Disk for Qcow2 {
    fn check(&self) -> io::Result<()> {
        check::uses(&self.file)
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn next_data(&self, place: u64) -> io::Result<Option<Range<u64>>> {
        let (access, mut at) = (self.shared(), place);
        while at < self.size {
            match access.get_mapping(at, self.size - at)? {
                (Mapping::Eof { .. }, _) => break,
                (Mapping::Zero { .. }, length) if length > 0 => at += length,
                // What is not known to be zero may be anything.
                (_, length) => return Ok(Some(at..at + length.max(1))),
            }
        }
        Ok(None)
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

    /// Version 2 of the format has no clusters that are zero.
    fn write_zeroes(&self, place: u64, length: u64, unmap: bool) -> io::Result<()> {
        let done = if unmap {
            self.alone().discard_to_zero(place, length)
        } else {
            self.shared().write_zeroes(place, length)
        };
        match done {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                write_plain_zeroes(self, place, length)
            }
            done => done,
        }
    }

    /// imago's own way to forget would leave it with the file's old length.
    fn refresh(&self) -> io::Result<()> {
        *self.alone() = open(&self.file, &self.path, self.read_only, &self.below)?;
        Ok(())
    }
}
