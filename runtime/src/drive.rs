//! How the vCPUs of a machine run until it ends: each on a thread of its own, or all on one in turns of an
//! exact number of instructions. It must not know what they run.
//!
//! In turns, the machine is as if its vCPUs shared one processor: time is the number of instructions that have
//! run on all of them, so what runs later is later, and the order of everything is the same in every run as
//! far as nothing comes from outside. While all vCPUs wait, time passes as the host's does.

use std::any::Any;
use std::num::NonZeroU64;
use std::sync::{Arc, MutexGuard};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use crate::machine::{Control, Ending, NANOSECONDS_PER_TICK};
use crate::pause::Pausable;
use crate::sliced_time::SlicedTime;
use crate::vcpu::{Engine, Outcome, Statistics, Vcpu};
use crate::vm::VmError;
use crate::vm::requests::{Request, Requests};

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
pub fn threads(
    control: &Arc<Control>,
    vcpus: Arc<Pausable<Vcpu>>,
    engine: Engine,
    requests: Arc<Requests>,
) -> Result<Vec<Statistics>, VmError> {
    on_threads(control, (0..vcpus.count()).collect(), move |number| {
        run(&vcpus, number, engine, &requests);
        vcpus.member(number).take_statistics()
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
fn run(vcpus: &Pausable<Vcpu>, number: usize, engine: Engine, requests: &Requests) {
    while let Some(vcpu) = vcpus.enter(number) {
        let control = Arc::clone(&vcpu.machine.control);
        match run_until_called(vcpus, vcpu, engine, requests) {
            Rest::Called => {}
            Rest::Idle => control.doorbell(number).stand_by(),
            Rest::Asks(request) => {
                let answer = requests.fulfil(&request);
                Requests::answer(&mut vcpus.member(number), answer);
            }
        }
    }
}

/// Why a vCPU does not run.
enum Rest {
    /// Someone wants it to stand still.
    Called,
    /// It was not started yet.
    Idle,
    /// Its guest asks for something that is done while it does not run.
    Asks(Request),
}

/// Runs a vCPU until it rests.
fn run_until_called(
    vcpus: &Pausable<Vcpu>,
    mut vcpu: MutexGuard<'_, Vcpu>,
    engine: Engine,
    requests: &Requests,
) -> Rest {
    let control = Arc::clone(&vcpu.machine.control);
    vcpu.set_alarm_clock();
    // WAIT may always be over.
    vcpu.waits = false;
    while !vcpus.is_called(vcpu.number) {
        if let Some(order) = control.take_order(vcpu.number) {
            vcpu.obey(order);
        }
        if !vcpu.is_started() {
            return Rest::Idle;
        }
        vcpu.machine.note_turn();
        match vcpu.run(engine, TURN) {
            Outcome::Halted => control.end(Ending::PowerOff),
            Outcome::Wait => {
                while !vcpu.is_wakeable() && !vcpu.has_alarm() {
                    vcpu.sleep();
                }
            }
            Outcome::Hypercall(code) => {
                if let Some(request) = requests.read(&mut vcpu, code) {
                    return Rest::Asks(request);
                }
            }
            Outcome::Budget | Outcome::Attention => {}
            // The guest has handlers of its own.
            Outcome::SystemCall | Outcome::Exception(_) => {}
        }
    }
    Rest::Called
}

/// How the vCPUs of a machine take their turns.
#[derive(Clone)]
pub struct Rules {
    /// The machine's switches.
    pub control: Arc<Control>,
    /// What runs guest code.
    pub engine: Engine,
    /// The instructions of a turn.
    pub slice: NonZeroU64,
    /// The tick that all vCPUs are at; it is kept here for others to see.
    pub time: Arc<SlicedTime>,
    /// Who answers the guest's requests; meanwhile time stands still.
    pub requests: Arc<Requests>,
}

/// Runs all vCPUs on one thread in turns until the machine ends. Gives what each did.
///
/// # Errors
/// As [`threads`].
pub fn slices(vcpus: Arc<Pausable<Vcpu>>, rules: Rules) -> Result<Vec<Statistics>, VmError> {
    let control = &Arc::clone(&rules.control);
    let play = move |()| {
        while let Some(first) = vcpus.enter(0) {
            let asked = Round::new(&rules, &vcpus, first).run();
            if let Some((number, request)) = asked {
                let answer = rules.requests.fulfil(&request);
                Requests::answer(&mut vcpus.member(number), answer);
            }
        }
        (0..vcpus.count()).map(|number| vcpus.member(number).take_statistics()).collect()
    };
    Ok(on_threads(control, vec![()], play)?.into_iter().flat_map(|all: Vec<Statistics>| all).collect())
}

/// A vCPU that has its turns.
struct Player<'a> {
    vcpu: MutexGuard<'a, Vcpu>,
}

impl Player<'_> {
    /// Whether it has something to do.
    fn is_ready(&mut self, control: &Control) -> bool {
        if self.vcpu.waits || !self.vcpu.is_started() {
            self.vcpu.silence();
        }
        self.obey(control);
        self.vcpu.waits = self.vcpu.waits && !self.vcpu.is_wakeable();
        self.vcpu.is_started() && !self.vcpu.waits
    }

    /// Does what it was told, if anything.
    fn obey(&mut self, control: &Control) {
        if let Some(order) = control.take_order(self.vcpu.number) {
            self.vcpu.obey(order);
            self.vcpu.waits = false;
        }
    }

    /// Runs the instructions of a turn, or less if it waits, stops or asks for something, or the machine is called.
    fn play(&mut self, rules: &Rules) -> Option<Request> {
        let control = &rules.control;
        let end = self.vcpu.ticks() + rules.slice.get();
        while !self.vcpu.waits && self.vcpu.is_started() && control.ending().is_none() {
            let left = end.saturating_sub(self.vcpu.ticks());
            if left == 0 {
                return None;
            }
            self.vcpu.machine.note_turn();
            match self.vcpu.run(rules.engine, left) {
                Outcome::Halted => control.end(Ending::PowerOff),
                Outcome::Wait => self.vcpu.waits = true,
                Outcome::Hypercall(code) => {
                    if let Some(request) = rules.requests.read(&mut self.vcpu, code) {
                        return Some(request);
                    }
                }
                Outcome::Budget | Outcome::Attention => {}
                // The guest has handlers of its own.
                Outcome::SystemCall | Outcome::Exception(_) => {}
            }
            self.obey(control);
        }
        None
    }
}

/// What came of a round of turns.
enum Played {
    /// No vCPU had anything to do.
    None,
    /// At least one had its turn.
    Some,
    /// The vCPU of this number asks for something.
    Asked(usize, Request),
}

/// All vCPUs of a machine in their turns, until they are called.
struct Round<'a> {
    rules: &'a Rules,
    players: Vec<Player<'a>>,
}

impl<'a> Round<'a> {
    /// `first` was entered. The others need not be: whoever wants them to stand still waits for it.
    fn new(rules: &'a Rules, vcpus: &'a Pausable<Vcpu>, first: MutexGuard<'a, Vcpu>) -> Self {
        let others = (1..vcpus.count()).map(|number| vcpus.member(number));
        let vcpus = std::iter::once(first).chain(others);
        let players: Vec<_> = vcpus.map(|vcpu| Player { vcpu }).collect();
        let latest = players.iter().map(|player| player.vcpu.ticks()).max().unwrap_or(0);
        rules.time.pass_to(latest);
        Self { rules, players }
    }

    /// Gives the request that a guest makes, with the number of its vCPU; none if the machine is called.
    fn run(&mut self) -> Option<(usize, Request)> {
        let control = &self.rules.control;
        while !control.is_paused() && control.ending().is_none() {
            match self.play() {
                Played::Asked(number, request) => return Some((number, request)),
                Played::Some => {}
                Played::None => self.rest(),
            }
        }
        None
    }

    /// Gives each vCPU that has something to do its turn, until one asks for something.
    fn play(&mut self) -> Played {
        let Rules { control, time, .. } = self.rules;
        let mut played = Played::None;
        for (number, player) in self.players.iter_mut().enumerate() {
            player.vcpu.pass_time(time.tick());
            if player.is_ready(control) {
                let asked = player.play(self.rules);
                time.pass_to(player.vcpu.ticks());
                if let Some(request) = asked {
                    return Played::Asked(number, request);
                }
                played = Played::Some;
            }
        }
        played
    }

    /// Lets time pass until the first timer of a vCPU or of a device is due, or something comes from outside.
    fn rest(&self) {
        let Rules { control, time, .. } = self.rules;
        let now = time.tick();
        let waiting = self.players.iter().filter(|player| player.vcpu.waits);
        let timers = waiting.filter_map(|player| player.vcpu.deadline());
        let next = timers.chain(time.due()).min();
        let limit = next
            .map(|next| Duration::from_nanos(next.saturating_sub(now).saturating_mul(NANOSECONDS_PER_TICK)));
        let begin = Instant::now();
        let rung = control.sleep(limit);
        let passed = now + begin.elapsed().as_nanos() as u64 / NANOSECONDS_PER_TICK;
        let then = match next {
            Some(next) if rung => passed.min(next),
            Some(next) => next,
            None => passed,
        };
        time.pass_to(then.max(now));
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
