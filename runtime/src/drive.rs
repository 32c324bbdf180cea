//! How the vCPUs of a machine run until it ends: each on a thread of its own, or all on one in turns of an
//! exact number of instructions. It must not know what they run.
//!
//! In turns, the machine is as if its vCPUs shared one processor: time is the number of instructions that have
//! run on all of them, so what runs later is later, and the order of everything is the same in every run as
//! far as nothing comes from outside. While all vCPUs wait, time passes as the host's does.

use std::any::Any;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use crate::machine::{Control, Ending, NANOSECONDS_PER_TICK};
use crate::vcpu::{Engine, Outcome, Statistics, Vcpu};
use crate::vm::VmError;

/// Which host threads the vCPUs of a machine run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Each has one of its own.
    Threads,
    /// One runs all of them, in turns of so many instructions. Every run is like the other.
    Slices(NonZeroU64),
}

/// How many instructions a vCPU runs before its loop looks around by itself; alarms interrupt it
/// earlier.
const TURN: u64 = 1 << 30;

/// Runs each vCPU on a thread of its own until the machine ends. Gives what each did.
///
/// # Errors
/// Fails if the host starts no thread, or if a bug ends one; the machine has then ended.
pub fn threads(control: &Arc<Control>, vcpus: Vec<Vcpu>, engine: Engine) -> Result<Vec<Statistics>, VmError> {
    on_threads(control, vcpus, move |mut vcpu| {
        run(&mut vcpu, engine);
        vcpu.take_statistics()
    })
}

/// Calls `run` for each of `vcpus` on a thread of its own, and waits for all of them.
fn on_threads<V: Send + 'static, R: Send + 'static>(
    control: &Arc<Control>,
    vcpus: Vec<V>,
    run: impl Fn(V) -> R + Clone + Send + 'static,
) -> Result<Vec<R>, VmError> {
    let mut failure = None;
    let mut threads = Vec::with_capacity(vcpus.len());
    for (number, vcpu) in vcpus.into_iter().enumerate() {
        let (run, last_will) = (run.clone(), LastWill(Arc::clone(control)));
        let body = move || {
            let _last_will = last_will;
            run(vcpu)
        };
        match Builder::new().name(format!("vcpu{number}")).spawn(body) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                control.end(Ending::Quit);
                failure = Some(VmError::Thread(error));
                break;
            }
        }
    }
    let mut results = Vec::with_capacity(threads.len());
    for (vcpu, thread) in threads.into_iter().enumerate() {
        match thread.join() {
            Ok(result) => results.push(result),
            Err(payload) => failure = failure.or(Some(VmError::Vcpu { vcpu, what: words(&*payload) })),
        }
    }
    failure.map_or(Ok(results), Err)
}

/// Ends the machine if its thread panics: one that lacks a vCPU is of no use, and the others may wait for
/// it for ever.
struct LastWill(Arc<Control>);

impl Drop for LastWill {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end(Ending::Quit);
        }
    }
}

fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("no reason given").to_owned()
}

/// Runs one vCPU until the machine ends.
fn run(vcpu: &mut Vcpu, engine: Engine) {
    let control = Arc::clone(&vcpu.machine.control);
    let mut running = vcpu.number == 0;
    while control.ending().is_none() {
        if let Some(address) = control.take_start(vcpu.number) {
            vcpu.start(address);
            running = true;
        }
        if !running || control.is_paused() {
            vcpu.stand_by();
            continue;
        }
        match vcpu.run(engine, TURN) {
            Outcome::Halted => control.end(Ending::PowerOff),
            Outcome::Wait => {
                while !vcpu.is_wakeable() && !vcpu.has_alarm() {
                    vcpu.sleep();
                }
            }
            Outcome::Budget | Outcome::Attention | Outcome::Hypercall(_) => {}
            // The guest has handlers of its own.
            Outcome::SystemCall | Outcome::Exception(_) => {}
        }
    }
}

/// Runs all vCPUs on this thread, in turns of `slice` instructions, until the machine ends. The tick that
/// they are at is kept in `time`. Gives what each did.
pub fn slices(
    control: &Arc<Control>,
    vcpus: Vec<Vcpu>,
    engine: Engine,
    slice: NonZeroU64,
    time: Arc<AtomicU64>,
) -> Vec<Statistics> {
    let players = vcpus.into_iter().map(|vcpu| {
        let state = if vcpu.number == 0 { State::Running } else { State::Stopped };
        Player { vcpu, state }
    });
    let mut round = Round { control, players: players.collect(), engine, slice: slice.get(), time };
    while control.ending().is_none() {
        if control.is_paused() {
            round.stand_by();
        } else if !round.play() {
            round.rest();
        }
    }
    round.players.iter_mut().map(|player| player.vcpu.take_statistics()).collect()
}

/// What a vCPU does between its turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It was not started.
    Stopped,
    /// It has something to do.
    Running,
    /// It waits for an interrupt.
    Waiting,
}

/// A vCPU that has its turns.
struct Player {
    vcpu: Vcpu,
    state: State,
}

impl Player {
    /// Whether it has something to do.
    fn is_ready(&mut self, control: &Control) -> bool {
        if self.state != State::Running {
            self.vcpu.silence();
        }
        if let Some(address) = control.take_start(self.vcpu.number) {
            self.vcpu.start(address);
            self.state = State::Running;
        }
        if self.state == State::Waiting && self.vcpu.is_wakeable() {
            self.state = State::Running;
        }
        self.state == State::Running
    }

    /// Runs `slice` instructions, or less if it waits or the machine ends.
    fn play(&mut self, control: &Control, engine: Engine, slice: u64) {
        let end = self.vcpu.ticks() + slice;
        while self.state == State::Running && control.ending().is_none() {
            let left = end.saturating_sub(self.vcpu.ticks());
            if left == 0 {
                return;
            }
            match self.vcpu.run(engine, left) {
                Outcome::Halted => control.end(Ending::PowerOff),
                Outcome::Wait => self.state = State::Waiting,
                Outcome::Budget | Outcome::Attention | Outcome::Hypercall(_) => {}
                // The guest has handlers of its own.
                Outcome::SystemCall | Outcome::Exception(_) => {}
            }
        }
    }
}

/// All vCPUs of a machine in their turns.
struct Round<'a> {
    control: &'a Control,
    players: Vec<Player>,
    engine: Engine,
    slice: u64,
    /// The tick that all are at; only this thread changes it.
    time: Arc<AtomicU64>,
}

impl Round<'_> {
    /// Gives each vCPU that has something to do its turn. Says whether there was one.
    fn play(&mut self) -> bool {
        let mut played = false;
        for player in &mut self.players {
            player.vcpu.pass_time(self.time.load(Ordering::Relaxed));
            if player.is_ready(self.control) {
                player.play(self.control, self.engine, self.slice);
                self.time.store(player.vcpu.ticks(), Ordering::Relaxed);
                played = true;
            }
        }
        played
    }

    /// Lets time pass until the first timer of a vCPU is due or something comes from outside.
    fn rest(&self) {
        let now = self.time.load(Ordering::Relaxed);
        let waiting = self.players.iter().filter(|player| player.state == State::Waiting);
        let next = waiting.filter_map(|player| player.vcpu.deadline()).min();
        let limit = next.map(|next| Duration::from_nanos(next.saturating_sub(now) * NANOSECONDS_PER_TICK));
        let begin = Instant::now();
        let rung = self.control.sleep(limit);
        let passed = now + begin.elapsed().as_nanos() as u64 / NANOSECONDS_PER_TICK;
        let then = match next {
            Some(next) if rung => passed.min(next),
            Some(next) => next,
            None => passed,
        };
        self.time.store(then.max(now), Ordering::Relaxed);
    }

    /// Sleeps until someone wants the machine; no time passes.
    fn stand_by(&self) {
        self.control.sleep(None);
        self.players.iter().for_each(|player| player.vcpu.silence());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vcpu_that_panics_ends_the_machine_with_its_words() {
        let control = Control::new(3);
        let switches = Arc::clone(&control);
        let result = on_threads(&control, vec![0, 1, 2], move |vcpu: usize| {
            assert!(vcpu != 1, "out of {}", "order");
            while switches.ending().is_none() {
                switches.doorbell(vcpu).sleep(None);
                switches.doorbell(vcpu).shared.alarm.store(0, std::sync::atomic::Ordering::SeqCst);
            }
        });
        let error = result.unwrap_err();
        assert!(matches!(&error, VmError::Vcpu { vcpu: 1, what } if what == "out of order"), "{error}");
        assert_eq!(control.ending(), Some(Ending::Quit));
    }
}
