//! Standard input, which all programs share: each request takes what comes next. It must not know who asks.

use std::io::{self, IsTerminal, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runtime::program::Until;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// How long a program that waits for input goes without a look whether it is to stand still.
const PATIENCE: Duration = Duration::from_millis(20);

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

    /// Takes what is asked for; `None` if it is not there yet and others can run, or the program is to stand still.
    ///
    /// # Errors
    /// Fails if the host does.
    pub fn read(&self, until: Until, is_called: &dyn Fn() -> bool) -> io::Result<Option<Vec<u8>>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(length) = inner.length(until) {
                return Ok(Some(inner.buffer.drain(..length).collect()));
            }
            while !is_there(if inner.may_wait { Duration::ZERO } else { PATIENCE })? {
                if inner.may_wait || is_called() {
                    return Ok(None);
                }
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

/// Whether a read would not wait, after at most `patience` under a second.
fn is_there(patience: Duration) -> io::Result<bool> {
    let stdin = io::stdin();
    let mut wanted = [PollFd::new(&stdin, PollFlags::IN)];
    match poll(&mut wanted, Some(&Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() })) {
        Err(Errno::INTR) => Ok(false),
        ready => Ok(ready? > 0),
    }
}
