//! A source of random bytes (virtio 1.2, section 5.4): the host's. It keeps nothing.

use std::sync::Arc;

use rustix::rand::{GetRandomFlags, getrandom};

use super::queue::{Chain, Queue, RingError};
use super::{DeviceKind, VirtioDevice};
use crate::backend::events::Events;

const QUEUE_SIZE: u16 = 8;
/// Given for one request at most; the driver asks again if it wants more.
const MOST: usize = 256;

/// The source.
pub struct Entropy;

impl VirtioDevice for Entropy {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Entropy
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[QUEUE_SIZE]
    }

    fn configuration(&self) -> Vec<u8> {
        Vec::new()
    }

    fn activate(&mut self, _features: u64, _events: &Arc<Events>) {}

    fn serve(&mut self, queues: &mut [Option<Queue>], _ready: &[u64]) -> Result<(), RingError> {
        for queue in queues.iter_mut().flatten() {
            while let Some(chain) = queue.pop()? {
                let written = fill(&chain)?;
                queue.push(&chain, written)?;
                queue.signal()?;
            }
        }
        Ok(())
    }

    fn reset(&mut self) {}
}

fn fill(chain: &Chain) -> Result<u32, RingError> {
    let mut bytes = [0; MOST];
    let wanted = usize::try_from(chain.writable()).unwrap_or(MOST).min(MOST);
    // The host fails only before it has collected any randomness, which it has since its own boot.
    let given = getrandom(&mut bytes[..wanted], GetRandomFlags::empty()).unwrap_or(0);
    chain.write(0, &bytes[..given])?;
    Ok(given as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::virtio::testing::{BUFFERS, Driver, memory, writable};

    #[test]
    fn bytes_are_random() {
        let mut driver = Driver::new(&memory(), 0, 8);
        let queue = Queue::new(&driver.dma, &Arc::default(), driver.layout, 8, 0).unwrap();
        driver.offer(&[writable(BUFFERS, 40), writable(BUFFERS + 100, 1000)]);
        Entropy.serve(&mut [Some(queue)], &[]).unwrap();
        assert_eq!(driver.reclaim(), Some((0, 256)));
        assert_ne!(driver.bytes(BUFFERS, 40), [0; 40]);
        assert_eq!(driver.bytes(BUFFERS + 316, 10), [0; 10]);
    }
}
