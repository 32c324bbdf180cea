//! A console (virtio 1.2, section 5.3) with one port, which Linux calls `hvc0`. It must not know what the
//! host's end of it is.

use std::sync::Arc;

use super::queue::{Queue, RingError};
use super::{DeviceKind, VirtioDevice};
use crate::backend::events::Events;
use crate::backend::terminal::{Line, Terminal};

const QUEUE_SIZE: u16 = 64;
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
/// Copied at once.
const CHUNK: usize = 4096;
/// The length of `virtio_console_config` (section 5.3.4), of which nothing is valid without features.
const CONFIGURATION_LENGTH: usize = 12;

/// A console.
pub struct Console {
    terminal: Terminal,
}

impl Console {
    /// A console that is connected to `terminal`.
    pub fn new(terminal: Terminal) -> Self {
        Self { terminal }
    }
}

/// Takes what the guest prints.
fn transmit(line: &mut Line, queue: &mut Queue) -> Result<(), RingError> {
    let mut bytes = [0; CHUNK];
    while let Some(chain) = queue.pop()? {
        let (mut done, length) = (0, chain.readable());
        while done < length {
            let piece = usize::try_from(length - done).unwrap_or(CHUNK).min(CHUNK);
            chain.read(done, &mut bytes[..piece])?;
            line.write(&bytes[..piece]);
            // The line loses what it cannot keep, so it gets a chance to pass on before there is more.
            line.serve();
            done += piece as u64;
        }
        queue.push(&chain, 0)?;
    }
    queue.signal()
}

/// Gives the guest what was typed, as far as it has room; says whether it has more.
fn receive(line: &mut Line, queue: &mut Queue) -> Result<bool, RingError> {
    let mut bytes = [0; CHUNK];
    let mut has_room = false;
    while let Some(chain) = queue.pop()? {
        let room = usize::try_from(chain.writable()).unwrap_or(CHUNK).min(CHUNK);
        if room == 0 {
            return Err(RingError::Short);
        }
        let length = line.read(&mut bytes[..room]);
        if length == 0 {
            queue.unpop(1);
            has_room = true;
            break;
        }
        chain.write(0, &bytes[..length])?;
        queue.push(&chain, length as u32)?;
    }
    queue.signal()?;
    Ok(has_room)
}

impl VirtioDevice for Console {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Console
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[QUEUE_SIZE, QUEUE_SIZE]
    }

    fn configuration(&self) -> Vec<u8> {
        vec![0; CONFIGURATION_LENGTH]
    }

    fn activate(&mut self, _features: u64, events: &Arc<Events>) {
        self.terminal.lock().start(events);
    }

    fn serve(&mut self, queues: &mut [Option<Queue>], _ready: &[u64]) -> Result<(), RingError> {
        let mut line = self.terminal.lock();
        line.serve();
        if let Some(Some(queue)) = queues.get_mut(TRANSMIT) {
            transmit(&mut line, queue)?;
        }
        let has_room = match queues.get_mut(RECEIVE) {
            Some(Some(queue)) => receive(&mut line, queue)?,
            _ => false,
        };
        line.update_interest(has_room);
        Ok(())
    }

    fn reset(&mut self) {
        self.terminal.lock().stop();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use translator::addr::Pa;

    use super::*;
    use crate::backend::terminal::End;
    use crate::device::virtio::testing::{BUFFERS, Driver, memory, readable, writable};

    #[test]
    fn bytes_go_both_ways() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console");
        let mut console = Console::new(Terminal::open(&End::Listen(path.clone())).unwrap());
        let dma = memory();
        let mut drivers = [0, 1].map(|number| Driver::new(&dma, number, 8));
        let queue = |driver: &Driver| Queue::new(&dma, &Arc::default(), driver.layout, 64, 0).unwrap();
        let mut queues = [Some(queue(&drivers[0])), Some(queue(&drivers[1]))];
        console.activate(0, &Arc::new(Events::new().unwrap()));
        let mut person = UnixStream::connect(path).unwrap();
        dma.write(Pa(BUFFERS), b"login: ").unwrap();
        drivers[1].offer(&[readable(BUFFERS, 4), readable(BUFFERS + 4, 3)]);
        console.serve(&mut queues, &[]).unwrap();
        let mut shown = [0; 7];
        person.read_exact(&mut shown).unwrap();
        assert_eq!((&shown, drivers[1].reclaim().is_some()), (b"login: ", true));
        // Without room in the guest, what is typed waits.
        person.write_all(b"root\r").unwrap();
        console.serve(&mut queues, &[]).unwrap();
        for number in 0..2 {
            drivers[0].offer(&[writable(BUFFERS + 100 + 3 * number, 3)]);
        }
        console.serve(&mut queues, &[]).unwrap();
        let lengths =
            [drivers[0].reclaim(), drivers[0].reclaim()].map(|given| given.map(|(_, length)| length));
        assert_eq!(lengths, [Some(3), Some(2)]);
        assert_eq!(dma_bytes(&drivers[0]), b"root\r");
        drivers[0].offer(&[readable(BUFFERS, 3)]);
        assert_eq!(console.serve(&mut queues, &[]), Err(RingError::Short));
    }

    fn dma_bytes(driver: &Driver) -> Vec<u8> {
        driver.bytes(BUFFERS + 100, 5)
    }
}
