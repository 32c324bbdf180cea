//! A TCP connection on which nobody waits longer than is bearable. It must not know what is said on it.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// How long a peer may take to hear why it was refused.
const PARTING: Duration = Duration::from_secs(1);
/// How much a refused peer may still send.
const MOST_UNHEARD: usize = 1 << 17;

/// A TCP connection. Until [`Wire::lift`], everything on it together must be done by a deadline, so that a peer that
/// sends a byte now and then cannot keep it for ever; afterwards each read and each write has its own time.
pub struct Wire {
    stream: TcpStream,
    /// `None` once the time is limited by the socket's own options alone.
    deadline: Option<Instant>,
}

impl Wire {
    /// Takes `stream`, and time for it until `deadline`.
    ///
    /// # Errors
    /// Fails if the host refuses an option of the socket.
    pub fn new(stream: TcpStream, deadline: Instant) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, deadline: Some(deadline) })
    }

    /// Ends the deadline: from now on each read and each write may take `patience`.
    ///
    /// # Errors
    /// Fails if `patience` is zero or the host refuses it.
    pub fn lift(&mut self, patience: Duration) -> io::Result<()> {
        self.deadline = None;
        set_patience(&self.stream, patience)
    }

    fn prepare(&self) -> io::Result<()> {
        let Some(deadline) = self.deadline else { return Ok(()) };
        match deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(late()),
            left => set_patience(&self.stream, left),
        }
    }
}

/// Lets each read and each write on `stream` take `patience`.
///
/// # Errors
/// Fails if `patience` is zero or the host refuses it.
pub fn set_patience(stream: &TcpStream, patience: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))
}

/// Ends what was said on `stream`, and hears the peer out for a moment: closing a socket with unread bytes would take
/// from the peer what it has not read yet, such as the reason.
pub fn part(stream: &TcpStream) {
    let Ok(clone) = stream.try_clone() else { return };
    // The peer may be gone already, and then knows.
    let _ = clone.shutdown(Shutdown::Write);
    let Ok(mut wire) = Wire::new(clone, Instant::now() + PARTING) else { return };
    let (mut heard, mut buffer) = (0, [0; 4096]);
    while heard < MOST_UNHEARD
        && let Ok(count @ 1..) = wire.read(&mut buffer)
    {
        heard += count;
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the other side does not answer in time")
}

/// What a socket says when its time is over, as [`io::ErrorKind::TimedOut`].
fn timed<T>(result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| if error.kind() == io::ErrorKind::WouldBlock { late() } else { error })
}

impl Read for Wire {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.prepare()?;
        timed(self.stream.read(bytes))
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.prepare()?;
        timed(self.stream.write(bytes))
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.prepare()?;
        timed(self.stream.write_vectored(parts))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
