//! A cable to another program: frames over a stream socket of Unix, each behind its length as four bytes,
//! the highest first. QEMU's `-netdev stream` and passt speak the same, and so does another myvmm. It
//! must not know what is in a frame.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{ETHERNET_HEADER, Frame, LONGEST_FRAME, Mac, Network, Offloads};
use crate::backend::events::{Events, Interest};
use crate::backend::listener::Listener;

const LENGTH: usize = 4;
/// Bytes that wait for a slow peer; beyond them the guest waits.
const MOST_OUTGOING: usize = 1 << 20;
/// Frames that wait for a slow guest; beyond them the peer waits.
const MOST_INCOMING: usize = 128;
/// Bytes that are read from the peer in one go.
const READ: usize = 64 * 1024;
/// How often a peer that is not there is looked for.
const RETRY: Duration = Duration::from_secs(1);

const LISTENER: u64 = 0;
const PEER: u64 = 1;

/// Which end of the cable this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It waits at a path for the other.
    Listen(PathBuf),
    /// It comes to the path where the other waits.
    Connect(PathBuf),
}

/// The cable.
pub struct Stream {
    end: End,
    listener: Option<Listener>,
    peer: Option<UnixStream>,
    looked: Option<Instant>,
    interest: Interest,
    incoming: Vec<u8>,
    outgoing: VecDeque<u8>,
    frames: VecDeque<Frame>,
    events: Option<Arc<Events>>,
}

impl Stream {
    /// A cable with this end here; the other may come and go.
    ///
    /// # Errors
    /// Fails if the host does not let it wait at the path.
    pub fn new(end: &End) -> io::Result<Self> {
        let listener = match end {
            End::Listen(path) => Some(Listener::at(path)?),
            End::Connect(_) => None,
        };
        Ok(Self {
            end: end.clone(),
            listener,
            peer: None,
            looked: None,
            interest: Interest { read: true, write: false },
            incoming: Vec::new(),
            outgoing: VecDeque::new(),
            frames: VecDeque::new(),
            events: None,
        })
    }

    /// Looks for a peer, if there is none.
    fn find_peer(&mut self) {
        if self.peer.is_some() || self.looked.is_some_and(|looked| looked.elapsed() < RETRY) {
            return;
        }
        let found = match (&self.end, &self.listener) {
            (End::Connect(path), _) => {
                self.looked = Some(Instant::now());
                connect(path)
            }
            (End::Listen(_), listener) => listener.as_ref().and_then(Listener::accept),
        };
        if let (Some(peer), Some(events)) = (found, &self.events) {
            self.interest = Interest { read: true, write: false };
            self.peer = events.add(&peer, PEER, self.interest).is_ok().then_some(peer);
        }
    }

    fn lose_peer(&mut self) {
        self.peer = None;
        self.incoming.clear();
        self.outgoing.clear();
    }

    /// Takes what the peer has sent, as long as the guest keeps up.
    fn read(&mut self) -> io::Result<()> {
        let mut bytes = [0; READ];
        while self.frames.len() < MOST_INCOMING {
            let Some(peer) = &mut self.peer else { return Ok(()) };
            match peer.read(&mut bytes) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.incoming.extend(&bytes[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            self.cut_frames()?;
        }
        Ok(())
    }

    fn cut_frames(&mut self) -> io::Result<()> {
        let mut rest = &self.incoming[..];
        while let Some((length, behind)) = rest.split_first_chunk::<LENGTH>() {
            let length = u32::from_be_bytes(*length) as usize;
            // A peer that sends frames that cannot be speaks something else.
            if !(ETHERNET_HEADER..=LONGEST_FRAME).contains(&length) {
                return Err(ErrorKind::InvalidData.into());
            }
            let Some((frame, behind)) = behind.split_at_checked(length) else { break };
            self.frames.push_back(Frame { bytes: frame.to_vec(), ..Frame::default() });
            rest = behind;
        }
        let used = self.incoming.len() - rest.len();
        self.incoming.drain(..used);
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            let Some(peer) = &mut self.peer else { return Ok(()) };
            match peer.write(self.outgoing.as_slices().0) {
                Ok(length) => drop(self.outgoing.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits for the peer only for what could be done then: its readiness is a level.
    fn update_interest(&mut self) -> io::Result<()> {
        let wanted = Interest { read: self.frames.len() < MOST_INCOMING, write: !self.outgoing.is_empty() };
        if let (Some(peer), Some(events)) = (&self.peer, &self.events)
            && wanted != self.interest
        {
            events.change(peer, PEER, wanted)?;
            self.interest = wanted;
        }
        Ok(())
    }
}

/// The peer that waits at `path`, if one does.
fn connect(path: &Path) -> Option<UnixStream> {
    let peer = UnixStream::connect(path).ok()?;
    peer.set_nonblocking(true).ok()?;
    Some(peer)
}

impl Network for Stream {
    /// The peer may be a card that does all itself.
    fn offloads(&self) -> Offloads {
        Offloads::default()
    }

    fn start(&mut self, _guest: Mac, _offloads: Offloads, events: &Arc<Events>) {
        if let Some(listener) = &self.listener {
            // A peer that cannot be waited for does not come.
            let _ = events.add(listener, LISTENER, Interest { read: true, write: false });
        }
        self.events = Some(Arc::clone(events));
        self.find_peer();
    }

    fn send(&mut self, frame: &Frame) {
        if self.peer.is_some() && self.has_room() {
            self.outgoing.extend((frame.bytes.len() as u32).to_be_bytes());
            self.outgoing.extend(&frame.bytes);
        }
    }

    fn has_room(&self) -> bool {
        self.outgoing.len() < MOST_OUTGOING
    }

    fn serve(&mut self, _ready: &[u64], _drained: bool) {
        self.find_peer();
        let done = self.read().and_then(|()| self.write()).and_then(|()| self.update_interest());
        if done.is_err() {
            self.lose_peer();
        }
        // Only one peer at a time: another one that knocks is sent away, or it would knock for ever.
        if let (Some(_), Some(listener)) = (&self.peer, &self.listener) {
            while listener.accept().is_some() {}
        }
    }

    fn peek(&self) -> Option<&Frame> {
        self.frames.front()
    }

    fn advance(&mut self) {
        self.frames.pop_front();
    }

    fn patience(&mut self) -> Option<Duration> {
        (self.peer.is_none() && self.listener.is_none()).then_some(RETRY)
    }

    fn stop(&mut self) {
        self.lose_peer();
        self.frames.clear();
        if let (Some(listener), Some(events)) = (&self.listener, self.events.take()) {
            let _ = events.remove(listener);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cable(end: &End) -> (Stream, Arc<Events>) {
        let mut stream = Stream::new(end).unwrap();
        let events = Arc::new(Events::new().unwrap());
        stream.start(Mac::of_card("test", 0), Offloads::default(), &events);
        (stream, events)
    }

    fn frame(byte: u8, length: usize) -> Frame {
        Frame { bytes: vec![byte; length], ..Frame::default() }
    }

    fn frames(stream: &mut Stream, count: usize) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while frames.len() < count {
            stream.serve(&[], true);
            while let Some(frame) = stream.peek() {
                frames.push(frame.bytes.clone());
                stream.advance();
            }
        }
        frames
    }

    #[test]
    fn frames_cross_the_cable_and_a_new_peer_may_come() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cable");
        let (mut near, _events) = cable(&End::Listen(path.clone()));
        assert!(Stream::new(&End::Listen(path.clone())).is_err());
        for _ in 0..2 {
            let (mut far, _events) = cable(&End::Connect(path.clone()));
            near.serve(&[], true);
            far.send(&frame(1, 60));
            far.send(&frame(2, 1514));
            far.serve(&[], true);
            assert_eq!(frames(&mut near, 2), [vec![1; 60], vec![2; 1514]]);
            near.send(&frame(3, 100));
            near.serve(&[], true);
            assert_eq!(frames(&mut far, 1), [[3; 100]]);
            drop(far);
            near.serve(&[], true);
            assert!(near.peer.is_none());
        }
        drop(near);
        assert!(!path.exists());
    }

    #[test]
    fn the_guest_waits_for_a_slow_peer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cable");
        let (mut near, _events) = cable(&End::Listen(path.clone()));
        let (mut far, _events) = cable(&End::Connect(path));
        near.serve(&[], true);
        let mut sent = 0;
        while near.has_room() {
            near.send(&frame(7, 1500));
            near.serve(&[], true);
            sent += 1;
        }
        let mut arrived = 0;
        while arrived < sent {
            arrived += frames(&mut far, 1).len();
            near.serve(&[], true);
        }
        assert!(near.has_room());
    }

    #[test]
    fn a_peer_that_speaks_something_else_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cable");
        let (mut near, _events) = cable(&End::Listen(path.clone()));
        let mut far = UnixStream::connect(&path).unwrap();
        near.serve(&[], true);
        assert!(near.peer.is_some());
        far.write_all(b"GET / HTTP/1.0\r\n").unwrap();
        near.serve(&[], true);
        assert!(near.peer.is_none());
    }

    /// All that is kept for peer and guest is bounded.
    fn assert_bounded(stream: &Stream) {
        let frames = stream.frames.iter().map(|frame| LENGTH + frame.bytes.len()).sum::<usize>();
        // What one more read brings, when there is still room.
        assert!(frames <= MOST_INCOMING * (LENGTH + LONGEST_FRAME) + READ);
        assert!(stream.frames.len() <= MOST_INCOMING + READ / (LENGTH + ETHERNET_HEADER));
        assert!(stream.incoming.len() <= LENGTH + LONGEST_FRAME + READ);
        assert!(stream.outgoing.len() <= MOST_OUTGOING + LENGTH + LONGEST_FRAME);
    }

    /// A peer says anything, reads or does not, and goes; the next one finds a cable as ever.
    #[test]
    fn fuzz_peer() {
        let framed = |frame: &[u8]| [&(frame.len() as u32).to_be_bytes()[..], frame].concat();
        let examples = [&[1; 60][..], &[2; 1514], &[3; 14]].map(framed);
        let corpus = fuzzing::Corpus::new([&examples.concat()[..], &examples[0].repeat(100)]);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cable");
        fuzzing::run(|numbers| {
            let (mut near, _events) = cable(&End::Listen(path.clone()));
            let mut far = UnixStream::connect(&path).unwrap();
            far.set_nonblocking(true).unwrap();
            for _ in 0..40 {
                match numbers.below(4) {
                    // A cable that was left, or is full, takes nothing.
                    0 | 1 => _ = far.write(&corpus.bytes(numbers)),
                    2 => _ = far.read(&mut vec![0; numbers.index(100_000)]),
                    _ => (0..numbers.below(40)).for_each(|_| near.send(&frame(4, 1514))),
                }
                near.serve(&[], true);
                while let Some(frame) = near.peek().filter(|_| !numbers.once_in(8)) {
                    assert!((ETHERNET_HEADER..=LONGEST_FRAME).contains(&frame.bytes.len()));
                    near.advance();
                }
                assert_bounded(&near);
            }
            drop(far);
            near.stop();
            let events = Arc::new(Events::new().unwrap());
            near.start(Mac::of_card("test", 0), Offloads::default(), &events);
            let mut far = UnixStream::connect(&path).unwrap();
            far.write_all(&examples[0]).unwrap();
            assert_eq!(frames(&mut near, 1), [[1; 60]]);
            near.send(&frame(5, 60));
            near.serve(&[], true);
            let mut received = [0; LENGTH + 60];
            far.read_exact(&mut received).unwrap();
            assert_eq!(received[LENGTH..], [5; 60]);
        });
    }
}
