//! A guest that sends anything, and a host that does: frames that are right but for some bytes, packets in fragments that
//! do not quite fit, and a stack of the guest's own whose frames are damaged, doubled and lost on their way, for hours in
//! a moment. What must hold is that nothing panics or hangs, that what the network keeps is bounded, and that a guest that
//! then behaves is served as ever. No frame gets further than the sockets of the test.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

use fuzzing::{Corpus, Numbers, run};
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
use smoltcp::iface::SocketHandle;

use super::tests::{Bench, dhcp_message};
use super::*;

/// Rounds of one case.
const STEPS: u64 = 40;
/// Ports of the guest.
const FIRST: u16 = 40_000;
const LAST: u16 = 41_000;
/// Those of its services, for the host.
const SERVICE: u16 = 22;
const NAMES: u16 = 53;
/// Connections of the guest's stack at once.
const MOST_CONNECTIONS: usize = 6;

/// A port of this machine that is free.
fn free() -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)
}

/// The host's programs that the guest can reach, and those that reach the guest.
struct Host {
    listener: TcpListener,
    datagrams: UdpSocket,
    /// Where nobody listens, since the socket that has the port does not.
    deaf: rustix::fd::OwnedFd,
    /// Where datagrams of others are refused, since the socket that has the port talks to one only.
    picky: UdpSocket,
    connections: Vec<TcpStream>,
    /// The host's ends of what leads to the guest.
    forwards: Vec<Forward>,
    clients: Vec<TcpStream>,
    client: UdpSocket,
}

/// Ports that the guest can use.
#[derive(Clone, Copy)]
struct Ports {
    connections: u16,
    datagrams: u16,
    /// Of no use for connections.
    deaf: u16,
    /// Of no use for datagrams.
    picky: u16,
}

impl Ports {
    fn all(self) -> [u16; 4] {
        [self.connections, self.datagrams, self.deaf, self.picky]
    }
}

impl Host {
    fn new() -> Self {
        let listener = TcpListener::bind(free()).expect("there are ports");
        let [datagrams, picky, client] = [0; 3].map(|_| {
            let socket = UdpSocket::bind(free()).expect("there are ports");
            socket.set_nonblocking(true).expect("it is a socket");
            socket
        });
        picky.connect(picky.local_addr().expect("it is bound")).expect("it is a place to talk to");
        listener.set_nonblocking(true).expect("it is a socket");
        let deaf = socket(AddressFamily::INET, SocketType::STREAM, None).expect("there are sockets");
        bind(&deaf, &free()).expect("there are ports");
        let forward = |protocol, guest, of: SocketAddr| {
            let SocketAddr::V4(host) = of else { unreachable!("it was bound to an address of IPv4") };
            Forward { protocol, host, guest }
        };
        // Free for a moment, until the network has them.
        let port = TcpListener::bind(free()).and_then(|port| port.local_addr()).expect("there are ports");
        let other = UdpSocket::bind(free()).and_then(|port| port.local_addr()).expect("there are ports");
        let forwards = vec![forward(Protocol::Tcp, SERVICE, port), forward(Protocol::Udp, NAMES, other)];
        let (connections, clients) = (Vec::new(), Vec::new());
        Self { listener, datagrams, deaf, picky, connections, forwards, clients, client }
    }

    fn ports(&self) -> Ports {
        let port = |address: io::Result<SocketAddr>| address.expect("it is bound").port();
        let deaf = getsockname(&self.deaf).expect("it is bound");
        Ports {
            connections: port(self.listener.local_addr()),
            datagrams: port(self.datagrams.local_addr()),
            deaf: SocketAddrV4::try_from(deaf).expect("it was bound to an address of IPv4").port(),
            picky: port(self.picky.local_addr()),
        }
    }

    /// Sends back what comes, and hangs up now and then, in order or not.
    fn serve(&mut self, numbers: &mut Numbers) {
        while let Ok((connection, _)) = self.listener.accept() {
            connection.set_nonblocking(true).expect("it is a socket");
            self.connections.push(connection);
        }
        let mut bytes = [0; 4096];
        self.connections.retain_mut(|connection| match connection.read(&mut bytes) {
            Ok(0) => false,
            // What the guest does not take is lost.
            Ok(length) => connection.write_all(&bytes[..length]).is_ok() && !numbers.once_in(50),
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        });
        while let Ok((length, peer)) = self.datagrams.recv_from(&mut bytes) {
            // A client that is gone gets no answer.
            let _ = self.datagrams.send_to(&bytes[..length], peer);
        }
    }

    /// Does something of its own accord: talks to the guest, ends a connection, sends much.
    fn act(&mut self, numbers: &mut Numbers) {
        let mut bytes = [0; 4096];
        match numbers.below(6) {
            0 if self.clients.len() < MOST_CONNECTIONS => {
                let client = TcpStream::connect(self.forwards[0].host).expect("the network listens");
                client.set_nonblocking(true).expect("it is a socket");
                self.clients.push(client);
            }
            1 if !self.clients.is_empty() => {
                drop(self.clients.swap_remove(numbers.index(self.clients.len())));
            }
            2 if !self.connections.is_empty() => {
                let connection = self.connections.swap_remove(numbers.index(self.connections.len()));
                if numbers.once_in(2) {
                    let reset = rustix::net::sockopt::set_socket_linger(&connection, Some(Duration::ZERO));
                    reset.expect("it is a socket");
                }
            }
            // What there is no room for, and for whom there is none, is lost.
            3 => _ = self.client.send_to(&bytes[..numbers.index(3000)], self.forwards[1].host),
            4 => {
                let much = vec![5; numbers.index(300_000)];
                self.connections.iter_mut().for_each(|connection| _ = connection.write(&much));
            }
            _ => {
                self.clients.iter_mut().for_each(|client| {
                    let _ = client.read(&mut bytes);
                    let _ = client.write(&bytes[..numbers.index(4096)]);
                });
                let _ = self.client.recv_from(&mut bytes);
            }
        }
    }
}

/// A packet of IPv4 from the guest to `to`, with no checksum, which nobody looks at.
fn packet(to: Ipv4Addr, protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [&GATEWAY_MAC.0[..], &Mac::of_card("test", 0).0, &[8, 0, 0x45, 0]].concat();
    frame.extend((payload.len() as u16 + 20).to_be_bytes());
    frame.extend([0, 1]);
    frame.extend(fragment.to_be_bytes());
    frame.extend([64, protocol, 0, 0]);
    frame.extend(GUEST.octets());
    frame.extend(to.octets());
    frame.extend(payload);
    frame
}

fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u16 + 8;
    [&[from, to, length, 0].map(u16::to_be_bytes).concat()[..], payload].concat()
}

/// A segment of TCP with the usual options.
fn tcp(from: u16, to: u16, flags: u8) -> Vec<u8> {
    let mut segment = [from, to].map(u16::to_be_bytes).concat();
    segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0xa0, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend([2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7]);
    segment
}

/// The guest's question for the gateway's address, by which it tells its own.
fn resolution() -> Vec<u8> {
    let mut frame = [&[0xff; 6][..], &Mac::of_card("test", 0).0, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
    frame.extend(Mac::of_card("test", 0).0);
    frame.extend([GUEST.octets(), [0; 4], [0, 0, 10, 0], [2, 2, 0, 0]].concat());
    frame
}

/// One frame of each kind that a guest sends, to the host's `ports`.
fn examples(ports: Ports) -> Vec<Vec<u8>> {
    let Ports { connections, datagrams, deaf, picky } = ports;
    let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04host\x07example\0\0\x01\0\x01";
    let request = [8, 0, 0, 0, 0x12, 0x34, 0, 7, 1, 2, 3, 4];
    let long = vec![7; 1400];
    // As long as the network allows, since it offers to take it.
    let segment = [&tcp(FIRST, connections, 0x10)[..], &[7; 40_000]].concat();
    vec![
        resolution(),
        packet(Ipv4Addr::BROADCAST, 17, 0, &udp(68, 67, &dhcp_message(1, None))),
        packet(Ipv4Addr::BROADCAST, 17, 0, &udp(68, 67, &dhcp_message(3, Some(GUEST)))),
        packet(GATEWAY, 17, 0, &udp(FIRST, datagrams, b"some bytes")),
        packet(GATEWAY, 17, 0, &udp(FIRST, picky, b"some bytes")),
        packet(GATEWAY, 17, 0, &udp(NAMES, FIRST_PORT, b"an answer")),
        packet(GATEWAY, 17, 0x2000, &udp(FIRST, datagrams, &long)),
        packet(GATEWAY, 17, 176, &long),
        packet(NAMESERVER, 17, 0, &udp(FIRST, 53, question)),
        packet(GATEWAY, 6, 0, &tcp(FIRST + 1, connections, 2)),
        packet(GATEWAY, 6, 0, &tcp(FIRST + 2, connections, 0x10)),
        packet(GATEWAY, 6, 0, &tcp(FIRST + 3, deaf, 2)),
        packet(GATEWAY, 6, 0, &tcp(FIRST, connections, 4)),
        packet(GATEWAY, 6, 0, &segment),
        packet(GATEWAY, 1, 0, &request),
        packet(Ipv4Addr::new(192, 0, 2, 1), 1, 0, &request),
        packet(GATEWAY, 2, 0, &[0x16, 0, 0, 0, 224, 0, 0, 1]),
        [&[0x33; 6][..], &[0x52; 6], &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 59, 255], &[0xfe; 32]].concat(),
    ]
}

/// A message of a DHCP client with options as they may be (RFC 2132), and some that are cut.
fn dhcp_anything(numbers: &mut Numbers) -> Vec<u8> {
    let kind = numbers.one_of(&[1, 1, 3, 3, 3, 4, 7, 8, 99]);
    let wanted = numbers.one_of(&[None, Some(GUEST), Some(GATEWAY)]);
    let mut message = dhcp_message(kind, wanted);
    message.truncate(message.len() - 1);
    for _ in 0..numbers.below(6) {
        let content = numbers.bytes(20);
        let code = numbers.one_of(&[0, 1, 3, 6, 12, 50, 51, 53, 54, 55, 57, 61, 81, 82, 255]);
        let length = if numbers.once_in(8) { numbers.next() as u8 } else { content.len() as u8 };
        message.extend([code, length]);
        message.extend(content);
    }
    if numbers.once_in(4) { message } else { [&message[..], &[255]].concat() }
}

/// A long packet in fragments, which come in some order and of which some may be missing, doubled, or not right.
fn in_fragments(ports: Ports, numbers: &mut Numbers) -> Vec<Vec<u8>> {
    let length = numbers.one_of(&[1500, 3000, 3000, 9000, 65_000]);
    let payload = match numbers.below(3) {
        0 => [&[8, 0, 0, 0, 0x12, 0x34, 0, 7][..], &vec![3; length]].concat(),
        _ => udp(FIRST, ports.datagrams, &vec![3; length]),
    };
    let protocol = if payload[0] == 8 { 1 } else { 17 };
    let mut frames = fragments::cut(packet(GATEWAY, protocol, 0, &payload), numbers.below(80) as u16);
    for _ in 0..numbers.below(4) {
        let (index, other) = (numbers.index(frames.len()), numbers.index(frames.len()));
        match numbers.below(4) {
            0 if frames.len() > 1 => drop(frames.swap_remove(index)),
            1 => frames.push(frames[index].clone()),
            2 => frames[index] = Corpus::new([&frames[index]]).bytes(numbers),
            _ => frames.swap(index, other),
        }
    }
    frames
}

/// Whether `frame` makes the network send something to where no socket of the test is.
fn leaves(user: &User, frame: &[u8], ports: Ports) -> bool {
    let Ok(packet) =
        EthernetFrame::new_checked(frame).and_then(|frame| Ipv4Packet::new_checked(frame.payload()))
    else {
        return false;
    };
    // Where ports are, whatever else is in the packet.
    let port =
        |at: usize| packet.payload().get(at..at + 2).map_or(0, |port| u16::from_be_bytes([port[0], port[1]]));
    let own = ports.all().map(|port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    let peer = SocketAddrV4::new(packet.dst_addr(), port(2));
    let ends = Ends { guest: SocketAddrV4::new(packet.src_addr(), port(0)), peer };
    if packet.next_header() == IpProtocol::Udp && user.listeners.iter().any(|it| it.client(ends).is_some()) {
        return false;
    }
    match packet.next_header() {
        IpProtocol::Icmp => {
            let nowhere = user.target(SocketAddrV4::new(packet.dst_addr(), 0)).is_none();
            ![GATEWAY, NAMESERVER].contains(&packet.dst_addr()) && !nowhere
        }
        _ => user.target(peer).is_some_and(|target| !own.contains(&target)),
    }
}

/// The guest, its host, and the examples that fit the host's ports.
struct Case {
    bench: Bench,
    host: Host,
    ports: Ports,
    examples: Corpus,
    /// The guest's sockets.
    handles: Vec<SocketHandle>,
    next_port: u16,
}

impl Case {
    fn new(numbers: &mut Numbers) -> Self {
        let host = Host::new();
        let ports = host.ports();
        let resolver = Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, ports.datagrams));
        let checksum = numbers.once_in(2);
        let offloads = Offloads { checksum, tcp4: checksum && numbers.once_in(2), tcp6: false };
        let options = Options { forwards: host.forwards.clone(), resolver };
        let mut bench = Bench::with_offloads(&options, offloads);
        let handles = vec![bench.listen(SERVICE)];
        let examples = Corpus::new(examples(ports));
        Self { bench, host, ports, examples, handles, next_port: FIRST }
    }

    /// Sends a frame, if it stays here and there is room.
    fn send(&mut self, bytes: Vec<u8>) {
        if !leaves(&self.bench.user, &bytes, self.ports) && self.bench.user.has_room() {
            self.bench.user.send(&Frame { bytes, ..Frame::default() });
        }
    }

    /// The guest's own stack says something, which does not arrive as it was.
    fn say(&mut self, numbers: &mut Numbers) {
        self.bench.poll();
        for bytes in std::mem::take(&mut self.bench.cable.sent) {
            match numbers.below(16) {
                0 => {}
                1 => (0..2).for_each(|_| self.send(bytes.clone())),
                2 => self.send(Corpus::new([bytes]).bytes(numbers)),
                _ => self.send(bytes),
            }
        }
    }

    /// The guest sends frames that its stack did not make.
    fn inject(&mut self, numbers: &mut Numbers) {
        let frames = match numbers.below(12) {
            0 => in_fragments(self.ports, numbers),
            1 => {
                let message = dhcp_anything(numbers);
                vec![packet(Ipv4Addr::BROADCAST, 17, 0, &udp(68, 67, &message))]
            }
            2 if numbers.once_in(40) => {
                let (start, count) = (numbers.next() as u16, numbers.below(600) as u16);
                let ports = (0..count).map(|number| start.wrapping_add(number));
                let to = self.ports;
                match numbers.once_in(2) {
                    true => ports.map(|port| packet(GATEWAY, 6, 0, &tcp(port, to.connections, 2))).collect(),
                    false => ports.map(|port| packet(GATEWAY, 17, 0, &udp(port, to.picky, b"x"))).collect(),
                }
            }
            _ => (0..numbers.below(3)).map(|_| self.examples.bytes(numbers)).collect(),
        };
        frames.into_iter().for_each(|frame| self.send(frame));
    }

    /// The guest's programs do something.
    fn act(&mut self, numbers: &mut Numbers) {
        let place = numbers.index(self.handles.len());
        let socket = self.bench.tcp(self.handles[place]);
        match numbers.below(16) {
            0 => socket.close(),
            1 if numbers.once_in(2) => socket.abort(),
            2 if self.handles.len() > 1 => drop(self.bench.sockets.remove(self.handles.swap_remove(place))),
            3..=5 if self.handles.len() < MOST_CONNECTIONS => {
                let port = numbers.one_of(&[self.ports.connections, self.ports.connections, self.ports.deaf]);
                self.handles.push(self.bench.connect((GATEWAY, port), self.next_port));
                self.next_port += 1;
            }
            6 if self.handles.len() < MOST_CONNECTIONS => self.handles.push(self.bench.listen(SERVICE)),
            7..=10 if socket.can_recv() => {
                let most = numbers.index(100_000);
                let taken = socket.recv(|bytes| (bytes.len().min(most), ()));
                taken.expect("there is something");
            }
            _ if socket.can_send() => {
                let sent = socket.send_slice(&vec![6; numbers.index(30_000)]);
                sent.expect("there is room");
            }
            _ => {}
        }
    }

    fn step(&mut self, numbers: &mut Numbers) {
        self.inject(numbers);
        self.act(numbers);
        self.say(numbers);
        self.host.serve(numbers);
        self.host.act(numbers);
        let passed = numbers.one_of(&[1, 1, 1, 20, 20, 300, 1_000, 70_000, 400_000]);
        self.bench.pass(Duration::from_millis(passed));
        self.bench.serve_network(Duration::ZERO, numbers.once_in(2));
        if !numbers.once_in(4) {
            self.bench.take(if numbers.once_in(4) { 3 } else { usize::MAX });
        }
        if numbers.once_in(50) {
            self.bench.user.running.as_mut().expect("the card is up").datagrams.forget();
        }
        if numbers.once_in(200) {
            self.bench.restart();
        }
    }

    fn assert_bounded(&mut self) {
        let running = self.bench.user.running.as_ref().expect("the card is up");
        assert!(running.sockets.iter().count() <= tcp::MOST_FLOWS);
        assert!(running.datagrams.count() <= datagram::MOST);
    }

    /// What is sent is echoed, by connection and by datagram.
    fn assert_served(&mut self, numbers: &mut Numbers) {
        let Ports { connections, datagrams, .. } = self.ports;
        self.handles.drain(..).for_each(|handle| drop(self.bench.sockets.remove(handle)));
        // Connections of which the guest knows nothing any more are given up.
        self.bench.until(|bench| {
            bench.pass(Duration::from_secs(10));
            bench.user.running.as_ref().expect("the card is up").sockets.iter().count() == 0
        });
        // It may have told another address than its own before.
        self.send(resolution());
        // Only the answer to this one counts.
        self.bench.cable.received.clear();
        self.bench.datagram((GUEST, LAST), (GATEWAY, datagrams), b"are you there?");
        let handle = self.bench.connect((GATEWAY, connections), LAST);
        let (mut asked, mut answered, mut connected) = (false, false, false);
        let host = &mut self.host;
        self.bench.until(|bench| {
            host.serve(numbers);
            answered |= bench.cable.received.iter().any(|frame| frame.ends_with(b"are you there?"));
            let socket = bench.tcp(handle);
            if socket.can_send() && !asked {
                asked = socket.send_slice(b"hello").is_ok();
            }
            connected |= socket.recv(|bytes| (bytes.len(), bytes == b"hello")).unwrap_or(false);
            // Or nothing would happen for a second wherever a frame was lost before.
            bench.pass(Duration::from_millis(100));
            answered && connected
        });
    }
}

#[test]
fn guest() {
    run(|numbers| {
        let mut case = Case::new(numbers);
        for _ in 0..STEPS {
            case.step(numbers);
            case.assert_bounded();
        }
        case.assert_served(numbers);
    });
}
