//! Networks on the host's side: what a network card can be plugged into. It must not know virtio, nor
//! what a frame is for.

pub mod header;
pub mod stream;
pub mod tap;
pub mod user;

use std::fmt::{self, Display, Formatter};
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::events::Events;

/// Bytes of Ethernet's header; no frame has fewer.
pub const ETHERNET_HEADER: usize = 14;
/// The longest frame without segmentation: Ethernet with the usual packets of 1500 bytes, without a checksum.
pub const USUAL_FRAME: usize = ETHERNET_HEADER + 1500;
/// The longest frame of all: a segment as long as IP allows.
pub const LONGEST_FRAME: usize = ETHERNET_HEADER + 65_535;

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address of card `index` of the machine called `machine`: locally administered, and the same at
    /// each start. Machines of other names have others, as far as 40 bits can tell names apart.
    pub fn of_card(machine: &str, index: usize) -> Self {
        // FNV-1a, which is the same everywhere and at any time.
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = machine.bytes().fold(0xcbf2_9ce4_8422_2325, step);
        let [a, b, c, d, e, ..] = hash.to_le_bytes();
        // Cards of one machine differ in the last byte alone.
        Self([0x52, a, b, c, d, e.wrapping_add(index as u8)])
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
            _ => Err(format!("`{text}` is no Ethernet address of a card; write one like 52:54:00:12:34:56")),
        }
    }
}

/// What card and network leave to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// The sum over a TCP or UDP payload need not be right.
    pub checksum: bool,
    /// Segments of TCP over IPv4 may be longer than the medium allows.
    pub tcp4: bool,
    /// The same over IPv6.
    pub tcp6: bool,
}

/// What kind of segments a longer one stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
}

/// What is to become of a segment that is longer than the medium allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The kind.
    pub kind: SegmentKind,
    /// Bytes of payload in each of the segments that it stands for.
    pub size: u16,
}

/// A frame from or for the guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// From the Ethernet header on, without a trailer.
    pub bytes: Vec<u8>,
    /// Where the sum over TCP or UDP begins and where in there it belongs, if it is still to be made.
    pub checksum: Option<(u16, u16)>,
    /// What the frame stands for, if not for itself.
    pub segment: Option<Segment>,
}

/// A network that a card is plugged into. It is used on the card's thread only and never blocks.
pub trait Network: Send {
    /// What the network can leave to the guest, and take unfinished from it.
    fn offloads(&self) -> Offloads;

    /// The card with address `guest` is up and takes frames with `offloads`. Host files are waited for
    /// by `events`.
    fn start(&mut self, guest: Mac, offloads: Offloads, events: &Arc<Events>);

    /// Takes a frame from the guest, which keeps to the offloads that the network has.
    fn send(&mut self, frame: &Frame);

    /// Whether it has room for another frame from the guest. While it has none, the guest's frames wait,
    /// and the network is served when there may be room again.
    fn has_room(&self) -> bool;

    /// Does what there is to do for the host files behind `ready`, and by time. `drained` says that the guest has
    /// seen all frames that it was given.
    fn serve(&mut self, ready: &[u64], drained: bool);

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
    /// A network device of the host's kernel, by its name; a new one if there is none.
    Tap(Option<String>),
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
            Self::Tap(name) => Ok(Box::new(tap::Tap::new(name.as_deref())?)),
        }
    }
    /// The address of card `index` of the machine called `machine`, if none was chosen. Two machines with
    /// a cable between them differ even if nobody gave them names.
    pub fn default_mac(&self, machine: &str, index: usize) -> Mac {
        match self {
            Self::Stream(stream::End::Connect(_)) => Mac::of_card(&format!("{machine} connects"), index),
            _ => Mac::of_card(machine, index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let text = "52:54:00:6d:76:01";
        assert_eq!(text.parse::<Mac>().unwrap().to_string(), text);
        for bad in ["", "52:54:00:6d:76", "53:54:00:6d:76:01", "52:54:00:6d:76:01:02", "x:54:00:6d:76:01"] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_card_keeps_its_address_and_shares_it_with_none() {
        let mut addresses: Vec<_> = ["a", "b", "myvmm"]
            .iter()
            .flat_map(|name| (0..4).map(|index| Mac::of_card(name, index).to_string()))
            .collect();
        assert_eq!(addresses[8], "52:a1:69:bb:54:df");
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), 12);
        assert!(addresses.iter().all(|address| address.parse::<Mac>().is_ok()));
    }
}
