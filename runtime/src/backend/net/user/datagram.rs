//! Datagrams of UDP and echo requests of ICMP: the host has a socket for each pair of ends, for as long
//! as it is used. It must not know how packets look.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::{Errno, read};
use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, bind, connect, ipproto, send, socket_with, sockopt,
};

use super::BURST;
use super::tcp::Ends;
use crate::backend::events::{Events, Interest};

/// Pairs of ends at once; the one unused for longest makes way.
pub const MOST: usize = 256;
/// How long a pair is kept without use (RFC 4787, section 4.3, asks for two minutes at least).
const IDLE: Duration = Duration::from_secs(120);
/// The longest datagram that fits a packet of IPv4.
pub const LONGEST: usize = 65_507;
/// What the host is asked to keep of datagrams that this process is late for; it may keep less.
const HOST_BUFFER: usize = 4 << 20;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A datagram of UDP.
    Udp,
    /// A message of ICMP, from its type on, that asks for an echo. Its identifier stands for a port.
    Echo,
}

/// What came for the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival<'a> {
    /// Bytes of the pair's kind.
    Bytes(&'a [u8]),
    /// The host's word that nobody listens there.
    Refused,
}

/// Who talks to whom, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    /// The kind.
    pub kind: Kind,
    /// The ends, as the guest sees them.
    pub ends: Ends,
}

struct Channel {
    pair: Pair,
    socket: OwnedFd,
    used: Instant,
}

/// All pairs of ends.
pub struct Datagrams {
    events: Arc<Events>,
    channels: HashMap<u64, Channel>,
    tokens: HashMap<Pair, u64>,
}

impl Datagrams {
    /// No pairs yet.
    pub fn new(events: Arc<Events>) -> Self {
        Self { events, channels: HashMap::new(), tokens: HashMap::new() }
    }

    /// Passes `payload` of the guest on to `target`. `token` is for a new pair. What the host does not
    /// take at once is lost, as datagrams may be.
    ///
    /// # Errors
    /// Fails if the host gives no socket for the pair, as for echoes without its permission.
    pub fn send(&mut self, token: u64, pair: Pair, target: SocketAddrV4, payload: &[u8]) -> io::Result<()> {
        let token = match self.tokens.get(&pair) {
            Some(token) => *token,
            None => self.open(token, pair, target)?,
        };
        if let Some(channel) = self.channels.get_mut(&token) {
            channel.used = Instant::now();
            let _ = send(&channel.socket, payload, SendFlags::NOSIGNAL);
        }
        Ok(())
    }

    fn open(&mut self, token: u64, pair: Pair, target: SocketAddrV4) -> io::Result<u64> {
        let oldest = self.channels.iter().min_by_key(|(_, channel)| channel.used).map(|(token, _)| *token);
        if let Some(oldest) = oldest.filter(|_| self.channels.len() >= MOST) {
            self.close(oldest);
        }
        let socket = open_socket(pair.kind, target)?;
        self.events.add(&socket, token, Interest { read: true, write: false })?;
        self.channels.insert(token, Channel { pair, socket, used: Instant::now() });
        self.tokens.insert(pair, token);
        Ok(token)
    }

    fn close(&mut self, token: u64) {
        if let Some(channel) = self.channels.remove(&token) {
            self.tokens.remove(&channel.pair);
        }
    }

    /// Hands what came for the guest to `deliver`; what is left of much is there at the next call.
    pub fn receive(&mut self, ready: &[u64], mut deliver: impl FnMut(Pair, Arrival<'_>)) {
        if ready.is_empty() {
            return;
        }
        let mut bytes = vec![0; LONGEST];
        for token in ready {
            let Some(channel) = self.channels.get_mut(token) else { continue };
            channel.used = Instant::now();
            for _ in 0..BURST {
                match read(&channel.socket, &mut bytes) {
                    Ok(length) => deliver(channel.pair, Arrival::Bytes(&bytes[..length])),
                    Err(Errno::CONNREFUSED) => deliver(channel.pair, Arrival::Refused),
                    Err(Errno::INTR) => {}
                    Err(_) => break,
                }
            }
        }
    }

    /// Drops pairs that are no longer used.
    pub fn clean(&mut self) {
        self.clean_before(Instant::now().checked_sub(IDLE));
    }

    fn clean_before(&mut self, limit: Option<Instant>) {
        let used = |channel: &Channel| limit.is_none_or(|limit| channel.used > limit);
        self.channels.retain(|_, channel| used(channel));
        self.tokens.retain(|_, token| self.channels.contains_key(token));
    }

    /// How many pairs there are.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        assert_eq!(self.channels.len(), self.tokens.len());
        self.channels.len()
    }

    /// Forgets all pairs, as time would.
    #[cfg(test)]
    pub fn forget(&mut self) {
        self.clean_before(Some(Instant::now()));
    }

    /// Whether there is anything to clean later.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }
}

/// A socket of the host for what is sent to `target`. An echo socket, of icmp(7), is for those whom the
/// host's `net.ipv4.ping_group_range` names; the host puts an identifier of its own into each request.
fn open_socket(kind: Kind, target: SocketAddrV4) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let protocol = match kind {
        Kind::Udp => ipproto::UDP,
        Kind::Echo => ipproto::ICMP,
    };
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, Some(protocol))?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))?;
    // Only root may have more than the host's `net.core.rmem_max`; less is only less patience.
    if sockopt::set_socket_recv_buffer_size_force(&socket, HOST_BUFFER).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(&socket, HOST_BUFFER);
    }
    match connect(&socket, &target) {
        Ok(()) => Ok(socket),
        Err(Errno::ACCESS | Errno::PERM) => Err(ErrorKind::PermissionDenied.into()),
        Err(error) => Err(error.into()),
    }
}
