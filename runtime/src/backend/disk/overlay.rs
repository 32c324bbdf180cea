//! A disk whose changes are forgotten: they go to a file without a name, and the image below is only
//! read. It must not know the image's format.

use std::fs::File;
use std::io;
use std::ops::Range;

use super::Disk;
use super::raw::Raw;

/// What is copied from the image when a part of it changes.
const CLUSTER: u64 = 4096;

/// A disk over another.
pub struct Overlay {
    base: Box<dyn Disk>,
    changes: Raw,
    /// A bit for each cluster that is in `changes`.
    changed: Vec<u64>,
}

impl Overlay {
    /// Changes to `base` go to `file`, which is empty.
    ///
    /// # Errors
    /// Fails if the file cannot be made as large as the image.
    pub fn new(base: Box<dyn Disk>, file: File) -> io::Result<Self> {
        let clusters = base.size().div_ceil(CLUSTER);
        file.set_len(clusters * CLUSTER)?;
        let changed = vec![0; usize::try_from(clusters.div_ceil(64)).unwrap_or(usize::MAX)];
        Ok(Self { base, changes: Raw::new(file, false)?, changed })
    }

    fn is_changed(&self, cluster: u64) -> bool {
        self.changed[(cluster / 64) as usize] & 1 << (cluster % 64) != 0
    }

    /// Notes that a cluster changes; copies it first unless all of it will be written.
    fn take_over(&mut self, cluster: u64, whole: bool) -> io::Result<()> {
        if self.is_changed(cluster) {
            return Ok(());
        }
        if !whole {
            let place = cluster * CLUSTER;
            let mut bytes = [0; CLUSTER as usize];
            let length = (self.base.size() - place).min(CLUSTER) as usize;
            self.base.read(place, &mut bytes[..length])?;
            self.changes.write(place, &bytes)?;
        }
        self.changed[(cluster / 64) as usize] |= 1 << (cluster % 64);
        Ok(())
    }

    /// Notes that a range changes.
    fn take_over_all(&mut self, range: &Range<u64>) -> io::Result<()> {
        for cluster in range.start / CLUSTER..range.end.div_ceil(CLUSTER) {
            let all = cluster * CLUSTER..(cluster + 1) * CLUSTER;
            self.take_over(cluster, range.start <= all.start && all.end <= range.end)?;
        }
        Ok(())
    }

    /// How many bytes from `place` on, up to `end`, are changed as the first is.
    fn run(&self, place: u64, end: u64) -> (bool, u64) {
        let first = place / CLUSTER;
        let changed = self.is_changed(first);
        let others = (first..end.div_ceil(CLUSTER)).find(|cluster| self.is_changed(*cluster) != changed);
        (changed, others.map_or(end, |cluster| cluster * CLUSTER) - place)
    }
}

impl Disk for Overlay {
    fn size(&self) -> u64 {
        self.base.size()
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn read(&mut self, place: u64, to: &mut [u8]) -> io::Result<()> {
        let (mut at, end) = (place, place + to.len() as u64);
        while at < end {
            let (changed, length) = self.run(at, end);
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

    fn write(&mut self, place: u64, from: &[u8]) -> io::Result<()> {
        self.take_over_all(&(place..place + from.len() as u64))?;
        self.changes.write(place, from)
    }

    /// Nothing is to survive.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&mut self, _place: u64, _length: u64) -> io::Result<()> {
        Ok(())
    }

    fn write_zeroes(&mut self, place: u64, length: u64, unmap: bool) -> io::Result<()> {
        self.take_over_all(&(place..place + length))?;
        self.changes.write_zeroes(place, length, unmap)
    }
}
