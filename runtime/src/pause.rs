//! How things that run on threads of their own are made to stand still together and go on: the vCPUs
//! of a machine, or the programs of a session. It must not know what they do when they run.
//!
//! Whoever runs a member holds its lock and gives it back at the next settled point after a call. So
//! when all locks have been had once, everything stands still, and whoever asked may look at the
//! members and change them.

use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::thread::gettid;

use crate::device::lock;
use crate::machine::{Control, Ending};

/// Something that runs, and by which switches it is called.
pub struct Member<T> {
    /// What runs.
    pub cell: T,
    /// The switches of its machine.
    pub control: Arc<Control>,
    /// Its number among the vCPUs of that machine.
    pub number: usize,
}

struct Seat<T> {
    cell: Mutex<T>,
    control: Arc<Control>,
    number: usize,
    /// The host's thread that ran it last.
    thread: AtomicI32,
}

/// Who wants everything to stand still.
#[derive(Default)]
struct Wishes {
    /// A person, until that person wants it to go on.
    paused: bool,
    /// Holds that are in force.
    holds: usize,
}

impl Wishes {
    fn any(&self) -> bool {
        self.paused || self.holds > 0
    }
}

/// What stands still with the members: told `true` when all of them do, and `false` before any goes on.
pub type Surroundings = Box<dyn Fn(bool) + Send + Sync>;

/// Things that can be made to stand still together.
pub struct Pausable<T> {
    seats: Vec<Seat<T>>,
    surroundings: Surroundings,
    wishes: Mutex<Wishes>,
}

impl<T> Pausable<T> {
    /// Members that may run, with what stands still when they do.
    pub fn new(members: impl IntoIterator<Item = Member<T>>, surroundings: Surroundings) -> Arc<Self> {
        let seat = |member: Member<T>| Seat {
            cell: Mutex::new(member.cell),
            control: member.control,
            number: member.number,
            thread: AtomicI32::new(0),
        };
        let seats = members.into_iter().map(seat).collect();
        Arc::new(Self { seats, surroundings, wishes: Mutex::default() })
    }

    /// How many members there are.
    pub fn count(&self) -> usize {
        self.seats.len()
    }

    /// Takes member `index` in order to run it, once it may run; `None` if it never may again. The
    /// runner lets go of it when [`Pausable::is_called`] says so.
    ///
    /// # Panics
    /// Panics if there is no such member.
    pub fn enter(&self, index: usize) -> Option<MutexGuard<'_, T>> {
        let seat = &self.seats[index];
        while seat.control.ending().is_none() {
            if !seat.control.is_paused() {
                let member = lock(&seat.cell);
                // Whoever asked for a pause since may already count on this lock's having been free.
                if !seat.control.is_paused() {
                    seat.thread.store(gettid().as_raw_nonzero().get(), Ordering::Relaxed);
                    return Some(member);
                }
            }
            seat.control.doorbell(seat.number).stand_by();
        }
        None
    }

    /// The host's threads that ran the members last; 0 for one that never ran.
    pub fn threads(&self) -> Vec<i32> {
        self.seats.iter().map(|seat| seat.thread.load(Ordering::Relaxed)).collect()
    }

    /// Ends all members for good.
    pub fn end(&self) {
        self.seats.iter().for_each(|seat| seat.control.end(Ending::Quit));
    }

    /// Whether the runner of member `index` must let go of it.
    ///
    /// # Panics
    /// Panics if there is no such member.
    pub fn is_called(&self, index: usize) -> bool {
        let control = &self.seats[index].control;
        control.is_paused() || control.ending().is_some()
    }

    /// A look at member `index` that waits until it does not run: for when everything stands still or
    /// has ended.
    ///
    /// # Panics
    /// Panics if there is no such member.
    pub fn member(&self, index: usize) -> MutexGuard<'_, T> {
        lock(&self.seats[index].cell)
    }

    /// Makes everything stand still until [`Pausable::resume`], and returns when it does. Gives whether
    /// that is new. Never called by a thread that runs a member or serves a device.
    pub fn pause(&self) -> bool {
        self.change(|wishes| !std::mem::replace(&mut wishes.paused, true))
    }

    /// Lets everything go on that only [`Pausable::pause`] kept from it. Gives whether it did.
    pub fn resume(&self) -> bool {
        self.change(|wishes| std::mem::replace(&mut wishes.paused, false))
    }

    /// Whether someone asked for a pause. A [`Hold`] is none: it is over in a moment.
    pub fn is_paused(&self) -> bool {
        lock(&self.wishes).paused
    }

    /// Makes everything stand still as long as the hold lives, whether it is paused or not.
    pub fn hold(self: &Arc<Self>) -> Hold<T> {
        self.change(|wishes| wishes.holds += 1);
        Hold { held: Arc::clone(self) }
    }

    fn change<R>(&self, change: impl FnOnce(&mut Wishes) -> R) -> R {
        let mut wishes = lock(&self.wishes);
        let before = wishes.any();
        let result = change(&mut wishes);
        match (before, wishes.any()) {
            (false, true) => self.stop(),
            (true, false) => self.go_on(),
            _ => {}
        }
        result
    }

    fn stop(&self) {
        self.seats.iter().for_each(|seat| seat.control.set_paused(true));
        // A runner that has let go comes back only after a look at the switch.
        self.seats.iter().for_each(|seat| drop(lock(&seat.cell)));
        (self.surroundings)(true);
    }

    fn go_on(&self) {
        (self.surroundings)(false);
        self.seats.iter().for_each(|seat| seat.control.set_paused(false));
    }
}

/// As long as it lives, everything stands still.
pub struct Hold<T> {
    held: Arc<Pausable<T>>,
}

impl<T> Hold<T> {
    /// Member `index`, to look at and to change.
    ///
    /// # Panics
    /// Panics if there is no such member.
    pub fn member(&self, index: usize) -> MutexGuard<'_, T> {
        self.held.member(index)
    }

    /// Member `index`, if there is one.
    pub fn get(&self, index: usize) -> Option<MutexGuard<'_, T>> {
        (index < self.count()).then(|| self.member(index))
    }

    /// How many members there are.
    pub fn count(&self) -> usize {
        self.held.count()
    }
}

impl<T> Drop for Hold<T> {
    fn drop(&mut self) {
        self.held.change(|wishes| wishes.holds -= 1);
    }
}

/// Slows members down as long as it lives: they stand still for a part of each while.
pub struct Brake {
    percent: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

/// How long the while is: short enough that a guest's timers notice little.
const BRAKED: Duration = Duration::from_millis(20);

impl Brake {
    /// Slows `members` down by `percent`.
    ///
    /// # Errors
    /// Fails if the host starts no thread.
    pub fn new<T: Send + 'static>(members: &Arc<Pausable<T>>, percent: u32) -> std::io::Result<Self> {
        let brake = Arc::new(AtomicU32::new(percent));
        let (members, percent) = (Arc::clone(members), Arc::clone(&brake));
        let body = move || loop {
            let still = BRAKED * percent.load(Ordering::Relaxed).min(99) / 100;
            if still.is_zero() {
                return;
            }
            let hold = members.hold();
            thread::sleep(still);
            drop(hold);
            thread::sleep(BRAKED - still);
        };
        let thread = thread::Builder::new().name("brake".into()).spawn(body)?;
        Ok(Self { percent: brake, thread: Some(thread) })
    }

    /// From now on they are slowed down by `percent`.
    pub fn set(&self, percent: u32) {
        self.percent.store(percent.max(1), Ordering::Relaxed);
    }
}

impl Drop for Brake {
    fn drop(&mut self) {
        self.percent.store(0, Ordering::Relaxed);
        // It has nothing to report.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Two counters on threads, and how often the surroundings were told to stop and to go on.
    fn counters() -> (Arc<Pausable<u64>>, Arc<Control>, Arc<AtomicU32>) {
        let control = Control::new(2);
        let members = (0..2).map(|number| Member { cell: 0, control: Arc::clone(&control), number });
        let told = Arc::new(AtomicU32::new(0));
        let tell = Arc::clone(&told);
        let add = move |stops| {
            tell.fetch_add(if stops { 1 } else { 0x100 }, Ordering::SeqCst);
        };
        (Pausable::new(members, Box::new(add)), control, told)
    }

    fn run(pausable: &Pausable<u64>, index: usize) {
        while let Some(mut counter) = pausable.enter(index) {
            while !pausable.is_called(index) {
                *counter += 1;
            }
        }
    }

    fn values(pausable: &Pausable<u64>) -> [u64; 2] {
        [*pausable.member(0), *pausable.member(1)]
    }

    #[test]
    fn paused_members_stand_still_and_go_on() {
        let (pausable, control, told) = counters();
        let mut rounds = 0;
        thread::scope(|scope| {
            for index in 0..2 {
                let pausable = &pausable;
                scope.spawn(move || run(pausable, index));
            }
            let mut last = [0; 2];
            let begun = Instant::now();
            // A busy host takes its time to let both run.
            while rounds < 50 || last.contains(&0) && begun.elapsed() < Duration::from_secs(60) {
                rounds += 1;
                assert!(pausable.pause());
                assert!(!pausable.pause() && pausable.is_paused());
                let stood = values(&pausable);
                // A hold within a pause neither ends it nor is ended by its end.
                let hold = pausable.hold();
                thread::sleep(Duration::from_micros(200));
                assert_eq!([*hold.member(0), *hold.member(1)], stood);
                assert!(pausable.resume() && !pausable.is_paused());
                assert_eq!(values(&pausable), stood);
                drop(hold);
                assert!(!pausable.resume());
                assert!(stood[0] >= last[0] && stood[1] >= last[1]);
                last = stood;
            }
            control.end(Ending::Quit);
        });
        let ran = values(&pausable);
        assert!(ran.iter().all(|count| *count > 0), "{ran:?}");
        assert_eq!(told.load(Ordering::SeqCst), rounds * 0x101);
    }

    #[test]
    fn what_is_paused_can_be_ended() {
        let (pausable, control, _) = counters();
        assert!(pausable.pause());
        thread::scope(|scope| {
            let runner = scope.spawn(|| run(&pausable, 0));
            thread::sleep(Duration::from_millis(5));
            assert!(!runner.is_finished());
            control.end(Ending::Quit);
        });
        assert_eq!(values(&pausable), [0, 0]);
    }
}
