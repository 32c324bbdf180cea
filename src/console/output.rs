//! The guest's output on its way to standard output, read along by a [`Watch`]. It must not know what the lines mean.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::stdio::stdout;

use super::Event;
use super::watch::Watch;

/// What was seen of the output; shared with whoever asks.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Watch>>);

impl Seen {
    /// What was seen so far.
    pub fn lock(&self) -> MutexGuard<'_, Watch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Standard output for one machine.
pub struct Output<E> {
    seen: Seen,
    events: Sender<E>,
    failed: bool,
    /// Ends [`Rest::wait`] by being dropped.
    _whole: Sender<()>,
}

/// What a machine has printed but the host has not yet taken.
pub struct Rest(Receiver<()>);

impl Rest {
    /// Waits until standard output has everything that the machine, which has ended, printed.
    pub fn wait(self) {
        // Nothing is ever sent: the sender goes when the output is done.
        let _ = self.0.recv();
    }
}

impl<E> Output<E> {
    /// Output that is seen by `seen`; its failure is told to `events`.
    pub fn new(seen: Seen, events: Sender<E>) -> (Self, Rest) {
        let (whole, rest) = channel();
        (Self { seen, events, failed: false, _whole: whole }, Rest(rest))
    }
}

impl<E: From<Event>> Output<E> {
    /// Says, once, that the host takes no more.
    fn fail(&mut self, error: Errno) {
        if !std::mem::replace(&mut self.failed, true) {
            // Nobody hears it if the session is already over.
            let _ = self.events.send(Event::OutputFailed(error.into()).into());
        }
    }
}

impl<E: From<Event>> Write for Output<E> {
    /// Writes without a buffer: a prompt has no line end to wait for.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match rustix::io::write(stdout(), bytes) {
            Ok(length) => {
                self.seen.lock().see(&bytes[..length]);
                return Ok(length);
            }
            Err(Errno::INTR) => {}
            // Others may have left the file description non-blocking.
            Err(Errno::AGAIN) => drop(poll(&mut [PollFd::new(&stdout(), PollFlags::OUT)], None)?),
            Err(error) => {
                self.fail(error);
                return Err(error.into());
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
