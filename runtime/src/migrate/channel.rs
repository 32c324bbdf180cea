//! Messages over a stream: each with its kind, its length, which is limited, and a checksum. Nothing that comes in is
//! believed, and nothing is waited for longer than patience lasts. It must not know what messages mean.
//!
//! ```text
//! message  kind (u8), three zero bytes, length (u32), CRC-32 (u32) of these and the bytes, the bytes
//! ```
//!
//! Numbers are little-endian.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long one call of the host waits before the channel looks whether it was cancelled.
const PULSE: Duration = Duration::from_millis(50);
const HEAD: usize = 12;

/// A connection in both directions that keeps the order of bytes.
pub trait Stream: Read + Write + Send {
    /// From now on a read or a write that has waited so long fails with [`io::ErrorKind::WouldBlock`] or
    /// [`io::ErrorKind::TimedOut`], and may be tried again.
    ///
    /// # Errors
    /// Fails as the host does.
    fn set_timeouts(&self, timeout: Duration) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn set_timeouts(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }
}

/// Why a channel is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The host says so.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// The other side has gone.
    #[error("the other side closed the connection")]
    Closed,
    /// The other side may have gone.
    #[error("the other side said nothing for {0:?}")]
    Silent(Duration),
    /// Someone on this side wants no more of it.
    #[error("it was cancelled")]
    Cancelled,
    /// The bytes make no sense.
    #[error("the other side sent what makes no sense: {0}")]
    Nonsense(String),
}

impl ChannelError {
    /// The other side sent what makes no sense.
    pub(super) fn nonsense(what: impl Into<String>) -> Self {
        Self::Nonsense(what.into())
    }
}

/// A channel.
pub(super) struct Channel {
    stream: Box<dyn Stream>,
    /// How long a message may take to come or to go.
    patience: Duration,
    cancelled: Arc<AtomicBool>,
    /// Bytes that have gone out.
    pub sent: u64,
    /// The message on its way.
    buffer: Vec<u8>,
}

impl Channel {
    /// A channel on which nothing was said yet. It fails soon after `cancelled` becomes true.
    pub fn new(
        stream: Box<dyn Stream>,
        patience: Duration,
        cancelled: Arc<AtomicBool>,
    ) -> Result<Self, ChannelError> {
        stream.set_timeouts(PULSE.min(patience)).map_err(ChannelError::Broken)?;
        Ok(Self { stream, patience, cancelled, sent: 0, buffer: Vec::new() })
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<(), ChannelError> {
        let begun = Instant::now();
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(0) => return Err(ChannelError::Closed),
                Ok(length) => rest = &rest[length..],
                Err(error) => self.bear(error, begun)?,
            }
        }
        self.sent += bytes.len() as u64;
        loop {
            match self.stream.flush() {
                Ok(()) => return Ok(()),
                Err(error) => self.bear(error, begun)?,
            }
        }
    }

    /// Receives exactly as many bytes as `to` holds.
    pub fn receive_raw(&mut self, to: &mut [u8]) -> Result<(), ChannelError> {
        let begun = Instant::now();
        let mut filled = 0;
        while filled < to.len() {
            match self.stream.read(&mut to[filled..]) {
                Ok(0) => return Err(ChannelError::Closed),
                Ok(length) => filled += length,
                Err(error) => self.bear(error, begun)?,
            }
        }
        Ok(())
    }

    /// Whether a call that failed can be tried again.
    fn bear(&self, error: io::Error, begun: Instant) -> Result<(), ChannelError> {
        if self.cancelled.load(Ordering::SeqCst) {
            return Err(ChannelError::Cancelled);
        }
        match error.kind() {
            io::ErrorKind::Interrupted => Ok(()),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut if begun.elapsed() < self.patience => Ok(()),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Err(ChannelError::Silent(self.patience)),
            io::ErrorKind::UnexpectedEof => Err(ChannelError::Closed),
            _ => Err(ChannelError::Broken(error)),
        }
    }

    /// Sends a message.
    ///
    /// # Panics
    /// Panics if there are more bytes than a length can say.
    pub fn send(&mut self, kind: u8, bytes: &[u8]) -> Result<(), ChannelError> {
        let length = u32::try_from(bytes.len()).expect("messages are short");
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.extend([kind, 0, 0, 0]);
        buffer.extend(length.to_le_bytes());
        buffer.extend(checksum(&buffer, bytes).to_le_bytes());
        buffer.extend(bytes);
        let result = self.send_raw(&buffer);
        self.buffer = buffer;
        result
    }

    /// Receives a message of a kind for which `limit` gives the most bytes: no other is read to its end.
    pub fn receive(&mut self, limit: impl Fn(u8) -> Option<u32>) -> Result<(u8, Vec<u8>), ChannelError> {
        let mut head = [0; HEAD];
        self.receive_raw(&mut head)?;
        let [kind, zeros @ .., _, _, _, _, _, _, _, _] = head;
        let [_, _, _, _, length @ .., _, _, _, _] = head;
        let [_, _, _, _, _, _, _, _, sum @ ..] = head;
        let length = u32::from_le_bytes(length);
        match limit(kind) {
            Some(most) if length <= most && zeros == [0; 3] => {}
            _ => return Err(ChannelError::nonsense(format!("message {kind} of {length} bytes"))),
        }
        let mut bytes = vec![0; length as usize];
        self.receive_raw(&mut bytes)?;
        if checksum(&head[..8], &bytes).to_le_bytes() != sum {
            return Err(ChannelError::nonsense(format!("message {kind} has a wrong checksum")));
        }
        Ok((kind, bytes))
    }
}

fn checksum(head: &[u8], bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    impl Stream for UnixStream {
        fn set_timeouts(&self, timeout: Duration) -> io::Result<()> {
            self.set_read_timeout(Some(timeout))?;
            self.set_write_timeout(Some(timeout))
        }
    }

    fn pair(patience: Duration) -> (Channel, UnixStream, Arc<AtomicBool>) {
        let (here, there) = UnixStream::pair().unwrap();
        let cancelled = Arc::<AtomicBool>::default();
        (Channel::new(Box::new(here), patience, Arc::clone(&cancelled)).unwrap(), there, cancelled)
    }

    fn limit(kind: u8) -> Option<u32> {
        (kind == 7).then_some(100)
    }

    #[test]
    fn messages_come_as_they_went_and_no_flipped_bit_passes() {
        let (mut out, mut wire, _) = pair(Duration::from_secs(5));
        out.send(7, b"twelve bytes").unwrap();
        let mut message = vec![0; HEAD + 12];
        wire.read_exact(&mut message).unwrap();
        let receive = |bytes: &[u8]| {
            let (mut channel, mut wire, _) = pair(Duration::from_secs(5));
            wire.write_all(bytes).unwrap();
            drop(wire);
            channel.receive(limit)
        };
        assert_eq!(receive(&message).unwrap(), (7, b"twelve bytes".to_vec()));
        for bit in 0..message.len() * 8 {
            let mut bad = message.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let error = receive(&bad).unwrap_err();
            assert!(matches!(error, ChannelError::Nonsense(_) | ChannelError::Closed), "bit {bit}: {error}");
        }
        for length in 0..message.len() {
            assert!(matches!(receive(&message[..length]), Err(ChannelError::Closed)));
        }
    }

    #[test]
    fn neither_silence_nor_deafness_is_borne_for_long() {
        let (mut channel, wire, cancelled) = pair(Duration::from_millis(20));
        assert!(matches!(channel.receive(limit), Err(ChannelError::Silent(_))));
        // Far more than a socket holds.
        assert!(matches!(channel.send(7, &vec![0; 16 << 20]), Err(ChannelError::Silent(_))));
        cancelled.store(true, Ordering::SeqCst);
        assert!(matches!(channel.receive(limit), Err(ChannelError::Cancelled)));
        drop(wire);
    }
}
