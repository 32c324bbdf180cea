//! What is controlled: what a machine and a session of programs have in common. It must not know who asks.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use runtime::migrate::{Connect, Departure, Outcome, Status, Terms, Waiting, Waits};
use runtime::vm::snapshots::Form;
use serde_json::{Value, json};
use translator::listing::Listing;

use super::migration;
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
    ///
    /// # Errors
    /// Says why it cannot go on.
    fn set_paused(&self, paused: bool) -> Result<bool, Failure>;
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
    /// Begins to save it to a file while it goes on.
    ///
    /// # Errors
    /// Fails for what cannot be saved, and while it is being saved already.
    fn snapshot(&self, file: &Path, form: &Form) -> Result<(), Failure>;
    /// What came of the last [`Target::snapshot`]: `status` is none, active, completed or failed.
    fn snapshot_status(&self) -> Value;
    /// Moves it to the end of `way`, where it is called `name`, and returns when that is over. If it then runs there, it
    /// ends here.
    ///
    /// # Errors
    /// Says why it cannot even be tried.
    fn depart(&self, name: &str, departure: &Departure, way: &Arc<dyn Connect>) -> Result<Outcome, String>;
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
    /// How it comes from elsewhere, if it does.
    arrival: Option<Arc<Waiting>>,
    /// How it is to be moved.
    terms: Mutex<Terms>,
    /// The last move.
    departure: Mutex<Option<Arc<Departure>>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Controlled {
    /// A VM that starts now.
    pub fn new(
        name: String,
        target: Arc<dyn Target>,
        notices: Notices,
        arrival: Option<Arc<Waiting>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            name,
            target,
            notices,
            started: Instant::now(),
            changing: Mutex::default(),
            arrival,
            terms: Mutex::default(),
            departure: Mutex::default(),
        })
    }

    /// Seconds since it started.
    pub fn uptime(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Pauses it or lets it go on. One of which nobody knows whether it runs elsewhere goes on too.
    ///
    /// # Errors
    /// Refuses one that is not yet whole, and one whose disks somebody else has by now.
    pub fn set_paused(&self, paused: bool) -> Result<(), Failure> {
        let _changing = lock(&self.changing);
        let arrival = self.arrival.as_deref();
        if !paused
            && (self.departure().is_some_and(|departure| departure.stay())
                || arrival.is_some_and(Waiting::take))
        {
            return Ok(());
        }
        if let Some(Waits::Arriving | Waits::Ready) = arrival.map(Waiting::state) {
            return Err(Failure::new("The VM is still arriving"));
        }
        if self.target.set_paused(paused)? {
            self.notices.publish(if paused { Event::Stop } else { Event::Resume });
        }
        Ok(())
    }

    /// Resets it.
    ///
    /// # Errors
    /// Refuses one that is being moved, since the disks of one that stands still may be the other side's by then, and fails
    /// for what cannot be reset.
    pub fn reset(&self) -> Result<(), Failure> {
        // Held, so that no move begins meanwhile.
        let departure = lock(&self.departure);
        if departure.as_ref().is_some_and(|departure| !departure.progress().status.is_here()) {
            return Err(Failure::new("The VM is just being moved; see query-migrate and migrate_cancel"));
        }
        self.target.reset()
    }

    fn departure(&self) -> Option<Arc<Departure>> {
        lock(&self.departure).clone()
    }

    /// What it is doing, as QEMU's `RunState` has it.
    pub fn status(&self) -> &'static str {
        let departure = self.departure().map(|departure| departure.progress().status);
        match (departure, self.arrival.as_deref().map_or(Waits::Decided, Waiting::state)) {
            (_, Waits::Arriving | Waits::Ready | Waits::Lost | Waits::Taken) => "inmigrate",
            (Some(Status::Device), _) => "finish-migrate",
            (Some(Status::Undecided | Status::Completed), _) => "postmigrate",
            _ if self.target.is_paused() => "paused",
            _ => "running",
        }
    }

    /// What it is doing, for people.
    pub fn state(&self) -> &'static str {
        let departure = self.departure().map(|departure| departure.progress().status);
        match (departure, self.arrival.as_deref().map_or(Waits::Decided, Waiting::state)) {
            (_, Waits::Lost) | (Some(Status::Undecided), _) => "undecided",
            (_, Waits::Arriving | Waits::Ready) => "arriving",
            (Some(Status::Setup | Status::Active | Status::Device), _) => "moving",
            _ => self.status(),
        }
    }

    /// Changes how it is to be moved.
    ///
    /// # Errors
    /// Fails as the change does.
    pub fn set_terms(&self, change: impl FnOnce(&mut Terms) -> Result<(), Failure>) -> Result<(), Failure> {
        change(&mut lock(&self.terms))
    }

    /// How it is to be moved.
    pub fn migration_parameters(&self) -> Value {
        migration::parameters(&lock(&self.terms))
    }

    /// How far its move is, if there is or was one.
    pub fn migration(&self) -> Value {
        self.departure().map_or_else(|| json!({}), |departure| migration::info(&departure.progress()))
    }

    /// Has it stay, if there is still time for that.
    pub fn cancel_migration(&self) {
        self.departure().map(|departure| departure.cancel());
    }

    /// Begins to move it to `to`, at the end of `way`, perhaps `with_disks` that are copied.
    ///
    /// # Errors
    /// Refuses a second move at a time.
    pub fn migrate(
        self: &Arc<Self>,
        way: Arc<dyn Connect>,
        to: String,
        with_disks: bool,
    ) -> Result<(), Failure> {
        let departure = self.begin_departure(to, with_disks).map_err(Failure::new)?;
        let (vm, moving) = (Arc::clone(self), Arc::clone(&departure));
        let body = move || {
            if let Err(why) = vm.target.depart(&vm.name, &moving, &way) {
                moving.refuse(&why);
            }
        };
        match thread::Builder::new().name("migration".into()).spawn(body) {
            Ok(_) => Ok(()),
            Err(error) => {
                departure.refuse("the host starts no thread");
                Err(Failure::new(format!("Cannot start a thread: {error}")))
            }
        }
    }

    /// A move to `to`, perhaps `with_disks` that are copied, which is now the one that is asked for.
    ///
    /// # Errors
    /// Refuses a second move at a time, and one of what is not yet here.
    pub fn begin_departure(&self, to: String, with_disks: bool) -> Result<Arc<Departure>, String> {
        if self.arrival.as_deref().is_some_and(|arrival| arrival.state() != Waits::Decided) {
            return Err("The VM is still arriving".into());
        }
        let mut last = lock(&self.departure);
        if last.as_ref().is_some_and(|departure| !departure.progress().status.is_over()) {
            return Err("It is just being moved; see query-migrate".into());
        }
        let (notices, name) = (self.notices.clone(), self.name.clone());
        let terms = Terms { with_disks, ..*lock(&self.terms) };
        let notify = Box::new(move |notice| migration::tell(&notices, &name, &to, &notice));
        let departure = Departure::new(terms, notify);
        *last = Some(Arc::clone(&departure));
        Ok(departure)
    }
}
