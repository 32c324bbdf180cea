//! What vCPUs of one machine may see of each other's stores, by programs that race. Each runs with every engine, on
//! threads and in turns on one.

use std::sync::Arc;
use std::thread;

use runtime::bus::Bus;
use runtime::device::Window;
use runtime::machine::{Clock, Control, Exceptions, Guest, Machine};
use runtime::memory::Ram;
use runtime::vcpu::{Engine, Outcome, Vcpu};
use translator::addr::Pa;
use translator::asm::{Cpu, Options, Program, assemble};
use translator::mode::Mode;
use translator::model::PROGRAM_MIPS64R2;

const RACES: &str = include_str!("races.s");
const CODE: &str = include_str!("code.s");
const RUNNING: &str = include_str!("running.s");
const ENGINES: [Engine; 3] = [Engine::Interpreter, Engine::Jit, Engine::Auto];
/// More than the assembler's text and data need.
const MEMORY: u64 = 0x1100_0000;

/// How the vCPUs get the host's time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Schedule {
    Threads,
    /// In turns of so many instructions.
    Turns(u64),
}

/// A machine without devices after its vCPUs have run a program.
struct Litmus {
    program: Program,
    machine: Arc<Machine>,
}

impl Litmus {
    fn run(text: &str, vcpus: usize, rounds: u64, engine: Engine, schedule: Schedule) -> Self {
        let options = Options { cpu: Cpu::Mips64r2, ..Options::default() };
        let program = assemble("litmus.s", &[("litmus.s", text)], &options);
        let program = program.unwrap_or_else(|diagnostics| panic!("{diagnostics:?}"));
        let ram = Arc::new(Ram::new(&[Window { base: Pa(0), size: MEMORY }]).unwrap());
        for segment in &program.segments {
            ram.write(Pa(segment.base.0), &segment.bytes).unwrap();
        }
        let (mode, clock) = match schedule {
            Schedule::Threads => (Mode::FLAT, Clock::Host),
            Schedule::Turns(_) => (Mode::FLAT | Mode::COUNTED, Clock::Instructions),
        };
        let (bus, control) = (Bus::new(), Control::new(vcpus));
        let guest = Guest { exceptions: Exceptions::Host, ..Guest::KERNEL };
        let machine = Machine::for_guest(&PROGRAM_MIPS64R2, mode, ram, bus, control, clock, guest);
        let machine = Arc::new(machine.unwrap());
        let vcpu = |number| {
            let mut vcpu = Vcpu::new(Arc::clone(&machine), number);
            vcpu.cpu.pc = program.entry.0;
            vcpu.cpu.gpr[4..7].copy_from_slice(&[number as u64, rounds, vcpus as u64]);
            vcpu
        };
        let vcpus: Vec<Vcpu> = (0..vcpus).map(vcpu).collect();
        match schedule {
            Schedule::Threads => on_threads(vcpus, engine),
            Schedule::Turns(turn) => in_turns(vcpus, engine, turn),
        }
        Self { program, machine }
    }

    /// The word at `symbol`, and those behind it.
    fn words<const N: usize>(&self, symbol: &str) -> [u64; N] {
        let address = self.program.symbols[symbol].0;
        std::array::from_fn(|index| self.machine.ram.load(Pa(address + 4 * index as u64), 4).unwrap())
    }
}

/// Runs `grant` instructions; tells whether the program goes on.
fn goes_on(vcpu: &mut Vcpu, engine: Engine, grant: u64) -> bool {
    match vcpu.run(engine, grant) {
        Outcome::Hypercall(_) => false,
        Outcome::Budget | Outcome::Attention => true,
        other => panic!("vCPU {} at {:#x}: {other:?}", vcpu.number, vcpu.cpu.pc),
    }
}

fn on_threads(vcpus: Vec<Vcpu>, engine: Engine) {
    thread::scope(|scope| {
        for mut vcpu in vcpus {
            scope.spawn(move || while goes_on(&mut vcpu, engine, 1 << 30) {});
        }
    });
}

fn in_turns(mut vcpus: Vec<Vcpu>, engine: Engine, turn: u64) {
    while !vcpus.is_empty() {
        vcpus.retain_mut(|vcpu| goes_on(vcpu, engine, turn));
    }
}

#[test]
fn races_end_as_the_memory_model_allows() {
    for engine in ENGINES {
        for (vcpus, rounds, schedule) in
            [(2, 20_000, Schedule::Threads), (4, 300, Schedule::Threads), (3, 300, Schedule::Turns(97))]
        {
            let ran = Litmus::run(RACES, vcpus, rounds, engine, schedule);
            let case = format!("{vcpus} vCPUs, {engine:?}, {schedule:?}");
            assert_eq!(ran.words("bad"), [0; 4], "stores, messages, lock, sequence: {case}");
            let all = vcpus as u64 * rounds;
            assert_eq!(ran.words("counter"), [all], "{case}");
            assert_eq!(ran.words("guarded"), [all; 2], "{case}");
        }
    }
}

#[test]
fn code_written_by_one_vcpu_is_never_stale_on_another() {
    for engine in ENGINES {
        for (rounds, schedule) in [(3000, Schedule::Threads), (1000, Schedule::Turns(61))] {
            let ran = Litmus::run(CODE, 2, rounds, engine, schedule);
            assert_eq!(ran.words("bad"), [0], "{engine:?}, {schedule:?}");
            assert_eq!(ran.words("called"), [rounds], "{engine:?}, {schedule:?}");
        }
    }
}

#[test]
fn code_may_be_written_while_another_vcpu_runs_it() {
    for engine in ENGINES {
        for (vcpus, rounds, schedule) in
            [(2, 20_000, Schedule::Threads), (3, 2_000, Schedule::Threads), (2, 100, Schedule::Turns(61))]
        {
            let ran = Litmus::run(RUNNING, vcpus, rounds, engine, schedule);
            assert_eq!(ran.words("bad"), [0], "{vcpus} vCPUs, {engine:?}, {schedule:?}");
        }
    }
}
