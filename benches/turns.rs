//! What do turns cost? A hundred programs of a million instructions each, in slices of several sizes; the cost is the
//! time above that of running one after the other.

#[expect(dead_code, reason = "a test's module, of which this needs a part")]
#[path = "../tests/program/harness.rs"]
mod harness;
#[path = "../tests/program/players.rs"]
mod players;

use std::time::{Duration, Instant};

use runtime::schedule;
use runtime::vcpu::Engine;

const MACHINES: usize = 100;
const RUNS: usize = 3;

fn time(engine: Engine, slice: u64) -> Duration {
    let one = || {
        let mut players = players::players(MACHINES, engine);
        let started = Instant::now();
        schedule::slices(&mut players, slice);
        started.elapsed()
    };
    (0..RUNS).map(|_| one()).min().unwrap_or_default()
}

fn main() {
    for engine in [Engine::Jit, Engine::Interpreter] {
        let alone = time(engine, 1 << 40);
        println!("{engine:?}, one after the other: {:.3} s", alone.as_secs_f64());
        for slice in [100, 1_000, 10_000, 100_000] {
            let turns = time(engine, slice);
            let cost = 100.0 * (turns.as_secs_f64() / alone.as_secs_f64() - 1.0);
            println!("{engine:?}, slices of {slice}: {:.3} s, {cost:+.1} %", turns.as_secs_f64());
        }
    }
}
