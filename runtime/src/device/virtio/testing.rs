//! A driver for tests: it builds rings in guest RAM as Linux would, or as it never would. It must not
//! know any device.

use std::sync::Arc;

use translator::addr::Pa;

use super::queue::Layout;
use crate::device::Window;
use crate::memory::{Dma, Ram};

/// Bytes of RAM, at address 0.
pub const RAM: u64 = 1 << 20;
/// Where buffers can be put: everything below is for rings.
pub const BUFFERS: u64 = 0x1_0000;
/// `VIRTQ_DESC_F_INDIRECT` (virtio 1.2, section 2.7.5): the descriptor refers to a table.
const INDIRECT: u16 = 1 << 2;

/// RAM for a driver and a device.
pub fn memory() -> Dma {
    let ram = Ram::new(&[Window { base: Pa(0), size: RAM }]).expect("the host has memory");
    Dma::new(Arc::new(ram))
}

/// A buffer as the driver describes it.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Where.
    pub address: u64,
    /// How long.
    pub length: u32,
    /// Whether the device writes it.
    pub writable: bool,
}

/// A buffer that the device reads.
pub fn readable(address: u64, length: u32) -> Part {
    Part { address, length, writable: false }
}

/// A buffer that the device writes.
pub fn writable(address: u64, length: u32) -> Part {
    Part { address, length, writable: true }
}

/// The driver's end of one queue.
pub struct Driver {
    /// The memory.
    pub dma: Dma,
    /// Where the rings are.
    pub layout: Layout,
    next_descriptor: u16,
    available: u16,
    used: u16,
}

impl Driver {
    /// A queue of `size` descriptors, number `number` in its memory.
    pub fn new(dma: &Dma, number: u64, size: u16) -> Self {
        let base = number * 0x4000;
        let (descriptors, available, used) = (base, base + 0x2000, base + 0x3000);
        let layout = Layout { size, ready: true, descriptors, available, used };
        Self { dma: dma.clone(), layout, next_descriptor: 0, available: 0, used: 0 }
    }

    /// Writes descriptor `index` of the table at `table`.
    pub fn describe(&self, table: u64, index: u16, address: u64, length: u32, flags: u16, next: u16) {
        let mut bytes = address.to_le_bytes().to_vec();
        bytes.extend(length.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend(next.to_le_bytes());
        self.dma.write(Pa(table + 16 * u64::from(index)), &bytes).unwrap();
    }

    /// Makes a request of `parts` available; gives its first descriptor.
    pub fn offer(&mut self, parts: &[Part]) -> u16 {
        let head = self.next_descriptor;
        let size = self.layout.size;
        self.next_descriptor = self.describe_chain(self.layout.descriptors, head, size, parts);
        self.publish(head);
        head
    }

    /// The same with a table of its own, at `table`.
    pub fn offer_indirectly(&mut self, table: u64, parts: &[Part]) {
        let size = parts.len() as u16;
        self.describe_chain(table, 0, size.max(1), parts);
        let head = self.next_descriptor;
        self.next_descriptor = (head + 1) % self.layout.size;
        self.describe(self.layout.descriptors, head, table, 16 * u32::from(size), INDIRECT, 0);
        self.publish(head);
    }

    /// Writes descriptors for `parts` to the table at `table`, which has `size` of them, from `first` on; gives the one
    /// behind the last.
    fn describe_chain(&self, table: u64, first: u16, size: u16, parts: &[Part]) -> u16 {
        let mut index = first;
        for (number, part) in parts.iter().enumerate() {
            let next = (index + 1) % size;
            let more = u16::from(number + 1 < parts.len());
            let flags = more | u16::from(part.writable) << 1;
            self.describe(table, index, part.address, part.length, flags, next);
            index = next;
        }
        index
    }

    /// Puts a descriptor's number into the available ring.
    pub fn publish(&mut self, head: u16) {
        let slot = u64::from(self.available % self.layout.size);
        self.dma.store_u16(Pa(self.layout.available + 4 + 2 * slot), head).unwrap();
        self.available = self.available.wrapping_add(1);
        self.dma.store_u16(Pa(self.layout.available + 2), self.available).unwrap();
    }

    /// How many requests the device has not given back, as far as [`Driver::reclaim`] has looked.
    pub fn in_flight(&self) -> u16 {
        self.available.wrapping_sub(self.used)
    }

    /// The next request that the device gave back: its first descriptor, and how much was written.
    pub fn reclaim(&mut self) -> Option<(u32, u32)> {
        if self.dma.load_u16(Pa(self.layout.used + 2)).unwrap() == self.used {
            return None;
        }
        let slot = u64::from(self.used % self.layout.size);
        let mut element = [0; 8];
        self.dma.read(Pa(self.layout.used + 4 + 8 * slot), &mut element).unwrap();
        self.used = self.used.wrapping_add(1);
        let [head, written] =
            [0, 4].map(|at| u32::from_le_bytes(std::array::from_fn(|byte| element[at + byte])));
        Some((head, written))
    }

    /// Memory from `address` on.
    pub fn bytes(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.dma.read(Pa(address), &mut bytes).unwrap();
        bytes
    }
}
