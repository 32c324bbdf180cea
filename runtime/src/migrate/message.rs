//! The messages of a move, as values. It must not know when they are sent.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::channel::{Channel, ChannelError};
use crate::snapshot::format::FORMAT;
use crate::wire;

const MAGIC: &[u8; 8] = b"MYVMMMOV";
/// The version of the protocol: another one is refused.
pub const PROTOCOL: u32 = 3;

/// What tells one move of one guest from all others: random.
pub type Identity = [u8; 16];

/// What a source says of its guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// This move.
    pub identity: Identity,
    /// The version of the program at the source, for people.
    pub version: String,
    /// The guest's name.
    pub name: String,
    /// What kind of guest it is.
    pub kind: String,
    /// Base and size of each bank of each of its memories.
    pub memories: Vec<Vec<(u64, u64)>>,
    /// Bytes of each of its disks that is copied.
    pub disks: Vec<u64>,
    /// What else whoever builds a guest of this kind must know, encoded.
    pub shape: Vec<u8>,
}

impl Hello {
    /// Whether it fits into a message.
    pub fn fits(&self) -> bool {
        wire::encode(self).len() <= MOST_HELLO as usize
    }

    /// Bytes of all memories.
    pub fn bytes(&self) -> u64 {
        self.memories.iter().flatten().fold(0, |sum, (_, size)| sum.saturating_add(*size))
    }

    /// Bytes of all disks that are copied.
    pub fn disk_bytes(&self) -> u64 {
        self.disks.iter().fold(0, |sum, size| sum.saturating_add(*size))
    }
}

/// A target takes the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accept {
    /// What tells its register from others: only that one knows what became of the guest.
    pub register: Identity,
    /// What people at the source should know before the guest goes.
    pub remark: Option<String>,
}

/// Whoever lost the connection wants to know what became of the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The move.
    pub identity: Identity,
    /// The target's register.
    pub register: Identity,
}

/// All has been sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complete {
    /// Bytes of the state in all.
    pub length: u64,
    /// Their CRC-32.
    pub checksum: u32,
    /// Pages and blocks that were sent in all.
    pub pieces: u64,
    /// Whether someone has paused the guest, so that it stays so.
    pub paused: bool,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// See [`Hello`].
    Hello(Hello),
    /// See [`Accept`].
    Accept(Accept),
    /// The target does not take the guest, and why.
    Refuse(String),
    /// Contents of a memory, as `pieces` packs them.
    Pages(Vec<u8>),
    /// A mark in what is sent, by its number: at the end of each round, and in between where that has much of disks.
    Mark(u32),
    /// All that was sent before the mark is in memory or on stable storage.
    Heard(u32),
    /// The next bytes of the state.
    State(Vec<u8>),
    /// See [`Complete`].
    Complete(Complete),
    /// The target holds the whole guest, which stands still.
    Ready,
    /// The source lets go of the guest.
    Commit,
    /// The target has taken the guest over.
    Running,
    /// The target will never let the guest run.
    Aborted,
    /// Nobody at the target can know.
    Unknown,
    /// The source keeps the guest.
    Cancel,
    /// See [`Ask`].
    Ask(Ask),
    /// Contents of a disk, as `pieces` packs them.
    Blocks(Vec<u8>),
}

/// The bytes of pages, of blocks and of the state that a message has at most.
pub const MOST_BYTES: usize = 512 << 10;

/// The most bytes that are said of a guest: programs are in there with their sources. Whoever says it has shown by
/// then who it is, if that matters.
const MOST_HELLO: u32 = 8 << 20;

/// The most bytes of each kind of message; kinds are numbers from 1.
const LIMITS: [u32; 16] = [
    MOST_HELLO,
    4200,
    4096,
    MOST_BYTES as u32,
    4,
    4,
    MOST_BYTES as u32,
    64,
    0,
    0,
    0,
    0,
    0,
    0,
    64,
    MOST_BYTES as u32,
];

fn limit(kind: u8) -> Option<u32> {
    LIMITS.get((kind as usize).checked_sub(1)?).copied()
}

impl Message {
    pub(super) fn encode(&self) -> (u8, Vec<u8>) {
        match self {
            Self::Hello(hello) => (1, wire::encode(hello)),
            Self::Accept(accept) => (2, wire::encode(accept)),
            Self::Refuse(why) => (3, wire::encode(why)),
            Self::Pages(bytes) => (4, bytes.clone()),
            Self::Mark(number) => (5, wire::encode(number)),
            Self::Heard(number) => (6, wire::encode(number)),
            Self::State(bytes) => (7, bytes.clone()),
            Self::Complete(complete) => (8, wire::encode(complete)),
            Self::Ready => (9, Vec::new()),
            Self::Commit => (10, Vec::new()),
            Self::Running => (11, Vec::new()),
            Self::Aborted => (12, Vec::new()),
            Self::Unknown => (13, Vec::new()),
            Self::Cancel => (14, Vec::new()),
            Self::Ask(ask) => (15, wire::encode(ask)),
            Self::Blocks(bytes) => (16, bytes.clone()),
        }
    }

    fn decode(kind: u8, bytes: Vec<u8>) -> Result<Self, ChannelError> {
        Ok(match kind {
            1 => Self::Hello(value(&bytes)?),
            2 => {
                let Accept { register, remark } = value(&bytes)?;
                Self::Accept(Accept { register, remark: remark.as_deref().map(printable) })
            }
            3 => Self::Refuse(printable(&value::<String>(&bytes)?)),
            4 => Self::Pages(bytes),
            5 => Self::Mark(value(&bytes)?),
            6 => Self::Heard(value(&bytes)?),
            7 => Self::State(bytes),
            8 => Self::Complete(value(&bytes)?),
            9 => Self::Ready,
            10 => Self::Commit,
            11 => Self::Running,
            12 => Self::Aborted,
            13 => Self::Unknown,
            14 => Self::Cancel,
            15 => Self::Ask(value(&bytes)?),
            16 => Self::Blocks(bytes),
            _ => return Err(ChannelError::nonsense(format!("message {kind}"))),
        })
    }

    /// What came instead of what was waited for.
    pub fn unexpected(&self) -> ChannelError {
        ChannelError::nonsense(format!("message {} at the wrong time", self.encode().0))
    }
}

fn value<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ChannelError> {
    wire::decode(bytes).map_err(|error| ChannelError::nonsense(error.to_string()))
}

/// Words of others as they can be shown.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

impl Channel {
    /// Says who speaks, before anything else.
    pub fn send_preamble(&mut self) -> Result<(), ChannelError> {
        self.send_raw(&preamble())
    }

    /// Whoever is there must speak the same versions.
    pub fn receive_preamble(&mut self) -> Result<(), ChannelError> {
        let mut theirs = [0; 16];
        self.receive_raw(&mut theirs)?;
        if theirs == preamble() {
            return Ok(());
        }
        Err(ChannelError::Nonsense(match theirs.split_first_chunk::<8>() {
            Some((magic, versions)) if magic == MAGIC => format!(
                "it speaks versions {:?} of protocol and snapshots, and this myvmm {:?}",
                numbers(versions),
                [PROTOCOL, FORMAT]
            ),
            _ => "it does not speak as myvmm does".to_owned(),
        }))
    }

    /// Sends a message.
    pub fn tell(&mut self, message: &Message) -> Result<(), ChannelError> {
        let (kind, bytes) = message.encode();
        self.send(kind, &bytes)
    }

    /// Receives a message.
    pub fn hear(&mut self) -> Result<Message, ChannelError> {
        let (kind, bytes) = self.receive(limit)?;
        Message::decode(kind, bytes)
    }
}

fn preamble() -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&PROTOCOL.to_le_bytes());
    bytes[12..].copy_from_slice(&FORMAT.to_le_bytes());
    bytes
}

fn numbers(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_comes_back_within_its_limit() {
        let identity = [7; 16];
        let hello = Hello {
            identity,
            version: "1".into(),
            name: "a".into(),
            kind: "machine".into(),
            memories: vec![vec![(0, 4096)]],
            disks: vec![512],
            shape: vec![1, 2],
        };
        let all = [
            Message::Hello(hello),
            Message::Accept(Accept { register: identity, remark: Some("so".into()) }),
            Message::Refuse("no".into()),
            Message::Pages(vec![1]),
            Message::Mark(3),
            Message::Heard(u32::MAX),
            Message::State(vec![0; MOST_BYTES]),
            Message::Complete(Complete { length: 1, checksum: 2, pieces: 3, paused: true }),
            Message::Ready,
            Message::Commit,
            Message::Running,
            Message::Aborted,
            Message::Unknown,
            Message::Cancel,
            Message::Ask(Ask { identity, register: identity }),
            Message::Blocks(vec![0; MOST_BYTES]),
        ];
        for (number, message) in (1..).zip(&all) {
            let (kind, bytes) = message.encode();
            assert_eq!(kind, number);
            assert!(bytes.len() as u32 <= limit(kind).unwrap(), "{message:?}");
            assert_eq!(Message::decode(kind, bytes).unwrap(), *message);
        }
        assert_eq!(limit(0).or(limit(all.len() as u8 + 1)), None);
    }
}
