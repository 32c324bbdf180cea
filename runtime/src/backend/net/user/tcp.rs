//! Connections of TCP: each is one between guest and stack, and one between host and world, with the
//! bytes carried over. It must not know how packets look.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream};
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};
use smoltcp::iface::{Context, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Duration;

use super::FIRST_PORT;
use crate::backend::events::{Events, Interest};

/// Connections at once; those beyond them are refused until others end.
pub const MOST_FLOWS: usize = 512;
/// Bytes in flight each way: enough for a guest that is slow to answer.
const BUFFER: usize = 256 * 1024;
/// A guest that went away is noticed after this long.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(300);
/// The two ends of a connection, as the guest sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    /// The guest's end.
    pub guest: SocketAddrV4,
    /// The other end.
    pub peer: SocketAddrV4,
}

struct Flow {
    ends: Ends,
    handle: SocketHandle,
    host: TcpStream,
    /// The host's connection is not there yet, and the guest has no answer yet.
    connecting: bool,
    /// The host has sent its last byte.
    host_ended: bool,
    /// The guest's last byte has been passed on.
    guest_ended: bool,
    failed: bool,
    /// The host took less than there was.
    blocked: bool,
    interest: Option<Interest>,
}

/// All connections.
pub struct Flows {
    events: Arc<Events>,
    flows: HashMap<u64, Flow>,
    next_port: u16,
}

impl Flows {
    /// No connections yet.
    pub fn new(events: Arc<Events>) -> Self {
        Self { events, flows: HashMap::new(), next_port: FIRST_PORT }
    }

    /// The guest wants to connect: begins the host's connection to `target`. The guest is answered when
    /// that is there, or refused if it fails.
    pub fn open(&mut self, sockets: &mut SocketSet<'static>, token: u64, ends: Ends, target: SocketAddrV4) {
        if self.is_known(ends) || self.flows.len() >= MOST_FLOWS {
            return;
        }
        let mut socket = socket();
        socket.pause_synack(true);
        if socket.listen((*ends.peer.ip(), ends.peer.port())).is_err() {
            return;
        }
        // Where the host knows no way, there is nobody in the stack either, and that refuses.
        if let Ok(host) = begin_connection(target) {
            self.insert(sockets, token, ends, socket, host, true);
        }
    }

    /// The host's side has accepted `host`, for port `port` of the guest.
    pub fn accept(
        &mut self,
        sockets: &mut SocketSet<'static>,
        context: &mut Context,
        token: u64,
        host: TcpStream,
        guest: SocketAddrV4,
        gateway: Ipv4Addr,
    ) {
        if self.flows.len() >= MOST_FLOWS || host.set_nonblocking(true).is_err() {
            return;
        }
        let ends = self.free_ends(guest, gateway);
        let mut socket = socket();
        let remote = (*guest.ip(), guest.port());
        if socket.connect(context, remote, (gateway, ends.peer.port())).is_ok() {
            self.insert(sockets, token, ends, socket, host, false);
        }
    }

    /// The ends of a new connection from the gateway to `guest`, which no other has.
    fn free_ends(&mut self, guest: SocketAddrV4, gateway: Ipv4Addr) -> Ends {
        loop {
            let ends = Ends { guest, peer: SocketAddrV4::new(gateway, self.next_port) };
            self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
            // There are more ports than connections.
            if !self.is_known(ends) {
                return ends;
            }
        }
    }

    fn is_known(&self, ends: Ends) -> bool {
        self.flows.values().any(|flow| flow.ends == ends)
    }

    fn insert(
        &mut self,
        sockets: &mut SocketSet<'static>,
        token: u64,
        ends: Ends,
        socket: Socket<'static>,
        host: TcpStream,
        connecting: bool,
    ) {
        // Small pieces go as they come: the other end of each connection has waited already.
        let _ = host.set_nodelay(true);
        let interest = connecting.then_some(Interest { read: false, write: true });
        if let Some(interest) = interest
            && self.events.add(&host, token, interest).is_err()
        {
            return;
        }
        let handle = sockets.add(socket);
        let flow = Flow {
            ends,
            handle,
            host,
            connecting,
            host_ended: false,
            guest_ended: false,
            failed: false,
            blocked: false,
            interest,
        };
        self.flows.insert(token, flow);
    }

    /// Carries bytes over wherever there are some; the host's sockets behind `ready` are ready.
    pub fn pump(&mut self, sockets: &mut SocketSet<'static>, ready: &[u64]) {
        for (token, flow) in &mut self.flows {
            let socket = sockets.get_mut::<Socket<'_>>(flow.handle);
            flow.pump(socket, ready.contains(token));
            flow.update_interest(socket, &self.events, *token);
        }
    }

    /// Removes connections that are over on both sides.
    pub fn clean(&mut self, sockets: &mut SocketSet<'static>) {
        self.flows.retain(|_, flow| {
            let state = sockets.get::<Socket<'_>>(flow.handle).state();
            // A stack that nobody else shares its addresses with need not wait for stray packets.
            let over = matches!(state, State::Closed | State::TimeWait | State::Listen);
            let waits = state == State::Listen && flow.connecting;
            if over && !waits {
                sockets.remove(flow.handle);
                flow.end_host();
            }
            !over || waits
        });
    }
}

impl Flow {
    fn pump(&mut self, socket: &mut Socket<'_>, ready: bool) {
        if self.connecting {
            if ready {
                self.finish_connection(socket);
            }
            return;
        }
        self.blocked &= !ready;
        let carried = if ready { self.carry_in(socket) } else { Ok(()) };
        if carried.and_then(|()| self.carry_out(socket)).is_err() && !self.failed {
            self.failed = true;
            socket.abort();
        }
    }

    /// The guest's end is gone. If it went without a farewell, so does the host's: by a reset.
    fn end_host(&self) {
        if !(self.guest_ended && self.host_ended) {
            // Without it, the peer is told that all is well.
            let _ = sockopt::set_socket_linger(&self.host, Some(std::time::Duration::ZERO));
        }
    }

    fn finish_connection(&mut self, socket: &mut Socket<'_>) {
        self.connecting = false;
        match sockopt::socket_error(&self.host) {
            Ok(Ok(())) => socket.pause_synack(false),
            _ => {
                self.failed = true;
                socket.abort();
            }
        }
    }

    fn carry_in(&mut self, socket: &mut Socket<'_>) -> io::Result<()> {
        while socket.can_send() && !self.host_ended {
            let mut result = Ok(0);
            let sent = socket.send(|room| {
                result = (&self.host).read(room);
                let taken = *result.as_ref().unwrap_or(&0);
                (taken, room.len())
            });
            match (result, sent) {
                (Ok(0), Ok(1..)) => {
                    self.host_ended = true;
                    socket.close();
                }
                (Ok(_), _) => {}
                (Err(error), _) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                (Err(error), _) if error.kind() == ErrorKind::Interrupted => {}
                (Err(error), _) => return Err(error),
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, socket: &mut Socket<'_>) -> io::Result<()> {
        while socket.can_recv() && !self.blocked {
            let mut result = Ok(0);
            let _ = socket.recv(|bytes| {
                result = (&self.host).write(bytes);
                (*result.as_ref().unwrap_or(&0), ())
            });
            match result {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.blocked = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let state = socket.state();
        let ended = matches!(state, State::CloseWait | State::LastAck | State::Closing | State::TimeWait);
        if ended && !socket.can_recv() && !self.guest_ended {
            self.guest_ended = true;
            // A peer that is gone already needs no farewell.
            let _ = self.host.shutdown(Shutdown::Write);
        }
        Ok(())
    }

    /// Waits for the host's socket only for what could be done then: its readiness is a level.
    fn update_interest(&mut self, socket: &Socket<'_>, events: &Events, token: u64) {
        let read = !self.connecting && !self.host_ended && socket.can_send();
        let write = self.connecting || self.blocked;
        let wanted = (!self.failed && (read || write)).then_some(Interest { read, write });
        if wanted == self.interest {
            return;
        }
        let changed = match (self.interest, wanted) {
            (None, Some(interest)) => events.add(&self.host, token, interest),
            (Some(_), Some(interest)) => events.change(&self.host, token, interest),
            (_, None) => events.remove(&self.host),
        };
        // A host that cannot wait for its socket leaves the connection to its timeout.
        self.interest = if changed.is_ok() { wanted } else { None };
    }
}

fn socket() -> Socket<'static> {
    let buffer = || SocketBuffer::new(vec![0; BUFFER]);
    let mut socket = Socket::new(buffer(), buffer());
    socket.set_nagle_enabled(false);
    socket.set_ack_delay(None);
    socket.set_keep_alive(Some(KEEP_ALIVE));
    socket.set_timeout(Some(TIMEOUT));
    socket
}

/// A socket of the host that is about to be connected to `target`.
fn begin_connection(target: SocketAddrV4) -> io::Result<TcpStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    match connect(&socket, &target) {
        // A failure that comes at once is found again when the connection is looked at.
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_port_of_the_gateway_is_used_again_only_when_it_is_free() {
        let mut flows = Flows::new(Arc::new(Events::new().unwrap()));
        let (guest, gateway) =
            (SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 15), 22), Ipv4Addr::new(10, 0, 2, 2));
        let ends = flows.free_ends(guest, gateway);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let host = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        flows.insert(&mut SocketSet::new(Vec::new()), 1, ends, socket(), host, false);
        assert!((0..=u16::MAX).all(|_| flows.free_ends(guest, gateway) != ends));
        flows.flows.clear();
        assert!((0..=u16::MAX).any(|_| flows.free_ends(guest, gateway) == ends));
    }
}
