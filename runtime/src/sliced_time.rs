//! The time of a machine whose vCPUs have turns on one thread: it passes when that thread says so, and at no other
//! moment, so that what depends on it happens at the same instruction in every run. It must not know who shows it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{OnceLock, Weak};

use crate::machine::NANOSECONDS_PER_TICK;

/// What does something of its own accord when time has passed.
pub trait Timed: Send + Sync {
    /// Nanoseconds until then, if it is to do something.
    fn due_in(&self) -> Option<u64>;

    /// Does it, if the time has come.
    fn time_has_passed(&self);
}

/// The time.
#[derive(Default)]
pub struct SlicedTime {
    tick: AtomicU64,
    device: OnceLock<Weak<dyn Timed>>,
}

impl SlicedTime {
    /// The tick that all vCPUs are at.
    pub fn tick(&self) -> u64 {
        self.tick.load(Ordering::Relaxed)
    }

    /// From now on `device` is told when time has passed; there can be one.
    pub fn tell(&self, device: Weak<dyn Timed>) {
        // The first one stays.
        let _ = self.device.set(device);
    }

    /// Lets time pass to `tick`. To be called by one thread only.
    pub fn pass_to(&self, tick: u64) {
        self.tick.store(tick, Ordering::Relaxed);
        if let Some(device) = self.device.get().and_then(Weak::upgrade) {
            device.time_has_passed();
        }
    }

    /// The tick at which the device has something to do.
    pub fn due(&self) -> Option<u64> {
        let rest = self.device.get().and_then(Weak::upgrade)?.due_in()?;
        Some(self.tick().saturating_add(rest.div_ceil(NANOSECONDS_PER_TICK)))
    }
}
