//! Makes a program that fails smaller, as long as it still fails.

use crate::program::{Initial, Program, Unit};

/// The smallest program found, by deleting units and clearing registers, for which `fails` holds.
pub fn shrink(program: &Program, fails: impl Fn(&Program) -> bool) -> Program {
    let mut best = program.clone();
    loop {
        let before = best.units.len();
        best = without_units(best, &fails);
        best = with_open_loops(best, &fails);
        if best.units.len() == before {
            break;
        }
    }
    with_plain_registers(best, &fails)
}

/// Deletes runs of units, long ones first.
fn without_units(mut best: Program, fails: &impl Fn(&Program) -> bool) -> Program {
    let mut length = best.units.len().div_ceil(2);
    while length > 0 {
        let mut at = 0;
        while at < best.units.len() {
            let mut smaller = best.clone();
            let end = (at + length).min(smaller.units.len());
            smaller.units.drain(at..end);
            if fails(&smaller) {
                best = smaller;
            } else {
                at += length;
            }
        }
        length /= 2;
    }
    best
}

/// Replaces a loop by its body.
fn with_open_loops(mut best: Program, fails: &impl Fn(&Program) -> bool) -> Program {
    for at in (0..best.units.len()).rev() {
        let Unit::Loop { body, .. } = best.units[at].clone() else { continue };
        let mut smaller = best.clone();
        smaller.units.splice(at..=at, body);
        if fails(&smaller) {
            best = smaller;
        }
    }
    best
}

fn with_plain_registers(mut best: Program, fails: &impl Fn(&Program) -> bool) -> Program {
    for number in 1..32 {
        let mut simpler = best.clone();
        if matches!(simpler.gpr[number], Initial::Number(0) | Initial::Data) {
            continue;
        }
        simpler.gpr[number] = Initial::Number(0);
        if fails(&simpler) {
            best = simpler;
        }
    }
    best
}
