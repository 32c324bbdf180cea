//! Our machine without devices: RAM with an image, one vCPU, and exception vectors that stop it. It
//! runs each program from the same kind of start and reads off what it leaves behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use runtime::bus::Bus;
use runtime::device::Window;
use runtime::machine::{Clock, Control, Machine};
use runtime::memory::Ram;
use runtime::vcpu::{Engine, Outcome, Vcpu};
use rustix::time::{ClockId, clock_gettime};
use translator::addr::{PAGE_SIZE, Pa};
use translator::cp0::{Cp0, Status};
use translator::isa::Op;
use translator::mode::Mode;
use translator::model::MIPS64R2;

use crate::assemble::{one, word};
use crate::image::{self, Place, block};
use crate::program::{DATA_DOUBLES, Program};
use crate::state::{End, State};

/// What runs a program, and in which portions.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub name: &'static str,
    pub engine: Engine,
    /// The instructions granted at a time.
    pub grant: u64,
    /// Bits of the mode that stay: [`Mode::COUNTED`] for generated code with an exact budget.
    pub mode: Mode,
}

/// Which privilege the programs have, and so where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// In the user segment, through the TLB.
    User,
    /// In the unmapped kernel segment.
    Kernel,
}

const RAM_BYTES: u64 = 16 << 20;
const IMAGE: Pa = Pa(8 << 20);
const KSEG0: u64 = 0xffff_ffff_8000_0000;
/// Where user programs see the image; a multiple of the TLB entry's size, as is [`IMAGE`].
pub const USER_BASE: u64 = 0x2000_0000;
/// The most instructions of a program that ends.
const PATIENCE: u64 = 100_000;
const VECTORS: [u64; 3] = [0x000, 0x080, 0x180];

impl Privilege {
    /// The virtual address of the image.
    pub fn base(self) -> u64 {
        match self {
            Privilege::User => USER_BASE,
            Privilege::Kernel => KSEG0 + IMAGE.0,
        }
    }

    fn status(self) -> u64 {
        let common = Status::KX | Status::SX | Status::UX | Status::CU1 | Status::FR;
        match self {
            Privilege::User => (common | Status::KSU_USER).bits(),
            Privilege::Kernel => common.bits(),
        }
    }
}

impl Setup {
    /// Whether the vCPU knows how many instructions ran, and so stops exactly where it was told.
    pub fn counts(self) -> bool {
        self.engine == Engine::Interpreter || self.mode.contains(Mode::COUNTED)
    }
}

/// Calls a machine that does not count to a settled point now and then, so that a program that runs
/// on and on is noticed, and every other one is interrupted somewhere.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    fn new(control: Arc<Control>) -> Self {
        const PERIOD: Duration = Duration::from_millis(20);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                control.ring_all();
                std::thread::park_timeout(PERIOD);
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// A machine with an image loaded.
pub struct Bare {
    _watch: Option<Watch>,
    vcpu: Vcpu,
    machine: Arc<Machine>,
    setup: Setup,
    privilege: Privilege,
}

impl Bare {
    /// A machine that will run `programs` in their slots.
    pub fn new(setup: Setup, privilege: Privilege, programs: &[Program]) -> Self {
        let ram = Ram::new(&[Window { base: Pa(0), size: RAM_BYTES }]).expect("the host has memory");
        load_image(&ram, &image::image(privilege.base(), programs));
        let handler: Vec<u8> = handler().into_iter().flat_map(u32::to_le_bytes).collect();
        for vector in VECTORS {
            ram.write(Pa(vector), &handler).expect("the handler fits");
        }
        let control = Control::new(1);
        let ram = Arc::new(ram);
        let clock = Clock::Instructions;
        let machine = Machine::new(&MIPS64R2, setup.mode, ram, Bus::new(), Arc::clone(&control), clock);
        let machine = machine.expect("the host has threads");
        let vcpu = Vcpu::new(Arc::clone(&machine), 0);
        let mut bare = Self { _watch: None, vcpu, machine, setup, privilege };
        bare.map_image();
        bare._watch = (!setup.counts()).then(|| Watch::new(control));
        bare
    }

    /// Writes a global TLB entry for the image, by the instruction that does so.
    fn map_image(&mut self) {
        const PAGE_BYTES: u64 = 4 << 20;
        const CODE: u64 = 0x1000;
        let low = |pa: u64| pa >> 12 << 6 | 7;
        let values = [
            (Cp0::EntryHi, USER_BASE),
            (Cp0::EntryLo0, low(IMAGE.0)),
            (Cp0::EntryLo1, low(IMAGE.0 + PAGE_BYTES)),
            (Cp0::PageMask, 2 * PAGE_BYTES - 0x2000),
            (Cp0::Index, 0),
        ];
        for (register, value) in values {
            self.vcpu.set_cp0(register, value);
        }
        let code = [Op::Tlbwi.row().value, Op::Wait.row().value];
        let bytes: Vec<u8> = code.into_iter().flat_map(u32::to_le_bytes).collect();
        self.machine.ram.write(Pa(CODE), &bytes).expect("the code fits");
        self.vcpu.set_cp0(Cp0::Status, Privilege::Kernel.status());
        self.vcpu.cpu.pc = KSEG0 + CODE;
        assert_eq!(self.vcpu.run(self.setup.engine, 2), Outcome::Halted);
    }

    /// Runs the program in `slot` and gives what it leaves.
    pub fn run(&mut self, slot: usize) -> State {
        let place = Place { base: self.privilege.base(), slot };
        for register in [Cp0::Epc, Cp0::Cause, Cp0::BadVAddr, Cp0::ErrorEpc] {
            self.vcpu.set_cp0(register, 0);
        }
        self.vcpu.set_cp0(Cp0::HWREna, 0x2000_000f);
        self.vcpu.set_cp0(Cp0::Status, self.privilege.status());
        self.vcpu.cpu.pc = place.code();
        let before = self.vcpu.retired();
        let outcome = if self.setup.counts() { self.run_counted(before) } else { self.run_uncounted() };
        let ran = self.vcpu.retired() - before;
        let ran = self.setup.counts().then(|| ran - image::START_INSTRUCTIONS);
        State { ran, ..self.state(place, outcome) }
    }

    fn run_counted(&mut self, before: u64) -> Outcome {
        let mut last = before;
        loop {
            let outcome = self.vcpu.run(self.setup.engine, self.setup.grant);
            let now = self.vcpu.retired();
            // A branch brings its delay slot.
            let (granted, ran) = (self.setup.grant, now - last);
            let pc = self.vcpu.cpu.pc;
            assert!(ran <= granted + 1, "{ran} ran of {granted} granted, to {pc:#x}: {outcome:?}");
            last = now;
            // Whoever makes room in the code cache asks for attention, too.
            let goes_on = matches!(outcome, Outcome::Budget | Outcome::Attention);
            if !goes_on || now - before > PATIENCE {
                return outcome;
            }
        }
    }

    fn run_uncounted(&mut self) -> Outcome {
        const PATIENCE: Duration = Duration::from_millis(500);
        let begin = processor_time();
        loop {
            let outcome = self.vcpu.run(self.setup.engine, self.setup.grant);
            let goes_on = matches!(outcome, Outcome::Budget | Outcome::Attention);
            if !goes_on || processor_time() - begin > PATIENCE {
                return outcome;
            }
        }
    }

    fn state(&self, place: Place, outcome: Outcome) -> State {
        let cpu = &self.vcpu.cpu;
        let data = IMAGE.0 + place.block() - place.base + block::DATA;
        let double = |index: usize| self.machine.ram.load(Pa(data + 8 * index as u64), 8).expect("is RAM");
        let mut cp0 = cpu.cp0.to_vec();
        // The handler's scratch: what it holds is in `gpr`.
        cp0[Cp0::KScratch1 as usize] = 0;
        let stopped = !matches!(outcome, Outcome::Budget | Outcome::Attention);
        State {
            gpr: cpu.gpr,
            hi: cpu.hi,
            lo: cpu.lo,
            fpr: cpu.fpr,
            fcsr: cpu.cp0(Cp0::KScratch2) as u32,
            pc: cpu.cp0(Cp0::Epc),
            end: if stopped { End::Exception { cause: cpu.cp0(Cp0::Cause) } } else { End::Never },
            data: (0..DATA_DOUBLES).map(double).collect(),
            cp0,
            ran: None,
        }
    }
}

/// The processor time that this thread has had: a busy host does not make a program one that never ends.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Writes the image, but not its empty pages: RAM is zero, and most images are nearly empty.
fn load_image(ram: &Ram, image: &[u8]) {
    const EMPTY: [u8; PAGE_SIZE as usize] = [0; PAGE_SIZE as usize];
    for (index, page) in (0..).zip(image.chunks(PAGE_SIZE as usize)) {
        if page != EMPTY {
            ram.write(IMAGE + index * PAGE_SIZE, page).expect("the image fits");
        }
    }
}

/// Stops, after reading FCSR into KScratch2 as a guest does: an engine may keep it elsewhere.
fn handler() -> [u32; 5] {
    const KSCRATCH: i64 = 31;
    const SCRATCH: u8 = 26;
    let c0 = |select: u32| translator::isa::operand::Value { first: KSCRATCH, second: select };
    [
        word(Op::Dmtc0, 0, &[one(SCRATCH), c0(2)]),
        word(Op::Cfc1, 0, &[one(SCRATCH), one(31)]),
        word(Op::Dmtc0, 0, &[one(SCRATCH), c0(3)]),
        word(Op::Dmfc0, 0, &[one(SCRATCH), c0(2)]),
        Op::Wait.row().value,
    ]
}
