//! How the vCPUs of a machine run until it ends. It must not know what they run.

use std::any::Any;
use std::sync::{Arc, MutexGuard};
use std::thread::{self, Builder};

use crate::machine::{Control, Ending};
use crate::pause::Pausable;
use crate::vcpu::{Engine, Outcome, Statistics, Vcpu};
use crate::vm::VmError;

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
) -> Result<Vec<Statistics>, VmError> {
    on_threads(control, (0..vcpus.count()).collect(), move |number| {
        run(&vcpus, number, engine);
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
fn run(vcpus: &Pausable<Vcpu>, number: usize, engine: Engine) {
    while let Some(vcpu) = vcpus.enter(number) {
        let control = Arc::clone(&vcpu.machine.control);
        if !run_until_called(vcpus, vcpu, engine) {
            control.doorbell(number).stand_by();
        }
    }
}

/// Runs a vCPU until it is called; says whether it had something to run.
fn run_until_called(vcpus: &Pausable<Vcpu>, mut vcpu: MutexGuard<'_, Vcpu>, engine: Engine) -> bool {
    let control = Arc::clone(&vcpu.machine.control);
    vcpu.set_alarm_clock();
    while !vcpus.is_called(vcpu.number) {
        if let Some(address) = control.take_start(vcpu.number) {
            vcpu.start(address);
        }
        if !vcpu.is_started() {
            return false;
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
    true
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
