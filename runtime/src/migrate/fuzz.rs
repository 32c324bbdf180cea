//! Sources that say anything: whatever comes, the receiver ends with an error or a guest, in bounded memory, and what is
//! announced is decoded or refused.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use fuzzing::{Corpus, Numbers};
use tempfile::NamedTempFile;
use translator::addr::Pa;

use super::channel::{Channel, Stream};
use super::message::{Complete, Hello, Message};
use super::pieces::{Areas, Packer, Place};
use super::target::{Arriving, House};
use super::{Identity, Register};
use crate::backend::disk::{BLOCK, Format, Image, SharedDisk};
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

/// A guest with some memory and a disk, which no state is good enough for: so it never waits for its source.
struct Picky(Areas);

impl Arriving for Picky {
    fn areas(&self) -> Areas {
        self.0.clone()
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

/// The last block has a sector.
const DISK: u64 = 2 * BLOCK + 512;

/// A memory, and a disk in `file`.
fn areas(file: &NamedTempFile) -> Areas {
    file.as_file().set_len(DISK).unwrap();
    let (file, format) = (file.path().to_owned(), Some(Format::Raw));
    let disk = SharedDisk::open(&Image { file, format, read_only: false, snapshot: false }).unwrap();
    Areas { memories: vec![Arc::new(Ram::new(&[BANK]).unwrap())], disks: vec![disk] }
}

fn messages() -> Vec<Message> {
    let file = NamedTempFile::new().unwrap();
    let from = areas(&file);
    from.memories[0].write(Pa(0x2000), &[7; 0x1800]).unwrap();
    from.disks[0].write(BLOCK, &[7; 5000]).unwrap();
    let mut packer = Packer::new();
    let pages = (1..=8).map(|page| Place::page(0, Pa(page * 0x1000)));
    let blocks = (0..3).map(|block| Place::block(0, block * BLOCK));
    // How many messages there are depends on whether a busy host finds the time to pack.
    let mut pieces: Vec<_> =
        pages.chain(blocks).filter_map(|place| packer.add(&from, place).unwrap()).collect();
    pieces.extend(packer.take());
    let state = vec![3; 100];
    let hello = Hello {
        identity: Identity::default(),
        version: "1".into(),
        name: "guest".into(),
        kind: "machine".into(),
        memories: vec![vec![(BANK.base.0, BANK.size)]],
        disks: vec![DISK],
        shape: vec![1; 20],
    };
    let (length, checksum) = (state.len() as u64, crc32fast::hash(&state));
    let end = [
        Message::Mark(1),
        Message::State(state),
        Message::Complete(Complete { length, checksum, pieces: 11, paused: false }),
        Message::Commit,
    ];
    [Message::Hello(hello)].into_iter().chain(pieces).chain(end).collect()
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

fn hear(house: &House, areas: &Areas, bytes: Vec<u8>) {
    let said = Box::new(Said { bytes, at: 0 });
    let Ok(Some(knock)) = house.greet(said) else { return };
    assert!(knock.hello().bytes() <= house.most_memory && knock.hello().disk_bytes() <= house.most_disk);
    assert!(!knock.hello().name.contains(char::is_control));
    // Whether these make sense is their own matter.
    let _ = crate::vm::moving::Shape::decode(knock.hello());
    let _ = crate::program::moving::Shape::decode(knock.hello());
    let error = knock.welcome(None).receive(&mut Picky(areas.clone()), |_| ()).unwrap_err();
    assert!(!error.to_string().is_empty());
}

#[test]
fn a_source_that_says_anything_is_survived_by_the_fuzzed_receiver() {
    let directory = tempfile::tempdir().unwrap();
    let register = Register::open(directory.path()).unwrap();
    let house =
        House { register, patience: Duration::from_secs(1), most_memory: 1 << 20, most_disk: 1 << 20 };
    let file = NamedTempFile::new().unwrap();
    let (messages, areas) = (messages(), areas(&file));
    fuzzing::run(|numbers| {
        let speech = speech(&messages, numbers);
        // Half of the time some bytes change after all.
        let bytes = if numbers.below(2) == 0 { speech } else { Corpus::new([speech]).bytes(numbers) };
        hear(&house, &areas, bytes);
        assert_eq!(file.as_file().metadata().unwrap().len(), DISK);
    });
}
