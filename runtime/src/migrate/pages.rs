//! Pages on their way: zero, as they are, or compressed when that pays. It must not know why they are sent.
//!
//! ```text
//! pages  number of the memory (u16), then for each page its address (u64), in whose low bits is its form:
//!        0 zero; 1 plain, 4096 bytes; 2 an LZ4 block, its length (u16), its bytes
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use translator::addr::{PAGE_SIZE, Pa};

use super::message::MOST_BYTES;
use crate::memory::Ram;

const PAGE: usize = PAGE_SIZE as usize;
const ZERO_PAGE: [u8; PAGE] = [0; PAGE];
/// The most bytes that one page takes.
const MOST_OF_PAGE: usize = 8 + 2 + PAGE;
/// Room that makes neither side wait for the other for long.
const FULL: usize = 128 << 10;

const ZERO: u64 = 0;
const PLAIN: u64 = 1;
const LZ4: u64 = 2;

/// A page of a guest: the number of the memory, and the address.
pub type Place = (u16, Pa);

/// Whether compression pays: it does if the bytes that it spares take longer to send than to spare. It is tried now
/// and then, since memory and networks change.
pub(super) struct Economy {
    /// Seconds that the compression of a page takes, lately.
    effort: f64,
    /// Bytes of a page that it spares, lately.
    spared: f64,
    /// Seconds that a byte takes to be sent, lately.
    byte: f64,
    pages: u64,
}

impl Default for Economy {
    /// A slow network, for which compression pays.
    fn default() -> Self {
        Self { effort: 5e-6, spared: PAGE as f64 / 2.0, byte: 1e-8, pages: 0 }
    }
}

impl Economy {
    /// Pages of which one is always tried.
    const SAMPLE: u64 = 64;

    fn is_worth_it(&mut self) -> bool {
        self.pages += 1;
        self.spared * self.byte > self.effort || self.pages.is_multiple_of(Self::SAMPLE)
    }

    fn note_page(&mut self, took: Duration, spared: usize) {
        learn(&mut self.effort, took.as_secs_f64(), 0.05);
        learn(&mut self.spared, spared as f64, 0.05);
    }

    /// Takes note of how long `bytes` bytes took to be sent.
    pub fn note_sent(&mut self, bytes: usize, took: Duration) {
        learn(&mut self.byte, took.as_secs_f64() / bytes.max(1) as f64, 0.1);
    }
}

fn learn(value: &mut f64, seen: f64, weight: f64) {
    *value += (seen - *value) * weight;
}

/// Packs pages of one memory after the other.
pub(super) struct Packer {
    pub economy: Economy,
    memory: u16,
    bytes: Vec<u8>,
    page: [u8; PAGE],
}

impl Packer {
    pub fn new() -> Self {
        Self { economy: Economy::default(), memory: 0, bytes: Vec::new(), page: ZERO_PAGE }
    }

    /// Adds a page; gives the bytes of a message when there are enough, or another memory begins.
    pub fn add(&mut self, memories: &[Arc<Ram>], (memory, pa): Place) -> Option<Vec<u8>> {
        let full = self.memory != memory || self.bytes.len() + MOST_OF_PAGE > FULL;
        let message = if full { self.take() } else { None };
        if self.bytes.is_empty() {
            self.memory = memory;
            self.bytes.reserve(FULL);
            self.bytes.extend(memory.to_le_bytes());
        }
        memories[memory as usize].read(pa, &mut self.page).expect("guests name pages of their memories");
        self.pack(pa);
        message
    }

    /// What was added since the last message, if anything.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        (!self.bytes.is_empty()).then(|| std::mem::take(&mut self.bytes))
    }

    fn pack(&mut self, pa: Pa) {
        if self.page == ZERO_PAGE {
            return self.bytes.extend((pa.0 | ZERO).to_le_bytes());
        }
        if self.economy.is_worth_it() {
            let begun = Instant::now();
            let packed = lz4_flex::block::compress(&self.page);
            self.economy.note_page(begun.elapsed(), PAGE.saturating_sub(packed.len()));
            if packed.len() < PAGE {
                self.bytes.extend((pa.0 | LZ4).to_le_bytes());
                self.bytes.extend((packed.len() as u16).to_le_bytes());
                return self.bytes.extend(packed);
            }
        }
        self.bytes.extend((pa.0 | PLAIN).to_le_bytes());
        self.bytes.extend(self.page);
    }
}

/// Puts the pages of a message where they belong; gives how many there were.
///
/// # Errors
/// Says what about the message makes no sense. Pages before that are in memory.
pub(super) fn unpack(message: &[u8], memories: &[Arc<Ram>]) -> Result<u64, String> {
    debug_assert!(message.len() <= MOST_BYTES);
    let mut rest = Rest(message);
    let number = u16::from_le_bytes(rest.chunk()?);
    let memory = memories.get(number as usize).ok_or_else(|| format!("there is no memory {number}"))?;
    let mut pages = 0;
    while !rest.0.is_empty() {
        let word = u64::from_le_bytes(rest.chunk()?);
        let (pa, form) = (Pa(word & !(PAGE_SIZE - 1)), word & (PAGE_SIZE - 1));
        let outside = || format!("page {pa} is in no bank of memory {number}");
        match form {
            ZERO => memory.write(pa, &ZERO_PAGE).ok_or_else(outside)?,
            PLAIN => memory.write(pa, rest.take(PAGE)?).ok_or_else(outside)?,
            LZ4 => {
                let length = u16::from_le_bytes(rest.chunk()?);
                let mut page = ZERO_PAGE;
                let plain = lz4_flex::block::decompress_into(rest.take(length as usize)?, &mut page);
                if plain.ok() != Some(PAGE) {
                    return Err(format!("page {pa} cannot be decompressed"));
                }
                memory.write(pa, &page).ok_or_else(outside)?;
            }
            _ => return Err(format!("page {pa} has form {form}")),
        }
        pages += 1;
    }
    Ok(pages)
}

/// What of a message was not looked at yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or("pages are cut off")?;
        self.0 = rest;
        Ok(bytes)
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or("pages are cut off")?;
        self.0 = rest;
        Ok(*bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Window;

    fn memory() -> Arc<Ram> {
        Arc::new(Ram::new(&[Window { base: Pa(0x1000), size: 0x10_0000 }]).unwrap())
    }

    fn all(memories: &[Arc<Ram>], byte_time: f64) -> Vec<Vec<u8>> {
        let mut packer = Packer::new();
        packer.economy.byte = byte_time;
        let mut messages = Vec::new();
        for (number, _) in memories.iter().enumerate() {
            for page in 1..=0x100 {
                messages.extend(packer.add(memories, (number as u16, Pa(page * PAGE_SIZE))));
            }
        }
        messages.extend(packer.take());
        messages
    }

    #[test]
    fn pages_arrive_whether_compression_pays_or_not() {
        let here = [memory(), memory()];
        for (number, memory) in here.iter().enumerate() {
            memory.write(Pa(0x3000), &[number as u8 + 1; 3 * PAGE]).unwrap();
            let noise: Vec<u8> =
                (0..PAGE as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            memory.write(Pa(0x10_0000), &noise).unwrap();
        }
        for byte_time in [0.0, 1.0] {
            let there = [memory(), memory()];
            there[0].write(Pa(0x2000), &[9; PAGE]).unwrap();
            let messages = all(&here, byte_time);
            assert!(messages.iter().all(|message| message.len() <= FULL));
            let pages: u64 = messages.iter().map(|message| unpack(message, &there).unwrap()).sum();
            assert_eq!(pages, 0x200);
            for (here, there) in here.iter().zip(&there) {
                let mut both = [vec![0; 0x10_0000], vec![0; 0x10_0000]];
                here.read(Pa(0x1000), &mut both[0]).unwrap();
                there.read(Pa(0x1000), &mut both[1]).unwrap();
                assert!(both[0] == both[1]);
            }
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let memories = [memory()];
        let message = |number: u16, word: u64, rest: &[u8]| {
            [&number.to_le_bytes()[..], &word.to_le_bytes(), rest].concat()
        };
        for bad in [
            vec![],
            vec![0],
            message(1, 0x1000, &[]),
            message(0, 0, &[]),
            message(0, !0xfff, &[]),
            message(0, 0x10_1000, &[]),
            message(0, 0x1003, &[]),
            message(0, 0x1000 | PLAIN, &[0; 4095]),
            message(0, 0x1000 | LZ4, &[1]),
            message(0, 0x1000 | LZ4, &[5, 0, 1, 2, 3, 4, 5]),
            message(0, 0x1000 | LZ4, &[255, 255, 1]),
        ] {
            assert!(unpack(&bad, &memories).is_err(), "{bad:?}");
        }
    }
}
