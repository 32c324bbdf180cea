//! Programs that are wrong in every way: the assembler answers with a program or with errors, and never panics.
//! `MYVMM_FUZZ_PROGRAMS` says how many are tried.

use std::fs;
use std::path::Path;

use runtime::program::Image;
use translator::asm::{self, Options};

use crate::harness::{Dice, setting};

/// What is put between the pieces of real programs.
const ODDITIES: [&str; 24] = [
    "(",
    ")",
    "\"",
    "'",
    "\\",
    ",",
    "%",
    "$",
    ":",
    "#",
    "-",
    "4294967296",
    "0x",
    "1e999",
    ".macro",
    ".end_macro",
    ".include",
    ".eqv",
    ".set",
    ".space",
    ".align",
    "\u{0}",
    "\u{e9}",
    "\n",
];

fn originals() -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program");
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|e| e == "s")).collect();
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// A word, or what lies between two.
fn pieces(text: &str) -> Vec<&str> {
    text.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '$').collect()
}

/// A program with pieces lost, doubled, exchanged for those of another, or for what belongs nowhere.
fn mutated(dice: &mut Dice, originals: &[String]) -> String {
    let source = &originals[dice.below(originals.len() as u64) as usize];
    let other = pieces(&originals[dice.below(originals.len() as u64) as usize]);
    let mut pieces = pieces(source);
    for _ in 0..1 + dice.below(12) {
        let place = dice.below(pieces.len() as u64) as usize;
        match dice.below(5) {
            0 => drop(pieces.remove(place)),
            1 => pieces.insert(place, pieces[place]),
            2 => pieces[place] = dice.pick(&other),
            3 => pieces.truncate(place.max(1)),
            _ => pieces.insert(place, dice.pick(&ODDITIES)),
        }
        if pieces.is_empty() {
            break;
        }
    }
    pieces.concat()
}

fn check(seed: u64, originals: &[String]) {
    let mut dice = Dice::new(seed);
    let source = mutated(&mut dice, originals);
    match asm::assemble("fuzz.s", &[("fuzz.s", source.as_str())], &Options::default()) {
        Err(errors) => {
            assert!(!errors.items.is_empty(), "seed {seed}: no error is told\n{source}");
            assert!(errors.to_string().contains("error: "), "seed {seed}\n{source}");
        }
        Ok(program) => drop(Image::assembled("fuzz.s", program, runtime::program::Options::default())),
    }
}

#[test]
fn wrong_programs_get_errors_and_nothing_panics() {
    let originals = originals();
    (1..=setting("MYVMM_FUZZ_PROGRAMS", 1500)).for_each(|seed| check(seed, &originals));
}
