//! What a device's thread sleeps on: readiness of host files, a deadline, and a bell that other threads
//! ring. It must not know what the files are.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::{Errno, read, write};

/// The bell's own number among the files.
const BELL: u64 = u64::MAX;
/// Files looked at in one go.
const BATCH: usize = 64;

/// For what a file is waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Until it can be read.
    pub read: bool,
    /// Until it can be written.
    pub write: bool,
}

impl Interest {
    /// Level-triggered; the end of the peer's stream counts as something to read.
    fn flags(self) -> epoll::EventFlags {
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN | epoll::EventFlags::RDHUP, self.read);
        flags.set(epoll::EventFlags::OUT, self.write);
        flags
    }
}

/// A set of files with a bell.
pub struct Events {
    epoll: OwnedFd,
    bell: OwnedFd,
    ringing: AtomicBool,
}

impl Events {
    /// A set without files.
    ///
    /// # Errors
    /// Fails if the host gives no more descriptors.
    pub fn new() -> std::io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &bell, epoll::EventData::new_u64(BELL), epoll::EventFlags::IN)?;
        Ok(Self { epoll, bell, ringing: AtomicBool::new(false) })
    }

    /// Ends the sleep of whoever waits, or the next one. Cheap if it rings already.
    pub fn ring(&self) {
        if !self.ringing.swap(true, Ordering::SeqCst) {
            // The counter cannot be full: it is emptied before the flag is cleared.
            let _ = write(&self.bell, &1u64.to_ne_bytes());
        }
    }

    /// Waits for `file` under the name `token`, which is not that of another file.
    ///
    /// # Errors
    /// Fails if the host cannot wait for the file.
    pub fn add(&self, file: impl AsFd, token: u64, interest: Interest) -> std::io::Result<()> {
        Ok(epoll::add(&self.epoll, file, epoll::EventData::new_u64(token), interest.flags())?)
    }

    /// Waits for something else of `file`.
    ///
    /// # Errors
    /// Fails if the file was not added.
    pub fn change(&self, file: impl AsFd, token: u64, interest: Interest) -> std::io::Result<()> {
        Ok(epoll::modify(&self.epoll, file, epoll::EventData::new_u64(token), interest.flags())?)
    }

    /// Waits for `file` no longer.
    ///
    /// # Errors
    /// Fails if the file was not added.
    pub fn remove(&self, file: impl AsFd) -> std::io::Result<()> {
        Ok(epoll::delete(&self.epoll, file)?)
    }

    /// Sleeps until a file is ready, the bell rings or `limit` has passed. Gives the tokens of files
    /// that are ready.
    pub fn wait(&self, limit: Option<Duration>) -> Vec<u64> {
        let limit = limit.map(|limit| Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        let mut ready = Vec::with_capacity(BATCH);
        // An error is a signal that interrupted the sleep: the caller looks around and sleeps again.
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut ready), limit.as_ref());
        let mut tokens: Vec<u64> = ready.iter().map(|event| event.data.u64()).collect();
        if tokens.contains(&BELL) {
            tokens.retain(|token| *token != BELL);
            self.silence();
        }
        tokens
    }

    fn silence(&self) {
        while read(&self.bell, &mut [0u8; 8]) == Err(Errno::INTR) {}
        self.ringing.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_bell_and_files_end_a_sleep() {
        let events = Events::new().unwrap();
        assert!(events.wait(Some(Duration::ZERO)).is_empty());
        events.ring();
        events.ring();
        assert!(events.wait(None).is_empty());
        let (near, mut far) = UnixStream::pair().unwrap();
        events.add(&near, 5, Interest { read: true, write: false }).unwrap();
        assert!(events.wait(Some(Duration::ZERO)).is_empty());
        std::io::Write::write_all(&mut far, b"x").unwrap();
        assert_eq!(events.wait(None), [5]);
        events.change(&near, 5, Interest { read: false, write: true }).unwrap();
        assert_eq!(events.wait(None), [5]);
    }
}
