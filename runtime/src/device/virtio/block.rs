//! A disk (virtio 1.2, section 5.2). It must not know how an image is stored.

use std::io;
use std::sync::Arc;

use super::queue::{Chain, Queue, RingError};
use super::{DeviceKind, VirtioDevice};
use crate::backend::disk::SharedDisk;
use crate::backend::events::Events;

/// The unit of capacity and of addresses (section 5.2.4), whatever the block size.
const SECTOR: u64 = 512;
const QUEUE_SIZE: u16 = 256;
/// The buffers of one request: a descriptor each, besides those of the header and the status.
const MOST_SEGMENTS: u32 = QUEUE_SIZE as u32 - 2;
/// Copied at once between guest memory and the image.
const CHUNK: usize = 256 * 1024;
/// Ranges in one request to discard or to write zeroes, and sectors in each.
const MOST_RANGES: u32 = 16;
const MOST_RANGE_SECTORS: u32 = 1 << 22;
const RANGE_SIZE: u64 = 16;
/// In a range: the blocks may become unallocated.
const UNMAP: u32 = 1 << 0;

const FEATURE_SEGMENTS: u64 = 1 << 2;
const FEATURE_READ_ONLY: u64 = 1 << 5;
const FEATURE_BLOCK_SIZE: u64 = 1 << 6;
const FEATURE_FLUSH: u64 = 1 << 9;
const FEATURE_DISCARD: u64 = 1 << 13;
const FEATURE_WRITE_ZEROES: u64 = 1 << 14;

/// The length of the string that names a disk (section 5.2.6).
const NAME_LENGTH: usize = 20;
const HEADER_LENGTH: u64 = 16;

/// What the driver asks for (section 5.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Request {
    Read = 0,
    Write = 1,
    Flush = 4,
    Name = 8,
    Discard = 11,
    WriteZeroes = 13,
}

impl Request {
    const ALL: [Self; 6] =
        [Self::Read, Self::Write, Self::Flush, Self::Name, Self::Discard, Self::WriteZeroes];

    fn of(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|request| *request as u32 == number)
    }
}

/// How a request ended, as the driver is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Status {
    Done = 0,
    Failed = 1,
    Unsupported = 2,
}

/// Why a request is not done.
enum Failure {
    /// The image or the host failed, or the request is for what the disk does not have.
    Disk,
    /// The driver broke the rules of the ring.
    Ring(RingError),
}

impl From<RingError> for Failure {
    fn from(error: RingError) -> Self {
        Self::Ring(error)
    }
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Self::Disk
    }
}

/// A disk.
pub struct Block {
    disk: SharedDisk,
    name: [u8; NAME_LENGTH],
    sectors: u64,
    read_only: bool,
    /// The driver does not flush, so a write is done when it is on stable storage (section 5.2.6.2).
    write_through: bool,
    buffer: Vec<u8>,
}

impl Block {
    /// A disk with the content of `disk`, which calls itself `name` as far as that fits.
    pub fn new(disk: SharedDisk, name: &str) -> Self {
        let (size, read_only) = {
            let disk = disk.lock();
            (disk.size(), disk.is_read_only())
        };
        let mut padded = [0; NAME_LENGTH];
        let length = name.len().min(NAME_LENGTH);
        padded[..length].copy_from_slice(&name.as_bytes()[..length]);
        let buffer = vec![0; CHUNK];
        Self { disk, name: padded, sectors: size / SECTOR, read_only, write_through: true, buffer }
    }

    /// Does the request in `chain`; gives how many bytes of its room are filled.
    fn execute(&mut self, chain: &Chain) -> Result<u32, RingError> {
        let mut header = [0; HEADER_LENGTH as usize];
        chain.read(0, &mut header)?;
        let kind = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let sector = u64::from_le_bytes(std::array::from_fn(|at| header[8 + at]));
        // The last byte is for the status, the others are for data.
        let room = chain.writable().checked_sub(1).ok_or(RingError::Short)?;
        let done = match Request::of(kind) {
            Some(Request::Read) => self.read(chain, sector, room),
            Some(Request::Write) => self.write(chain, sector),
            Some(Request::Flush) => self.flush(),
            Some(Request::Name) => self.write_name(chain, room),
            Some(Request::Discard) => self.for_each_range(chain, Self::discard),
            Some(Request::WriteZeroes) => self.for_each_range(chain, Self::write_zeroes),
            None => return finish(chain, room, Status::Unsupported, 0),
        };
        match done {
            Ok(filled) => finish(chain, room, Status::Done, filled),
            Err(Failure::Disk) => finish(chain, room, Status::Failed, 0),
            Err(Failure::Ring(error)) => Err(error),
        }
    }

    /// The first byte of `bytes` bytes at `sector`, if the disk has them all.
    fn place(&self, sector: u64, bytes: u64) -> Result<u64, Failure> {
        let whole = bytes.is_multiple_of(SECTOR);
        let end = sector.checked_add(bytes / SECTOR).filter(|end| *end <= self.sectors);
        if whole && end.is_some() { Ok(sector * SECTOR) } else { Err(Failure::Disk) }
    }

    fn read(&mut self, chain: &Chain, sector: u64, bytes: u64) -> Result<u64, Failure> {
        let place = self.place(sector, bytes)?;
        for (at, length) in chunks(bytes) {
            let chunk = &mut self.buffer[..length];
            self.disk.lock().read(place + at, chunk)?;
            chain.write(at, chunk)?;
        }
        Ok(bytes)
    }

    fn write(&mut self, chain: &Chain, sector: u64) -> Result<u64, Failure> {
        // There is a header, so the difference is right.
        let bytes = chain.readable() - HEADER_LENGTH;
        let place = self.place(sector, bytes)?;
        self.check_writable()?;
        for (at, length) in chunks(bytes) {
            let chunk = &mut self.buffer[..length];
            chain.read(HEADER_LENGTH + at, chunk)?;
            self.disk.lock().write(place + at, chunk)?;
        }
        self.settle()
    }

    fn check_writable(&self) -> Result<(), Failure> {
        if self.read_only { Err(Failure::Disk) } else { Ok(()) }
    }

    /// What follows a change.
    fn settle(&mut self) -> Result<u64, Failure> {
        if self.write_through { self.flush() } else { Ok(0) }
    }

    fn flush(&mut self) -> Result<u64, Failure> {
        self.disk.lock().flush()?;
        Ok(0)
    }

    fn write_name(&self, chain: &Chain, room: u64) -> Result<u64, Failure> {
        let length = room.min(NAME_LENGTH as u64);
        chain.write(0, &self.name[..length as usize])?;
        Ok(length)
    }

    /// Changes each of the ranges that the driver lists (section 5.2.6, `virtio_blk_discard_write_zeroes`).
    fn for_each_range(
        &mut self,
        chain: &Chain,
        change: impl Fn(&mut Self, u64, u64, bool) -> io::Result<()>,
    ) -> Result<u64, Failure> {
        self.check_writable()?;
        let bytes = chain.readable() - HEADER_LENGTH;
        if !bytes.is_multiple_of(RANGE_SIZE) || bytes / RANGE_SIZE > MOST_RANGES.into() {
            return Err(Failure::Disk);
        }
        for number in 0..bytes / RANGE_SIZE {
            let mut range = [0; RANGE_SIZE as usize];
            chain.read(HEADER_LENGTH + number * RANGE_SIZE, &mut range)?;
            let sector = u64::from_le_bytes(std::array::from_fn(|at| range[at]));
            let [sectors, flags] =
                [8, 12].map(|at| u32::from_le_bytes(std::array::from_fn(|byte| range[at + byte])));
            let length = u64::from(sectors) * SECTOR;
            let place = self.place(sector, length)?;
            change(self, place, length, flags & UNMAP != 0)?;
        }
        self.settle()
    }

    fn discard(&mut self, place: u64, length: u64, _unmap: bool) -> io::Result<()> {
        self.disk.lock().discard(place, length)
    }

    fn write_zeroes(&mut self, place: u64, length: u64, unmap: bool) -> io::Result<()> {
        self.disk.lock().write_zeroes(place, length, unmap)
    }
}

/// Writes the status behind the `room` for data.
fn finish(chain: &Chain, room: u64, status: Status, filled: u64) -> Result<u32, RingError> {
    chain.write(room, &[status as u8])?;
    // The count is of the bytes from the start on, so it includes the status only if all is filled.
    let written = if filled == room { room + 1 } else { filled };
    Ok(u32::try_from(written).unwrap_or(u32::MAX))
}

/// Cuts `bytes` bytes into pieces that fit the buffer: where each begins, and its length.
fn chunks(bytes: u64) -> impl Iterator<Item = (u64, usize)> {
    (0..bytes).step_by(CHUNK).map(move |at| (at, (bytes - at).min(CHUNK as u64) as usize))
}

impl VirtioDevice for Block {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Block
    }

    fn features(&self) -> u64 {
        let common = FEATURE_SEGMENTS | FEATURE_BLOCK_SIZE | FEATURE_FLUSH;
        let kind = if self.read_only { FEATURE_READ_ONLY } else { FEATURE_DISCARD | FEATURE_WRITE_ZEROES };
        common | kind
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[QUEUE_SIZE]
    }

    /// `virtio_blk_config` (section 5.2.4).
    fn configuration(&self) -> Vec<u8> {
        let mut bytes = self.sectors.to_le_bytes().to_vec();
        let no_size_limit = 0u32;
        let no_geometry = 0u32;
        for word in [no_size_limit, MOST_SEGMENTS, no_geometry, SECTOR as u32] {
            bytes.extend(word.to_le_bytes());
        }
        // Topology, write-back switch and number of queues are of features that are not offered.
        bytes.extend([0; 12]);
        let any_alignment = 1u32;
        for word in [MOST_RANGE_SECTORS, MOST_RANGES, any_alignment, MOST_RANGE_SECTORS, MOST_RANGES] {
            bytes.extend(word.to_le_bytes());
        }
        let zeroes_may_unmap = 1u32;
        bytes.extend(zeroes_may_unmap.to_le_bytes());
        bytes
    }

    fn activate(&mut self, features: u64, _events: &Arc<Events>) {
        self.write_through = features & FEATURE_FLUSH == 0;
    }

    fn serve(&mut self, queues: &mut [Option<Queue>], _ready: &[u64]) -> Result<(), RingError> {
        for queue in queues.iter_mut().flatten() {
            while let Some(chain) = queue.pop()? {
                let written = self.execute(&chain)?;
                queue.push(&chain, written)?;
                // The driver can work on this one while the next is in hand.
                queue.signal()?;
            }
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.write_through = true;
    }
}

#[cfg(test)]
mod tests;
