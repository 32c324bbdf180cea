//! Packets of IPv4 that are longer than Ethernet allows and come in fragments (RFC 791, section 3.2), from the guest and
//! to it. It must not know what is in them.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use smoltcp::wire::{IpProtocol, Ipv4Packet};

use super::super::{ETHERNET_HEADER, USUAL_FRAME};

/// Packets that are not complete; the one that was begun first makes way.
const MOST: usize = 64;
/// How long the rest of a packet is waited for (that of Linux, `net.ipv4.ipfrag_time`).
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest payload of a packet.
const LONGEST: usize = 65_535 - IPV4_HEADER;
/// Fragments are cut at multiples of this.
const UNIT: usize = 8;

/// Without options, which nothing here has.
const IPV4_HEADER: usize = 20;

/// What the fragments of one packet have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: IpProtocol,
    identification: u16,
}

/// A packet that is not complete.
struct Partial {
    key: Key,
    begun: Instant,
    /// Parts of its payload, by where they begin. No two of them overlap.
    pieces: BTreeMap<usize, Vec<u8>>,
    /// Where its payload ends, once the last fragment is there.
    end: Option<usize>,
}

/// The fragments that the guest has sent of packets that are not complete.
#[derive(Default)]
pub struct Fragments {
    /// The first one was begun first.
    packets: VecDeque<Partial>,
}

impl Fragments {
    /// Takes a fragment; gives the payload of the packet that it completes. With a fragment that contradicts those
    /// before it, the whole packet is lost.
    pub fn take(&mut self, fragment: &Ipv4Packet<&[u8]>, now: Instant) -> Option<Vec<u8>> {
        self.packets.retain(|packet| now.saturating_duration_since(packet.begun) < PATIENCE);
        let key = Key {
            from: fragment.src_addr(),
            to: fragment.dst_addr(),
            protocol: fragment.next_header(),
            identification: fragment.ident(),
        };
        let known = self.packets.iter().position(|packet| packet.key == key);
        let mut packet = known.and_then(|index| self.packets.remove(index)).unwrap_or_else(|| Partial {
            key,
            begun: now,
            pieces: BTreeMap::new(),
            end: None,
        });
        packet.add(fragment)?;
        if packet.is_complete() {
            return Some(packet.pieces.into_values().flatten().collect());
        }
        if self.packets.len() == MOST {
            self.packets.pop_front();
        }
        let place = self.packets.partition_point(|other| other.begun <= packet.begun);
        self.packets.insert(place, packet);
        None
    }
}

impl Partial {
    /// Adds a fragment; `None` if it cannot belong to the others.
    fn add(&mut self, fragment: &Ipv4Packet<&[u8]>) -> Option<()> {
        let payload = fragment.payload();
        let start = usize::from(fragment.frag_offset());
        let end = start + payload.len();
        let last = !fragment.more_frags();
        if last {
            let other = self.end.replace(end);
            other.is_none_or(|other| other == end).then_some(())?;
        }
        let fits = end <= self.end.unwrap_or(LONGEST).min(LONGEST);
        let before = self.pieces.range(..end).next_back();
        let overlaps = before.is_some_and(|(start_before, piece)| start_before + piece.len() > start);
        if payload.is_empty() || !fits || overlaps || !(last || payload.len().is_multiple_of(UNIT)) {
            return None;
        }
        self.pieces.insert(start, payload.to_vec());
        Some(())
    }

    fn is_complete(&self) -> bool {
        let there: usize = self.pieces.values().map(Vec::len).sum();
        let reach = self.pieces.last_key_value().map(|(start, piece)| start + piece.len());
        self.end == Some(there) && reach == Some(there)
    }
}

/// The frames in which a packet goes over Ethernet: `frame` itself, or fragments of it that are told from those of
/// others by `identification`.
pub fn cut(frame: Vec<u8>, identification: u16) -> Vec<Vec<u8>> {
    if frame.len() <= USUAL_FRAME {
        return vec![frame];
    }
    let (head, payload) = frame.split_at(ETHERNET_HEADER + IPV4_HEADER);
    let room = (USUAL_FRAME - head.len()) / UNIT * UNIT;
    let last = (payload.len() - 1) / room;
    let fragment = |(number, piece): (usize, &[u8])| {
        let mut bytes = [head, piece].concat();
        let mut packet = Ipv4Packet::new_unchecked(&mut bytes[ETHERNET_HEADER..]);
        packet.set_total_len((IPV4_HEADER + piece.len()) as u16);
        packet.set_ident(identification);
        packet.set_dont_frag(false);
        packet.set_more_frags(number < last);
        packet.set_frag_offset((number * room) as u16);
        packet.fill_checksum();
        bytes
    };
    payload.chunks(room).enumerate().map(fragment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet of `length` bytes of payload in its fragments.
    fn fragments(length: usize, identification: u16) -> (Vec<u8>, Vec<Vec<u8>>) {
        let payload: Vec<u8> = (0..length).map(|at| (at * 7 % 251) as u8).collect();
        let mut frame = vec![0; ETHERNET_HEADER];
        frame.extend([0x45, 0]);
        frame.extend(((IPV4_HEADER + length) as u16).to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2]);
        frame.extend(&payload);
        (payload, cut(frame, identification))
    }

    fn take(fragments: &mut Fragments, frame: &[u8], now: Instant) -> Option<Vec<u8>> {
        fragments.take(&Ipv4Packet::new_checked(&frame[ETHERNET_HEADER..]).unwrap(), now)
    }

    #[test]
    fn packets_are_put_together_in_any_order() {
        let now = Instant::now();
        for (length, count) in [(1480, 1), (1481, 2), (2960, 2), (9000, 7), (LONGEST, 45)] {
            let (payload, mut frames) = fragments(length, 1);
            assert_eq!(frames.len(), count);
            assert!(frames.iter().all(|frame| frame.len() <= USUAL_FRAME));
            let mut taken = Fragments::default();
            let last = frames.remove(0);
            for frame in frames.iter().rev() {
                assert!(Ipv4Packet::new_checked(&frame[ETHERNET_HEADER..]).unwrap().verify_checksum());
                assert_eq!(take(&mut taken, frame, now), None);
            }
            assert_eq!(take(&mut taken, &last, now), Some(payload));
            assert!(taken.packets.is_empty());
        }
    }

    #[test]
    fn fragments_of_different_packets_are_told_apart_and_bounded() {
        let now = Instant::now();
        let mut taken = Fragments::default();
        let packets: Vec<_> = (0..=MOST as u16).map(|number| fragments(3000, number)).collect();
        for (_, frames) in &packets {
            assert!(frames[..2].iter().all(|frame| take(&mut taken, frame, now).is_none()));
        }
        assert_eq!(taken.packets.len(), MOST);
        for (number, (payload, frames)) in packets.iter().enumerate().rev() {
            // The first has made way.
            assert_eq!(take(&mut taken, &frames[2], now), (number > 0).then(|| payload.clone()));
        }
    }

    #[test]
    fn what_contradicts_itself_or_never_ends_is_dropped() {
        let now = Instant::now();
        let (_, long) = fragments(3000, 1);
        let (_, short) = fragments(2900, 1);
        // Twice the same, two ends, and more behind the end.
        for bad in [[&long[0], &long[0]], [&long[2], &short[1]], [&short[1], &long[2]]] {
            let mut taken = Fragments::default();
            assert!(bad.iter().all(|frame| take(&mut taken, frame, now).is_none()));
            assert!(taken.packets.is_empty());
        }
        let mut taken = Fragments::default();
        assert_eq!(take(&mut taken, &long[0], now), None);
        assert_eq!(take(&mut taken, &long[1], now + PATIENCE), None);
        assert_eq!(take(&mut taken, &long[2], now + PATIENCE), None);
        assert_eq!(taken.packets.len(), 1);
    }
}
