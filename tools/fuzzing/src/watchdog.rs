//! Ends the process if a case does not end: a target that hangs would otherwise say nothing.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// A case that takes so long hangs, even on a busy host.
const PATIENCE: Duration = Duration::from_secs(120);
/// The number that stands for the end of all cases.
const ENDED: u64 = u64::MAX;

/// Looks every now and then whether it is still the same case.
pub struct Watchdog {
    current: Arc<AtomicU64>,
    thread: Thread,
}

impl Watchdog {
    /// Begins to watch.
    pub fn start() -> Self {
        let current = Arc::new(AtomicU64::new(0));
        let watched = Arc::clone(&current);
        let thread = thread::spawn(move || watch(&watched)).thread().clone();
        Self { current, thread }
    }

    /// Case `number` begins.
    pub fn begins(&self, number: u64) {
        self.current.store(number, Relaxed);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.current.store(ENDED, Relaxed);
        self.thread.unpark();
    }
}

fn watch(current: &AtomicU64) {
    let (mut last, mut since) = (current.load(Relaxed), Instant::now());
    loop {
        // It may wake up earlier, and so the time is looked at.
        thread::park_timeout(PATIENCE);
        let now = current.load(Relaxed);
        if now == ENDED {
            return;
        }
        if now != last {
            (last, since) = (now, Instant::now());
        } else if since.elapsed() >= PATIENCE {
            eprintln!("The case does not end; run it again by MYVMM_FUZZ_CASE={now}");
            process::abort();
        }
    }
}
