//! A host stream that takes bytes without blocking the one who gives them. It must not know what
//! the bytes are.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::device::lock;

/// Bytes that wait for the host before anything is lost.
const DEPTH: usize = 1 << 20;
/// Bytes that are given to the host at once: it is alive as long as it takes so many now and then.
const CHUNK: usize = 1 << 14;
/// How long a full queue holds up its giver, while the host takes nothing, before bytes are dropped.
const STALL_PATIENCE: Duration = Duration::from_secs(10);
/// How long a flush waits, while the host takes nothing.
const FLUSH_PATIENCE: Duration = Duration::from_millis(200);

#[derive(Default)]
struct Queue {
    bytes: VecDeque<u8>,
    /// The drain has taken bytes that the host has not yet accepted.
    writing: bool,
    /// The host did not take anything for too long: drop at once until it does.
    stalled: bool,
    /// The giver is gone: what is left is still delivered.
    ended: bool,
    /// The host stream has failed.
    closed: bool,
    dropped: u64,
    /// The chunks that the host has taken.
    chunks: u64,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// A bounded queue in front of a host stream, emptied by a thread of its own.
///
/// A write returns at once while there is room. When the queue is full, a write waits for the host, so
/// a slow reader slows the guest and loses nothing. Only when the host takes nothing at all for ten
/// seconds are bytes dropped, without waiting again until it reads, as they are on a serial cable. What
/// is in the queue when its giver goes is still delivered, for as long as the process lasts; then the
/// stream is dropped.
pub struct OutputQueue {
    shared: Arc<Shared>,
    patience: Duration,
}

impl OutputQueue {
    /// A queue in front of `stream`. Fails if the host has no thread to spare.
    pub fn new(stream: Box<dyn Write + Send>) -> io::Result<Self> {
        Self::with_patience(stream, STALL_PATIENCE)
    }

    fn with_patience(stream: Box<dyn Write + Send>, patience: Duration) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let drained = Arc::clone(&shared);
        thread::Builder::new().name("serial-output".to_owned()).spawn(move || drain(&drained, stream))?;
        Ok(Self { shared, patience })
    }

    /// How many bytes the host was too slow to get.
    pub fn dropped(&self) -> u64 {
        lock(&self.shared.queue).dropped
    }

    /// Waits until `done`, as long as the host takes something within `patience`; says whether it came.
    fn wait(&self, patience: Duration, done: impl Fn(&Queue) -> bool) -> bool {
        let mut deadline = Instant::now() + patience;
        let mut queue = lock(&self.shared.queue);
        let mut chunks = queue.chunks;
        while !done(&queue) {
            if chunks != queue.chunks {
                chunks = queue.chunks;
                deadline = Instant::now() + patience;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.changed.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Write for OutputQueue {
    /// Takes all of `bytes`, or drops what does not fit.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = |queue: &Queue| queue.closed || queue.stalled || queue.bytes.len() + bytes.len() <= DEPTH;
        let in_time = self.wait(self.patience, fits);
        let mut queue = lock(&self.shared.queue);
        queue.stalled |= !in_time;
        let room = if queue.closed { 0 } else { DEPTH.saturating_sub(queue.bytes.len()) };
        let (kept, lost) = bytes.split_at(room.min(bytes.len()));
        queue.dropped += lost.len() as u64;
        let idle = queue.bytes.is_empty() && !queue.writing;
        queue.bytes.extend(kept);
        // A drain that is at work looks again before it sleeps; waking it costs a system call.
        if idle {
            self.shared.changed.notify_all();
        }
        Ok(bytes.len())
    }

    /// Waits, within bounds, until the host has everything.
    fn flush(&mut self) -> io::Result<()> {
        match self.wait(FLUSH_PATIENCE, |queue| queue.closed || (queue.bytes.is_empty() && !queue.writing)) {
            true => Ok(()),
            false => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Drop for OutputQueue {
    fn drop(&mut self) {
        // The last words of a machine matter most; but a dead terminal must not keep it from ending.
        let _ = self.flush();
        lock(&self.shared.queue).ended = true;
        self.shared.changed.notify_all();
    }
}

/// Moves bytes from the queue to the host until the one ends or the other fails; then drops the stream.
fn drain(shared: &Shared, mut stream: Box<dyn Write + Send>) {
    loop {
        let mut queue = lock(&shared.queue);
        while queue.bytes.is_empty() && !queue.ended && !queue.closed {
            queue = shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if queue.closed || queue.bytes.is_empty() {
            return;
        }
        let count = queue.bytes.len().min(CHUNK);
        let bytes: Vec<u8> = queue.bytes.drain(..count).collect();
        queue.writing = true;
        drop(queue);
        let accepted = stream.write_all(&bytes).and_then(|()| stream.flush());
        let mut queue = lock(&shared.queue);
        queue.writing = false;
        queue.stalled = false;
        queue.chunks += 1;
        queue.closed |= accepted.is_err();
        shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A host that takes a write only when it is told to.
    struct Reluctant {
        permits: mpsc::Receiver<()>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Reluctant {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.permits.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.taken.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn keeps_order_and_drops_only_when_full() {
        let (permit, permits) = mpsc::channel();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let host = Box::new(Reluctant { permits, taken: taken.clone() });
        let mut queue = OutputQueue::with_patience(host, Duration::from_millis(100)).unwrap();
        queue.write_all(b"one ").unwrap();
        queue.write_all(&vec![b'.'; DEPTH]).unwrap();
        queue.write_all(&vec![b'.'; DEPTH]).unwrap();
        assert!(queue.dropped() > 0);
        let before = Instant::now();
        queue.write_all(&vec![b'.'; DEPTH]).unwrap();
        assert!(before.elapsed() < queue.patience, "a stalled queue does not wait again");
        for _ in 0..2 * DEPTH / CHUNK + 4 {
            let _ = permit.send(());
        }
        queue.flush().unwrap();
        assert!(taken.lock().unwrap().starts_with(b"one ."));
    }

    #[test]
    fn a_failed_host_is_not_waited_for() {
        let (permit, permits) = mpsc::channel();
        drop(permit);
        let mut queue = OutputQueue::new(Box::new(Reluctant { permits, taken: Arc::default() })).unwrap();
        queue.write_all(b"gone").unwrap();
        queue.flush().unwrap();
        queue.write_all(b"gone").unwrap();
        assert_eq!(queue.dropped(), 4);
    }
}
