//! What do turns cost? A hundred programs of a million instructions each, in slices of several sizes. The cost is the CPU
//! time above that of the same programs run one after the other: in all, and after a warm-up in which what runs often has
//! been translated, for a program that is interrupted within a block also needs that block's rest translated. Runs
//! alternate, and the least of each kind counts, since other work on the host can only add.

#[expect(dead_code, reason = "a test's module, of which this needs a part")]
#[path = "../tests/program/harness.rs"]
mod harness;
#[path = "../tests/program/players.rs"]
mod players;

use std::time::Duration;

use runtime::schedule::{self, Guest as _};
use runtime::vcpu::Engine;
use rustix::time::{ClockId, clock_gettime};

const MACHINES: usize = 100;
/// Instructions of a program before its steady state.
const WARM_UP: u64 = 200_000;
/// Longer than any program: one after the other.
const WHOLE: u64 = 1 << 40;
/// The second is a control: what it differs from the first is the host's noise.
const SLICES: [u64; 6] = [WHOLE, WHOLE, 100, 1_000, 10_000, 100_000];

fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// What a run took, in CPU time.
#[derive(Clone, Copy)]
struct Cost {
    all: Duration,
    /// After the warm-up.
    steady: Duration,
    /// The turns after the warm-up.
    turns: u64,
}

fn run(engine: Engine, slice: u64) -> Cost {
    let mut players = players::players(MACHINES, engine);
    let started = cpu_time();
    let first = slice.min(WARM_UP / 2);
    for _ in 0..WARM_UP / first {
        for player in &mut players {
            // None has ended so early.
            player.run(first);
        }
    }
    let warm = cpu_time();
    schedule::slices(&mut players, slice);
    let ended = cpu_time();
    let left = |player: &players::Player| (player.vm.retired() - WARM_UP).div_ceil(slice);
    Cost { all: ended - started, steady: ended - warm, turns: players.iter().map(left).sum() }
}

/// How much more `spent` is than `alone`.
fn above(spent: Duration, alone: Duration) -> f64 {
    spent.as_secs_f64() / alone.as_secs_f64() - 1.0
}

fn main() {
    for (engine, runs) in [(Engine::Jit, 9), (Engine::Auto, 9), (Engine::Interpreter, 3)] {
        let rounds: Vec<_> = (0..runs).map(|_| SLICES.map(|slice| run(engine, slice))).collect();
        let least = |index: usize| {
            let costs = || rounds.iter().map(move |round| round[index]);
            let all = costs().map(|cost| cost.all).min().unwrap_or_default();
            let steady = costs().map(|cost| cost.steady).min().unwrap_or_default();
            Cost { all, steady, turns: rounds[0][index].turns }
        };
        let alone = least(0);
        println!("{engine:?}, one after the other: {:.3} s", alone.all.as_secs_f64());
        for (index, slice) in SLICES.into_iter().enumerate().skip(1) {
            let cost = least(index);
            let kind = if slice == WHOLE { "the same again".into() } else { format!("slices of {slice}") };
            let extra = cost.steady.as_secs_f64() - alone.steady.as_secs_f64();
            println!(
                "{engine:?}, {kind}: {:+.1} % in all, {:+.1} % after the warm-up, {:+.2} us a turn",
                100.0 * above(cost.all, alone.all),
                100.0 * above(cost.steady, alone.steady),
                1e6 * extra / cost.turns as f64,
            );
        }
    }
}
