//! A network card (virtio 1.2, section 5.1) with one pair of queues. It must not know what it is plugged
//! into.

use std::sync::Arc;
use std::time::Duration;

use super::queue::{Chain, Queue, RingError};
use super::{DeviceKind, VirtioDevice};
use crate::backend::events::Events;
use crate::backend::net::header::{self, HEADER_LENGTH};
use crate::backend::net::{
    ETHERNET_HEADER, Frame, LONGEST_FRAME, Mac, Network, Offloads, SegmentKind, USUAL_FRAME,
};

const QUEUE_SIZE: u16 = 256;
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;

const FEATURE_CHECKSUM: u64 = 1 << 0;
const FEATURE_GUEST_CHECKSUM: u64 = 1 << 1;
const FEATURE_MAC: u64 = 1 << 5;
const FEATURE_GUEST_TCP4: u64 = 1 << 7;
const FEATURE_GUEST_TCP6: u64 = 1 << 8;
const FEATURE_HOST_TCP4: u64 = 1 << 11;
const FEATURE_HOST_TCP6: u64 = 1 << 12;
const FEATURE_MERGED_BUFFERS: u64 = 1 << 15;
const FEATURE_STATUS: u64 = 1 << 16;

/// The link is up (section 5.1.4, `status`).
const LINK_UP: u16 = 1 << 0;

/// The shortest frame that Ethernet has, without its checksum.
const SHORTEST_FRAME: usize = 60;
/// The type of frames of reverse ARP (RFC 903).
const REVERSE_ARP: u16 = 0x8035;
/// Buffers of the driver that one frame may take: a page each would do.
const MOST_BUFFERS: usize = 64;
/// Frames that are sent before others are received.
const BURST: usize = 64;
/// Rounds of sending and receiving in one turn, so that whoever wants the card to rest gets a chance.
const ROUNDS: usize = 16;

/// A network card.
pub struct Net {
    mac: Mac,
    network: Box<dyn Network>,
    merged_buffers: bool,
    /// The last turn ended before all was done.
    unfinished: bool,
    /// The frame that is being sent.
    frame: Frame,
}

impl Net {
    /// A card with address `mac`, plugged into `network`.
    pub fn new(mac: Mac, network: Box<dyn Network>) -> Self {
        Self { mac, network, merged_buffers: false, unfinished: false, frame: Frame::default() }
    }

    /// Sends frames that the driver has ready; says whether there may be more that can be sent.
    fn transmit(&mut self, queue: &mut Queue) -> Result<bool, RingError> {
        for _ in 0..BURST {
            if !self.network.has_room() {
                queue.signal()?;
                return Ok(false);
            }
            let Some(chain) = queue.pop()? else {
                queue.signal()?;
                return Ok(false);
            };
            self.send(&chain)?;
            queue.push(&chain, 0)?;
        }
        queue.signal()?;
        Ok(true)
    }

    /// Sends the frame in `chain`. One that cannot be, or makes no sense, is dropped, as a cable would.
    fn send(&mut self, chain: &Chain) -> Result<(), RingError> {
        let length = chain.readable().checked_sub(HEADER_LENGTH as u64).ok_or(RingError::Short)?;
        if !(ETHERNET_HEADER as u64..=LONGEST_FRAME as u64).contains(&length) {
            return Ok(());
        }
        let mut header = [0; HEADER_LENGTH];
        chain.read(0, &mut header)?;
        self.frame.bytes.resize(length as usize, 0);
        chain.read(HEADER_LENGTH as u64, &mut self.frame.bytes)?;
        if header::decode(header, &mut self.frame).is_some() && self.offers(&self.frame) {
            self.network.send(&self.frame);
        }
        Ok(())
    }

    /// Whether the network has the offloads that `frame` relies on; the driver may pretend that it has.
    fn offers(&self, frame: &Frame) -> bool {
        let offloads = self.network.offloads();
        let segments = match frame.segment.map(|segment| segment.kind) {
            None => true,
            Some(SegmentKind::Tcp4) => offloads.tcp4,
            Some(SegmentKind::Tcp6) => offloads.tcp6,
        };
        segments && (frame.checksum.is_none() || offloads.checksum)
    }

    /// Gives the driver the frames that wait for it, as far as it has room.
    fn receive(&mut self, queue: &mut Queue) -> Result<bool, RingError> {
        let mut any = false;
        while let Some(frame) = self.network.peek() {
            if !deliver(queue, frame, self.merged_buffers)? {
                break;
            }
            self.network.advance();
            any = true;
        }
        queue.signal()?;
        Ok(any)
    }
}

/// Whether the driver has seen all frames that it was given.
fn is_drained(queue: Option<&Option<Queue>>) -> Result<bool, RingError> {
    match queue {
        Some(Some(queue)) => queue.is_drained(),
        _ => Ok(false),
    }
}

/// Gives the driver one frame; `false` if it has no room yet.
fn deliver(queue: &mut Queue, frame: &Frame, merged: bool) -> Result<bool, RingError> {
    let wanted = (HEADER_LENGTH + frame.bytes.len()) as u64;
    let mut chains: Vec<Chain> = Vec::new();
    let mut room = 0;
    while room < wanted && (merged || chains.is_empty()) && chains.len() < MOST_BUFFERS {
        let Some(chain) = queue.pop()? else {
            // They are not given back, but taken again when there are more.
            queue.unpop(chains.len() as u16);
            return Ok(false);
        };
        room += chain.writable();
        chains.push(chain);
    }
    if room < wanted && (frame.segment.is_some() || frame.bytes.len() <= USUAL_FRAME) {
        // The driver must have room for it (section 5.1.6.3.1), if it takes no segments for what Ethernet has.
        return Err(RingError::Short);
    }
    if room < wanted {
        // The peer has longer frames than the driver, which loses this one.
        queue.unpop(chains.len() as u16);
        return Ok(true);
    }
    let header = header::encode(frame, chains.len() as u16);
    let mut parts = [&header[..], &frame.bytes];
    let filled: Result<Vec<(&Chain, u32)>, RingError> =
        chains.iter().map(|chain| Ok((chain, fill(chain, &mut parts)?))).collect();
    // All at once: a driver that finds the first buffer wants the others, too (section 5.1.6.4.1), and Linux
    // drops a frame of which one is missing.
    queue.push_together(&filled?)?;
    Ok(true)
}

/// Fills `chain` from the front of `parts`, one after the other, and takes away from them what it took.
fn fill(chain: &Chain, parts: &mut [&[u8]]) -> Result<u32, RingError> {
    let mut written = 0;
    for part in parts {
        let room = usize::try_from(chain.writable() - written).unwrap_or(usize::MAX);
        let (now, later) = part.split_at(part.len().min(room));
        chain.write(written, now)?;
        written += now.len() as u64;
        *part = later;
    }
    Ok(written as u32)
}

/// A frame from `mac` to everybody, by which switches learn where the card is now: a request of reverse
/// ARP (RFC 903), since the card does not know the guest's addresses. Nobody answers it.
fn announcement(mac: Mac) -> [u8; SHORTEST_FRAME] {
    let mut frame = [0; SHORTEST_FRAME];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&mac.0);
    frame[12..14].copy_from_slice(&REVERSE_ARP.to_be_bytes());
    // Ethernet, IPv4, the lengths of their addresses; a reverse request.
    frame[14..22].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, 3]);
    frame[22..28].copy_from_slice(&mac.0);
    frame[32..38].copy_from_slice(&mac.0);
    frame
}

impl VirtioDevice for Net {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Network
    }

    fn features(&self) -> u64 {
        let offloads = self.network.offloads();
        let mut features = FEATURE_MAC | FEATURE_STATUS | FEATURE_MERGED_BUFFERS;
        if offloads.checksum {
            features |= FEATURE_CHECKSUM | FEATURE_GUEST_CHECKSUM;
            // Segments need sums (section 5.1.3.1).
            if offloads.tcp4 {
                features |= FEATURE_HOST_TCP4 | FEATURE_GUEST_TCP4;
            }
            if offloads.tcp6 {
                features |= FEATURE_HOST_TCP6 | FEATURE_GUEST_TCP6;
            }
        }
        features
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[QUEUE_SIZE, QUEUE_SIZE]
    }

    /// `virtio_net_config` (section 5.1.4), as far as there are features for it.
    fn configuration(&self) -> Vec<u8> {
        let mut bytes = self.mac.0.to_vec();
        bytes.extend(LINK_UP.to_le_bytes());
        bytes
    }

    fn activate(&mut self, features: u64, events: &Arc<Events>) {
        self.merged_buffers = features & FEATURE_MERGED_BUFFERS != 0;
        let checksum = features & FEATURE_GUEST_CHECKSUM != 0;
        let tcp4 = checksum && features & FEATURE_GUEST_TCP4 != 0;
        let tcp6 = checksum && features & FEATURE_GUEST_TCP6 != 0;
        self.network.start(self.mac, Offloads { checksum, tcp4, tcp6 }, events);
    }

    fn serve(&mut self, queues: &mut [Option<Queue>], ready: &[u64]) -> Result<(), RingError> {
        let mut ready = ready;
        self.unfinished = true;
        for _ in 0..ROUNDS {
            let mut more = false;
            if let Some(Some(queue)) = queues.get_mut(TRANSMIT) {
                more |= self.transmit(queue)?;
            }
            self.network.serve(ready, is_drained(queues.get(RECEIVE))?);
            if let Some(Some(queue)) = queues.get_mut(RECEIVE) {
                more |= self.receive(queue)?;
            }
            if !more {
                self.unfinished = false;
                break;
            }
            // The files were ready once.
            ready = &[];
        }
        Ok(())
    }

    fn patience(&mut self) -> Option<Duration> {
        if self.unfinished { Some(Duration::ZERO) } else { self.network.patience() }
    }

    fn resume(&mut self) {
        let bytes = announcement(self.mac).to_vec();
        self.network.send(&Frame { bytes, ..Frame::default() });
    }

    fn reset(&mut self) {
        self.network.stop();
    }
}

#[cfg(test)]
mod tests;
