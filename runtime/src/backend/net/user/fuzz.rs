//! A guest that sends anything: frames that are right but for some bytes, and a stack of its own whose frames are
//! damaged, doubled and lost on their way. What must hold is that nothing panics or hangs, that what the network keeps
//! is bounded, and that a guest that then behaves is served as ever. No frame gets further than the sockets of the test.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};

use fuzzing::{Corpus, Numbers, run};

use super::tests::{Bench, dhcp_message};
use super::*;

/// Rounds of one case.
const STEPS: u64 = 40;
/// Ports of the guest.
const FIRST: u16 = 40_000;
const LAST: u16 = 41_000;

/// The host's programs that the guest can reach.
struct Host {
    listener: TcpListener,
    datagrams: UdpSocket,
    connections: Vec<TcpStream>,
}

impl Host {
    fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there are ports");
        let datagrams = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("there are ports");
        listener.set_nonblocking(true).expect("it is a socket");
        datagrams.set_nonblocking(true).expect("it is a socket");
        Self { listener, datagrams, connections: Vec::new() }
    }

    /// The ports for connections and for datagrams.
    fn ports(&self) -> [u16; 2] {
        [self.listener.local_addr(), self.datagrams.local_addr()]
            .map(|address| address.expect("it is bound").port())
    }

    /// Sends back what comes, and hangs up now and then.
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
fn examples([connections, datagrams]: [u16; 2]) -> Corpus {
    let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04host\x07example\0\0\x01\0\x01";
    let request = [8, 0, 0, 0, 0x12, 0x34, 0, 7, 1, 2, 3, 4];
    let long = vec![7; 1400];
    Corpus::new([
        resolution(),
        packet(Ipv4Addr::BROADCAST, 17, 0, &udp(68, 67, &dhcp_message(1, None))),
        packet(Ipv4Addr::BROADCAST, 17, 0, &udp(68, 67, &dhcp_message(3, Some(GUEST)))),
        packet(GATEWAY, 17, 0, &udp(FIRST, datagrams, b"some bytes")),
        packet(GATEWAY, 17, 0x2000, &udp(FIRST, datagrams, &long)),
        packet(GATEWAY, 17, 176, &long),
        packet(NAMESERVER, 17, 0, &udp(FIRST, 53, question)),
        packet(GATEWAY, 6, 0, &tcp(FIRST + 1, connections, 2)),
        packet(GATEWAY, 6, 0, &tcp(FIRST + 2, connections, 0x10)),
        packet(GATEWAY, 6, 0, &tcp(FIRST, connections, 4)),
        packet(GATEWAY, 1, 0, &request),
        packet(Ipv4Addr::new(192, 0, 2, 1), 1, 0, &request),
        packet(GATEWAY, 2, 0, &[0x16, 0, 0, 0, 224, 0, 0, 1]),
        [&[0x33; 6][..], &[0x52; 6], &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 59, 255], &[0xfe; 32]].concat(),
    ])
}

/// Whether `frame` makes the network send something to where no socket of the test is.
fn leaves(user: &User, frame: &[u8], ports: [u16; 2]) -> bool {
    let Ok(packet) =
        EthernetFrame::new_checked(frame).and_then(|frame| Ipv4Packet::new_checked(frame.payload()))
    else {
        return false;
    };
    // Where ports are, whatever else is in the packet.
    let port = packet.payload().get(2..4).map_or(0, |port| u16::from_be_bytes([port[0], port[1]]));
    let own = ports.map(|port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    let target = |port| user.target(SocketAddrV4::new(packet.dst_addr(), port));
    match packet.next_header() {
        IpProtocol::Icmp => ![GATEWAY, NAMESERVER].contains(&packet.dst_addr()) && target(0).is_some(),
        _ => target(port).is_some_and(|target| !own.contains(&target)),
    }
}

/// The guest, its host, and the examples that fit the host's ports.
struct Case {
    bench: Bench,
    host: Host,
    examples: Corpus,
}

impl Case {
    fn new() -> Self {
        let host = Host::new();
        let [_, datagrams] = host.ports();
        let resolver = Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, datagrams));
        let bench = Bench::new(&Options { forwards: Vec::new(), resolver });
        let examples = examples(host.ports());
        Self { bench, host, examples }
    }

    /// Sends a frame, if it stays here.
    fn send(&mut self, bytes: Vec<u8>) {
        if !leaves(&self.bench.user, &bytes, self.host.ports()) {
            self.bench.user.send(&Frame { bytes, ..Frame::default() });
        }
    }

    /// The guest's own stack says something, which does not arrive as it was.
    fn say(&mut self, numbers: &mut Numbers) {
        self.bench.poll();
        for bytes in std::mem::take(&mut self.bench.cable.sent) {
            match numbers.below(8) {
                0 => {}
                1 => (0..2).for_each(|_| self.send(bytes.clone())),
                2 => self.send(Corpus::new([bytes]).bytes(numbers)),
                _ => self.send(bytes),
            }
        }
    }

    fn step(&mut self, numbers: &mut Numbers) {
        for _ in 0..numbers.below(4) {
            let frame = self.examples.bytes(numbers);
            self.send(frame);
        }
        self.say(numbers);
        self.host.serve(numbers);
        self.bench.serve(Duration::ZERO);
    }

    fn assert_bounded(&mut self) {
        let running = self.bench.user.running.as_ref().expect("the card is up");
        assert!(running.sockets.iter().count() <= tcp::MOST_FLOWS);
        assert!(running.datagrams.count() <= datagram::MOST);
    }

    /// What is sent is echoed, by connection and by datagram.
    fn assert_served(&mut self, numbers: &mut Numbers) {
        let [connections, datagrams] = self.host.ports();
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
            answered && connected
        });
    }
}

#[test]
fn guest() {
    run(|numbers| {
        let mut case = Case::new();
        let [connections, _] = case.host.ports();
        let handle = case.bench.connect((GATEWAY, connections), FIRST);
        for _ in 0..STEPS {
            let socket = case.bench.tcp(handle);
            match numbers.below(40) {
                0 => socket.close(),
                1 => socket.abort(),
                _ if socket.can_send() => _ = socket.send_slice(&numbers.bytes(3000)),
                _ => {}
            }
            case.step(numbers);
            case.assert_bounded();
        }
        case.bench.sockets.remove(handle);
        case.assert_served(numbers);
    });
}
