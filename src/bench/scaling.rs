//! How much several vCPUs of one machine do together, each on a thread. It must not know how plots look.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use anyhow::Context as _;
use runtime::bus::Bus;
use runtime::device::Window;
use runtime::machine::{Clock, Control, Machine};
use runtime::memory::Ram;
use runtime::vcpu::{Engine, Vcpu};
use translator::addr::Pa;
use translator::asm::{self, Cpu};
use translator::cp0::{Cp0, Status};
use translator::mode::Mode;
use translator::model::MIPS64R2;

use super::results::Scale;

const SOURCE: &str = include_str!("programs/scaling.s");
const CODE: u64 = 0x1000;
const SHARED_WORD: u64 = 0x8000;
/// Each vCPU's own page is at this address plus its number of pages.
const OWN: u64 = 0x1_0000;
const OWN_BYTES: u64 = 0x1000;
const KSEG0: u64 = 0xffff_ffff_8000_0000;
const INSTRUCTIONS: u64 = 20_000_000;
/// More would say no more.
const MOST_VCPUS: usize = 8;

/// A point for one vCPU, for two, four and so on, up to twice the host's processors.
///
/// # Errors
/// Fails if the host gives no memory or threads.
pub fn scales(rounds: usize) -> anyhow::Result<Vec<Scale>> {
    let most = thread::available_parallelism().map_or(1, usize::from).saturating_mul(2).min(MOST_VCPUS);
    let counts = std::iter::successors(Some(1), |count| Some(count * 2)).take_while(|count| *count <= most);
    let mut scales: Vec<Scale> = counts.map(|vcpus| Scale { vcpus, speeds: Vec::new() }).collect();
    for round in 0..=rounds {
        for scale in &mut scales {
            let speed = speed(scale.vcpus)?;
            if round > 0 {
                scale.speeds.push(speed);
            }
        }
    }
    Ok(scales)
}

/// The speed of `count` vCPUs together, in MIPS by the wall clock.
fn speed(count: usize) -> anyhow::Result<f64> {
    let mut vcpus = vcpus(count)?;
    let begin = Instant::now();
    thread::scope(|scope| {
        for vcpu in &mut vcpus {
            scope.spawn(|| run(vcpu));
        }
    });
    let seconds = begin.elapsed().as_secs_f64();
    let instructions: u64 = vcpus.iter().map(Vcpu::retired).sum();
    Ok(instructions as f64 / 1e6 / seconds)
}

/// Runs to the last instruction: others may want the vCPU's attention before.
fn run(vcpu: &mut Vcpu) {
    while let Some(left @ 1..) = INSTRUCTIONS.checked_sub(vcpu.retired()) {
        vcpu.run(Engine::Jit, left);
    }
}

fn vcpus(count: usize) -> anyhow::Result<Vec<Vcpu>> {
    let ram = Ram::new(&[Window { base: Pa(0), size: 1 << 20 }])?;
    let options = asm::Options { cpu: Cpu::Mips64r2, ..asm::Options::default() };
    let program = asm::assemble("scaling.s", &[("scaling.s", SOURCE)], &options);
    let program = program.map_err(|errors| anyhow::anyhow!("{errors}"))?;
    // The code has no absolute addresses, so it runs wherever it is.
    let code = program.segments.first().context("The scaling bench has no code")?;
    ram.write(Pa(CODE), &code.bytes).context("The scaling bench's code does not fit")?;
    let (ram, control) = (Arc::new(ram), Control::new(count));
    let machine = Machine::new(&MIPS64R2, Mode::COUNTED, ram, Bus::new(), control, Clock::Host)?;
    Ok((0..count).map(|number| vcpu(&machine, number)).collect())
}

fn vcpu(machine: &Arc<Machine>, number: usize) -> Vcpu {
    let mut vcpu = Vcpu::new(Arc::clone(machine), number);
    vcpu.set_cp0(Cp0::Status, (Status::KX | Status::CU1 | Status::FR).bits());
    vcpu.cpu.pc = KSEG0 + CODE;
    vcpu.cpu.gpr[4] = KSEG0 + OWN + OWN_BYTES * number as u64;
    vcpu.cpu.gpr[5] = KSEG0 + SHARED_WORD;
    vcpu
}
