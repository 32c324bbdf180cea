//! What do turns cost? A hundred programs of a million instructions each, in slices of several sizes. The cost is the CPU
//! time above that of the same programs run one after the other; both translate the same blocks. Runs alternate, and the
//! least of each kind counts, since other work on the host can only add.

#[expect(dead_code, reason = "a test's module, of which this needs a part")]
#[path = "../tests/program/harness.rs"]
mod harness;
#[path = "../tests/program/players.rs"]
mod players;

use std::time::Duration;

use runtime::schedule;
use runtime::vcpu::Engine;
use rustix::time::{ClockId, clock_gettime};

const MACHINES: usize = 100;
/// Longer than any program: one after the other.
const WHOLE: u64 = 1 << 40;
/// The second is a control: what it differs from the first is the host's noise.
const SLICES: [u64; 6] = [WHOLE, WHOLE, 100, 1_000, 10_000, 100_000];

fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// The CPU time of all programs in turns, and how many turns there were.
fn run(engine: Engine, slice: u64) -> (Duration, u64) {
    let mut players = players::players(MACHINES, engine);
    let started = cpu_time();
    schedule::slices(&mut players, slice);
    let spent = cpu_time() - started;
    (spent, players.iter().map(|player| player.vm.retired().div_ceil(slice)).sum())
}

fn main() {
    for (engine, runs) in [(Engine::Jit, 25), (Engine::Interpreter, 3)] {
        let rounds: Vec<[_; SLICES.len()]> =
            (0..runs).map(|_| SLICES.map(|slice| run(engine, slice))).collect();
        let least = |index: usize| rounds.iter().map(|round| round[index]).min().unwrap_or_default();
        let (alone, _) = least(0);
        println!("{engine:?}, one after the other: {:.3} s", alone.as_secs_f64());
        for (index, slice) in SLICES.into_iter().enumerate().skip(1) {
            let (spent, turns) = least(index);
            let kind = if slice == WHOLE { "the same again".into() } else { format!("slices of {slice}") };
            let above = spent.as_secs_f64() - alone.as_secs_f64();
            println!(
                "{engine:?}, {kind}: {:.3} s, {:+.1} %, {:+.2} us a turn",
                spent.as_secs_f64(),
                100.0 * above / alone.as_secs_f64(),
                1e6 * above / turns as f64,
            );
        }
    }
}
