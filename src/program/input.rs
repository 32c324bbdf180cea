//! Standard input, which all programs share: each request takes what comes next. It must not know who asks.

use std::io::{self, IsTerminal, Read};
use std::sync::{Arc, Mutex, PoisonError};

use runtime::program::Until;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Standard input. Clones share it.
#[derive(Clone)]
pub struct Input {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    buffer: Vec<u8>,
    ended: bool,
    /// Whether others can run while a person types.
    may_wait: bool,
}

impl Input {
    /// Standard input. With `alone`, a program that asks is waited for.
    pub fn new(alone: bool) -> Self {
        // What comes from a file or a pipe is the same in every run only if everybody waits for it.
        let may_wait = !alone && io::stdin().is_terminal();
        let inner = Inner { buffer: Vec::new(), ended: false, may_wait };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Takes what is asked for; `None` if it is not there yet.
    ///
    /// # Errors
    /// Fails if the host does.
    pub fn read(&self, until: Until) -> io::Result<Option<Vec<u8>>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(length) = inner.length(until) {
                return Ok(Some(inner.buffer.drain(..length).collect()));
            }
            if inner.may_wait && !is_there()? {
                return Ok(None);
            }
            inner.fill()?;
        }
    }
}

impl Inner {
    /// How much of the buffer answers the request, if it does.
    fn length(&self, until: Until) -> Option<usize> {
        let there = self.buffer.len();
        let enough = match until {
            Until::Newline(limit) => {
                let line = self.buffer.iter().position(|byte| *byte == b'\n').map(|index| index + 1);
                line.map(|line| line.min(limit)).or((there >= limit).then_some(limit))
            }
            Until::Count(limit) => (there > 0 || limit == 0).then_some(there.min(limit)),
        };
        enough.or(self.ended.then_some(there))
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        let count = loop {
            match io::stdin().lock().read(&mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.ended = count == 0;
        self.buffer.extend(&bytes[..count]);
        Ok(())
    }
}

/// Whether a read would not wait.
fn is_there() -> io::Result<bool> {
    let stdin = io::stdin();
    let mut wanted = [PollFd::new(&stdin, PollFlags::IN)];
    Ok(poll(&mut wanted, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0)
}
