//! Tests of whole programs: what each construct assembles to, and what each mistake is answered with.

mod errors;
mod programs;
mod pseudo;
mod round_trip;

use super::{Abi, Compat, Cpu, Diagnostics, Endian, Options, Program, Section, assemble};
use crate::isa::text::{Names, print_word};

/// The options most tests use.
fn options(compat: Compat) -> Options {
    Options { compat, ..Options::default() }
}

fn try_program(text: &str, options: &Options) -> Result<Program, Diagnostics> {
    assemble("t.s", &[("t.s", text)], options)
}

fn program(text: &str, options: &Options) -> Program {
    try_program(text, options).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

fn bytes(program: &Program, section: Section) -> &[u8] {
    program.segments.iter().find(|s| s.section == section).map_or(&[], |s| &s.bytes)
}

fn words(program: &Program, section: Section) -> Vec<u32> {
    let words = bytes(program, section).chunks_exact(4);
    words.map(|w| u32::from_le_bytes(w.try_into().expect("four bytes"))).collect()
}

/// The instructions of a program's text, as the disassembler prints them.
fn listing(text: &str, options: &Options) -> Vec<String> {
    let program = program(text, options);
    let words = words(&program, Section::Text);
    words.iter().zip((0x400000u64..).step_by(4)).map(|(w, pc)| print_word(*w, pc, Names::O32)).collect()
}

/// The errors and warnings of a program that does not assemble.
fn errors(text: &str, options: &Options) -> String {
    match try_program(text, options) {
        Ok(_) => panic!("no error in {text}"),
        Err(errors) => errors.to_string(),
    }
}
