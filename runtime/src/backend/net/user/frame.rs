//! Frames that are made here, from the gateway to the guest. It must not know why they are sent.

use std::net::Ipv4Addr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, Icmpv4DstUnreachable, Icmpv4Packet,
    Icmpv4Repr, IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
};

use super::GATEWAY_MAC;
use super::datagram::{Kind, Pair};
use super::tcp::Ends;

const HOP_LIMIT: u8 = 64;
/// What a message about a packet quotes of it, besides its header (RFC 792).
const QUOTED: usize = 8;
/// The type of an echo request, and where in a message of echo the identifier is.
const ECHO_REQUEST: u8 = 8;
const IDENTIFIER: usize = 4;

/// A datagram from one end to the other.
pub fn datagram(guest: EthernetAddress, ends: Ends, payload: &[u8]) -> Vec<u8> {
    let udp = UdpRepr { src_port: ends.peer.port(), dst_port: ends.guest.port() };
    let ip = header(*ends.peer.ip(), *ends.guest.ip(), IpProtocol::Udp, udp.header_len() + payload.len());
    packet(guest, &ip, |room| {
        let mut datagram = UdpPacket::new_unchecked(room);
        let (from, to) = (IpAddress::Ipv4(ip.src_addr), IpAddress::Ipv4(ip.dst_addr));
        let copy = |room: &mut [u8]| room.copy_from_slice(payload);
        udp.emit(&mut datagram, &from, &to, payload.len(), copy, &ChecksumCapabilities::default());
    })
}

/// An answer to an echo request: `message` with the identifier that the guest knows.
pub fn echo(guest: EthernetAddress, ends: Ends, message: &[u8]) -> Vec<u8> {
    let ip = header(*ends.peer.ip(), *ends.guest.ip(), IpProtocol::Icmp, message.len());
    packet(guest, &ip, |room| {
        room.copy_from_slice(message);
        if let Some(identifier) = room.get_mut(IDENTIFIER..IDENTIFIER + 2) {
            identifier.copy_from_slice(&ends.guest.port().to_be_bytes());
            Icmpv4Packet::new_unchecked(room).fill_checksum();
        }
    })
}

/// The word of `from` that what the guest sent to `pair` does not get there.
pub fn unreachable(
    guest: EthernetAddress,
    from: Ipv4Addr,
    pair: Pair,
    reason: Icmpv4DstUnreachable,
) -> Vec<u8> {
    let ends = pair.ends;
    let (protocol, data) = quote(pair);
    let quoted = header(*ends.guest.ip(), *ends.peer.ip(), protocol, QUOTED);
    let message = Icmpv4Repr::DstUnreachable { reason, header: quoted, data: &data };
    let ip = header(from, *ends.guest.ip(), IpProtocol::Icmp, message.buffer_len());
    packet(guest, &ip, |room| {
        message.emit(&mut Icmpv4Packet::new_unchecked(room), &ChecksumCapabilities::default());
    })
}

/// The protocol of `pair`, and the first bytes of what the guest sent, as far as anybody looks at them.
fn quote(pair: Pair) -> (IpProtocol, [u8; QUOTED]) {
    let mut bytes = [0; QUOTED];
    let (guest, peer) = (pair.ends.guest.port().to_be_bytes(), pair.ends.peer.port().to_be_bytes());
    match pair.kind {
        Kind::Udp => {
            bytes[..2].copy_from_slice(&guest);
            bytes[2..4].copy_from_slice(&peer);
            bytes[5] = QUOTED as u8;
            (IpProtocol::Udp, bytes)
        }
        Kind::Echo => {
            bytes[0] = ECHO_REQUEST;
            bytes[IDENTIFIER..IDENTIFIER + 2].copy_from_slice(&guest);
            (IpProtocol::Icmp, bytes)
        }
    }
}

fn header(from: Ipv4Addr, to: Ipv4Addr, protocol: IpProtocol, length: usize) -> Ipv4Repr {
    Ipv4Repr {
        src_addr: from,
        dst_addr: to,
        next_header: protocol,
        payload_len: length,
        hop_limit: HOP_LIMIT,
    }
}

/// A frame with a packet whose payload `fill` writes.
fn packet(guest: EthernetAddress, ip: &Ipv4Repr, fill: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let ethernet = EthernetRepr { src_addr: GATEWAY_MAC, dst_addr: guest, ethertype: EthernetProtocol::Ipv4 };
    let mut bytes = vec![0; ethernet.buffer_len() + ip.buffer_len() + ip.payload_len];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    ethernet.emit(&mut frame);
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet, &ChecksumCapabilities::default());
    fill(packet.payload_mut());
    bytes
}
