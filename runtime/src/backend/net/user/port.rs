//! The queues of frames between the guest and the network stack, as smoltcp wants to see them. It must
//! not know what is in a frame, except where the sum over TCP is.

use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant as HostInstant;

use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, PacketMeta, RxToken, TxToken};
use smoltcp::time::Instant;

use super::super::{ETHERNET_HEADER, Frame, Offloads, Segment, SegmentKind, USUAL_FRAME};
use super::fragments;

/// The longest segment that is left to the guest to take as one.
const LONGEST: usize = 65_000;
/// Frames of the guest that wait for the stack; beyond them the guest waits.
const DEPTH: usize = 128;
/// Frames and bytes that wait for the guest; beyond them the stack and the host's sockets wait.
const MOST_FRAMES: usize = 1024;
const MOST_BYTES: usize = 2 << 20;
/// Datagrams that wait for the guest, since nobody else can be made to wait with them: a guest that rests for a
/// while should not lose them.
const MOST_DATAGRAMS: usize = 8192;
/// Datagrams on their way to the guest's programs. These must read them before their sockets are full, which in Linux
/// may be with 50: `net.core.rmem_default` is charged for whole pages.
const DATAGRAMS_AHEAD: u32 = 32;
/// What a program takes to read one, roughly: 750 Mbit/s, if they are long.
const DATAGRAM_READING: Duration = Duration::from_micros(16);
/// How often the guest is looked at while datagrams wait.
const DATAGRAM_LOOK: Duration = Duration::from_micros(250);
/// A guest that shows for so long that it has not seen those before is one that never rests, or does not say.
const DATAGRAM_PATIENCE: Duration = Duration::from_millis(5);

const IPV4: [u8; 2] = [0x08, 0x00];
const TCP: u8 = 6;
/// Where the sum is in the header of TCP.
const TCP_CHECKSUM: u16 = 16;

/// The queues.
#[derive(Default)]
pub struct Port {
    from_guest: VecDeque<Vec<u8>>,
    to_guest: VecDeque<Frame>,
    datagrams: VecDeque<Frame>,
    /// That of the latest datagram.
    identification: u16,
    /// Datagrams that went to the guest since it was last known to have seen all before.
    unseen: u32,
    /// When the guest's programs should have read all of them.
    read_by: Option<HostInstant>,
    /// How long the frames in `to_guest` are together.
    bytes_to_guest: usize,
    offloads: Offloads,
}

impl Port {
    /// Empty queues.
    pub fn new(offloads: Offloads) -> Self {
        Self { offloads, ..Self::default() }
    }

    /// Gives the stack a frame; one too many is lost, as on any network.
    pub fn push_from_guest(&mut self, bytes: &[u8]) {
        if self.takes_from_guest() {
            self.from_guest.push_back(bytes.to_vec());
        }
    }

    /// Whether the stack keeps up.
    pub fn takes_from_guest(&self) -> bool {
        self.from_guest.len() < DEPTH
    }

    /// Gives the guest a packet that is a datagram, in fragments if it is long; one too many is lost.
    pub fn push_datagram(&mut self, bytes: Vec<u8>) {
        if self.datagrams.len() < MOST_DATAGRAMS {
            self.identification = self.identification.wrapping_add(1);
            let frames = fragments::cut(bytes, self.identification);
            self.datagrams.extend(frames.into_iter().map(|bytes| Frame { bytes, ..Frame::default() }));
        }
    }

    /// Lets as many datagrams go to the guest as it can take `now`; it may have `drained` what it was given.
    pub fn release_datagrams(&mut self, now: HostInstant, drained: bool) {
        let mut read_by = self.read_by.unwrap_or(now);
        if drained || now > read_by + DATAGRAM_PATIENCE {
            self.unseen = 0;
        }
        read_by = read_by.max(now);
        let limit = now + DATAGRAM_READING * DATAGRAMS_AHEAD;
        while self.unseen < DATAGRAMS_AHEAD && read_by < limit && self.has_room() {
            let Some(frame) = self.datagrams.pop_front() else { break };
            self.push_to_guest(frame);
            self.unseen += 1;
            read_by += DATAGRAM_READING;
            self.read_by = Some(read_by);
        }
    }

    /// How long datagrams wait that only wait for the guest to read others.
    pub fn datagram_delay(&self) -> Option<Duration> {
        (!self.datagrams.is_empty() && self.has_room()).then_some(DATAGRAM_LOOK)
    }

    fn push_to_guest(&mut self, frame: Frame) {
        self.bytes_to_guest += frame.bytes.len();
        self.to_guest.push_back(frame);
    }

    /// Whether the guest keeps up.
    pub fn has_room(&self) -> bool {
        self.to_guest.len() < MOST_FRAMES && self.bytes_to_guest < MOST_BYTES
    }

    /// The next frame for the guest.
    pub fn peek(&self) -> Option<&Frame> {
        self.to_guest.front()
    }

    /// Forgets the next frame for the guest.
    pub fn advance(&mut self) {
        if let Some(frame) = self.to_guest.pop_front() {
            self.bytes_to_guest -= frame.bytes.len();
        }
    }
}

impl Device for Port {
    type RxToken<'a> = FromGuest;
    type TxToken<'a> = ToGuest<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(FromGuest, ToGuest<'_>)> {
        if !self.has_room() {
            return None;
        }
        let bytes = self.from_guest.pop_front()?;
        Some((FromGuest(bytes), ToGuest { port: self, meta: PacketMeta::default() }))
    }

    fn transmit(&mut self, _now: Instant) -> Option<ToGuest<'_>> {
        self.has_room().then(|| ToGuest { port: self, meta: PacketMeta::default() })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = USUAL_FRAME;
        // What comes from the guest went through memory only, and its sums may be left to do.
        capabilities.checksum.ipv4 = Checksum::Tx;
        capabilities.checksum.tcp = if self.offloads.checksum { Checksum::None } else { Checksum::Tx };
        if self.offloads.tcp4 {
            capabilities.segmentation.tcpv4 = std::num::NonZeroUsize::new(LONGEST);
        }
        capabilities
    }
}

/// A frame on its way into the stack.
pub struct FromGuest(Vec<u8>);

impl RxToken for FromGuest {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

/// Room for a frame out of the stack.
pub struct ToGuest<'a> {
    port: &'a mut Port,
    meta: PacketMeta,
}

impl TxToken for ToGuest<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut bytes = vec![0; length];
        let result = write(&mut bytes);
        let checksum = if self.port.offloads.checksum { begin_checksum(&mut bytes) } else { None };
        let size = self.meta.segmentation_offload_size.map(std::num::NonZero::get);
        let segment = size.map(|size| Segment { kind: SegmentKind::Tcp4, size });
        self.port.push_to_guest(Frame { bytes, checksum, segment });
        result
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.meta = meta;
    }
}

/// Puts the sum over the pseudo-header into a TCP packet, which is what whoever completes it goes on
/// from. Gives where that is to be done; `None` for other packets.
fn begin_checksum(frame: &mut [u8]) -> Option<(u16, u16)> {
    let packet = frame.get(ETHERNET_HEADER..)?;
    if frame.get(12..14)? != IPV4 || packet.get(9) != Some(&TCP) {
        return None;
    }
    let header = usize::from(packet[0] & 0xf) * 4;
    let length = packet.len().checked_sub(header)?;
    let words = packet.get(12..20)?.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum = words.sum::<u32>() + u32::from(TCP) + length as u32;
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    let start = ETHERNET_HEADER + header;
    let at = start + usize::from(TCP_CHECKSUM);
    frame.get_mut(at..at + 2)?.copy_from_slice(&(folded as u16).to_be_bytes());
    Some((start as u16, TCP_CHECKSUM))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many frames there are for the guest, which it takes.
    fn take(port: &mut Port) -> usize {
        let count = port.to_guest.len();
        (0..count).for_each(|_| port.advance());
        assert!(port.peek().is_none());
        count
    }

    #[test]
    fn datagrams_come_as_fast_as_the_guest_reads_them() {
        let mut port = Port::new(Offloads::default());
        (0..200).for_each(|_| port.push_datagram(vec![0; 1514]));
        let start = HostInstant::now();
        let mut take_after = |time: Duration, drained| {
            port.release_datagrams(start + time, drained);
            take(&mut port)
        };
        let read = DATAGRAM_READING * DATAGRAMS_AHEAD;
        assert_eq!(take_after(Duration::ZERO, true), 32);
        // The guest has seen them, but its programs have read half of them only.
        assert_eq!(take_after(Duration::ZERO, true), 0);
        assert_eq!(take_after(read / 2, true), 16);
        assert_eq!(take_after(read / 2, false), 0);
        // A guest that sees nothing gets no more than these, until it is clear that it does not say so.
        assert_eq!(take_after(read * 2, false), 16);
        assert_eq!(take_after(read * 4, false), 0);
        assert_eq!(take_after(read * 4, true), 32);
        assert_eq!(take_after(read * 5 + DATAGRAM_PATIENCE * 2, false), 32);
    }

    #[test]
    fn datagrams_that_wait_are_bounded() {
        let mut port = Port::new(Offloads::default());
        assert_eq!(port.datagram_delay(), None);
        (0..2 * MOST_DATAGRAMS).for_each(|_| port.push_datagram(vec![0; 60]));
        assert_eq!((port.datagrams.len(), port.datagram_delay()), (MOST_DATAGRAMS, Some(DATAGRAM_LOOK)));
        let start = HostInstant::now();
        (0..1000).for_each(|turn| port.release_datagrams(start + DATAGRAM_LOOK * turn, true));
        // The guest takes nothing.
        assert_eq!(port.to_guest.len(), MOST_FRAMES);
        assert_eq!(port.datagram_delay(), None);
    }
}
