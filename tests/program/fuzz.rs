//! Programs that are wrong in every way: the assembler answers with a program or with errors, and never panics, and what
//! it made is loaded or refused.

use std::path::Path;

use fuzzing::{Corpus, Numbers};
use runtime::program::{self, Image};
use translator::asm::{self, Compat, Cpu, Endian};

/// What is put between the pieces of real programs.
const ODDITIES: [&str; 25] = [
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
    "0x7fffffffffffffff",
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

fn options(numbers: &mut Numbers) -> asm::Options {
    asm::Options {
        cpu: numbers.one_of(&[Cpu::Mips32r2, Cpu::Mips64r2]),
        endian: numbers.one_of(&[Endian::Little, Endian::Big]),
        compat: numbers.one_of(&[Compat::Mars, Compat::Spim, Compat::Gas]),
        delayed_branches: numbers.once_in(4),
        ..asm::Options::default()
    }
}

#[test]
fn fuzz_assembler() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program");
    let corpus = Corpus::read(&directory, ".s").with_words(ODDITIES);
    fuzzing::run(|numbers| {
        let (source, options) = (corpus.text(numbers), options(numbers));
        match asm::assemble("fuzz.s", &[("fuzz.s", source.as_str())], &options) {
            Err(errors) => {
                assert!(!errors.items.is_empty(), "no error is told\n{source}");
                assert!(errors.to_string().contains("error: "), "{source}");
            }
            Ok(program) => {
                let asm::Options { cpu, endian, compat, .. } = options;
                drop(Image::assembled("fuzz.s", program, program::Options { cpu, endian, compat }));
            }
        }
    });
}
