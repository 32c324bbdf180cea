//! Pieces of a guest on their way, pages of its memories and blocks of its disks: zero, as they are, or compressed when that
//! pays. It must not know why they are sent.
//!
//! ```text
//! pages   number of the memory (u16), then for each page its address (u64), in whose low bits is its form:
//!         0 zero; 1 plain, 4096 bytes; 2 an LZ4 block, its length (u16), its bytes
//! blocks  number of the disk (u16), then for each block its place (u64) with its form: the same, of 65536 bytes. What of
//!         the last block is behind the disk's end is zero
//! ```

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use translator::addr::{PAGE_SIZE, Pa};

use super::message::{MOST_BYTES, Message};
use crate::backend::disk::{BLOCK, SharedDisk};
use crate::memory::Ram;

static ZEROES: [u8; BLOCK as usize] = [0; BLOCK as usize];
/// The bits of a place's word that are its form: those that are zero in any place.
const FORM: u64 = PAGE_SIZE - 1;
/// Room that makes neither side wait for the other for long.
const FULL: usize = 128 << 10;

const ZERO: u64 = 0;
const PLAIN: u64 = 1;
const LZ4: u64 = 2;

/// What is cut into pieces, by its number. Disks come first: they take longest, and what was sent of memory changes
/// fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// A disk, in blocks of [`BLOCK`] bytes.
    Disk(u16),
    /// A memory, in pages.
    Memory(u16),
}

impl Area {
    /// Bytes of a piece.
    const fn piece(self) -> u64 {
        match self {
            Self::Disk(_) => BLOCK,
            Self::Memory(_) => PAGE_SIZE,
        }
    }

    fn message(self, bytes: Vec<u8>) -> Message {
        match self {
            Self::Disk(_) => Message::Blocks(bytes),
            Self::Memory(_) => Message::Pages(bytes),
        }
    }
}

/// A piece of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// What it is a piece of.
    pub area: Area,
    /// Where it begins in there.
    pub at: u64,
}

impl Place {
    /// The page of memory `number` at `pa`.
    pub fn page(number: u16, pa: Pa) -> Self {
        Self { area: Area::Memory(number), at: pa.0 }
    }

    /// The block of disk `number` at `at`.
    pub fn block(number: u16, at: u64) -> Self {
        Self { area: Area::Disk(number), at }
    }

    /// Its length.
    pub const fn bytes(self) -> u64 {
        self.area.piece()
    }
}

/// Bytes of all `places`.
pub(super) fn bytes(places: &[Place]) -> u64 {
    places.iter().map(|place| place.bytes()).sum()
}

/// What a guest's pieces are pieces of.
#[derive(Clone, Default)]
pub struct Areas {
    /// Its memories.
    pub memories: Vec<Arc<Ram>>,
    /// Those of its disks that are copied.
    pub disks: Vec<SharedDisk>,
}

/// Why a piece cannot be had, or is not where it belongs.
#[derive(Debug, thiserror::Error)]
pub enum PieceError {
    /// It makes no sense.
    #[error("{0}")]
    Nonsense(String),
    /// The host fails.
    #[error("cannot {what} disk image {disk}")]
    Disk {
        /// What was tried.
        what: &'static str,
        /// The image.
        disk: String,
        /// Why not.
        source: io::Error,
    },
}

impl PieceError {
    fn disk(what: &'static str, disk: &SharedDisk) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Disk { what, disk: disk.name(), source }
    }
}

impl Areas {
    /// Fills `to` with the piece at `place`, which is one of these areas.
    fn read(&self, place: Place, to: &mut [u8]) -> Result<(), PieceError> {
        match place.area {
            Area::Memory(number) => {
                let memory = &self.memories[number as usize];
                memory.read(Pa(place.at), to).expect("guests name pages of their memories");
                Ok(())
            }
            Area::Disk(number) => {
                let disk = &self.disks[number as usize];
                let (inside, behind) =
                    to.split_at_mut(inside(disk, place.at).expect("guests name blocks of theirs"));
                behind.fill(0);
                disk.read(place.at, inside).map_err(PieceError::disk("read", disk))
            }
        }
    }

    /// Whether there is such an area.
    fn check(&self, area: Area) -> Result<(), PieceError> {
        let (what, number, count) = match area {
            Area::Disk(number) => ("disk", number, self.disks.len()),
            Area::Memory(number) => ("memory", number, self.memories.len()),
        };
        if usize::from(number) < count { Ok(()) } else { nonsense(format!("there is no {what} {number}")) }
    }

    /// Writes a piece, or zeroes if there is none, to `place` in an area that is there.
    fn write(&self, place: Place, piece: Option<&[u8]>) -> Result<(), PieceError> {
        match place.area {
            Area::Memory(number) => {
                let page = piece.unwrap_or(&ZEROES[..PAGE_SIZE as usize]);
                let written = self.memories[number as usize].write(Pa(place.at), page);
                written.map_or_else(
                    || nonsense(format!("page {} is in no bank of memory {number}", Pa(place.at))),
                    Ok,
                )
            }
            Area::Disk(number) => {
                let disk = &self.disks[number as usize];
                let Some(length) = inside(disk, place.at) else {
                    return nonsense(format!("there is no block at {:#x} of disk {number}", place.at));
                };
                let written = match piece {
                    Some(bytes) => disk.write(place.at, &bytes[..length]),
                    None => disk.write_zeroes(place.at, length as u64, true),
                };
                written.map_err(PieceError::disk("write to", disk))
            }
        }
    }

    /// Brings what was written to disks to stable storage.
    pub(super) fn settle(&self) -> Result<(), PieceError> {
        self.disks.iter().try_for_each(|disk| disk.flush().map_err(PieceError::disk("write to", disk)))
    }
}

/// How many bytes of the block at `at` are inside the disk, if it is a block of it.
fn inside(disk: &SharedDisk, at: u64) -> Option<usize> {
    let rest = disk.size().checked_sub(at).filter(|rest| *rest > 0 && at.is_multiple_of(BLOCK));
    rest.map(|rest| rest.min(BLOCK) as usize)
}

fn nonsense<T>(what: String) -> Result<T, PieceError> {
    Err(PieceError::Nonsense(what))
}

/// Whether compression pays: it does if the bytes that it spares take longer to send than to spare. It is tried now
/// and then, since guests and networks change.
pub(super) struct Economy {
    /// Seconds that the compression of a byte takes, lately.
    effort: f64,
    /// The part of a byte that it spares, lately.
    spared: f64,
    /// Seconds that a byte takes to be sent, lately.
    byte: f64,
    pieces: u64,
}

impl Default for Economy {
    /// A slow network, for which compression pays.
    fn default() -> Self {
        Self { effort: 1e-9, spared: 0.5, byte: 1e-8, pieces: 0 }
    }
}

impl Economy {
    /// Pieces of which one is always tried.
    const SAMPLE: u64 = 64;

    fn is_worth_it(&mut self) -> bool {
        self.pieces += 1;
        self.spared * self.byte > self.effort || self.pieces.is_multiple_of(Self::SAMPLE)
    }

    fn note_piece(&mut self, took: Duration, bytes: usize, packed: usize) {
        learn(&mut self.effort, took.as_secs_f64() / bytes as f64, 0.05);
        learn(&mut self.spared, bytes.saturating_sub(packed) as f64 / bytes as f64, 0.05);
    }

    /// Takes note of how long `bytes` bytes took to be sent.
    pub fn note_sent(&mut self, bytes: usize, took: Duration) {
        learn(&mut self.byte, took.as_secs_f64() / bytes.max(1) as f64, 0.1);
    }
}

fn learn(value: &mut f64, seen: f64, weight: f64) {
    *value += (seen - *value) * weight;
}

/// Packs pieces of one area after the other.
pub(super) struct Packer {
    pub economy: Economy,
    area: Area,
    bytes: Vec<u8>,
    piece: Box<[u8]>,
}

impl Packer {
    pub fn new() -> Self {
        let piece = vec![0; BLOCK as usize].into();
        Self { economy: Economy::default(), area: Area::Memory(0), bytes: Vec::new(), piece }
    }

    /// Adds a piece of `areas`; gives a message when there are enough, or another area begins.
    ///
    /// # Errors
    /// Fails if the piece cannot be read.
    pub fn add(&mut self, areas: &Areas, place: Place) -> Result<Option<Message>, PieceError> {
        let most_of_piece = 8 + 2 + place.bytes() as usize;
        let full = self.area != place.area || self.bytes.len() + most_of_piece > FULL;
        let message = if full { self.take() } else { None };
        if self.bytes.is_empty() {
            self.area = place.area;
            self.bytes.reserve(FULL);
            let (Area::Disk(number) | Area::Memory(number)) = place.area;
            self.bytes.extend(number.to_le_bytes());
        }
        let mut piece = std::mem::take(&mut self.piece);
        let bytes = &mut piece[..place.bytes() as usize];
        let read = areas.read(place, bytes);
        if read.is_ok() {
            self.pack(place.at, bytes);
        }
        self.piece = piece;
        read.map(|()| message)
    }

    /// What was added since the last message, if anything.
    pub fn take(&mut self) -> Option<Message> {
        (!self.bytes.is_empty()).then(|| self.area.message(std::mem::take(&mut self.bytes)))
    }

    fn pack(&mut self, at: u64, piece: &[u8]) {
        if *piece == ZEROES[..piece.len()] {
            return self.bytes.extend((at | ZERO).to_le_bytes());
        }
        if self.economy.is_worth_it() {
            let begun = Instant::now();
            let packed = lz4_flex::block::compress(piece);
            self.economy.note_piece(begun.elapsed(), piece.len(), packed.len());
            if packed.len() < piece.len() {
                self.bytes.extend((at | LZ4).to_le_bytes());
                self.bytes.extend((packed.len() as u16).to_le_bytes());
                return self.bytes.extend(packed);
            }
        }
        self.bytes.extend((at | PLAIN).to_le_bytes());
        self.bytes.extend(piece);
    }
}

/// Puts the pieces of a message, which are of what `area` makes of its number, where they belong; gives how many there were.
///
/// # Errors
/// Says what about the message makes no sense, or why the host does not take it. Pieces before that are where they belong.
pub(super) fn unpack(message: &[u8], area: fn(u16) -> Area, areas: &Areas) -> Result<u64, PieceError> {
    debug_assert!(message.len() <= MOST_BYTES);
    let mut rest = Rest(message);
    let area = area(u16::from_le_bytes(rest.chunk()?));
    areas.check(area)?;
    let length = area.piece() as usize;
    let mut unpacked = vec![0; length];
    let mut pieces = 0;
    while !rest.0.is_empty() {
        let word = u64::from_le_bytes(rest.chunk()?);
        let place = Place { area, at: word & !FORM };
        let piece = match word & FORM {
            ZERO => None,
            PLAIN => Some(rest.take(length)?),
            LZ4 => {
                let packed = u16::from_le_bytes(rest.chunk()?);
                let plain = lz4_flex::block::decompress_into(rest.take(packed as usize)?, &mut unpacked);
                if plain.ok() != Some(length) {
                    return nonsense(format!("the piece at {:#x} cannot be decompressed", place.at));
                }
                Some(&unpacked[..])
            }
            form => return nonsense(format!("the piece at {:#x} has form {form}", place.at)),
        };
        areas.write(place, piece)?;
        pieces += 1;
    }
    Ok(pieces)
}

/// What of a message was not looked at yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], PieceError> {
        let Some((bytes, rest)) = self.0.split_at_checked(length) else { return cut_off() };
        self.0 = rest;
        Ok(bytes)
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], PieceError> {
        let Some((bytes, rest)) = self.0.split_first_chunk() else { return cut_off() };
        self.0 = rest;
        Ok(*bytes)
    }
}

fn cut_off<T>() -> Result<T, PieceError> {
    nonsense("a message is cut off".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::disk::{Format, Image};
    use crate::device::Window;

    const PAGE: usize = PAGE_SIZE as usize;
    /// The last block has a sector.
    const DISK: u64 = 4 * BLOCK + 512;

    fn memory() -> Arc<Ram> {
        Arc::new(Ram::new(&[Window { base: Pa(0x1000), size: 0x10_0000 }]).unwrap())
    }

    /// A disk in a file that is gone when the disk is closed.
    fn disk() -> SharedDisk {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(DISK).unwrap();
        let (file, format) = (file.path().to_owned(), Some(Format::Raw));
        SharedDisk::open(&Image { file, format, read_only: false, snapshot: false }).unwrap()
    }

    fn areas() -> Areas {
        Areas { memories: vec![memory(), memory()], disks: vec![disk(), disk()] }
    }

    fn all(areas: &Areas, byte_time: f64) -> Vec<Message> {
        let mut packer = Packer::new();
        packer.economy.byte = byte_time;
        let pages =
            (0..2).flat_map(|number| (1..=0x100).map(move |page| Place::page(number, Pa(page * PAGE_SIZE))));
        let blocks = (0..2).flat_map(|number| (0..5).map(move |block| Place::block(number, block * BLOCK)));
        let mut messages: Vec<_> =
            pages.chain(blocks).filter_map(|place| packer.add(areas, place).unwrap()).collect();
        messages.extend(packer.take());
        messages
    }

    fn put(message: &Message, areas: &Areas) -> Result<u64, PieceError> {
        match message {
            Message::Pages(bytes) => unpack(bytes, Area::Memory, areas),
            Message::Blocks(bytes) => unpack(bytes, Area::Disk, areas),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pieces_arrive_whether_compression_pays_or_not() {
        let here = areas();
        let noise: Vec<u8> =
            (0..BLOCK as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for (number, memory) in here.memories.iter().enumerate() {
            memory.write(Pa(0x3000), &[number as u8 + 1; 3 * PAGE]).unwrap();
            memory.write(Pa(0x10_0000), &noise[..PAGE]).unwrap();
        }
        for (number, disk) in here.disks.iter().enumerate() {
            disk.write(BLOCK - 100, &[number as u8 + 1; 200]).unwrap();
            disk.write(3 * BLOCK, &noise).unwrap();
            disk.write(DISK - 1, &[9]).unwrap();
        }
        for byte_time in [0.0, 1.0] {
            let there = areas();
            there.memories[0].write(Pa(0x2000), &[9; PAGE]).unwrap();
            there.disks[0].write(2 * BLOCK, &[9; PAGE]).unwrap();
            let messages = all(&here, byte_time);
            assert!(messages.iter().all(|message| message.encode().1.len() <= FULL));
            let pieces: u64 = messages.iter().map(|message| put(message, &there).unwrap()).sum();
            assert_eq!(pieces, 0x200 + 10);
            there.settle().unwrap();
            for (here, there) in here.memories.iter().zip(&there.memories) {
                let mut both = [vec![0; 0x10_0000], vec![0; 0x10_0000]];
                here.read(Pa(0x1000), &mut both[0]).unwrap();
                there.read(Pa(0x1000), &mut both[1]).unwrap();
                assert!(both[0] == both[1]);
            }
            for (here, there) in here.disks.iter().zip(&there.disks) {
                let mut both = [vec![0; DISK as usize], vec![0; DISK as usize]];
                here.read(0, &mut both[0]).unwrap();
                there.read(0, &mut both[1]).unwrap();
                assert!(both[0] == both[1]);
            }
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let areas = areas();
        let message = |number: u16, word: u64, rest: &[u8]| {
            [&number.to_le_bytes()[..], &word.to_le_bytes(), rest].concat()
        };
        let pages = [
            vec![],
            vec![0],
            message(2, 0x1000, &[]),
            message(0, 0, &[]),
            message(0, !0xfff, &[]),
            message(0, 0x10_1000, &[]),
            message(0, 0x1003, &[]),
            message(0, 0x1000 | PLAIN, &[0; 4095]),
            message(0, 0x1000 | LZ4, &[1]),
            message(0, 0x1000 | LZ4, &[5, 0, 1, 2, 3, 4, 5]),
            message(0, 0x1000 | LZ4, &[255, 255, 1]),
        ];
        let blocks = [
            vec![],
            message(2, 0, &[]),
            message(0, 0x1000, &[]),
            message(0, 5 * BLOCK, &[]),
            message(0, (5 * BLOCK) | PLAIN, &ZEROES),
            message(0, !0xffff, &[]),
            message(0, 3, &[]),
            message(0, PLAIN, &[0; 4096]),
            message(0, LZ4, &[5, 0, 1, 2, 3, 4, 5]),
        ];
        for (bad, area) in pages
            .iter()
            .map(|bad| (bad, Area::Memory as fn(u16) -> Area))
            .chain(blocks.iter().map(|bad| (bad, Area::Disk as fn(u16) -> Area)))
        {
            assert!(matches!(unpack(bad, area, &areas), Err(PieceError::Nonsense(_))), "{bad:?}");
        }
    }
}
