//! One request of a disk's driver (virtio 1.2, section 5.2.6): how it is read from a chain of buffers,
//! and how it is carried out on a disk, on any thread. It must not know queues or threads.

use std::fs::File;
use std::io;

use super::super::queue::{Chain, RingError};
use crate::backend::disk::SharedDisk;

/// The unit of capacity and of addresses (section 5.2.4), whatever the block size.
pub const SECTOR: u64 = 512;
/// Ranges in one request to discard or to write zeroes.
pub const MOST_RANGES: u32 = 16;
/// The length of the string that names a disk (section 5.2.6).
pub const NAME_LENGTH: usize = 20;

const HEADER_LENGTH: u64 = 16;
const RANGE_SIZE: u64 = 16;
/// In a range: the blocks may become unallocated.
pub const UNMAP: u32 = 1 << 0;
/// Copied at once between guest memory and an image that is no plain file.
const CHUNK: usize = 256 * 1024;

/// What the driver asks for (section 5.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Kind {
    Read = 0,
    Write = 1,
    Flush = 4,
    Name = 8,
    Discard = 11,
    WriteZeroes = 13,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Read, Self::Write, Self::Flush, Self::Name, Self::Discard, Self::WriteZeroes];

    fn of(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u32 == number)
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

/// How a request ended.
pub struct Outcome {
    status: Status,
    /// How many bytes of the driver's room, from its start on, are filled.
    filled: u64,
}

impl Outcome {
    const UNSUPPORTED: Self = Self { status: Status::Unsupported, filled: 0 };

    /// A request that filled so much is done, one that failed is not. Whatever the disk or the host
    /// says, the driver is told no more than that (section 5.2.6).
    fn of(done: io::Result<u64>) -> Self {
        done.map_or(Self { status: Status::Failed, filled: 0 }, |filled| Self {
            status: Status::Done,
            filled,
        })
    }
}

/// A request with its buffers.
pub struct Request {
    chain: Chain,
    /// What is asked for, if that is known here.
    kind: Option<Kind>,
    sector: u64,
    /// The bytes for data; the one behind them is for the status.
    room: u64,
}

impl Request {
    /// Reads the header of the request in `chain`.
    ///
    /// # Errors
    /// Fails if there is no whole header or no room for a status.
    pub fn parse(chain: Chain) -> Result<Self, RingError> {
        let mut header = [0; HEADER_LENGTH as usize];
        chain.read(0, &mut header)?;
        let kind = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let sector = u64::from_le_bytes(std::array::from_fn(|at| header[8 + at]));
        let room = chain.writable().checked_sub(1).ok_or(RingError::Short)?;
        Ok(Self { chain, kind: Kind::of(kind), sector, room })
    }

    /// How many bytes of data it moves.
    pub fn bytes(&self) -> u64 {
        self.room.max(self.given())
    }

    /// Tells the driver how it ended: the chain, and how many bytes of its room are filled. To be
    /// called on the device's own thread, since it gives notice of what was written to RAM.
    ///
    /// # Errors
    /// Fails if the chain is not in RAM, which cannot be.
    pub fn conclude(self, outcome: &Outcome) -> Result<(Chain, u32), RingError> {
        self.give_notice();
        self.chain.write(self.room, &[outcome.status as u8])?;
        // The count is of the bytes from the start on, so it includes the status only if all is filled.
        let written = if outcome.filled == self.room { self.room + 1 } else { outcome.filled };
        Ok((self.chain, u32::try_from(written).unwrap_or(u32::MAX)))
    }

    /// Gives notice of all that the request may have written to RAM, even if it failed half-way.
    pub fn give_notice(&self) {
        self.chain.give_notice(0, self.room);
    }

    /// The bytes of data that the driver gave; a header was read, so the difference is right.
    fn given(&self) -> u64 {
        self.chain.readable() - HEADER_LENGTH
    }
}

/// What requests are carried out on.
pub struct Target {
    disk: SharedDisk,
    name: [u8; NAME_LENGTH],
    sectors: u64,
    read_only: bool,
}

impl Target {
    /// A disk that calls itself `name` as far as that fits.
    pub fn new(disk: SharedDisk, name: &str) -> Self {
        let (sectors, read_only) = (disk.size() / SECTOR, disk.is_read_only());
        let mut padded = [0; NAME_LENGTH];
        let length = name.len().min(NAME_LENGTH);
        padded[..length].copy_from_slice(&name.as_bytes()[..length]);
        Self { disk, name: padded, sectors, read_only }
    }

    /// The capacity in sectors.
    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    /// Whether changes are refused.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Carries a request out if that needs no waiting for the host's disk.
    pub fn execute_at_once(&self, request: &Request, write_through: bool) -> Option<Outcome> {
        match request.kind {
            None => Some(Outcome::UNSUPPORTED),
            Some(Kind::Name) => Some(Outcome::of(self.write_name(request))),
            Some(Kind::Read) => {
                let (place, bytes) = self.place(request.sector, request.room).ok()?;
                let chain = &request.chain;
                let read = self.disk.plain_file()?.read(|file| chain.read_file(file, place, 0, bytes, false));
                read.is_ok().then(|| Outcome::of(Ok(request.room)))
            }
            Some(Kind::Write) if !write_through && !self.read_only => {
                let (place, bytes) = self.place(request.sector, request.given()).ok()?;
                let written = self.write_plain(request, (place, bytes), false)?;
                written.is_ok().then(|| Outcome::of(Ok(0)))
            }
            Some(_) => None,
        }
    }

    /// Carries a request out; what it changes is on stable storage in the end if it is to
    /// `write_through`.
    pub fn execute(&self, request: &Request, write_through: bool) -> Outcome {
        let Some(kind) = request.kind else { return Outcome::UNSUPPORTED };
        let changed = match kind {
            Kind::Read => return Outcome::of(self.read(request)),
            Kind::Name => return Outcome::of(self.write_name(request)),
            Kind::Flush => return Outcome::of(self.disk.flush().map(|()| 0)),
            Kind::Write => self.write(request),
            Kind::Discard => self.change_ranges(request, |place, length, _| self.disk.discard(place, length)),
            Kind::WriteZeroes => self.change_ranges(request, |place, length, flags| {
                self.disk.write_zeroes(place, length, flags & UNMAP != 0)
            }),
        };
        let settled = changed.and_then(|()| if write_through { self.disk.flush() } else { Ok(()) });
        Outcome::of(settled.map(|()| 0))
    }

    /// The first byte at `sector`, and `bytes`, if the disk has them all.
    fn place(&self, sector: u64, bytes: u64) -> io::Result<(u64, usize)> {
        let whole = bytes.is_multiple_of(SECTOR);
        let end = sector.checked_add(bytes / SECTOR).filter(|end| *end <= self.sectors);
        match usize::try_from(bytes) {
            Ok(bytes) if whole && end.is_some() => Ok((sector * SECTOR, bytes)),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn read(&self, request: &Request) -> io::Result<u64> {
        let (place, bytes) = self.place(request.sector, request.room)?;
        if let Some(file) = self.disk.plain_file() {
            file.read(|file| request.chain.read_file(file, place, 0, bytes, true))?;
            return Ok(request.room);
        }
        let mut buffer = vec![0; bytes.min(CHUNK)];
        for (at, length) in chunks(bytes) {
            let chunk = &mut buffer[..length];
            self.disk.read(place + at, chunk)?;
            request.chain.write_unnoticed(at, chunk).map_err(io::Error::other)?;
        }
        Ok(request.room)
    }

    fn write(&self, request: &Request) -> io::Result<()> {
        let (place, bytes) = self.place(request.sector, request.given())?;
        self.check_writable()?;
        if let Some(written) = self.write_plain(request, (place, bytes), true) {
            return written;
        }
        let mut buffer = vec![0; bytes.min(CHUNK)];
        for (at, length) in chunks(bytes) {
            let chunk = &mut buffer[..length];
            request.chain.read(HEADER_LENGTH + at, chunk).map_err(io::Error::other)?;
            self.disk.write(place + at, chunk)?;
        }
        Ok(())
    }

    /// Writes what the driver gave to the image, if that is a plain file. If it must not `wait`, it may fail for that.
    fn write_plain(
        &self,
        request: &Request,
        (place, bytes): (u64, usize),
        wait: bool,
    ) -> Option<io::Result<()>> {
        let write = |file: &File| request.chain.write_file(file, place, HEADER_LENGTH, bytes, wait);
        Some(self.disk.plain_file()?.write(place, bytes as u64, write))
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.read_only { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }

    fn write_name(&self, request: &Request) -> io::Result<u64> {
        let length = request.room.min(NAME_LENGTH as u64);
        let name = &self.name[..length as usize];
        request.chain.write_unnoticed(0, name).map_err(io::Error::other)?;
        Ok(length)
    }

    /// Changes each of the ranges that the driver lists (section 5.2.6, `virtio_blk_discard_write_zeroes`):
    /// `change` gets the place, the length and the flags.
    fn change_ranges(
        &self,
        request: &Request,
        change: impl Fn(u64, u64, u32) -> io::Result<()>,
    ) -> io::Result<()> {
        self.check_writable()?;
        let bytes = request.given();
        if !bytes.is_multiple_of(RANGE_SIZE) || bytes / RANGE_SIZE > MOST_RANGES.into() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for number in 0..bytes / RANGE_SIZE {
            let mut range = [0; RANGE_SIZE as usize];
            let at = HEADER_LENGTH + number * RANGE_SIZE;
            request.chain.read(at, &mut range).map_err(io::Error::other)?;
            let sector = u64::from_le_bytes(std::array::from_fn(|at| range[at]));
            let [sectors, flags] =
                [8, 12].map(|at| u32::from_le_bytes(std::array::from_fn(|byte| range[at + byte])));
            let (place, length) = self.place(sector, u64::from(sectors) * SECTOR)?;
            change(place, length as u64, flags)?;
        }
        Ok(())
    }
}

/// Cuts `bytes` bytes into pieces of at most [`CHUNK`]: where each begins, and its length.
fn chunks(bytes: usize) -> impl Iterator<Item = (u64, usize)> {
    (0..bytes).step_by(CHUNK).map(move |at| (at as u64, (bytes - at).min(CHUNK)))
}
