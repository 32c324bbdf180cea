//! Random programs in the language that MARS and SPIM share print here what they print under Debian's SPIM.
//!
//! `MYVMM_SPIM_PROGRAMS` says how many are run (default 40), `MYVMM_SPIM_SEED` which is the first; a reported seed
//! comes back with `MYVMM_SPIM_SEED=<seed> MYVMM_SPIM_PROGRAMS=1`.
//!
//! What SPIM 8.0 does and this does not, and programs here therefore avoid:
//!
//! - An exception without a handler of the program's own prints a line and the program goes on; here the program ends
//!   with a message, as in MARS.
//! - A real number in data must have a decimal point before an exponent (`1e10` is a syntax error).
//! - Dividing by zero with the two-operand `div` leaves HI and LO as they were; MIPS leaves them unpredictable, and here
//!   the division is by one, as in QEMU.
//! - A real number that fits no integer becomes the least integer, as in C on x86; on MIPS, and here, it becomes the
//!   largest.
//! - `round.w` adds a half and cuts off, and so rounds negative numbers upwards; here it rounds to the nearest.
//! - `c.lt` and `c.le` of a NaN raise a floating-point exception even if none is enabled; here they raise a flag.
//! - A new NaN has the host's sign and is printed as `-nan`; here it is MIPS's, which is positive.

pub mod generate;

use std::process::Command;

use runtime::program::ProgramVm;
use translator::asm::{Compat, Options};

use crate::harness::{ENGINES, Memory, assemble, ending, run, setting};

const PATIENCE: u64 = 1_000_000;

/// What SPIM prints, after its own greeting.
fn spim(source: &str) -> String {
    let file = tempfile::Builder::new().suffix(".s").tempfile().unwrap();
    std::fs::write(file.path(), source).unwrap();
    let output = Command::new("spim").arg("-file").arg(file.path()).output();
    let output =
        output.unwrap_or_else(|error| panic!("cannot run spim: {error}; install Debian's package `spim`"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let greeting = "exceptions.s\n";
    let printed = text.split_once(greeting).map_or(text.as_str(), |(_, printed)| printed);
    // The sign of a NaN is the host's there.
    format!("{printed}{}", String::from_utf8_lossy(&output.stderr)).replace("-nan", "nan")
}

fn check(seed: u64) {
    let source = generate::program(seed).text;
    let expected = spim(&source);
    let options = Options { compat: Compat::Spim, ..Options::default() };
    let image = assemble("random.s", &source, options);
    for engine in ENGINES {
        let mut vm = ProgramVm::new(image.clone(), engine).unwrap();
        let mut console = Memory::default();
        run(&mut vm, &mut console, PATIENCE, PATIENCE);
        let found = String::from_utf8_lossy(&console.output).into_owned();
        if found != expected || ending(&vm) != "returned" {
            let lines = found.lines().zip(expected.lines()).find(|(a, b)| a != b);
            panic!("seed {seed}, {engine:?}: {}\n{lines:?} (here, SPIM)\n{source}", ending(&vm));
        }
    }
}

#[test]
fn random_programs_print_what_they_print_under_spim() {
    let (first, count) = (setting("MYVMM_SPIM_SEED", 1), setting("MYVMM_SPIM_PROGRAMS", 40));
    (first..first + count).for_each(check);
}
