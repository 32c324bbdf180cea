//! How many guest instructions a second does each engine run, on a loop of ALU and memory operations?
//! Prints a line an engine: millions of guest instructions a second of processor time, the best of five.

#[path = "../tests/differential/assemble.rs"]
mod assemble;

use std::sync::Arc;

use assemble::{constant, memory, one, word};
use runtime::bus::Bus;
use runtime::device::Window;
use runtime::machine::{Clock, Control, Machine};
use runtime::memory::Ram;
use runtime::vcpu::{Engine, Vcpu};
use rustix::time::{ClockId, clock_gettime};
use translator::addr::Pa;
use translator::cp0::{Cp0, Status};
use translator::isa::Op;
use translator::mode::Mode;
use translator::model::MIPS64R2;

const CODE: u64 = 0x1000;
const DATA: u64 = 0x8000;
const KSEG0: u64 = 0xffff_ffff_8000_0000;
const INSTRUCTIONS: u64 = 30_000_000;
const RUNS: usize = 5;

/// A loop of twelve instructions: two loads, two stores, seven of the ALU, a branch.
fn code() -> Vec<u32> {
    let three = |op: Op, d: u8, s: u8, t: u8| word(op, 0, &[one(d), one(s), one(t)]);
    let at = |op: Op, register: u8, offset: i64| word(op, 0, &[one(register), memory(offset, 4)]);
    let start = constant(4, KSEG0 + DATA);
    let first = CODE + 4 * start.len() as u64;
    let branch = first + 4 * 10;
    let body = [
        at(Op::Lw, 8, 0),
        three(Op::Addu, 9, 9, 8),
        three(Op::Sll, 10, 9, 3),
        three(Op::Xor, 9, 9, 10),
        at(Op::Sw, 9, 8),
        word(Op::Andi, 0, &[one(11), one(9), one(0xff)]),
        at(Op::Ld, 12, 16),
        three(Op::Daddu, 13, 13, 12),
        three(Op::Slt, 14, 13, 9),
        word(Op::Addiu, 0, &[one(5), one(5), one(-1)]),
        word(Op::Bne, branch, &[one(5), one(0), one(first as i64)]),
        at(Op::Sd, 13, 24),
    ];
    start.into_iter().chain(body).collect()
}

fn vcpu() -> Vcpu {
    let ram = Ram::new(&[Window { base: Pa(0), size: 1 << 20 }]).expect("the host has memory");
    let bytes: Vec<u8> = code().into_iter().flat_map(u32::to_le_bytes).collect();
    ram.write(Pa(CODE), &bytes).expect("the code fits");
    let (ram, control) = (Arc::new(ram), Control::new(1));
    let machine = Machine::new(&MIPS64R2, Mode::COUNTED, ram, Bus::new(), control, Clock::Host);
    let mut vcpu = Vcpu::new(machine.expect("the host has threads"), 0);
    vcpu.set_cp0(Cp0::Status, (Status::KX | Status::CU1 | Status::FR).bits());
    vcpu.cpu.pc = KSEG0 + CODE;
    vcpu
}

/// The processor time that this thread has had: the host may be busy with other work.
fn processor_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn main() {
    let engines = [("interpreter", Engine::Interpreter), ("JIT", Engine::Jit)];
    for (name, engine) in engines {
        let mut vcpu = vcpu();
        let rate = || {
            let begin = processor_seconds();
            vcpu.run(engine, INSTRUCTIONS);
            INSTRUCTIONS as f64 / (processor_seconds() - begin) / 1e6
        };
        let best = std::iter::repeat_with(rate).take(RUNS).fold(0.0, f64::max);
        println!("{name}: {best:.1} million guest instructions a second");
    }
}
