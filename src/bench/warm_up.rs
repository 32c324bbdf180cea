//! How fast a program is from its first instruction on: slices that double in length, each with its speed. It must not
//! know how curves look.

use runtime::program::ProgramVm;
use runtime::vcpu::Engine;

use super::measure::{ENGINES, Silence, thread_seconds};
use super::results::{Curve, Subject};
use super::sample::Sample;
use super::workload::WORKLOADS;

/// A program of many blocks.
const PROGRAM: &str = "sort";
const FIRST_SLICE: u64 = 1 << 10;
const SLICES: u32 = 15;
/// The interpreter's speed no longer changes then.
const INTERPRETER_SLICES: u32 = 12;
const RUNS: usize = 5;

/// A curve an engine.
///
/// # Errors
/// Fails if the program cannot be run.
pub fn curves() -> anyhow::Result<Vec<Curve>> {
    let compared = ENGINES.into_iter().filter(|(subject, _)| *subject != Subject::Blocks);
    compared.map(|(subject, engine)| curve(subject, engine)).collect()
}

fn curve(subject: Subject, engine: Engine) -> anyhow::Result<Curve> {
    let slices = if engine == Engine::Interpreter { INTERPRETER_SLICES } else { SLICES };
    let runs = (0..RUNS).map(|_| one_run(engine, slices)).collect::<anyhow::Result<Vec<_>>>()?;
    let points = (0..slices as usize).map(|slice| {
        let speeds = Sample::new(runs.iter().map(|run| run[slice].1));
        (runs[0][slice].0, speeds.median())
    });
    Ok(Curve { name: PROGRAM.into(), subject, points: points.collect() })
}

/// The instructions at the end of each slice, and its speed in MIPS.
fn one_run(engine: Engine, slices: u32) -> anyhow::Result<Vec<(u64, f64)>> {
    let Some(workload) = WORKLOADS.iter().find(|workload| workload.name == PROGRAM) else {
        anyhow::bail!("There is no benchmark {PROGRAM}")
    };
    let mut vm = ProgramVm::new(workload.image(workload.repeats(false))?, engine)?;
    let slice = |number: u32| {
        let (begin, before) = (thread_seconds(), vm.retired());
        vm.grant(FIRST_SLICE << number);
        vm.run(&mut Silence);
        (vm.retired(), (vm.retired() - before) as f64 / 1e6 / (thread_seconds() - begin))
    };
    Ok((0..slices).map(slice).collect())
}
