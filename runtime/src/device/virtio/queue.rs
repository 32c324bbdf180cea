//! A split virtqueue as the device sees it (virtio 1.2, section 2.7). Everything in it was written by
//! the guest, at any time: each index, address and length is checked where it is used, and what is
//! wrong is a [`RingError`], upon which the transport asks for a reset. It must not know what a device
//! makes of the buffers.
//!
//! The crate `virtio-queue` was not taken: its iterator ends without a word at a bad descriptor, so that
//! a device cannot tell a cut chain from a short one and nobody could ask for a reset; and `vm-memory`
//! below it wants a second description of RAM, whose writes would not give our write notice.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use translator::addr::Pa;

use super::Interrupt;
use crate::memory::{Direction, Dma, OutsideRam};

/// The driver may ask not to be interrupted, and the device not to be notified, up to an index
/// (section 2.7.10).
pub const FEATURE_EVENT_INDEX: u64 = 1 << 29;
/// A descriptor may refer to a table of descriptors (section 2.7.5.3).
pub const FEATURE_INDIRECT: u64 = 1 << 28;

const DESCRIPTOR_SIZE: u64 = 16;
const FLAG_NEXT: u16 = 1 << 0;
const FLAG_WRITE: u16 = 1 << 1;
const FLAG_INDIRECT: u16 = 1 << 2;
/// In the available ring: the driver wants no interrupts (section 2.7.6).
const NO_INTERRUPT: u16 = 1 << 0;
/// Flags and index come before the entries of either ring.
const RING_HEADER: u64 = 4;

/// What the guest got wrong.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RingError {
    /// A ring, a table or a buffer is not in RAM.
    #[error("virtqueue: {0}")]
    Memory(#[from] OutsideRam),
    /// The size is no power of two up to the largest, or the rings are not aligned.
    #[error("virtqueue: the size or the alignment of the rings is wrong")]
    Layout,
    /// More entries are available than the ring holds.
    #[error("virtqueue: {0} entries are available, which is more than the ring holds")]
    Overrun(u16),
    /// A descriptor's number is beyond its table.
    #[error("virtqueue: there is no descriptor {0}")]
    Index(u16),
    /// A chain has more descriptors than the queue, so it must be a loop.
    #[error("virtqueue: a chain of descriptors is a loop")]
    Loop,
    /// A table within a table, one that continues, or one of a size that cannot be.
    #[error("virtqueue: an indirect descriptor is malformed")]
    Indirect,
    /// A buffer for the device to read comes after one to write.
    #[error("virtqueue: a buffer to be read follows one to be written")]
    Order,
    /// A chain has less room than the request in it needs.
    #[error("virtqueue: a chain is too short for its request")]
    Short,
}

/// Where the driver put a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// The number of descriptors.
    pub size: u16,
    /// Whether the driver has finished setting it up.
    pub ready: bool,
    /// The table of descriptors.
    pub descriptors: u64,
    /// The driver's ring.
    pub available: u64,
    /// The device's ring.
    pub used: u64,
}

impl Layout {
    /// Checks sizes, alignment (section 2.7) and that all of it is RAM, so that no sum below overflows.
    fn check(&self, dma: &Dma, largest: u16) -> Result<(), RingError> {
        let aligned = self.descriptors.is_multiple_of(16)
            && self.available.is_multiple_of(2)
            && self.used.is_multiple_of(4);
        if !self.size.is_power_of_two() || self.size > largest || !aligned {
            return Err(RingError::Layout);
        }
        let size = u64::from(self.size);
        // Either ring ends in an index for events.
        let areas = [
            (self.descriptors, DESCRIPTOR_SIZE * size),
            (self.available, RING_HEADER + 2 * size + 2),
            (self.used, RING_HEADER + 8 * size + 2),
        ];
        for (base, bytes) in areas {
            if !dma.contains(Pa(base), bytes) {
                return Err(OutsideRam { pa: Pa(base), bytes }.into());
            }
        }
        Ok(())
    }
}

/// How far the device is: all of a running queue that is not in the guest's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    next_available: u16,
    next_used: u16,
    /// `next_used` when the driver was last considered for an interrupt.
    signalled: u16,
}

/// A run of guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Buffer {
    pa: Pa,
    length: u32,
}

/// The buffers of one request. All of them were in RAM when the chain was taken.
pub struct Chain {
    dma: Dma,
    head: u16,
    readable: Vec<Buffer>,
    writable: Vec<Buffer>,
}

impl Chain {
    /// How many bytes the driver gave.
    pub fn readable(&self) -> u64 {
        length(&self.readable)
    }

    /// How many bytes the driver has room for.
    pub fn writable(&self) -> u64 {
        length(&self.writable)
    }

    /// Copies the driver's bytes from `offset` on.
    ///
    /// # Errors
    /// Fails if there are fewer.
    pub fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), RingError> {
        let mut done = 0;
        for (pa, bytes) in pieces(&self.readable, offset, to.len()) {
            self.dma.read(pa, &mut to[done..done + bytes])?;
            done += bytes;
        }
        if done == to.len() { Ok(()) } else { Err(RingError::Short) }
    }

    /// Copies `from` into the driver's room from `offset` on.
    ///
    /// # Errors
    /// Fails if there is less.
    pub fn write(&self, offset: u64, from: &[u8]) -> Result<(), RingError> {
        self.write_unnoticed(offset, from)?;
        self.give_notice(offset, from.len() as u64);
        Ok(())
    }

    /// As [`Chain::write`], but [`Chain::give_notice`] must follow.
    ///
    /// # Errors
    /// Fails if there is less.
    pub fn write_unnoticed(&self, offset: u64, from: &[u8]) -> Result<(), RingError> {
        let mut done = 0;
        for (pa, bytes) in pieces(&self.writable, offset, from.len()) {
            self.dma.write_unnoticed(pa, &from[done..done + bytes])?;
            done += bytes;
        }
        if done == from.len() { Ok(()) } else { Err(RingError::Short) }
    }

    /// Tells whoever made something from RAM that `bytes` bytes of the driver's room from `offset` on
    /// have been written. To be called on the device's own thread.
    pub fn give_notice(&self, offset: u64, bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        pieces(&self.writable, offset, bytes).for_each(|(pa, bytes)| self.dma.give_notice(pa, bytes as u64));
    }

    /// Moves `bytes` bytes from `file` at `place` to the driver's room from `offset` on, without a copy
    /// in between; [`Chain::give_notice`] must follow. If it must not `wait`, it may fail for that.
    ///
    /// # Errors
    /// Fails if the file does, or ends.
    pub fn read_file(
        &self,
        file: &File,
        place: u64,
        offset: u64,
        bytes: usize,
        wait: bool,
    ) -> io::Result<()> {
        self.transfer(&self.writable, (file, place), (offset, bytes), Direction::ToRam, wait)
    }

    /// Moves `bytes` bytes of the driver's from `offset` on to `file` at `place`, without a copy in
    /// between. If it must not `wait`, it may fail for that.
    ///
    /// # Errors
    /// Fails if the file does.
    pub fn write_file(
        &self,
        file: &File,
        place: u64,
        offset: u64,
        bytes: usize,
        wait: bool,
    ) -> io::Result<()> {
        self.transfer(&self.readable, (file, place), (offset, bytes), Direction::ToFile, wait)
    }

    fn transfer(
        &self,
        buffers: &[Buffer],
        (file, place): (&File, u64),
        (offset, bytes): (u64, usize),
        direction: Direction,
        wait: bool,
    ) -> io::Result<()> {
        let mut done = 0;
        while done < bytes {
            let runs: Vec<(Pa, usize)> = pieces(buffers, offset + done as u64, bytes - done).collect();
            match self.dma.transfer_unnoticed(file, place + done as u64, &runs, direction, wait) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(moved) => done += moved,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn length(buffers: &[Buffer]) -> u64 {
    buffers.iter().map(|buffer| u64::from(buffer.length)).sum()
}

/// The pieces of `buffers` that make up at most `bytes` bytes from `offset` on.
fn pieces(buffers: &[Buffer], offset: u64, bytes: usize) -> impl Iterator<Item = (Pa, usize)> {
    let (mut skip, mut left) = (offset, bytes);
    buffers.iter().filter_map(move |buffer| {
        let length = u64::from(buffer.length);
        let inside = length.saturating_sub(skip);
        let start = length - inside;
        skip -= start;
        let taken = left.min(usize::try_from(inside).unwrap_or(usize::MAX));
        left -= taken;
        (taken > 0).then(|| (buffer.pa + start, taken))
    })
}

/// One virtqueue while its device runs.
pub struct Queue {
    dma: Dma,
    interrupt: Arc<Interrupt>,
    layout: Layout,
    position: Position,
    event_index: bool,
}

impl Queue {
    /// The queue that the driver has set up at `layout`, with what of `features` was agreed on.
    ///
    /// # Errors
    /// Refuses a layout that is malformed, larger than `largest` or not in RAM.
    pub fn new(
        dma: &Dma,
        interrupt: &Arc<Interrupt>,
        layout: Layout,
        largest: u16,
        features: u64,
    ) -> Result<Self, RingError> {
        layout.check(dma, largest)?;
        Ok(Self {
            dma: dma.clone(),
            interrupt: Arc::clone(interrupt),
            layout,
            position: Position::default(),
            event_index: features & FEATURE_EVENT_INDEX != 0,
        })
    }

    /// How far the queue is.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Goes on from `position`.
    pub fn restore(&mut self, position: Position) {
        self.position = position;
    }

    /// The next request, if there is one. If not, the driver will notify the device of the next.
    ///
    /// # Errors
    /// Fails on whatever the driver got wrong; the queue is then of no more use.
    pub fn pop(&mut self) -> Result<Option<Chain>, RingError> {
        if self.pending()? == 0 {
            if !self.event_index {
                return Ok(None);
            }
            let event = self.layout.used + RING_HEADER + 8 * u64::from(self.layout.size);
            self.dma.store_u16(Pa(event), self.position.next_available)?;
            // The driver writes its index and then reads ours: one of the two sees the other.
            fence(Ordering::SeqCst);
            if self.pending()? == 0 {
                return Ok(None);
            }
        }
        let slot = u64::from(self.position.next_available % self.layout.size);
        let head = self.dma.load_u16(Pa(self.layout.available + RING_HEADER + 2 * slot))?;
        let chain = self.follow(head)?;
        self.position.next_available = self.position.next_available.wrapping_add(1);
        Ok(Some(chain))
    }

    /// Puts back the last `chains` requests, of which none was given back to the driver.
    pub fn unpop(&mut self, chains: u16) {
        self.position.next_available = self.position.next_available.wrapping_sub(chains);
    }

    /// How many requests wait.
    fn pending(&self) -> Result<u16, RingError> {
        let index = self.dma.load_u16(Pa(self.layout.available + 2))?;
        // What the driver wrote before the index is read after it.
        fence(Ordering::Acquire);
        let pending = index.wrapping_sub(self.position.next_available);
        if pending > self.layout.size { Err(RingError::Overrun(pending)) } else { Ok(pending) }
    }

    /// The buffers of the chain that begins with descriptor `head`.
    fn follow(&self, head: u16) -> Result<Chain, RingError> {
        let mut chain = Chain { dma: self.dma.clone(), head, readable: Vec::new(), writable: Vec::new() };
        let mut table = Table { base: self.layout.descriptors, size: self.layout.size.into(), direct: true };
        let mut index = head;
        // A chain is never longer than its queue, with or without a table of its own (2.7.5.3.1).
        for _ in 0..=self.layout.size {
            let descriptor = table.read(&self.dma, index)?;
            if descriptor.flags & FLAG_INDIRECT != 0 {
                table = table.enter(&descriptor)?;
                index = 0;
                continue;
            }
            chain.add(&descriptor)?;
            if descriptor.flags & FLAG_NEXT == 0 {
                return Ok(chain);
            }
            index = descriptor.next;
        }
        Err(RingError::Loop)
    }

    /// Gives a request back, with `written` bytes of its room filled.
    ///
    /// # Errors
    /// Fails if the ring is no longer in RAM, which cannot be.
    pub fn push(&mut self, chain: &Chain, written: u32) -> Result<(), RingError> {
        self.push_together(&[(chain, written)])
    }

    /// Gives requests back as [`Queue::push`] does, and all of them at once: the driver sees none or all.
    ///
    /// # Errors
    /// Fails if the ring is no longer in RAM, which cannot be.
    pub fn push_together(&mut self, requests: &[(&Chain, u32)]) -> Result<(), RingError> {
        for (chain, written) in requests {
            let slot = u64::from(self.position.next_used % self.layout.size);
            let mut element = [0; 8];
            element[..4].copy_from_slice(&u32::from(chain.head).to_le_bytes());
            element[4..].copy_from_slice(&written.to_le_bytes());
            self.dma.write(Pa(self.layout.used + RING_HEADER + 8 * slot), &element)?;
            self.position.next_used = self.position.next_used.wrapping_add(1);
        }
        // The elements, and the data that they stand for, come before the index.
        fence(Ordering::Release);
        self.dma.store_u16(Pa(self.layout.used + 2), self.position.next_used)?;
        Ok(())
    }

    /// Interrupts the driver if requests were given back since the last time and it wants to know.
    ///
    /// # Errors
    /// Fails if the ring is no longer in RAM, which cannot be.
    pub fn signal(&mut self) -> Result<(), RingError> {
        let (old, new) = (self.position.signalled, self.position.next_used);
        if old == new {
            return Ok(());
        }
        self.position.signalled = new;
        // The driver writes its wish and then reads our index: one of the two sees the other.
        fence(Ordering::SeqCst);
        if self.wants_interrupt(old, new)? {
            self.interrupt.raise_used();
        }
        Ok(())
    }

    /// Whether the driver has seen, by its own word, all requests that were given back, and waits for the next.
    ///
    /// # Errors
    /// Fails if the ring is no longer in RAM, which cannot be.
    pub fn is_drained(&self) -> Result<bool, RingError> {
        if self.event_index {
            return Ok(self.event()? == self.position.next_used);
        }
        Ok(!self.interrupt.is_used_raised() && self.allows_interrupts()?)
    }

    /// The index from which on the driver wants an interrupt.
    fn event(&self) -> Result<u16, RingError> {
        let event = self.layout.available + RING_HEADER + 2 * u64::from(self.layout.size);
        Ok(self.dma.load_u16(Pa(event))?)
    }

    fn allows_interrupts(&self) -> Result<bool, RingError> {
        Ok(self.dma.load_u16(Pa(self.layout.available))? & NO_INTERRUPT == 0)
    }

    fn wants_interrupt(&self, old: u16, new: u16) -> Result<bool, RingError> {
        if !self.event_index {
            return self.allows_interrupts();
        }
        let event = self.event()?;
        // Whether the step from `old` to `new` passed the event (section 2.7.10.2).
        Ok(new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old))
    }
}

impl Chain {
    fn add(&mut self, descriptor: &Descriptor) -> Result<(), RingError> {
        let buffer = Buffer { pa: Pa(descriptor.address), length: descriptor.length };
        if !self.dma.contains(buffer.pa, buffer.length.into()) {
            return Err(OutsideRam { pa: buffer.pa, bytes: buffer.length.into() }.into());
        }
        if descriptor.flags & FLAG_WRITE != 0 {
            self.writable.push(buffer);
        } else if self.writable.is_empty() {
            self.readable.push(buffer);
        } else {
            return Err(RingError::Order);
        }
        Ok(())
    }
}

/// An entry of a table of descriptors.
struct Descriptor {
    address: u64,
    length: u32,
    flags: u16,
    next: u16,
}

/// A table of descriptors: that of the queue, or one that a descriptor of it refers to.
struct Table {
    base: u64,
    size: u64,
    direct: bool,
}

impl Table {
    fn read(&self, dma: &Dma, index: u16) -> Result<Descriptor, RingError> {
        if u64::from(index) >= self.size {
            return Err(RingError::Index(index));
        }
        let mut bytes = [0; DESCRIPTOR_SIZE as usize];
        dma.read(Pa(self.base + DESCRIPTOR_SIZE * u64::from(index)), &mut bytes)?;
        // The slices have the widths that the types want, so nothing is left to go wrong.
        let [address, rest] =
            [0, 8].map(|at| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte])));
        Ok(Descriptor { address, length: rest as u32, flags: (rest >> 32) as u16, next: (rest >> 48) as u16 })
    }

    /// The table that `descriptor`, an entry of this one, refers to.
    fn enter(&self, descriptor: &Descriptor) -> Result<Self, RingError> {
        let bytes = u64::from(descriptor.length);
        let whole = bytes > 0 && bytes.is_multiple_of(DESCRIPTOR_SIZE);
        let in_range = descriptor.address.checked_add(bytes).is_some();
        if !self.direct || descriptor.flags & FLAG_NEXT != 0 || !whole || !in_range {
            return Err(RingError::Indirect);
        }
        Ok(Self { base: descriptor.address, size: bytes / DESCRIPTOR_SIZE, direct: false })
    }
}

#[cfg(test)]
mod tests;
