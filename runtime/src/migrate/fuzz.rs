//! Sources that say anything: whatever comes, the receiver ends with an error or a guest, in bounded memory, and what is
//! announced is decoded or refused.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use fuzzing::{Corpus, Numbers};
use translator::addr::Pa;

use super::channel::{Channel, Stream};
use super::message::{Complete, Hello, Message};
use super::pages::Packer;
use super::target::{Arriving, House};
use super::{Identity, Register};
use crate::device::Window;
use crate::memory::Ram;

/// What a source sends; nothing is sent to it.
struct Said {
    bytes: Vec<u8>,
    at: usize,
}

impl Read for Said {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let rest = &self.bytes[self.at..];
        let length = rest.len().min(to.len());
        to[..length].copy_from_slice(&rest[..length]);
        self.at += length;
        Ok(length)
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Said {
    fn set_timeouts(&self, _: Duration) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps what a channel sends.
#[derive(Clone, Default)]
struct Kept(Arc<std::sync::Mutex<Vec<u8>>>);

impl Read for Kept {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Kept {
    fn set_timeouts(&self, _: Duration) -> io::Result<()> {
        Ok(())
    }
}

/// A guest with some memory, which no state is good enough for: so it never waits for its source.
struct Picky(Arc<Ram>);

impl Arriving for Picky {
    fn memories(&self) -> Vec<Arc<Ram>> {
        vec![Arc::clone(&self.0)]
    }

    fn restore(&mut self, _: &[u8]) -> Result<(), String> {
        Err("no state is good enough".into())
    }

    fn take_over(&mut self, _: Duration) -> Result<(), String> {
        unreachable!("it was refused")
    }

    fn give_back(&mut self) {
        unreachable!("it was refused")
    }
}

const BANK: Window = Window { base: Pa(0x1000), size: 0x8000 };

fn ram() -> Arc<Ram> {
    Arc::new(Ram::new(&[BANK]).unwrap())
}

fn messages() -> Vec<Message> {
    let from = [ram()];
    from[0].write(Pa(0x2000), &[7; 0x1800]).unwrap();
    let mut packer = Packer::new();
    for page in 1..=8 {
        assert!(packer.add(&from, (0, Pa(page * 0x1000))).is_none());
    }
    let state = vec![3; 100];
    let hello = Hello {
        identity: Identity::default(),
        version: "1".into(),
        name: "guest".into(),
        kind: "machine".into(),
        memories: vec![vec![(BANK.base.0, BANK.size)]],
        shape: vec![1; 20],
    };
    let (length, checksum) = (state.len() as u64, crc32fast::hash(&state));
    vec![
        Message::Hello(hello),
        Message::Pages(packer.take().unwrap()),
        Message::Round(1),
        Message::State(state),
        Message::Complete(Complete { length, checksum, pages: 8, paused: false }),
        Message::Commit,
    ]
}

/// The messages, with some changed before they get their checksums, left out, or said twice.
fn speech(messages: &[Message], numbers: &mut Numbers) -> Vec<u8> {
    let kept = Kept::default();
    let mut channel = Channel::new(Box::new(kept.clone()), Duration::from_secs(1), Arc::default()).unwrap();
    channel.send_preamble().unwrap();
    for message in messages {
        let (kind, bytes) = message.encode();
        match numbers.below(12) {
            0 => {}
            1 => {
                channel.send(kind, &bytes).unwrap();
                channel.send(kind, &bytes).unwrap();
            }
            2 => channel.send(numbers.below(20) as u8, &bytes).unwrap(),
            3 | 4 => channel.send(kind, &Corpus::new([&bytes]).bytes(numbers)).unwrap(),
            _ => channel.send(kind, &bytes).unwrap(),
        }
    }
    drop(channel);
    std::mem::take(&mut *kept.0.lock().unwrap())
}

fn hear(house: &House, bytes: Vec<u8>) {
    let said = Box::new(Said { bytes, at: 0 });
    let Ok(Some(knock)) = house.greet(said) else { return };
    assert!(knock.hello().bytes() <= house.most_memory);
    assert!(!knock.hello().name.contains(char::is_control));
    // Whether these make sense is their own matter.
    let _ = crate::vm::moving::Shape::decode(knock.hello());
    let _ = crate::program::moving::Shape::decode(knock.hello());
    let error = knock.welcome(None).receive(&mut Picky(ram()), |_| ()).unwrap_err();
    assert!(!error.to_string().is_empty());
}

#[test]
fn a_source_that_says_anything_is_survived_by_the_fuzzed_receiver() {
    let directory = tempfile::tempdir().unwrap();
    let register = Register::open(directory.path()).unwrap();
    let house = House { register, patience: Duration::from_secs(1), most_memory: 1 << 20 };
    let messages = messages();
    fuzzing::run(|numbers| {
        let speech = speech(&messages, numbers);
        // Half of the time some bytes change after all.
        let bytes = if numbers.below(2) == 0 { speech } else { Corpus::new([speech]).bytes(numbers) };
        hear(&house, bytes);
    });
}
