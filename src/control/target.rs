//! What is controlled: what a machine and a session of programs have in common. It must not know who asks.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use runtime::vm::snapshots::Form;
use serde_json::Value;
use translator::listing::Listing;

use super::protocol::{Event, Failure};
use super::server::Notices;
use crate::excerpt::Excerpt;

/// A VM as others control it.
pub trait Target: Send + Sync {
    /// "machine" or "programs".
    fn kind(&self) -> &'static str;
    /// Bytes of RAM.
    fn memory(&self) -> u64;
    /// Makes it stand still or lets it go on. Gives whether that is new.
    fn set_paused(&self, paused: bool) -> bool;
    /// Whether it is paused.
    fn is_paused(&self) -> bool;
    /// Resets it.
    ///
    /// # Errors
    /// Fails for what cannot be reset.
    fn reset(&self) -> Result<(), Failure>;
    /// Ends it.
    fn quit(&self);
    /// The host's threads that run its vCPUs; 0 for one that has none yet.
    fn threads(&self) -> Vec<i32>;
    /// The instructions that ran, if they are counted.
    fn instructions(&self) -> Option<u64>;
    /// What its vCPUs did, for each.
    fn statistics(&self) -> Value;
    /// The registers of a vCPU; `None` if there is no such.
    fn registers(&self, vcpu: usize) -> Option<Value>;
    /// Its disks.
    fn disks(&self) -> Value;
    /// Saves it to a file while it goes on; gives what came of it.
    ///
    /// # Errors
    /// Fails for what cannot be saved, and as the host does.
    fn snapshot(&self, file: &Path, form: &Form) -> Result<Value, Failure>;
    /// The blocks of vCPU, or program, `index` that `excerpt` asks for.
    ///
    /// # Errors
    /// Fails for places that are not there, and for the hottest blocks if nobody counts them.
    fn blocks(&self, index: usize, excerpt: &Excerpt) -> Result<Vec<Listing>, Failure>;
}

/// A VM with its name, and those who are told what happens to it.
pub struct Controlled {
    /// Its name.
    pub name: String,
    /// What it is.
    pub target: Arc<dyn Target>,
    notices: Notices,
    started: Instant,
    /// Held while the state changes, so that events are told in the order in which they happened.
    changing: Mutex<()>,
}

impl Controlled {
    /// A VM that starts now.
    pub fn new(name: String, target: Arc<dyn Target>, notices: Notices) -> Self {
        Self { name, target, notices, started: Instant::now(), changing: Mutex::default() }
    }

    /// Seconds since it started.
    pub fn uptime(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Pauses it or lets it go on.
    pub fn set_paused(&self, paused: bool) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.target.set_paused(paused) {
            self.notices.publish(if paused { Event::Stop } else { Event::Resume });
        }
    }

    /// "paused" or "running", as QEMU's `RunState` has them.
    pub fn status(&self) -> &'static str {
        if self.target.is_paused() { "paused" } else { "running" }
    }
}
