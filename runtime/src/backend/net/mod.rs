//! Networks on the host's side: what a network card can be plugged into. It must not know virtio, nor
//! what a frame is for.

pub mod stream;
pub mod user;

use std::fmt::{self, Display, Formatter};
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::events::Events;

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address of card `index` of a machine: locally administered, the same at each start.
    pub fn of_card(index: usize) -> Self {
        Self([0x52, 0x54, 0x00, b'm', b'v', index as u8])
    }
}

impl Display for Mac {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes: Option<Vec<u8>> = text.split(':').map(|part| u8::from_str_radix(part, 16).ok()).collect();
        let bytes = bytes.and_then(|bytes| <[u8; 6]>::try_from(bytes).ok());
        match bytes {
            Some(bytes) if bytes[0] & 1 == 0 => Ok(Self(bytes)),
            _ => {
                Err(format!("`{text}` is no Ethernet address of a card; write one like {}", Self::of_card(0)))
            }
        }
    }
}

/// What card and network leave to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// The sum over a TCP or UDP payload need not be right.
    pub checksum: bool,
    /// TCP segments may be longer than the medium allows.
    pub segmentation: bool,
}

/// A frame for the guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// From the Ethernet header on, without a trailer.
    pub bytes: Vec<u8>,
    /// Where the sum over TCP begins and where in there it belongs, if it is still to be made.
    pub checksum: Option<(u16, u16)>,
    /// The payload of the segments that a longer one of TCP over IPv4 stands for.
    pub segment: Option<u16>,
}

/// A network that a card is plugged into. It is used on the card's thread only and never blocks.
pub trait Network: Send {
    /// What the network can leave to the guest, and take unfinished from it.
    fn offloads(&self) -> Offloads;

    /// The card with address `guest` is up and takes frames with `offloads`. Host files are waited for
    /// by `events`.
    fn start(&mut self, guest: Mac, offloads: Offloads, events: &Arc<Events>);

    /// Takes a frame from the guest.
    fn send(&mut self, frame: &[u8]);

    /// Does what there is to do for the host files behind `ready`, and by time.
    fn serve(&mut self, ready: &[u64]);

    /// The next frame for the guest, which stays the next.
    fn peek(&self) -> Option<&Frame>;

    /// Forgets the next frame for the guest.
    fn advance(&mut self);

    /// When to serve at the latest.
    fn patience(&mut self) -> Option<Duration>;

    /// The card is down: drops what belongs to the guest that was.
    fn stop(&mut self);
}

/// What to plug a card into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// The host's own network, as a user's program sees it.
    User(user::Options),
    /// Another program.
    Stream(stream::End),
}

/// A card and what it is plugged into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Its address, if it is not to be derived from its place.
    pub mac: Option<Mac>,
    /// The network.
    pub link: Link,
}

impl Link {
    /// The network itself.
    ///
    /// # Errors
    /// Fails if the host refuses a socket or a port.
    pub fn open(&self) -> io::Result<Box<dyn Network>> {
        match self {
            Self::User(options) => Ok(Box::new(user::User::new(options)?)),
            Self::Stream(end) => Ok(Box::new(stream::Stream::new(end)?)),
        }
    }

    /// The address of card `index` if none was chosen. Two machines with a cable between them differ.
    pub fn default_mac(&self, index: usize) -> Mac {
        let Mac(mut bytes) = Mac::of_card(index);
        if let Self::Stream(stream::End::Connect(_)) = self {
            bytes[4] += 1;
        }
        Mac(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let text = "52:54:00:6d:76:01";
        assert_eq!(Mac::of_card(1).to_string(), text);
        assert_eq!(text.parse(), Ok(Mac::of_card(1)));
        for bad in ["", "52:54:00:6d:76", "53:54:00:6d:76:01", "52:54:00:6d:76:01:02", "x:54:00:6d:76:01"] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }
}
