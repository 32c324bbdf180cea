//! What other threads know of a vCPU: its alarm, its interrupt lines, and how to wake whoever runs it. It must
//! not know why anyone rings.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use translator::cpu::Shared;

/// A thread that sleeps when there is nothing to do for its vCPUs.
#[derive(Default)]
pub struct Sleeper {
    /// Whether it sleeps or is about to, so that it must be woken.
    asleep: AtomicBool,
    sleeping: Mutex<()>,
    woken: Condvar,
}

impl Sleeper {
    /// Ends its sleep, after what makes it `rung` has happened.
    fn wake(&self) {
        // Either the sleeper sees that in its last look, or this sees the sleeper.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) {
            // The lock is free only before that last look or in the sleep.
            drop(self.sleeping.lock());
            self.woken.notify_all();
        }
    }

    /// Sleeps until it is woken and `rung` says yes, it says so already, or `limit` has passed.
    pub fn sleep(&self, limit: Option<Duration>, rung: impl Fn() -> bool) {
        let guard = self.sleeping.lock().unwrap_or_else(PoisonError::into_inner);
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let quiet = |(): &mut ()| !rung();
        match limit {
            Some(limit) => drop(self.woken.wait_timeout_while(guard, limit, quiet)),
            None => drop(self.woken.wait_while(guard, quiet)),
        }
        self.asleep.store(false, Ordering::Relaxed);
    }
}

/// The doorbell of a vCPU.
#[derive(Default)]
pub struct Doorbell {
    /// The atomics that generated code reads.
    pub shared: Shared,
    /// Who runs the vCPU.
    sleeper: Arc<Sleeper>,
}

impl Doorbell {
    /// The doorbell of a vCPU that `sleeper` runs.
    pub fn of(sleeper: Arc<Sleeper>) -> Self {
        Self { shared: Shared::default(), sleeper }
    }

    /// Raises a reason to leave generated code, and wakes whoever runs the vCPU.
    pub fn ring(&self, reason: u32) {
        self.shared.raise(reason);
        self.sleeper.wake();
    }

    /// Whether a reason is raised.
    pub fn has_alarm(&self) -> bool {
        self.shared.alarm.load(Ordering::Acquire) != 0
    }

    /// Sleeps until the bell rings, the alarm is already raised, or `limit` has passed.
    pub fn sleep(&self, limit: Option<Duration>) {
        self.sleeper.sleep(limit, || self.has_alarm());
    }

    /// Sleeps until the bell rings, for a vCPU that looks at everything anew then.
    pub fn stand_by(&self) {
        self.sleep(None);
        self.shared.alarm.store(0, Ordering::Release);
    }

    /// As [`Doorbell::sleep`], but for as long as `patience` says it looks at the bell without sleeping:
    /// what rings within microseconds is answered without the host's scheduler.
    pub fn wait(&self, limit: Option<Duration>, patience: &mut Patience) {
        let begin = Instant::now();
        let look = limit.map_or(patience.0, |limit| limit.min(patience.0));
        while !self.has_alarm() {
            if begin.elapsed() >= look {
                self.sleep(limit.map(|limit| limit.saturating_sub(begin.elapsed())));
                break;
            }
            spin_loop();
        }
        patience.learn(begin.elapsed());
    }
}

/// How long a vCPU that waits looks at its bell before it sleeps. It is learnt from how long it had to
/// wait: looking on in vain keeps a host core from those who have work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience(Duration);

impl Patience {
    /// The bound: about what it costs to sleep and be woken.
    const LONGEST: Duration = Duration::from_micros(50);
    /// Where it begins to grow.
    const SHORTEST: Duration = Duration::from_micros(5);

    /// Takes note of a wait. Where a little more patience would have spared the sleep it grows, and where
    /// much more would not have it ends.
    fn learn(&mut self, waited: Duration) {
        self.0 = match waited {
            _ if waited <= self.0 => self.0,
            _ if waited <= 2 * Self::LONGEST => (2 * self.0).clamp(Self::SHORTEST, Self::LONGEST),
            _ if self.0 > Self::SHORTEST => self.0 / 2,
            _ => Duration::ZERO,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_bounded_and_learnt() {
        let (short, long) = (Duration::from_micros(60), Duration::from_millis(4));
        let mut patience = Patience::default();
        for _ in 0..20 {
            patience.learn(short);
        }
        assert_eq!(patience.0, Patience::LONGEST);
        patience.learn(Duration::from_micros(1));
        assert_eq!(patience.0, Patience::LONGEST);
        for _ in 0..20 {
            patience.learn(long);
        }
        assert_eq!(patience.0, Duration::ZERO);
    }

    #[test]
    fn no_ring_is_lost() {
        const ROUNDS: u32 = 20_000;
        let pair: [Arc<Doorbell>; 2] = Default::default();
        let answer = |own: Arc<Doorbell>, other: Arc<Doorbell>| {
            let mut patience = Patience::default();
            for round in 0..ROUNDS {
                while own.shared.alarm.swap(0, Ordering::AcqRel) == 0 {
                    if round % 2 == 0 { own.sleep(None) } else { own.wait(None, &mut patience) }
                }
                other.ring(1);
            }
        };
        let [a, b] = pair.clone();
        let thread = std::thread::spawn(move || answer(a, b));
        pair[0].ring(1);
        answer(pair[1].clone(), pair[0].clone());
        thread.join().unwrap();
    }
}
