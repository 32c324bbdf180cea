//! The user network with a guest made of smoltcp, and a host that is this machine's loopback.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};

use smoltcp::iface::SocketHandle;
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};

use super::*;

/// Much more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// The guest's end of the cable.
#[derive(Default)]
pub struct Cable {
    offloads: Offloads,
    pub sent: Vec<Vec<u8>>,
    pub received: VecDeque<Vec<u8>>,
}

pub struct Received(Vec<u8>);
pub struct Sent<'a>(&'a mut Cable);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut bytes = vec![0; length];
        let result = write(&mut bytes);
        self.0.sent.push(bytes);
        result
    }
}

impl Device for Cable {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _now: StackInstant) -> Option<(Received, Sent<'_>)> {
        let bytes = self.received.pop_front()?;
        Some((Received(bytes), Sent(self)))
    }

    fn transmit(&mut self, _now: StackInstant) -> Option<Sent<'_>> {
        Some(Sent(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        if self.offloads.checksum {
            capabilities.checksum.tcp = Checksum::Tx;
        }
        capabilities
    }
}

/// A guest with its network.
pub struct Bench {
    pub user: User,
    events: Arc<Events>,
    pub cable: Cable,
    interface: Interface,
    pub sockets: SocketSet<'static>,
}

impl Bench {
    pub fn new(options: &Options) -> Self {
        Self::with_offloads(options, Offloads::default())
    }

    /// One whose guest takes frames with `offloads`.
    pub fn with_offloads(options: &Options, offloads: Offloads) -> Self {
        let mut user = User::new(options).unwrap();
        let events = Arc::new(Events::new().unwrap());
        let mac = Mac::of_card("test", 0);
        user.start(mac, offloads, &events);
        let mut cable = Cable { offloads, ..Cable::default() };
        let config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac.0)));
        let mut interface = Interface::new(config, &mut cable, StackInstant::ZERO);
        interface.update_ip_addrs(|addresses| addresses.push(IpCidr::new(GUEST.into(), 24)).unwrap());
        interface.routes_mut().add_default_ipv4_route(GATEWAY).unwrap();
        Self { user, events, cable, interface, sockets: SocketSet::new(Vec::new()) }
    }

    fn step(&mut self) {
        self.poll();
        for bytes in self.cable.sent.drain(..) {
            self.user.send(&Frame { bytes, ..Frame::default() });
        }
        self.serve(Duration::from_millis(1));
    }

    /// The guest's stack takes what came and says what it has to say.
    pub fn poll(&mut self) {
        let now = self.user.now();
        self.interface.poll(now, &mut self.cable, &mut self.sockets);
    }

    /// Time passes for guest and network, and nobody has to wait for it.
    pub fn pass(&mut self, time: Duration) {
        self.user.started -= time;
        if let Some(running) = &mut self.user.running {
            running.cleaned -= time;
        }
    }

    /// The network does its part, and the guest takes what there is for it.
    pub fn serve(&mut self, patience: Duration) {
        self.serve_network(patience, true);
        self.take(usize::MAX);
    }

    /// The network does its part; the guest has `drained` what it was given, or has not.
    pub fn serve_network(&mut self, patience: Duration, drained: bool) {
        let own = self.user.patience().unwrap_or(patience);
        let ready = self.events.wait(Some(patience.min(own)));
        self.user.serve(&ready, drained);
    }

    /// The guest takes as many frames at most.
    pub fn take(&mut self, most: usize) {
        for _ in 0..most {
            let Some(frame) = self.user.peek() else { break };
            let offloads = self.cable.offloads;
            assert!(frame.bytes.len() <= 1514 || frame.segment.is_some() && offloads.tcp4);
            assert!(frame.checksum.is_none() || offloads.checksum);
            self.cable.received.push_back(frame.bytes.clone());
            self.user.advance();
        }
    }

    pub fn until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < PATIENCE, "nothing came of it");
            self.step();
        }
    }

    fn socket(&mut self) -> SocketHandle {
        let buffer = || SocketBuffer::new(vec![0; 65_535]);
        self.sockets.add(Socket::new(buffer(), buffer()))
    }

    /// The card is reset, as by a driver that begins anew.
    pub fn restart(&mut self) {
        self.user.stop();
        self.user.start(Mac::of_card("test", 0), self.cable.offloads, &self.events);
    }

    /// A socket that waits for a connection to `port`.
    pub fn listen(&mut self, port: u16) -> SocketHandle {
        let handle = self.socket();
        self.tcp(handle).listen(port).unwrap();
        handle
    }

    pub fn connect(&mut self, target: (Ipv4Addr, u16), port: u16) -> SocketHandle {
        let handle = self.socket();
        let socket = self.sockets.get_mut::<Socket<'_>>(handle);
        socket.connect(self.interface.context(), target, port).unwrap();
        handle
    }

    pub fn tcp(&mut self, handle: SocketHandle) -> &mut Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// A datagram as the guest would send it.
    pub fn datagram(&mut self, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), payload: &[u8]) {
        let ends = Ends { guest: SocketAddrV4::new(to.0, to.1), peer: SocketAddrV4::new(from.0, from.1) };
        self.say(frame::datagram(GATEWAY_MAC, ends, payload));
    }

    /// A packet in as many frames as it needs.
    fn say(&mut self, frame: Vec<u8>) {
        for bytes in fragments::cut(frame, 5) {
            self.user.send(&Frame { bytes, ..Frame::default() });
        }
    }

    fn next_frame(&mut self) -> Vec<u8> {
        self.until(|bench| !bench.cable.received.is_empty());
        self.cable.received.pop_front().unwrap()
    }

    /// The next message of ICMP for the guest: who sent it, its type and code, and what follows the head.
    fn next_message(&mut self) -> (Ipv4Addr, [u8; 2], Vec<u8>) {
        let frame = self.next_frame();
        let packet = Ipv4Packet::new_checked(&frame[14..]).unwrap();
        let message = Icmpv4Packet::new_checked(packet.payload()).unwrap();
        assert!(packet.verify_checksum() && message.verify_checksum());
        let (kind, code) = (message.msg_type().into(), message.msg_code());
        (packet.src_addr(), [kind, code], packet.payload()[4..].to_vec())
    }

    /// The payload and source of the next datagram for the guest.
    fn next_datagram(&mut self) -> (SocketAddrV4, Vec<u8>) {
        let frame = self.next_frame();
        let packet = Ipv4Packet::new_checked(&frame[14..]).unwrap();
        let datagram = UdpPacket::new_checked(packet.payload()).unwrap();
        (SocketAddrV4::new(packet.src_addr(), datagram.src_port()), datagram.payload().to_vec())
    }
}

#[test]
fn bytes_go_both_ways_and_each_end_may_close_first() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let host = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
    });
    let mut bench = Bench::new(&Options::default());
    let handle = bench.connect((GATEWAY, port), 40_000);
    let pattern: Vec<u8> = (0..1_000_000u32).map(|at| (at % 241) as u8).collect();
    let (mut sent, mut received) = (0, Vec::<u8>::new());
    bench.until(|bench| {
        let socket = bench.tcp(handle);
        if socket.can_send() && sent < pattern.len() {
            sent += socket.send_slice(&pattern[sent..]).unwrap();
            if sent == pattern.len() {
                socket.close();
            }
        }
        while socket.can_recv() {
            socket.recv(|bytes| (bytes.len(), received.extend(&*bytes))).unwrap();
        }
        received.len() == pattern.len() && matches!(socket.state(), State::TimeWait | State::Closed)
    });
    assert_eq!(received, pattern);
    host.join().unwrap();
    bench.until(|bench| bench.user.running.as_ref().unwrap().sockets.iter().count() == 0);
}

#[test]
fn a_port_that_nobody_listens_on_refuses() {
    let mut bench = Bench::new(&Options::default());
    let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let handle = bench.connect((GATEWAY, unused), 40_001);
    bench.until(|bench| bench.tcp(handle).state() == State::Closed);
}

#[test]
fn connections_are_bounded() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut bench = Bench::new(&Options::default());
    for number in 0..600 {
        bench.connect((GATEWAY, port), 10_000 + number);
    }
    for _ in 0..20 {
        bench.step();
    }
    let open = bench.user.running.as_ref().unwrap().sockets.iter().count();
    assert!((1..=512).contains(&open), "{open} connections");
}

#[test]
fn a_forwarded_port_leads_to_the_guest() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let host = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let forward = Forward { protocol: Protocol::Tcp, host, guest: 22 };
    let options = Options { forwards: vec![forward], resolver: None };
    let mut bench = Bench::new(&options);
    let handle = bench.listen(22);
    let client = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(host).unwrap();
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).unwrap();
        bytes
    });
    bench.until(|bench| bench.tcp(handle).can_send());
    bench.tcp(handle).send_slice(b"hello").unwrap();
    bench.until(|_| client.is_finished());
    assert_eq!(&client.join().unwrap(), b"hello");
    assert!(User::new(&options).is_err());
}

#[test]
fn datagrams_are_passed_on_and_their_answers_come_back() {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = server.local_addr().unwrap().port();
    let mut bench = Bench::new(&Options::default());
    bench.datagram((GUEST, 999), (GATEWAY, port), b"question");
    let mut bytes = [0; 100];
    let (length, peer) = server.recv_from(&mut bytes).unwrap();
    assert_eq!(&bytes[..length], b"question");
    server.send_to(b"answer", peer).unwrap();
    assert_eq!(bench.next_datagram(), (SocketAddrV4::new(GATEWAY, port), b"answer".to_vec()));
    for number in 0..1000 {
        bench.datagram((GUEST, 1000 + number), (GATEWAY, port), b"x");
    }
    let datagrams = &mut bench.user.running.as_mut().unwrap().datagrams;
    assert_eq!(datagrams.count(), datagram::MOST);
    datagrams.forget();
    assert_eq!(datagrams.count(), 0);
}

#[test]
fn whoever_sends_much_is_not_listened_to_all_the_time() {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let host = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let forwards = vec![Forward { protocol: Protocol::Udp, host, guest: 53 }];
    let mut bench = Bench::new(&Options { forwards, resolver: None });
    bench.datagram((GUEST, 999), (GATEWAY, server.local_addr().unwrap().port()), b"question");
    let (_, peer) = server.recv_from(&mut [0; 100]).unwrap();
    for _ in 0..2 * BURST {
        server.send_to(b"answer", peer).unwrap();
        server.send_to(b"question", host).unwrap();
    }
    let ready = bench.events.wait(Some(PATIENCE));
    bench.user.accept(&ready);
    let rest = std::iter::from_fn(|| bench.user.listeners[0].receive(&mut [0; 100]));
    assert_eq!(rest.count(), BURST);
    let mut answers = 0;
    bench.user.running.as_mut().unwrap().datagrams.receive(&ready, |_, _| answers += 1);
    assert_eq!(answers, BURST);
}

/// What comes together of the next fragments for the guest.
fn next_whole(bench: &mut Bench) -> Vec<u8> {
    let mut fragments = Fragments::default();
    loop {
        let frame = bench.next_frame();
        let packet = Ipv4Packet::new_checked(&frame[14..]).unwrap();
        if let Some(payload) = fragments.take(&packet, Instant::now()) {
            return payload;
        }
    }
}

#[test]
fn long_datagrams_and_echoes_come_and_go_in_fragments() {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = server.local_addr().unwrap().port();
    let mut bench = Bench::new(&Options::default());
    for length in [1473, 9000, datagram::LONGEST] {
        let payload: Vec<u8> = (0..length).map(|at| (at % 253) as u8).collect();
        bench.datagram((GUEST, 999), (GATEWAY, port), &payload);
        let mut bytes = vec![0; 65_536];
        let (received, peer) = server.recv_from(&mut bytes).unwrap();
        assert!(bytes[..received] == payload, "{length}: {received}");
        server.send_to(&payload, peer).unwrap();
        let answer = next_whole(&mut bench);
        let datagram = UdpPacket::new_checked(&answer[..]).unwrap();
        let (from, to) = (IpAddress::Ipv4(GATEWAY), IpAddress::Ipv4(GUEST));
        assert!(datagram.verify_checksum(&from, &to) && datagram.payload() == payload);
    }
    let ends = Ends { guest: SocketAddrV4::new(GATEWAY, 0x1234), peer: SocketAddrV4::new(GUEST, 0) };
    let request = [&[8, 0, 0, 0, 0x12, 0x34, 0, 7][..], &[9; 3000]].concat();
    bench.say(frame::echo(GATEWAY_MAC, ends, &request));
    let answer = next_whole(&mut bench);
    assert!(Icmpv4Packet::new_checked(&answer[..]).unwrap().verify_checksum());
    assert_eq!((answer[0], &answer[4..]), (0, &request[4..]));
}

#[test]
fn a_port_without_a_listener_is_unreachable() {
    let unused = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let mut bench = Bench::new(&Options::default());
    bench.datagram((GUEST, 999), (GATEWAY, unused), b"anybody?");
    let (from, kind, rest) = bench.next_message();
    assert_eq!((from, kind), (GATEWAY, [3, 3]));
    // Behind a word and the header of what was sent are its ports.
    assert_eq!(rest[24..28], [999u16.to_be_bytes(), unused.to_be_bytes()].concat());
}

#[test]
fn a_forwarded_port_takes_datagrams_and_gives_answers() {
    let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let host = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let forward = Forward { protocol: Protocol::Udp, host, guest: 53 };
    let mut bench = Bench::new(&Options { forwards: vec![forward], resolver: None });
    let clients = [0, 1].map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    for (client, question) in clients.iter().zip([b"one", b"two"]) {
        client.send_to(question, host).unwrap();
        let (from, asked) = bench.next_datagram();
        assert_eq!((*from.ip(), &asked[..]), (GATEWAY, &question[..]));
        bench.datagram((GUEST, 53), (GATEWAY, from.port()), &[question, &b"!"[..]].concat());
    }
    for (client, answer) in clients.iter().zip([b"one!", b"two!"]) {
        let mut bytes = [0; 10];
        let (length, from) = client.recv_from(&mut bytes).unwrap();
        assert_eq!((&bytes[..length], from), (&answer[..], host.into()));
    }
}

#[test]
fn clients_of_two_ports_that_lead_to_one_get_their_own_answers() {
    let hosts = [0; 2].map(|_| {
        let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
    });
    let forwards = hosts.map(|host| Forward { protocol: Protocol::Udp, host, guest: 53 });
    let mut bench = Bench::new(&Options { forwards: forwards.into(), resolver: None });
    let clients = hosts.map(|host| (UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), host));
    let froms = clients.each_ref().map(|(client, host)| {
        client.send_to(b"question", host).unwrap();
        bench.next_datagram().0
    });
    for (from, (client, host)) in froms.iter().zip(&clients) {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        bench.datagram((GUEST, 53), (GATEWAY, from.port()), b"answer");
        let (length, from) = client.recv_from(&mut [0; 10]).unwrap();
        assert_eq!((length, from), (6, (*host).into()));
    }
}

#[test]
fn the_name_server_that_was_chosen_is_asked() {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let std::net::SocketAddr::V4(resolver) = server.local_addr().unwrap() else { panic!("asked for IPv4") };
    let mut bench = Bench::new(&Options { forwards: Vec::new(), resolver: Some(resolver) });
    bench.datagram((GUEST, 999), (NAMESERVER, 53), b"name?");
    let mut bytes = [0; 10];
    let (length, peer) = server.recv_from(&mut bytes).unwrap();
    assert_eq!(&bytes[..length], b"name?");
    server.send_to(b"address", peer).unwrap();
    assert_eq!(bench.next_datagram(), (SocketAddrV4::new(NAMESERVER, 53), b"address".to_vec()));
}

/// An echo request that the host may or may not pass on: it is answered by the one who was asked, with the
/// guest's identifier, or the guest is told that it may not ask.
#[test]
fn an_echo_request_is_never_ignored() {
    let mut bench = Bench::new(&Options::default());
    // The guest asks this address; the one that answers is this machine's loopback.
    let host = Ipv4Addr::new(10, 0, 3, 1);
    let guest = SocketAddrV4::new(GUEST, 0x1234);
    let pair = Pair { kind: Kind::Echo, ends: Ends { guest, peer: SocketAddrV4::new(host, 0) } };
    let message = [8, 0, 0, 0, 0x12, 0x34, 0, 7, 1, 2, 3];
    let target = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    let running = bench.user.running.as_mut().unwrap();
    let sent = running.datagrams.send(1000, pair, target, &message);
    if let Err(error) = sent {
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        bench.user.pass_on(pair, &message);
        let (from, kind, rest) = bench.next_message();
        assert_eq!((from, kind), (GATEWAY, [3, 13]));
        assert_eq!(rest[24..30], [8, 0, 0, 0, 0x12, 0x34]);
    } else {
        let (from, kind, rest) = bench.next_message();
        assert_eq!((from, kind, &rest[..]), (host, [0, 0], &message[4..]));
    }
}

#[test]
fn a_reset_on_one_side_is_one_on_the_other() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut bench = Bench::new(&Options::default());
    let handle = bench.connect((GATEWAY, port), 40_000);
    bench.until(|bench| bench.tcp(handle).state() == State::Established);
    let (mut host, _) = listener.accept().unwrap();
    bench.tcp(handle).abort();
    bench.until(|bench| bench.user.running.as_ref().unwrap().sockets.iter().count() == 0);
    let error = host.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);

    let handle = bench.connect((GATEWAY, port), 40_001);
    bench.until(|bench| bench.tcp(handle).state() == State::Established);
    let (host, _) = listener.accept().unwrap();
    rustix::net::sockopt::set_socket_linger(&host, Some(Duration::ZERO)).unwrap();
    drop(host);
    // An orderly end would leave it half open.
    bench.until(|bench| bench.tcp(handle).state() == State::Closed);
}

/// A message of a DHCP client (RFC 2131, section 2 and RFC 2132) that may want an address.
pub fn dhcp_message(kind: u8, wanted: Option<Ipv4Addr>) -> Vec<u8> {
    let mut message = vec![0; 240];
    message[..4].copy_from_slice(&[1, 1, 6, 0]);
    message[28..34].copy_from_slice(&Mac::of_card("test", 0).0);
    message[236..240].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    message.extend([53, 1, kind]);
    if let Some(wanted) = wanted {
        message.extend([50, 4]);
        message.extend(wanted.octets());
    }
    message.push(255);
    message
}

#[test]
fn the_guest_gets_its_address() {
    let mut bench = Bench::new(&Options::default());
    // A DISCOVER, then a REQUEST of the address, then of another.
    for (kind, wanted, expected) in [(1, None, 2), (3, Some(GUEST), 5), (3, Some(GATEWAY), 6)] {
        let message = dhcp_message(kind, wanted);
        bench.datagram((Ipv4Addr::UNSPECIFIED, 68), (Ipv4Addr::BROADCAST, 67), &message);
        let (from, reply) = bench.next_datagram();
        assert_eq!(from, SocketAddrV4::new(GATEWAY, 67));
        assert!(reply[240..].windows(3).any(|option| option == [53, 1, expected]));
        assert_eq!(reply[16..20] == GUEST.octets(), expected != 6);
    }
}

#[test]
fn nobody_is_reached_by_addresses_that_mean_the_guests_own_network() {
    let user = User::new(&Options::default()).unwrap();
    let target = |ip: [u8; 4]| user.target(SocketAddrV4::new(ip.into(), 80)).map(|target| *target.ip());
    assert_eq!(target([10, 0, 2, 2]), Some(Ipv4Addr::LOCALHOST));
    assert_eq!(target([192, 0, 2, 1]), Some(Ipv4Addr::new(192, 0, 2, 1)));
    for ip in [[127, 0, 0, 1], [10, 0, 2, 3], [10, 0, 2, 99], [0, 0, 0, 0], [224, 0, 0, 1], [255; 4]] {
        assert_eq!(target(ip), None, "{ip:?}");
    }
}
