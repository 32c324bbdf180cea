//! One thread a machine that rings vCPUs' doorbells when their timers are due, so that a vCPU in
//! generated code need not look at the clock.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use translator::cpu::alarm;

use crate::machine::Control;

#[derive(Default)]
struct Deadlines {
    at: Vec<Option<Instant>>,
    closed: bool,
}

struct Inner {
    deadlines: Mutex<Deadlines>,
    changed: Condvar,
    control: Arc<Control>,
}

/// The thread and what it waits for.
pub struct AlarmClock {
    inner: Arc<Inner>,
    thread: Option<JoinHandle<()>>,
}

impl AlarmClock {
    /// An alarm clock for every vCPU of `control`.
    ///
    /// # Errors
    /// Fails if the host starts no thread.
    pub fn new(control: Arc<Control>) -> std::io::Result<Self> {
        let deadlines = Mutex::new(Deadlines { at: vec![None; control.vcpus()], closed: false });
        let inner = Arc::new(Inner { deadlines, changed: Condvar::new(), control });
        let thread = Builder::new().name("timer".into()).spawn({
            let inner = Arc::clone(&inner);
            move || inner.run()
        })?;
        Ok(Self { inner, thread: Some(thread) })
    }

    /// Rings the doorbell of `vcpu` after `delay`, instead of whenever it would have.
    pub fn set(&self, vcpu: usize, delay: Option<Duration>) {
        let at = delay.and_then(|delay| Instant::now().checked_add(delay));
        let mut deadlines = self.inner.lock();
        let earliest = deadlines.at.iter().flatten().min().copied();
        deadlines.at[vcpu] = at;
        // A later deadline is found when the thread wakes for the earlier one.
        if at.is_some_and(|at| earliest.is_none_or(|earliest| at < earliest)) {
            self.inner.changed.notify_one();
        }
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, Deadlines> {
        self.deadlines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut deadlines = self.lock();
        while !deadlines.closed {
            let now = Instant::now();
            for (vcpu, at) in deadlines.at.iter_mut().enumerate() {
                if at.is_some_and(|at| at <= now) {
                    *at = None;
                    self.control.doorbell(vcpu).ring(alarm::INTERRUPT);
                }
            }
            deadlines = match deadlines.at.iter().flatten().min() {
                Some(next) => {
                    let limit = next.saturating_duration_since(now);
                    self.changed.wait_timeout(deadlines, limit).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(deadlines).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Drop for AlarmClock {
    fn drop(&mut self) {
        self.inner.lock().closed = true;
        self.inner.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // The thread has nothing to report, and a panic in it was reported when it happened.
            let _ = thread.join();
        }
    }
}
