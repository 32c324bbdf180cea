//! Devices under a guest that does anything: random accesses to every register in every width, and what the host and the
//! machine do meanwhile: wires, input, time, pauses, and moves from one state to another. What must hold is that nothing
//! panics, hangs or leaves RAM, and that after a reset a device works as ever.

mod virtio;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fuzzing::{Corpus, Numbers, run};
use translator::addr::Pa;

use super::cm::{Cm, L2Sync};
use super::cpc::Cpc;
use super::gic::Gic;
use super::power::Power;
use super::rom::Rom;
use super::rtc::Rtc;
use super::uart::Uart;
use super::*;
use crate::bus::irq::{IrqLine, IrqSink};
use crate::machine::Control;
use crate::persist::DeviceState;
use crate::sliced_time::Timed;

/// Accesses in one case.
const STEPS: u64 = 400;
/// A device that does not answer for so long hangs, even on a busy host.
const PATIENCE: Duration = Duration::from_secs(60);
const VCPUS: usize = 3;

/// An access to a window of `size` bytes, as the bus would let it through.
fn access(numbers: &mut Numbers, size: u64) -> Access {
    let width = numbers.one_of(&[Size::Byte, Size::Half, Size::Word, Size::Word, Size::Word, Size::Double]);
    // The first registers of a window matter most.
    let reach = size.min(16 << numbers.below(16));
    let offset = numbers.below(reach) & !(width.bytes() - 1);
    Access { offset, size: width, vcpu: numbers.index(VCPUS) }
}

/// Does anything to the registers of `device`, whose window has `size` bytes; now and then something else is to
/// `happen`. In the end the device is reset.
fn touch(device: &dyn SharedDevice, size: u64, numbers: &mut Numbers, mut happen: impl FnMut(&mut Numbers)) {
    let start = Instant::now();
    for _ in 0..STEPS {
        let at = access(numbers, size);
        match numbers.below(12) {
            0 => happen(numbers),
            1..=4 => _ = device.read(at),
            _ => device.write(at, numbers.value()),
        }
    }
    device.reset();
    assert!(start.elapsed() < PATIENCE, "the device hangs");
}

/// The machine is saved and goes on, from what was saved or from what somebody has made of it.
fn survive_a_move<D: SharedDevice + DeviceState>(device: &D, numbers: &mut Numbers) {
    device.set_paused(true);
    let state = device.save();
    let is_taken = match numbers.once_in(2) {
        true => device.restore(&Corpus::new([&state]).bytes(numbers)).is_ok(),
        false => false,
    };
    if !is_taken {
        device.restore(&state).expect("what was saved is right");
    }
    device.set_paused(false);
}

/// A wire that leads nowhere.
struct Nowhere;

impl IrqSink for Nowhere {
    fn set(&self, _pin: u32, _level: bool) {}
}

fn line() -> IrqLine {
    IrqLine::new(Arc::new(Nowhere), 0)
}

#[test]
fn gic() {
    run(|numbers| {
        let gic = Gic::new(VCPUS, 24, Control::new(VCPUS));
        touch(&gic, 0x2_0000, numbers, |numbers| match numbers.once_in(8) {
            true => survive_a_move(&gic, numbers),
            false => gic.set(numbers.below(40) as u32, numbers.once_in(2)),
        });
    });
}

#[test]
fn cm() {
    run(|numbers| {
        let cm = Mutex::new(Cm::new(Pa(0x1fbf_8000), VCPUS, Control::new(VCPUS)));
        touch(&cm, 0x8000, numbers, |numbers| survive_a_move(&cm, numbers));
    });
}

#[test]
fn cpc() {
    run(|numbers| {
        let cm = Arc::new(Mutex::new(Cm::new(Pa(0x1fbf_8000), VCPUS, Control::new(VCPUS))));
        let cpc = Mutex::new(Cpc::new(cm.clone()));
        touch(&cpc, 0x8000, numbers, |numbers| survive_a_move(&cpc, numbers));
        touch(&*cm, 0x8000, numbers, |numbers| survive_a_move(&*cm, numbers));
    });
}

#[test]
fn l2_sync() {
    run(|numbers| touch(&Mutex::new(L2Sync), 0x1000, numbers, |_| ()));
}

#[test]
fn power() {
    run(|numbers| touch(&Mutex::new(Power::new(Control::new(VCPUS))), 0x1000, numbers, |_| ()));
}

#[test]
fn rom() {
    run(|numbers| {
        let bytes = vec![7; numbers.below(0x1000) as usize];
        touch(&Mutex::new(Rom::new(bytes)), 0x1000, numbers, |_| ());
    });
}

#[test]
fn rtc() {
    run(|numbers| {
        let now = Arc::new(AtomicU64::new(numbers.value()));
        let clock = Arc::clone(&now);
        let rtc = Rtc::new(Box::new(move || clock.load(Ordering::Relaxed)), line());
        // Each alarm that is left to the clock itself has a thread.
        if !numbers.once_in(16) {
            lock(&rtc).leave_alarm_to_owner();
        }
        touch(&*rtc, 0x1000, numbers, |numbers| match numbers.below(4) {
            0 => survive_a_move(&*rtc, numbers),
            _ => {
                let due = rtc.due_in().filter(|_| numbers.once_in(2));
                let passed = due.unwrap_or_else(|| numbers.value());
                now.fetch_add(passed, Ordering::Relaxed);
                rtc.time_has_passed();
            }
        });
    });
}

#[test]
fn uart() {
    run(|numbers| {
        let (uart, input) = Uart::new(0, line(), Box::new(std::io::sink()));
        touch(&*uart, 0x100, numbers, |numbers| match numbers.below(16) {
            0 => survive_a_move(&*uart, numbers),
            _ => {
                // What there is no room for is the host's to keep.
                let taken = input.try_push(&vec![b'x'; numbers.one_of(&[1, 20, 20, 5000])]);
                taken.expect("the port is there");
            }
        });
    });
}
