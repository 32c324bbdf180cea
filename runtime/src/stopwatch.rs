//! A clock that can stand still. It must not know whose time it keeps.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What `stopped_at` is while the clock runs: no clock gets that far.
const RUNNING: u64 = u64::MAX;

/// The time that has passed on the host's monotonic clock, without that during which this one stood
/// still.
pub(crate) struct Stopwatch {
    started: Instant,
    /// Nanoseconds that it has stood still in all.
    missed: AtomicU64,
    /// What it shows while it stands still, in nanoseconds.
    stopped_at: AtomicU64,
}

impl Stopwatch {
    /// A clock that starts now, at zero.
    pub fn start() -> Self {
        let (missed, stopped_at) = (AtomicU64::new(0), AtomicU64::new(RUNNING));
        Self { started: Instant::now(), missed, stopped_at }
    }

    /// What it shows, in nanoseconds.
    pub fn nanoseconds(&self) -> u64 {
        match self.stopped_at.load(Ordering::Acquire) {
            RUNNING => self.of_host().wrapping_sub(self.missed.load(Ordering::Acquire)),
            stopped_at => stopped_at,
        }
    }

    /// What it shows.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds())
    }

    /// From now on it stands still. Nobody else may stop it or let it go on meanwhile.
    pub fn stop(&self) {
        self.stopped_at.store(self.nanoseconds(), Ordering::Release);
    }

    /// It goes on from where it stands. A reader at the same time may see what it showed before.
    pub fn go_on(&self) {
        let shown = self.nanoseconds();
        self.missed.store(self.of_host().wrapping_sub(shown), Ordering::Release);
        self.stopped_at.store(RUNNING, Ordering::Release);
    }

    /// Makes it show `nanoseconds`, while it stands still.
    pub fn set(&self, nanoseconds: u64) {
        self.stopped_at.store(nanoseconds, Ordering::Release);
    }

    fn of_host(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_while_it_stands_still_does_not_count() {
        let watch = Stopwatch::start();
        let host = Instant::now();
        std::thread::sleep(Duration::from_millis(2));
        watch.stop();
        let shown = watch.nanoseconds();
        assert!(shown >= 2_000_000);
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(watch.nanoseconds(), shown);
        watch.go_on();
        assert!(watch.nanoseconds() >= shown);
        assert!(watch.elapsed() + Duration::from_millis(25) < host.elapsed());
    }
}
