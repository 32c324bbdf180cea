//! The user network: what the guest sends, the host's kernel sends again for this process, so that no
//! privilege is needed. The guest is 10.0.2.15; 10.0.2.2 is the gateway and the host's own loopback,
//! 10.0.2.3 is the host's name server: addresses that users know from other emulators.
//!
//! TCP is ended here by smoltcp and begun anew by the host; datagrams and echo requests are passed on one
//! by one. IPv6, TCP in fragments and all other protocols are dropped.

mod datagram;
mod dhcp;
mod forward;
mod fragments;
mod frame;
mod port;
mod resolver;
mod tcp;

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::time::Instant as StackInstant;
use smoltcp::wire::{
    ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, HardwareAddress,
    Icmpv4DstUnreachable, Icmpv4Message, Icmpv4Packet, IpAddress, IpCidr, IpProtocol, Ipv4Packet, TcpPacket,
    UdpPacket,
};

use self::datagram::{Arrival, Datagrams, Kind, Pair};
use self::forward::Listener;
use self::fragments::Fragments;
use self::port::Port;
use self::tcp::{Ends, Flows};
use super::{Frame, Mac, Network, Offloads};
use crate::backend::events::Events;

pub use self::resolver::FILE as RESOLVER_FILE;

/// The guest.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const NAMESERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
const NETMASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
const GATEWAY_MAC: EthernetAddress = EthernetAddress([0x52, 0x55, 0x0a, 0x00, 0x02, 0x02]);
const DNS_PORT: u16 = 53;
/// Ports of the gateway, for clients that come from the host.
const FIRST_PORT: u16 = 49_152;

/// How often unused pairs of ends are looked for.
const CLEANING: Duration = Duration::from_secs(10);
/// The stack's clock is looked at no more often than this.
const SHORTEST_DELAY: Duration = Duration::from_millis(1);
/// Frames are exchanged with the stack this often at most before the card has its turn.
const ROUNDS: usize = 16;
/// Connections and datagrams that are taken from one socket before others have their turn: whoever sends faster than they
/// can be taken must not keep the card from all else.
const BURST: usize = 64;

/// Which protocol a forwarded port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

/// A port of the host that leads to one of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The protocol.
    pub protocol: Protocol,
    /// Where the host listens.
    pub host: SocketAddrV4,
    /// The guest's port.
    pub guest: u16,
}

/// What a user can choose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Ports of the host that lead to the guest.
    pub forwards: Vec<Forward>,
    /// Who answers what the guest asks its name server; without it, the host's own name server.
    pub resolver: Option<SocketAddrV4>,
}

/// What there is only while the card is up.
struct Running {
    interface: Interface,
    sockets: SocketSet<'static>,
    port: Port,
    flows: Flows,
    datagrams: Datagrams,
    fragments: Fragments,
    guest: EthernetAddress,
    cleaned: Instant,
    events: Arc<Events>,
}

/// The network.
pub struct User {
    listeners: Vec<Listener>,
    resolver: Option<SocketAddrV4>,
    started: Instant,
    next_token: u64,
    running: Option<Running>,
}

impl User {
    /// A network with the ports of `options`, on which the host listens from now on.
    ///
    /// # Errors
    /// Fails if the host refuses to listen on one of them.
    pub fn new(options: &Options) -> io::Result<Self> {
        let listeners = Listener::open_all(&options.forwards)?;
        let of_host = || resolver::of_host().map(|server| SocketAddrV4::new(server, DNS_PORT));
        let resolver = options.resolver.or_else(of_host);
        // The first tokens are those of the listeners.
        let next_token = listeners.len() as u64;
        Ok(Self { listeners, resolver, started: Instant::now(), next_token, running: None })
    }

    fn now(&self) -> StackInstant {
        StackInstant::from_micros(i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX))
    }

    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    /// Where the host sends what the guest sends to `address`; nowhere, if that could only mean the
    /// guest's own network or machine.
    fn target(&self, address: SocketAddrV4) -> Option<SocketAddrV4> {
        let ip = *address.ip();
        let inside = ip.octets()[..3] == GATEWAY.octets()[..3];
        match ip {
            GATEWAY => Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, address.port())),
            NAMESERVER if address.port() == DNS_PORT => self.resolver,
            _ if inside || ip.is_loopback() || ip.is_multicast() || ip.is_broadcast() => None,
            _ if ip.octets()[0] == 0 => None,
            _ => Some(address),
        }
    }

    /// A packet of IPv4 from the guest, in its `frame`.
    fn take_packet(&mut self, frame: &[u8], packet: &Ipv4Packet<&[u8]>) {
        let is_whole = !packet.more_frags() && packet.frag_offset() == 0;
        match packet.next_header() {
            IpProtocol::Tcp if is_whole && packet.src_addr() == GUEST => self.take_segment(frame, packet),
            _ if is_whole => self.take_payload(packet, packet.payload()),
            _ => {
                let running = self.running.as_mut();
                if let Some(payload) = running.and_then(|it| it.fragments.take(packet, Instant::now())) {
                    self.take_payload(packet, &payload);
                }
            }
        }
    }

    /// What `packet` carries, or the last fragment that it is has completed.
    fn take_payload(&mut self, packet: &Ipv4Packet<&[u8]>, payload: &[u8]) {
        let (from, to) = (packet.src_addr(), packet.dst_addr());
        match packet.next_header() {
            IpProtocol::Udp => self.take_datagram(from, to, payload),
            IpProtocol::Icmp if from == GUEST => self.take_echo(to, payload),
            _ => {}
        }
    }

    fn push(&mut self, frame: &[u8]) {
        if let Some(running) = &mut self.running {
            running.port.push_from_guest(frame);
        }
    }

    fn take_segment(&mut self, frame: &[u8], packet: &Ipv4Packet<&[u8]>) {
        let Ok(segment) = TcpPacket::new_checked(packet.payload()) else { return };
        let peer = SocketAddrV4::new(packet.dst_addr(), segment.dst_port());
        let guest = SocketAddrV4::new(packet.src_addr(), segment.src_port());
        if segment.syn() && !segment.ack() {
            let (target, token) = (self.target(peer), self.token());
            if let (Some(target), Some(running)) = (target, &mut self.running) {
                running.flows.open(&mut running.sockets, token, Ends { guest, peer }, target);
            }
        }
        self.push(frame);
    }

    fn take_datagram(&mut self, from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) {
        let Ok(datagram) = UdpPacket::new_checked(payload) else { return };
        let peer = SocketAddrV4::new(to, datagram.dst_port());
        let guest = SocketAddrV4::new(from, datagram.src_port());
        if peer.port() == dhcp::SERVER_PORT {
            return self.answer_dhcp(datagram.payload());
        }
        let ends = Ends { guest, peer };
        if *guest.ip() == GUEST && !self.listeners.iter().any(|port| port.answer(ends, datagram.payload())) {
            self.pass_on(Pair { kind: Kind::Udp, ends }, datagram.payload());
        }
    }

    fn take_echo(&mut self, to: Ipv4Addr, payload: &[u8]) {
        let Ok(message) = Icmpv4Packet::new_checked(payload) else { return };
        if message.msg_type() != Icmpv4Message::EchoRequest {
            return;
        }
        let guest = SocketAddrV4::new(GUEST, message.echo_ident());
        let ends = Ends { guest, peer: SocketAddrV4::new(to, 0) };
        if [GATEWAY, NAMESERVER].contains(&to) {
            self.answer_echo(ends, payload);
        } else {
            self.pass_on(Pair { kind: Kind::Echo, ends }, payload);
        }
    }

    /// The gateway and the name server are there themselves.
    fn answer_echo(&mut self, ends: Ends, request: &[u8]) {
        let Some(running) = &mut self.running else { return };
        let mut answer = request.to_vec();
        Icmpv4Packet::new_unchecked(&mut answer[..]).set_msg_type(Icmpv4Message::EchoReply);
        running.port.push_datagram(frame::echo(running.guest, ends, &answer));
    }

    /// Sends what the guest sent; if the host cannot, the guest is told as a router would.
    fn pass_on(&mut self, pair: Pair, payload: &[u8]) {
        let (target, token) = (self.target(pair.ends.peer), self.token());
        let (Some(target), Some(running)) = (target, &mut self.running) else { return };
        let reason = match running.datagrams.send(token, pair, target, payload) {
            Ok(()) => return,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Icmpv4DstUnreachable::CommProhibited,
            Err(_) => Icmpv4DstUnreachable::NetUnreachable,
        };
        running.port.push_datagram(frame::unreachable(running.guest, GATEWAY, pair, reason));
    }

    fn answer_dhcp(&mut self, message: &[u8]) {
        let Some(running) = &mut self.running else { return };
        if let Some(reply) = dhcp::answer(message) {
            let guest = SocketAddrV4::new(Ipv4Addr::BROADCAST, dhcp::CLIENT_PORT);
            let peer = SocketAddrV4::new(GATEWAY, dhcp::SERVER_PORT);
            running.port.push_datagram(frame::datagram(running.guest, Ends { guest, peer }, &reply));
        }
    }

    /// Takes what came to the host's ports for the guest.
    fn accept(&mut self, ready: &[u64]) {
        for index in 0..self.listeners.len() {
            if ready.contains(&(index as u64)) {
                self.accept_connections(index);
                self.accept_datagrams(index);
            }
        }
    }

    fn accept_connections(&mut self, index: usize) {
        for _ in 0..BURST {
            let Some(host) = self.listeners[index].accept() else { break };
            let (guest, token) = (self.listeners[index].guest(), self.token());
            let Some(running) = &mut self.running else { break };
            let context = running.interface.context();
            running.flows.accept(&mut running.sockets, context, token, host, guest, GATEWAY);
        }
    }

    fn accept_datagrams(&mut self, index: usize) {
        let Some(running) = &mut self.running else { return };
        let mut bytes = vec![0; datagram::LONGEST];
        for _ in 0..BURST {
            let Some((ends, length)) = self.listeners[index].receive(&mut bytes) else { break };
            running.port.push_datagram(frame::datagram(running.guest, ends, &bytes[..length]));
        }
    }
}

impl Running {
    fn new(guest: Mac, offloads: Offloads, events: &Arc<Events>, now: StackInstant) -> Self {
        let mut port = Port::new(offloads);
        let mut config = Config::new(HardwareAddress::Ethernet(GATEWAY_MAC));
        // Sequence numbers that others cannot guess (RFC 6528); without randomness they are only less good.
        let mut seed = [0; 8];
        let _ = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::NONBLOCK);
        config.random_seed = u64::from_ne_bytes(seed);
        let mut interface = Interface::new(config, &mut port, now);
        interface.update_ip_addrs(|addresses| {
            // The list has room for both.
            let _ = addresses.push(IpCidr::new(IpAddress::Ipv4(GATEWAY), 24));
            let _ = addresses.push(IpCidr::new(IpAddress::Ipv4(NAMESERVER), 24));
        });
        // Whoever the guest connects to, the stack answers for them.
        interface.set_any_ip(true);
        Self {
            interface,
            sockets: SocketSet::new(Vec::new()),
            port,
            flows: Flows::new(Arc::clone(events)),
            datagrams: Datagrams::new(Arc::clone(events)),
            fragments: Fragments::default(),
            guest: EthernetAddress(guest.0),
            cleaned: Instant::now(),
            events: Arc::clone(events),
        }
    }

    fn serve(&mut self, ready: &[u64], now: StackInstant) {
        let (port, guest) = (&mut self.port, self.guest);
        self.datagrams.receive(ready, |pair, arrival| {
            let frame = match (arrival, pair.kind) {
                (Arrival::Bytes(payload), Kind::Udp) => frame::datagram(guest, pair.ends, payload),
                (Arrival::Bytes(message), Kind::Echo) => frame::echo(guest, pair.ends, message),
                (Arrival::Refused, _) => {
                    let reason = Icmpv4DstUnreachable::PortUnreachable;
                    frame::unreachable(guest, *pair.ends.peer.ip(), pair, reason)
                }
            };
            port.push_datagram(frame);
        });
        for round in 0..ROUNDS {
            // The host's sockets were ready once.
            self.flows.pump(&mut self.sockets, if round == 0 { ready } else { &[] });
            let before = self.interface.poll(now, &mut self.port, &mut self.sockets);
            self.flows.pump(&mut self.sockets, &[]);
            if before == smoltcp::iface::PollResult::None {
                break;
            }
        }
        self.flows.clean(&mut self.sockets);
        if self.cleaned.elapsed() > CLEANING {
            self.datagrams.clean();
            self.cleaned = Instant::now();
        }
    }
}

/// Whether an ARP packet asks for one of our addresses, or answers us. The guest may also look whether
/// an address that it is about to take is free, and the stack would answer for all of them.
fn is_for_us(packet: &[u8]) -> bool {
    let repr = ArpPacket::new_checked(packet).and_then(|packet| ArpRepr::parse(&packet));
    match repr {
        Ok(ArpRepr::EthernetIpv4 { target_protocol_addr, .. }) => {
            [GATEWAY, NAMESERVER].contains(&target_protocol_addr)
        }
        _ => false,
    }
}

impl Network for User {
    fn offloads(&self) -> Offloads {
        Offloads { checksum: true, tcp4: true, tcp6: false }
    }

    fn start(&mut self, guest: Mac, offloads: Offloads, events: &Arc<Events>) {
        self.running = Some(Running::new(guest, offloads, events, self.now()));
        for (token, listener) in (0..).zip(&self.listeners) {
            listener.wait(events, token);
        }
    }

    /// Of a frame that came through memory only, nothing is summed up, and long segments are as welcome.
    fn send(&mut self, frame: &Frame) {
        let frame = &frame.bytes[..];
        let Ok(ethernet) = EthernetFrame::new_checked(frame) else { return };
        match ethernet.ethertype() {
            EthernetProtocol::Arp if is_for_us(ethernet.payload()) => self.push(frame),
            EthernetProtocol::Ipv4 => {
                if let Ok(packet) = Ipv4Packet::new_checked(ethernet.payload()) {
                    self.take_packet(frame, &packet);
                }
            }
            _ => {}
        }
    }

    fn has_room(&self) -> bool {
        self.running.as_ref().is_none_or(|running| running.port.takes_from_guest())
    }

    fn serve(&mut self, ready: &[u64], drained: bool) {
        self.accept(ready);
        let now = self.now();
        if let Some(running) = &mut self.running {
            running.serve(ready, now);
            running.port.release_datagrams(Instant::now(), drained);
        }
    }

    fn peek(&self) -> Option<&Frame> {
        self.running.as_ref()?.port.peek()
    }

    fn advance(&mut self) {
        if let Some(running) = &mut self.running {
            running.port.advance();
        }
    }

    fn patience(&mut self) -> Option<Duration> {
        let now = self.now();
        let running = self.running.as_mut()?;
        let delay = running.interface.poll_delay(now, &running.sockets);
        // All that was due is done. What the stack still has to do waits for the guest to keep up, or for
        // a connection of the host, which it does not know.
        let delay = delay.filter(|_| running.port.has_room());
        let delay = delay.map(|delay| Duration::from_micros(delay.total_micros()).max(SHORTEST_DELAY));
        let cleaning = (!running.datagrams.is_empty()).then_some(CLEANING);
        [delay, cleaning, running.port.datagram_delay()].into_iter().flatten().min()
    }

    fn stop(&mut self) {
        let Some(running) = self.running.take() else { return };
        // The other sockets are closed, and with that no longer waited for.
        for listener in &mut self.listeners {
            listener.forget(&running.events);
        }
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
