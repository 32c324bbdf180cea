//! The border between Rust and generated code: the one call into it, and the one function that it
//! calls.
#![expect(unsafe_code, reason = "this is where generated code is entered and where it calls back")]

use std::time::Instant;

use translator::addr::{PAGE_OFFSET_MASK, Va};
use translator::code::ExitReason;
use translator::cpu::Cpu;
use translator::emit::Place;
use translator::interp::Site;
use translator::mode::Mode;
use translator::stub::{Flow, Stub};

use super::statistics::TIMED_STUBS;
use super::{Leave, Paid, Stop, Vcpu};

/// What a stub gives to generated code, in rax and rdx.
#[repr(C)]
struct Returned {
    value: u64,
    flow: u64,
}

/// The way into generated code.
type Enter = unsafe extern "sysv64" fn(*mut Cpu, u64) -> u64;

/// What [`Cpu::stubs`] holds. One function serves all stubs: it is told which it is.
pub(super) fn stub_addresses() -> [u64; Stub::COUNT] {
    let shim: unsafe extern "sysv64" fn(*mut Cpu, u64, u64, u32, u32) -> Returned = call_stub;
    [shim as usize as u64; Stub::COUNT]
}

/// Runs stub `number` for generated code.
///
/// # Safety
/// `cpu` must be what [`Vcpu::enter`] gave to the generated code that calls.
unsafe extern "sysv64" fn call_stub(cpu: *mut Cpu, a: u64, b: u64, immediate: u32, number: u32) -> Returned {
    // SAFETY: `Vcpu` is `repr(C)` and begins with its `Cpu`, and `enter` made the pointer from the
    // whole `Vcpu`, which it does not touch until generated code returns.
    let vcpu = unsafe { &mut *cpu.cast::<Vcpu>() };
    let stub = Stub::ALL[number as usize % Stub::COUNT];
    let (value, flow) = vcpu.call_from_code(stub, [a, b], immediate);
    Returned { value, flow: flow as u64 }
}

impl Vcpu {
    /// Enters generated code at `entry` and comes back with the reason why it left.
    ///
    /// # Safety
    /// `entry` must be the host address of a block that the machine's cache holds, for this vCPU's
    /// mode, and nothing may overwrite the arena's regions meanwhile: the caller holds the guard of
    /// `Machine::run_code`.
    pub(super) unsafe fn enter(&mut self, entry: u64, way_in: u64) -> ExitReason {
        let cpu = std::ptr::from_mut(self).cast::<Cpu>();
        // SAFETY: the address is the arena's way in, a function of this type that was emitted for it.
        let enter = unsafe { std::mem::transmute::<usize, Enter>(way_in as usize) };
        // SAFETY: the caller vouches for the entry; generated code keeps to the homes of `Cpu`, to
        // guest RAM by checked soft-TLB entries, and to `call_stub`.
        ExitReason::from_number(unsafe { enter(cpu, entry) })
    }

    /// A stub called by generated code: counted, and now and then timed.
    fn call_from_code(&mut self, stub: Stub, args: [u64; 2], immediate: u32) -> (u64, Flow) {
        let calls = &mut self.statistics.stub_calls[stub as usize];
        *calls += 1;
        let begin = calls.is_multiple_of(TIMED_STUBS.into()).then(Instant::now);
        let answer = self.answer_code(stub, args, immediate);
        if let Some(begin) = begin {
            self.statistics.stub_time += begin.elapsed() * TIMED_STUBS;
        }
        answer
    }

    /// What `stub` answers generated code, which says where it is in `cpu.place`.
    fn answer_code(&mut self, stub: Stub, args: [u64; 2], immediate: u32) -> (u64, Flow) {
        match stub {
            Stub::Find => return self.way_on(None),
            Stub::Join => return self.way_on(Some(args[0])),
            Stub::Recheck => return self.recheck(),
            Stub::Retarget => return self.retarget(Va(args[0])),
            _ => {}
        }
        let place = self.place_site();
        self.running = Some(place.index);
        if self.machine.fixed_mode.contains(Mode::COUNTED) {
            self.paid = Paid::AllBut(1 + place.remaining);
        }
        let result = self.run_stub(stub, args, immediate);
        self.paid = Paid::All;
        self.running = None;
        let stop = match result {
            Ok(value) => return (value, Flow::Next),
            Err(stop) => stop,
        };
        self.refund(place, stop);
        match stop {
            Stop::Exception | Stop::Redispatch => {
                self.first_jump = None;
                (0, Flow::Redispatch)
            }
            Stop::Leave(why) => {
                self.left = Some(why);
                (0, Flow::Leave)
            }
        }
    }

    /// Works out the current site from what generated code says of its place.
    pub(super) fn place_site(&mut self) -> Place {
        let place = Place::unpack(self.cpu.place);
        let pc = Va(self.cpu.pc & !PAGE_OFFSET_MASK) + place.offset;
        self.site = Site { pc, in_slot: place.in_slot };
        place
    }

    /// Gives back what a counted block paid for the steps that did not run.
    fn refund(&mut self, place: Place, stop: Stop) {
        let branch_too = matches!(stop, Stop::Leave(Leave::Interpret)) && place.in_slot;
        let not_run = u32::from(!stop.is_finished()) + u32::from(branch_too);
        if self.machine.fixed_mode.contains(Mode::COUNTED) {
            self.cpu.budget += i64::from(not_run + place.remaining);
        }
    }
}
