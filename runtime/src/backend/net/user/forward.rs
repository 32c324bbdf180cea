//! Ports of the host that lead to the guest. Connections are accepted here and handed on; for datagrams
//! each client of the host becomes a port of the gateway, so that the guest's answers find their way. It
//! must not know how packets look.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};

use super::tcp::Ends;
use super::{FIRST_PORT, Forward, GATEWAY, GUEST, Protocol};
use crate::backend::events::{Events, Interest};

/// Clients of one port at once; the one that was silent for longest makes way.
const MOST_CLIENTS: usize = 256;

enum Socket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

/// A client of a port for datagrams.
struct Client {
    host: SocketAddrV4,
    /// The port of the gateway that stands for it.
    port: u16,
}

/// A port of the host.
pub struct Listener {
    socket: Socket,
    guest_port: u16,
    /// The last one was active last.
    clients: VecDeque<Client>,
    /// The first of the gateway's ports that stand for clients, of which there are as many as clients.
    first_port: u16,
}

impl Listener {
    /// The ports that `forwards` name, which the host holds from now on.
    ///
    /// # Errors
    /// Fails if the host refuses one, as when another program has it.
    pub fn open_all(forwards: &[Forward]) -> io::Result<Vec<Self>> {
        let open = |(number, forward): (usize, &Forward)| {
            let udp = |it: &Forward| it.protocol == Protocol::Udp;
            let is_twin = |it: &&Forward| udp(it) && udp(forward) && it.guest == forward.guest;
            Self::open(forward, forwards[..number].iter().filter(is_twin).count())
        };
        forwards.iter().enumerate().map(open).collect()
    }

    /// The port that `forward` names. The clients of `twins` others talk to the same port of the guest, which tells all of
    /// them apart by the gateway's ports.
    fn open(forward: &Forward, twins: usize) -> io::Result<Self> {
        let first_port = u16::try_from(usize::from(FIRST_PORT) + twins * MOST_CLIENTS).map_err(|_| {
            let what = format!("Too many ports of the host lead to port {} of the guest", forward.guest);
            io::Error::new(io::ErrorKind::InvalidInput, what)
        })?;
        let socket = match forward.protocol {
            Protocol::Tcp => TcpListener::bind(forward.host).and_then(|socket| {
                socket.set_nonblocking(true)?;
                Ok(Socket::Tcp(socket))
            }),
            Protocol::Udp => UdpSocket::bind(forward.host).and_then(|socket| {
                socket.set_nonblocking(true)?;
                Ok(Socket::Udp(socket))
            }),
        };
        let socket = socket.map_err(|error| {
            let what = format!("Cannot listen on {} to forward it to the guest: {error}", forward.host);
            io::Error::new(error.kind(), what)
        })?;
        Ok(Self { socket, guest_port: forward.guest, clients: VecDeque::new(), first_port })
    }

    /// Has the port waited for, under the name `token`. A port that the host cannot wait for is one that
    /// nobody is answered on.
    pub fn wait(&self, events: &Events, token: u64) {
        let interest = Interest { read: true, write: false };
        let _ = match &self.socket {
            Socket::Tcp(socket) => events.add(socket, token, interest),
            Socket::Udp(socket) => events.add(socket, token, interest),
        };
    }

    /// Has it waited for no longer, and forgets its clients.
    pub fn forget(&mut self, events: &Events) {
        let _ = match &self.socket {
            Socket::Tcp(socket) => events.remove(socket),
            Socket::Udp(socket) => events.remove(socket),
        };
        self.clients.clear();
    }

    /// Where in the guest it leads.
    pub fn guest(&self) -> SocketAddrV4 {
        SocketAddrV4::new(GUEST, self.guest_port)
    }

    /// The next connection, if there is one.
    pub fn accept(&self) -> Option<TcpStream> {
        match &self.socket {
            Socket::Tcp(listener) => listener.accept().ok().map(|(stream, _)| stream),
            Socket::Udp(_) => None,
        }
    }

    /// The next datagram for the guest, in `bytes`, with its length and its ends as the guest sees them.
    pub fn receive(&mut self, bytes: &mut [u8]) -> Option<(Ends, usize)> {
        let Socket::Udp(socket) = &self.socket else { return None };
        loop {
            match socket.recv_from(bytes) {
                Ok((length, SocketAddr::V4(host))) => {
                    let peer = SocketAddrV4::new(GATEWAY, self.port_of(host));
                    return Some((Ends { guest: self.guest(), peer }, length));
                }
                // The host's word that an answer arrived nowhere, or no client of a port of IPv4.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => return None,
            }
        }
    }

    /// Sends an answer of the guest to the client that it is for; says whether there is one.
    pub fn answer(&self, ends: Ends, payload: &[u8]) -> bool {
        let Socket::Udp(socket) = &self.socket else { return false };
        let client = self.client(ends);
        if let Some(client) = client {
            // What the host does not take is lost, as datagrams may be.
            let _ = socket.send_to(payload, client);
        }
        client.is_some()
    }

    /// The client on the host for whom an answer of the guest between `ends` is.
    pub fn client(&self, ends: Ends) -> Option<SocketAddrV4> {
        let client = self.clients.iter().find(|client| client.port == ends.peer.port());
        let client = client.filter(|_| ends.guest == self.guest() && *ends.peer.ip() == GATEWAY);
        client.map(|client| client.host)
    }

    /// The port of the gateway for the client at `host`.
    fn port_of(&mut self, host: SocketAddrV4) -> u16 {
        if let Some(last) = self.clients.back().filter(|client| client.host == host) {
            return last.port;
        }
        let known = self.clients.iter().position(|client| client.host == host);
        let client = known.and_then(|index| self.clients.remove(index)).unwrap_or_else(|| self.admit(host));
        let port = client.port;
        self.clients.push_back(client);
        port
    }

    fn admit(&mut self, host: SocketAddrV4) -> Client {
        let silent = if self.clients.len() == MOST_CLIENTS { self.clients.pop_front() } else { None };
        let port = silent.map_or(self.first_port + self.clients.len() as u16, |client| client.port);
        Client { host, port }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn listener() -> Listener {
        let host = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        Listener::open(&Forward { protocol: Protocol::Udp, host, guest: 7 }, 63).unwrap()
    }

    #[test]
    fn a_card_that_is_reset_over_and_over_uses_up_no_ports() {
        let mut listener = listener();
        let events = Events::new().unwrap();
        for _ in 0..100 {
            listener.wait(&events, 0);
            for number in 1..=MOST_CLIENTS as u16 {
                assert!(listener.port_of(SocketAddrV4::new(Ipv4Addr::LOCALHOST, number)) >= FIRST_PORT);
            }
            listener.forget(&events);
        }
    }

    #[test]
    fn more_ports_than_the_gateway_can_tell_apart_are_refused() {
        let host = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        let open = |protocol, count| Listener::open_all(&vec![Forward { protocol, host, guest: 7 }; count]);
        assert!(open(Protocol::Udp, 64).is_ok() && open(Protocol::Tcp, 65).is_ok());
        assert!(
            open(Protocol::Udp, 65).is_err_and(|error| error.to_string().contains("port 7 of the guest"))
        );
    }

    #[test]
    fn clients_are_bounded_and_told_apart() {
        let mut listener = listener();
        let client = |number| SocketAddrV4::new(Ipv4Addr::LOCALHOST, number);
        let first = listener.port_of(client(1));
        for number in 2..=256 {
            assert_ne!(listener.port_of(client(number)), first);
        }
        assert_eq!(listener.port_of(client(1)), first);
        let second = listener.port_of(client(1000));
        assert_ne!(second, first);
        assert_eq!(listener.clients.len(), MOST_CLIENTS);
        // The second client was silent for longest, and gets another port when it comes back.
        assert_ne!(listener.port_of(client(2)), second);
    }
}
