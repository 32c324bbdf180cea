//! Datagrams of UDP: the host has a socket for each pair of ends, for as long as it is used. It must not
//! know how packets look.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::tcp::Ends;
use crate::backend::events::{Events, Interest};

/// Pairs of ends at once; the one unused for longest makes way.
const MOST: usize = 256;
/// How long a pair is kept without use (RFC 4787, section 4.3, asks for two minutes at least).
const IDLE: Duration = Duration::from_secs(120);
/// The longest datagram that fits a packet of 1500 bytes; a longer one would come in pieces.
pub const LONGEST: usize = 1472;

struct Pair {
    ends: Ends,
    socket: UdpSocket,
    used: Instant,
}

/// All pairs of ends.
pub struct Datagrams {
    events: Arc<Events>,
    pairs: HashMap<u64, Pair>,
}

impl Datagrams {
    /// No pairs yet.
    pub fn new(events: Arc<Events>) -> Self {
        Self { events, pairs: HashMap::new() }
    }

    /// Passes a datagram from the guest on to `target`. `token` is for a new pair. What the host does
    /// not take is lost, as datagrams may be.
    pub fn send(&mut self, token: u64, ends: Ends, target: SocketAddrV4, payload: &[u8]) {
        let known = self.pairs.values_mut().find(|pair| pair.ends == ends);
        if let Some(pair) = known {
            pair.used = Instant::now();
            let _ = pair.socket.send(payload);
        } else if let Ok(pair) = self.open(token, ends, target) {
            let _ = pair.socket.send(payload);
            self.pairs.insert(token, pair);
        }
    }

    fn open(&mut self, token: u64, ends: Ends, target: SocketAddrV4) -> io::Result<Pair> {
        if self.pairs.len() >= MOST
            && let Some(oldest) = self.pairs.iter().min_by_key(|(_, pair)| pair.used).map(|(token, _)| *token)
        {
            self.pairs.remove(&oldest);
        }
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_nonblocking(true)?;
        socket.connect(target)?;
        self.events.add(&socket, token, Interest { read: true, write: false })?;
        Ok(Pair { ends, socket, used: Instant::now() })
    }

    /// Hands what came for the guest to `deliver`, until that says that it is enough; the rest is lost.
    pub fn receive(&mut self, ready: &[u64], mut deliver: impl FnMut(Ends, &[u8])) {
        let mut bytes = [0; LONGEST + 1];
        for token in ready {
            let Some(pair) = self.pairs.get_mut(token) else { continue };
            pair.used = Instant::now();
            // An error is the host's word that nobody listens there: it is taken off by being read.
            while let Ok(length) = pair.socket.recv(&mut bytes) {
                if length <= LONGEST {
                    deliver(pair.ends, &bytes[..length]);
                }
            }
        }
    }

    /// Drops pairs that are no longer used.
    pub fn clean(&mut self) {
        self.pairs.retain(|_, pair| pair.used.elapsed() < IDLE);
    }

    /// How many pairs there are.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is anything to clean later.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}
