//! Which blocks of a disk change while somebody watches, so that a copy that is being made can be brought up to date.
//! It must not know how a disk is stored or copied.

use std::fs::File;
use std::io;
use std::sync::Mutex;

use super::SharedDisk;
use super::blocks::Blocks;
use crate::device::lock;

/// Bytes of a block, of which the last of a disk may have fewer. A cluster of qcow2 has as many by default, so that none
/// is ever copied in two halves; a disk of 1 TB takes 2 MB of bits. Guests that write here and there send more with larger
/// blocks, and with smaller ones each costs more than what is in it.
pub const BLOCK: u64 = 64 << 10;

/// What changed since the last look, while somebody looks.
#[derive(Default)]
pub(super) struct Changes(Mutex<Option<Blocks>>);

impl Changes {
    /// Does what changes `length` bytes at `place`, however it ends. The blocks are noted afterwards: whoever took note of
    /// them before and reads them now may read what was there before.
    pub fn during<T>(&self, place: u64, length: u64, change: impl FnOnce() -> T) -> T {
        let result = change();
        if let Some(blocks) = &mut *lock(&self.0) {
            (place / BLOCK..(place + length).div_ceil(BLOCK)).for_each(|number| blocks.insert(number));
        }
        result
    }

    fn begin(&self, size: u64) -> io::Result<()> {
        *lock(&self.0) = Some(Blocks::none(size, BLOCK)?);
        Ok(())
    }

    fn take(&self) -> Vec<u64> {
        lock(&self.0).as_mut().map(Blocks::take).unwrap_or_default()
    }

    fn end(&self) {
        *lock(&self.0) = None;
    }
}

/// A file in which each byte of a disk is at its own place, to be read and written by others.
#[derive(Clone, Copy)]
pub struct PlainFile<'a> {
    pub(super) file: &'a File,
    pub(super) changes: &'a Changes,
}

impl PlainFile<'_> {
    /// Has bytes read by `read`.
    pub fn read(&self, read: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
        read(self.file)
    }

    /// Has `length` bytes at `place` written by `write`.
    pub fn write(
        &self,
        place: u64,
        length: u64,
        write: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        self.changes.during(place, length, || write(self.file))
    }
}

/// A look at a disk that others change; there is one at a time.
pub struct Watch {
    disk: SharedDisk,
    begun: bool,
}

impl SharedDisk {
    /// Watches over the disk until the watch is dropped.
    pub fn watch(&self) -> Watch {
        Watch { disk: self.clone(), begun: false }
    }
}

impl Watch {
    /// The places of the blocks that changed since the last call, or, at the first, of all that may be other than zero. What
    /// is being written meanwhile is told the next time, if not now.
    ///
    /// # Errors
    /// Fails as the host does, and refuses a disk that is larger than any should be.
    pub fn changed(&mut self) -> io::Result<Vec<u64>> {
        let (disk, changes) = (&self.disk.inner.disk, &self.disk.inner.changes);
        if std::mem::replace(&mut self.begun, true) {
            return Ok(changes.take().into_iter().map(|number| number * BLOCK).collect());
        }
        changes.begin(disk.size())?;
        let mut places = Vec::new();
        let mut at = 0;
        while let Some(data) = disk.next_data(at)? {
            places.extend((data.start / BLOCK..data.end.div_ceil(BLOCK)).map(|number| number * BLOCK));
            at = data.end.next_multiple_of(BLOCK);
            if at >= disk.size() {
                break;
            }
        }
        Ok(places)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.disk.inner.changes.end();
    }
}
