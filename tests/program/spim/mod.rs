//! Random programs in the language that MARS and SPIM share print here what they print under Debian's SPIM.
//!
//! `MYVMM_SPIM_PROGRAMS` says how many are run (default 40), `MYVMM_SPIM_SEED` which is the first; a reported seed
//! comes back with `MYVMM_SPIM_SEED=<seed> MYVMM_SPIM_PROGRAMS=1`.
//!
//! Programs here avoid what SPIM does and this does not; docs/programs.md tells it.

pub mod generate;

use std::fs;
use std::path::Path;
use std::process::Command;

use runtime::program::ProgramVm;
use tempfile::TempDir;
use translator::asm::{Compat, Options};

use crate::harness::{ENGINES, Memory, assemble, ending, run, setting};

const PATIENCE: u64 = 1_000_000;

/// What SPIM prints, after its own greeting.
fn spim(directory: &Path, program: &generate::Program) -> String {
    fs::write(directory.join("random.s"), &program.text).unwrap();
    fs::write(directory.join("input"), &program.input).unwrap();
    let (option, greeting) = match program.handles {
        true => (&["-noexception"][..], "copyright notice.\n"),
        false => (&[][..], "exceptions.s\n"),
    };
    let output = Command::new("spim")
        .current_dir(directory)
        .args(option)
        .args(["-file", "random.s"])
        .stdin(fs::File::open(directory.join("input")).unwrap())
        .output();
    let output =
        output.unwrap_or_else(|error| panic!("cannot run spim: {error}; install Debian's package `spim`"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let printed = text.split_once(greeting).map_or(text.as_str(), |(_, printed)| printed);
    // It reports exceptions there even to a program that handles them.
    let errors = if program.handles { "".into() } else { String::from_utf8_lossy(&output.stderr) };
    // The sign of a NaN is the host's there.
    format!("{printed}{errors}").replace("-nan", "nan")
}

fn check(seed: u64) {
    let program = generate::program(seed);
    let directory = TempDir::new().unwrap();
    let expected = spim(directory.path(), &program);
    let options = Options { compat: Compat::Spim, ..Options::default() };
    let source = program.text_in(directory.path());
    let image = assemble("random.s", &source, options);
    let end = if program.handles { "exit 0" } else { "returned" };
    for engine in ENGINES {
        let mut vm = ProgramVm::new(image.clone(), engine).unwrap();
        let mut console = Memory { input: program.input.clone().into(), output: Vec::new() };
        run(&mut vm, &mut console, PATIENCE, PATIENCE);
        let found = String::from_utf8_lossy(&console.output).into_owned();
        if found != expected || ending(&vm) != end {
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
