//! A network card (virtio 1.2, section 5.1) with one pair of queues. It must not know what it is plugged
//! into.

use std::sync::Arc;
use std::time::Duration;

use super::queue::{Chain, Queue, RingError};
use super::{DeviceKind, VirtioDevice};
use crate::backend::events::Events;
use crate::backend::net::{Frame, Mac, Network, Offloads};

const QUEUE_SIZE: u16 = 256;
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;

const FEATURE_CHECKSUM: u64 = 1 << 0;
const FEATURE_GUEST_CHECKSUM: u64 = 1 << 1;
const FEATURE_MAC: u64 = 1 << 5;
const FEATURE_GUEST_SEGMENTS: u64 = 1 << 7;
const FEATURE_HOST_SEGMENTS: u64 = 1 << 11;
const FEATURE_MERGED_BUFFERS: u64 = 1 << 15;
const FEATURE_STATUS: u64 = 1 << 16;

/// The link is up (section 5.1.4, `status`).
const LINK_UP: u16 = 1 << 0;

/// `virtio_net_hdr` (section 5.1.6), which precedes each frame.
const HEADER_LENGTH: u64 = 12;
/// In it: the sum over the payload is still to be made.
const NEEDS_CHECKSUM: u8 = 1 << 0;
/// In it: the frame stands for several of TCP over IPv4.
const SEGMENTS_TCP4: u8 = 1;

/// The longest frame that is sent: a segment as long as IP allows, behind its Ethernet header.
const LONGEST_FRAME: u64 = 65_535 + 14;
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
    frame: Vec<u8>,
}

impl Net {
    /// A card with address `mac`, plugged into `network`.
    pub fn new(mac: Mac, network: Box<dyn Network>) -> Self {
        Self { mac, network, merged_buffers: false, unfinished: false, frame: Vec::new() }
    }

    /// Sends frames that the driver has ready; says whether there may be more.
    fn transmit(&mut self, queue: &mut Queue) -> Result<bool, RingError> {
        for _ in 0..BURST {
            let Some(chain) = queue.pop()? else {
                queue.signal()?;
                return Ok(false);
            };
            let length = chain.readable().checked_sub(HEADER_LENGTH).ok_or(RingError::Short)?;
            // A longer one is dropped, as a cable would.
            if length <= LONGEST_FRAME {
                self.frame.resize(length as usize, 0);
                chain.read(HEADER_LENGTH, &mut self.frame)?;
                self.network.send(&self.frame);
            }
            queue.push(&chain, 0)?;
        }
        queue.signal()?;
        Ok(true)
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

/// Gives the driver one frame; `false` if it has no room yet.
fn deliver(queue: &mut Queue, frame: &Frame, merged: bool) -> Result<bool, RingError> {
    let wanted = HEADER_LENGTH + frame.bytes.len() as u64;
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
    let mut bytes = header(frame, chains.len() as u16).to_vec();
    bytes.extend(&frame.bytes);
    let mut rest = &bytes[..];
    for chain in &chains {
        let length = rest.len().min(usize::try_from(chain.writable()).unwrap_or(usize::MAX));
        let (now, later) = rest.split_at(length);
        chain.write(0, now)?;
        queue.push(chain, length as u32)?;
        rest = later;
    }
    // What did not fit is the driver's fault.
    if rest.is_empty() { Ok(true) } else { Err(RingError::Short) }
}

fn header(frame: &Frame, buffers: u16) -> [u8; HEADER_LENGTH as usize] {
    let mut header = [0; HEADER_LENGTH as usize];
    let mut set = |at: usize, value: u16| header[at..at + 2].copy_from_slice(&value.to_le_bytes());
    set(10, buffers);
    if let Some((start, offset)) = frame.checksum {
        set(6, start);
        set(8, offset);
        if let Some(segment) = frame.segment {
            // Where the header of TCP ends, by its own length.
            let length = frame.bytes.get(usize::from(start) + 12).map_or(20, |byte| u16::from(byte >> 4) * 4);
            set(2, start + length);
            set(4, segment);
            header[1] = SEGMENTS_TCP4;
        }
        header[0] = NEEDS_CHECKSUM;
    }
    header
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
        let Offloads { checksum, segmentation } = self.network.offloads();
        let mut features = FEATURE_MAC | FEATURE_STATUS | FEATURE_MERGED_BUFFERS;
        if checksum {
            features |= FEATURE_CHECKSUM | FEATURE_GUEST_CHECKSUM;
        }
        if checksum && segmentation {
            features |= FEATURE_HOST_SEGMENTS | FEATURE_GUEST_SEGMENTS;
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
        let segmentation = checksum && features & FEATURE_GUEST_SEGMENTS != 0;
        self.network.start(self.mac, Offloads { checksum, segmentation }, events);
    }

    fn serve(&mut self, queues: &mut [Option<Queue>], ready: &[u64]) -> Result<(), RingError> {
        let mut ready = ready;
        self.unfinished = true;
        for _ in 0..ROUNDS {
            let mut more = false;
            if let Some(Some(queue)) = queues.get_mut(TRANSMIT) {
                more |= self.transmit(queue)?;
            }
            self.network.serve(ready);
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
        self.network.send(&announcement(self.mac));
    }

    fn reset(&mut self) {
        self.network.stop();
    }
}

#[cfg(test)]
mod tests;
