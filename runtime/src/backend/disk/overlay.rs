//! A disk whose changes are forgotten: they go to a file without a name, and the image below is only
//! read. It must not know the image's format.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Mutex;

use super::Disk;
use super::blocks::Blocks;
use super::raw::Raw;
use crate::device::lock;

/// What is copied from the image when a part of it changes.
const CLUSTER: u64 = 4096;

/// A disk over another.
pub struct Overlay {
    base: Box<dyn Disk>,
    changes: Raw,
    /// The clusters that are in the file of changes.
    changed: Mutex<Blocks>,
}

impl Overlay {
    /// Changes to `base` go to `file`, which is empty.
    ///
    /// # Errors
    /// Fails if the file cannot be made as large as the image, or that is larger than any should be.
    pub fn new(base: Box<dyn Disk>, file: File) -> io::Result<Self> {
        let changed = Mutex::new(Blocks::none(base.size(), CLUSTER)?);
        file.set_len(base.size().next_multiple_of(CLUSTER))?;
        Ok(Self { base, changes: Raw::new(file, false)?, changed })
    }

    /// Changes a range by `change`, after which all of it is in the file of changes. The lock is held
    /// all the while, so that a cluster counts as changed only when it is there.
    fn change(&self, range: &Range<u64>, change: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut changed = lock(&self.changed);
        let clusters = range.start / CLUSTER..range.end.div_ceil(CLUSTER);
        for cluster in clusters.clone().filter(|cluster| !changed.contains(*cluster)) {
            let all = cluster * CLUSTER..(cluster + 1) * CLUSTER;
            if range.start > all.start || all.end > range.end {
                self.copy(cluster)?;
            }
        }
        change()?;
        clusters.for_each(|cluster| changed.insert(cluster));
        Ok(())
    }

    /// Copies a cluster from the image to the changes.
    fn copy(&self, cluster: u64) -> io::Result<()> {
        let place = cluster * CLUSTER;
        let mut bytes = [0; CLUSTER as usize];
        let length = (self.base.size() - place).min(CLUSTER) as usize;
        self.base.read(place, &mut bytes[..length])?;
        self.changes.write(place, &bytes)
    }
}

impl Disk for Overlay {
    fn check(&self) -> io::Result<()> {
        self.base.check()
    }

    fn size(&self) -> u64 {
        self.base.size()
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn read(&self, place: u64, to: &mut [u8]) -> io::Result<()> {
        let clusters = lock(&self.changed);
        let (mut at, end) = (place, place + to.len() as u64);
        while at < end {
            let (changed, length) = clusters.run(at, end);
            let piece = &mut to[(at - place) as usize..(at + length - place) as usize];
            if changed {
                self.changes.read(at, piece)?;
            } else {
                self.base.read(at, piece)?;
            }
            at += length;
        }
        Ok(())
    }

    fn write(&self, place: u64, from: &[u8]) -> io::Result<()> {
        self.change(&(place..place + from.len() as u64), || self.changes.write(place, from))
    }

    /// Nothing is to survive.
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, _place: u64, _length: u64) -> io::Result<()> {
        Ok(())
    }

    fn write_zeroes(&self, place: u64, length: u64, unmap: bool) -> io::Result<()> {
        self.change(&(place..place + length), || self.changes.write_zeroes(place, length, unmap))
    }
}
