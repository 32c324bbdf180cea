//! A disk (virtio 1.2, section 5.2). What can be done at once is done on the device's thread, the rest
//! by threads of its own, so that many requests are in flight. It must not know how an image is stored.

mod request;
mod workers;

use std::sync::Arc;

use self::request::{MOST_RANGES, Outcome, Request, SECTOR, Target};
use self::workers::Workers;
use super::queue::{Queue, RingError};
use super::{DeviceKind, VirtioDevice};
use crate::backend::disk::SharedDisk;
use crate::backend::events::Events;
use crate::persist::StateError;
use crate::wire;

const QUEUE_SIZE: u16 = 256;
/// The buffers of one request: a descriptor each, besides those of the header and the status.
const MOST_SEGMENTS: u32 = QUEUE_SIZE as u32 - 2;
/// Sectors in each of the ranges of a request to discard or to write zeroes.
const MOST_RANGE_SECTORS: u32 = 1 << 22;
/// Requests that are in flight at once. A driver that puts more into its ring waits.
const MOST_IN_FLIGHT: usize = 64;
/// The driver is interrupted at the latest when so many bytes of data were moved since, so that it can
/// work on them while others are in hand.
const BYTES_PER_INTERRUPT: u64 = 128 * 1024;

const FEATURE_SEGMENTS: u64 = 1 << 2;
const FEATURE_READ_ONLY: u64 = 1 << 5;
const FEATURE_BLOCK_SIZE: u64 = 1 << 6;
const FEATURE_FLUSH: u64 = 1 << 9;
const FEATURE_CACHE_SWITCH: u64 = 1 << 11;
const FEATURE_DISCARD: u64 = 1 << 13;
const FEATURE_WRITE_ZEROES: u64 = 1 << 14;

/// Where the switch between write-back and write-through is in the configuration (section 5.2.4,
/// `writeback`).
const CACHE_SWITCH: u64 = 32;

/// A disk.
pub struct Block {
    target: Arc<Target>,
    workers: Workers,
    /// What the driver has set the cache's switch to.
    write_back: bool,
    /// What was agreed on with the driver.
    features: u64,
    events: Option<Arc<Events>>,
}

impl Block {
    /// A disk with the content of `disk`, which calls itself `name` as far as that fits.
    pub fn new(disk: SharedDisk, name: &str) -> Self {
        let target = Arc::new(Target::new(disk, name));
        let workers = Workers::new(Arc::clone(&target));
        Self { target, workers, write_back: true, features: 0, events: None }
    }

    /// Whether a write is done only when it is on stable storage (section 5.2.6.2).
    fn is_write_through(&self) -> bool {
        let has = |feature| self.features & feature != 0;
        if has(FEATURE_CACHE_SWITCH) { !self.write_back } else { !has(FEATURE_FLUSH) }
    }

    /// Takes requests from the queue as long as there are some and not too many are in flight.
    fn take_requests(&mut self, queue: &mut Queue) -> Result<(), RingError> {
        let Some(events) = self.events.clone() else { return Ok(()) };
        let write_through = self.is_write_through();
        let mut moved = 0;
        while self.workers.in_flight() < MOST_IN_FLIGHT {
            let Some(chain) = queue.pop()? else { return Ok(()) };
            let request = Request::parse(chain)?;
            match self.target.execute_at_once(&request, write_through) {
                None => self.workers.submit(request, write_through, &events),
                Some(outcome) => {
                    moved += request.bytes();
                    give_back(queue, request, &outcome)?;
                }
            }
            if moved >= BYTES_PER_INTERRUPT {
                queue.signal()?;
                moved = 0;
            }
        }
        Ok(())
    }

    /// Gives back to the driver what the threads have done.
    fn give_back_done(&self, queue: &mut Queue) -> Result<(), RingError> {
        let mut done = self.workers.take_done().into_iter();
        done.try_for_each(|(request, outcome)| give_back(queue, request, &outcome))
    }
}

fn give_back(queue: &mut Queue, request: Request, outcome: &Outcome) -> Result<(), RingError> {
    let (chain, written) = request.conclude(outcome)?;
    queue.push(&chain, written)
}

impl VirtioDevice for Block {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Block
    }

    fn features(&self) -> u64 {
        let common = FEATURE_SEGMENTS | FEATURE_BLOCK_SIZE | FEATURE_FLUSH | FEATURE_CACHE_SWITCH;
        let kind = if self.target.is_read_only() {
            FEATURE_READ_ONLY
        } else {
            FEATURE_DISCARD | FEATURE_WRITE_ZEROES
        };
        common | kind
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[QUEUE_SIZE]
    }

    /// `virtio_blk_config` (section 5.2.4).
    fn configuration(&self) -> Vec<u8> {
        let mut bytes = self.target.sectors().to_le_bytes().to_vec();
        let no_size_limit = 0u32;
        let no_geometry = 0u32;
        for word in [no_size_limit, MOST_SEGMENTS, no_geometry, SECTOR as u32] {
            bytes.extend(word.to_le_bytes());
        }
        // Topology and number of queues are of features that are not offered.
        bytes.extend([0; 8]);
        bytes.extend([self.write_back.into(), 0, 0, 0]);
        let any_alignment = 1u32;
        for word in [MOST_RANGE_SECTORS, MOST_RANGES, any_alignment, MOST_RANGE_SECTORS, MOST_RANGES] {
            bytes.extend(word.to_le_bytes());
        }
        let zeroes_may_unmap = 1u32;
        bytes.extend(zeroes_may_unmap.to_le_bytes());
        bytes
    }

    /// What was written before a switch to write-through reaches stable storage with the next write.
    fn configure(&mut self, offset: u64, byte: u8) {
        if offset == CACHE_SWITCH {
            self.write_back = byte & 1 != 0;
        }
    }

    fn activate(&mut self, features: u64, events: &Arc<Events>) {
        self.features = features;
        self.events = Some(Arc::clone(events));
    }

    fn serve(&mut self, queues: &mut [Option<Queue>], _ready: &[u64]) -> Result<(), RingError> {
        for queue in queues.iter_mut().flatten() {
            self.give_back_done(queue)?;
            self.take_requests(queue)?;
            queue.signal()?;
        }
        Ok(())
    }

    fn quiesce(&mut self, queues: &mut [Option<Queue>]) -> Result<(), RingError> {
        self.workers.finish();
        for queue in queues.iter_mut().flatten() {
            self.give_back_done(queue)?;
            queue.signal()?;
        }
        Ok(())
    }

    fn save(&mut self) -> Vec<u8> {
        wire::encode(&self.write_back)
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), StateError> {
        self.write_back = wire::decode(state)?;
        Ok(())
    }

    fn reset(&mut self) {
        self.workers.finish();
        // The driver has forgotten them, but they may have written to its memory.
        self.workers.take_done().iter().for_each(|(request, _)| request.give_notice());
        self.write_back = true;
        self.features = 0;
    }
}

#[cfg(test)]
mod tests;
