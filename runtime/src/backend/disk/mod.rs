//! Disk images on the host: how one is opened, and what can be done with it whatever its format. It
//! must not know who uses it, nor virtio.

mod blocks;
mod changes;
mod create;
#[cfg(test)]
mod fuzz;
mod lock;
mod overlay;
mod qcow2;
mod raw;

use std::fmt::{self, Debug, Formatter};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::changes::Changes;
pub use self::changes::{BLOCK, PlainFile, Watch};
use self::create::NewFile;
use self::lock::Lock;
use self::overlay::Overlay;
use self::qcow2::Qcow2;
use self::raw::Raw;

/// The content of a disk. Places and lengths are in bytes and were checked against the size. Any number
/// of threads may use it at once; of changes to the same bytes at the same time, either may win.
pub trait Disk: Send + Sync {
    /// Refuses an image whose content cannot be relied on. To be called when no other process changes it, before it is
    /// used.
    fn check(&self) -> io::Result<()> {
        Ok(())
    }

    /// The size in bytes, which never changes.
    fn size(&self) -> u64;

    /// Whether the disk refuses changes.
    fn is_read_only(&self) -> bool;

    /// The file in which each byte of the disk is at its own place, if there is one: then bytes may also
    /// be moved between it and elsewhere without [`Disk::read`] and [`Disk::write`].
    fn plain_file(&self) -> Option<&File> {
        None
    }

    /// The next bytes from `place`, which is before the end, that may be other than zero, if there are any.
    fn next_data(&self, place: u64) -> io::Result<Option<Range<u64>>> {
        Ok(Some(place..self.size()))
    }

    /// Fills `to` from `place` on.
    fn read(&self, place: u64, to: &mut [u8]) -> io::Result<()>;

    /// Writes `from` at `place`; it may stay in a cache until the next flush.
    fn write(&self, place: u64, from: &[u8]) -> io::Result<()>;

    /// Brings all that was written to stable storage.
    fn flush(&self) -> io::Result<()>;

    /// Gives back the host's storage for `length` bytes at `place`, whose content no longer matters.
    fn discard(&self, place: u64, length: u64) -> io::Result<()>;

    /// Makes `length` bytes at `place` zero; `unmap` says that they need no storage then.
    fn write_zeroes(&self, place: u64, length: u64, unmap: bool) -> io::Result<()>;

    /// Forgets what is known of the image, since another process may have changed it. Nothing that was written may be
    /// waiting for a flush.
    fn refresh(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes of a file. Of a block device, the metadata says that there are none.
fn length(mut file: &File) -> io::Result<u64> {
    file.seek(SeekFrom::End(0))
}

/// Zeroes that are written at once.
static ZEROES: [u8; 64 * 1024] = [0; 64 * 1024];

/// Writes zeroes as anything else is written, where there is no other way to have them.
fn write_plain_zeroes(disk: &impl Disk, place: u64, length: u64) -> io::Result<()> {
    (0..length).step_by(ZEROES.len()).try_for_each(|at| {
        let piece = (length - at).min(ZEROES.len() as u64) as usize;
        disk.write(place + at, &ZEROES[..piece])
    })
}

/// How the content of a disk is stored in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// Byte by byte.
    Raw,
    /// QEMU's format, which takes only as much room as is used.
    Qcow2,
}

/// Which image, and how to use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The file or block device.
    pub file: PathBuf,
    /// How it is stored; if nothing is said, raw.
    pub format: Option<Format>,
    /// Whether changes are refused.
    pub read_only: bool,
    /// Whether changes are forgotten in the end, and the image is only read.
    pub snapshot: bool,
}

/// Why an image cannot be used.
#[derive(Debug, Error)]
pub enum DiskError {
    /// The host does not open it.
    #[error("Cannot open disk image {file}", file = file.display())]
    Open {
        /// The image.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else uses it in a way that goes not together with ours.
    #[error("Disk image {file} is in use, by another process or as another disk; stop that use, or make both read-only", file = file.display())]
    Busy {
        /// The image.
        file: PathBuf,
    },
    /// Nobody uses it who could hand it over.
    #[error("Disk image {file} is not the guest's here: nobody has it in use; both hosts need the same file, on storage that they share, and with its locks", file = file.display())]
    Another {
        /// The image.
        file: PathBuf,
    },
    /// It cannot be handed over, or taken.
    #[error("Cannot hand over disk image {file}", file = file.display())]
    HandOver {
        /// The image.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A new image cannot be made.
    #[error("Cannot make disk image {file}", file = file.display())]
    Create {
        /// The image.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is neither a file nor a block device.
    #[error("Disk image {file} is neither a regular file nor a block device", file = file.display())]
    Kind {
        /// The image.
        file: PathBuf,
    },
    /// Its format was not said and is in doubt.
    #[error("Disk image {file} looks like qcow2; say format=qcow2, or format=raw if it is not", file = file.display())]
    Format {
        /// The image.
        file: PathBuf,
    },
    /// There is no room for changes that are to be forgotten.
    #[error("Cannot make a temporary file for the changes of a disk; set TMPDIR to a directory with room")]
    Changes(#[source] io::Error),
    /// It is empty.
    #[error("Disk image {file} is smaller than a sector of 512 bytes; make it larger, as by truncate -s 1G", file = file.display())]
    Empty {
        /// The image.
        file: PathBuf,
    },
}

/// An opened disk. Clones are the same disk: it stays open, and locked, from one boot of a machine to
/// the next. All changes are made by its methods, so that whoever watches learns of them.
#[derive(Clone)]
pub struct SharedDisk {
    inner: Arc<Inner>,
}

struct Inner {
    disk: Box<dyn Disk>,
    changes: Changes,
    origin: Option<Origin>,
}

/// Where a disk comes from.
struct Origin {
    image: Image,
    lock: Lock,
    /// The image's file, if it was made for the disk.
    new: Option<NewFile>,
}

impl SharedDisk {
    /// A disk that others can share.
    pub fn new(disk: Box<dyn Disk>) -> Self {
        Self::with(disk, None)
    }

    fn with(disk: Box<dyn Disk>, origin: Option<Origin>) -> Self {
        Self { inner: Arc::new(Inner { disk, changes: Changes::default(), origin }) }
    }

    /// The image behind the disk, if it was opened from one.
    pub fn image(&self) -> Option<&Image> {
        self.inner.origin.as_ref().map(|origin| &origin.image)
    }

    /// The image's file, for people.
    pub fn name(&self) -> String {
        let file = self.image().map(|image| std::path::absolute(&image.file).unwrap_or(image.file.clone()));
        file.map_or_else(|| "in no file".to_owned(), |file| file.display().to_string())
    }

    /// Opens an image and locks it against other processes.
    ///
    /// # Errors
    /// Refuses what is no image, or is in use.
    pub fn open(image: &Image) -> Result<Self, DiskError> {
        let disk = Self::open_origin(image, |origin| origin.take())?;
        disk.inner.disk.check().map_err(|source| DiskError::Open { file: image.file.clone(), source })?;
        Ok(disk)
    }

    /// Opens an image that another process changes until it hands it over: it may be used only after [`Self::take`].
    ///
    /// # Errors
    /// Refuses what is no image, or is not in use.
    pub fn open_to_take(image: &Image) -> Result<Self, DiskError> {
        Self::open_origin(image, |Origin { image, lock, .. }| match lock.is_changed_by_others() {
            Ok(true) => Ok(()),
            Ok(false) => Err(DiskError::Another { file: image.file.clone() }),
            Err(source) => Err(DiskError::Open { file: image.file.clone(), source }),
        })
    }

    fn open_origin(
        image: &Image,
        claim: impl FnOnce(&Origin) -> Result<(), DiskError>,
    ) -> Result<Self, DiskError> {
        let read_only = image.read_only || image.snapshot;
        let file = open_file(&image.file, read_only)?;
        let failed = |source| DiskError::Open { file: image.file.clone(), source };
        let lock = Lock::new(&file, read_only).map_err(failed)?;
        let origin = Origin { image: image.clone(), lock, new: None };
        claim(&origin)?;
        Ok(Self::with(open_content(file, image)?, Some(origin)))
    }

    /// Makes an image of `bytes` zero bytes. It has no name, and leaves nothing behind, until it is taken for the first time
    /// ([`Self::take`]).
    ///
    /// # Errors
    /// Refuses a name that is taken, and fails if the host makes no such file.
    pub fn create(image: &Image, bytes: u64) -> Result<Self, DiskError> {
        let failed = |source| DiskError::Create { file: image.file.clone(), source };
        let new = NewFile::new(&image.file).map_err(failed)?;
        match image.format.unwrap_or(Format::Raw) {
            Format::Raw => new.file().set_len(bytes),
            Format::Qcow2 => Qcow2::create(new.file(), bytes),
        }
        .map_err(failed)?;
        let file = new.file().try_clone().map_err(failed)?;
        let lock = Lock::new(&file, false).map_err(failed)?;
        let origin = Origin { image: image.clone(), lock, new: Some(new) };
        origin.take()?;
        Ok(Self::with(open_content(file, image)?, Some(origin)))
    }

    /// Lets another process have the image: what was written is there. Nobody may use the disk until it is taken
    /// again.
    ///
    /// # Errors
    /// Fails as the host does.
    pub fn hand_over(&self) -> Result<(), DiskError> {
        let Some(origin) = &self.inner.origin else { return Ok(()) };
        let failed = |source| DiskError::HandOver { file: origin.image.file.clone(), source };
        self.inner.disk.flush().and_then(|()| origin.lock.release()).map_err(failed)
    }

    /// Takes an image that was handed over, by another process or to one, if it is not held already. One that was made for
    /// the disk gets its name.
    ///
    /// # Errors
    /// Fails if others use it, and as the host does.
    pub fn take(&self) -> Result<(), DiskError> {
        let Some(origin) = &self.inner.origin else { return Ok(()) };
        if !origin.lock.is_held() {
            origin.take()?;
            let failed = |source| DiskError::HandOver { file: origin.image.file.clone(), source };
            self.inner.disk.check().and_then(|()| self.inner.disk.refresh()).map_err(failed)?;
        }
        let failed = |source| DiskError::Create { file: origin.image.file.clone(), source };
        origin.new.as_ref().map_or(Ok(()), NewFile::name).map_err(failed)
    }

    /// Undoes [`Self::take`] before the disk was used: the image is handed over, or, if it was made for the disk, loses its
    /// name.
    ///
    /// # Errors
    /// Fails as the host does.
    pub fn give_back(&self) -> Result<(), DiskError> {
        match self.inner.origin.as_ref().and_then(|origin| origin.new.as_ref()) {
            Some(new) => {
                new.forget();
                Ok(())
            }
            None => self.hand_over(),
        }
    }

    /// See [`Disk::size`].
    pub fn size(&self) -> u64 {
        self.inner.disk.size()
    }

    /// See [`Disk::is_read_only`].
    pub fn is_read_only(&self) -> bool {
        self.inner.disk.is_read_only()
    }

    /// See [`Disk::plain_file`].
    pub fn plain_file(&self) -> Option<PlainFile<'_>> {
        let file = self.inner.disk.plain_file()?;
        Some(PlainFile { file, changes: &self.inner.changes })
    }

    /// See [`Disk::read`].
    ///
    /// # Errors
    /// Fails as the host does.
    pub fn read(&self, place: u64, to: &mut [u8]) -> io::Result<()> {
        self.inner.disk.read(place, to)
    }

    /// See [`Disk::write`].
    ///
    /// # Errors
    /// Fails as the host does.
    pub fn write(&self, place: u64, from: &[u8]) -> io::Result<()> {
        self.change(place, from.len() as u64, |disk| disk.write(place, from))
    }

    /// See [`Disk::flush`].
    ///
    /// # Errors
    /// Fails as the host does.
    pub fn flush(&self) -> io::Result<()> {
        self.inner.disk.flush()
    }

    /// See [`Disk::discard`].
    ///
    /// # Errors
    /// Fails as the host does.
    pub fn discard(&self, place: u64, length: u64) -> io::Result<()> {
        self.change(place, length, |disk| disk.discard(place, length))
    }

    /// See [`Disk::write_zeroes`].
    ///
    /// # Errors
    /// Fails as the host does.
    pub fn write_zeroes(&self, place: u64, length: u64, unmap: bool) -> io::Result<()> {
        self.change(place, length, |disk| disk.write_zeroes(place, length, unmap))
    }

    fn change<T>(&self, place: u64, length: u64, change: impl FnOnce(&dyn Disk) -> T) -> T {
        self.inner.changes.during(place, length, || change(&*self.inner.disk))
    }
}

impl Origin {
    fn take(&self) -> Result<(), DiskError> {
        let file = || self.image.file.clone();
        match self.lock.take() {
            Ok(true) => Ok(()),
            Ok(false) => Err(DiskError::Busy { file: file() }),
            Err(source) => Err(DiskError::Open { file: file(), source }),
        }
    }
}

/// The content of `image`, which is in `file`.
fn open_content(file: File, image: &Image) -> Result<Box<dyn Disk>, DiskError> {
    // A guest could write what makes a raw image look like another, so it is never guessed.
    if image.format.is_none() && is_qcow2(&file) {
        return Err(DiskError::Format { file: image.file.clone() });
    }
    let read_only = image.read_only || image.snapshot;
    let failed = |source| DiskError::Open { file: image.file.clone(), source };
    let disk: Box<dyn Disk> = match image.format.unwrap_or(Format::Raw) {
        Format::Raw => Box::new(Raw::new(file, read_only).map_err(failed)?),
        Format::Qcow2 => Box::new(Qcow2::new(file, &image.file, read_only).map_err(failed)?),
    };
    if disk.size() < 512 {
        return Err(DiskError::Empty { file: image.file.clone() });
    }
    if image.snapshot && !image.read_only {
        let changes = tempfile::tempfile().and_then(|file| Overlay::new(disk, file));
        return Ok(Box::new(changes.map_err(DiskError::Changes)?));
    }
    Ok(disk)
}

impl Debug for SharedDisk {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_struct("SharedDisk").finish_non_exhaustive()
    }
}

/// Whether a file begins as qcow2 does.
fn is_qcow2(file: &File) -> bool {
    use std::os::unix::fs::FileExt as _;
    let mut magic = [0; 4];
    file.read_exact_at(&mut magic, 0).is_ok() && magic == *b"QFI\xfb"
}

/// Whether a file is one that an image can be in. To open another, such as a pipe, could wait for ever.
fn is_storage(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::FileTypeExt as _;
    let kind = std::fs::metadata(path)?.file_type();
    Ok(kind.is_file() || kind.is_block_device())
}

/// Opens an image's file.
fn open_file(path: &Path, read_only: bool) -> Result<File, DiskError> {
    let failed = |source| DiskError::Open { file: path.to_owned(), source };
    if !is_storage(path).map_err(failed)? {
        return Err(DiskError::Kind { file: path.to_owned() });
    }
    OpenOptions::new().read(true).write(!read_only).open(path).map_err(failed)
}

#[cfg(test)]
mod tests;
