//! ELF files that were damaged in a few places: each is loaded or refused with a sentence that names
//! it, and nothing lands outside of the guest's RAM.

use std::path::Path;

use fuzzing::{Corpus, Numbers};
use translator::addr::Pa;
use translator::asm::{Compat, Cpu, Endian};

use super::elf::Image;
use super::{RamWriter, WriteError};
use crate::device::Window;
use crate::program;

/// Of both widths and orders, with symbols and sections: see the README beside them.
fn corpus() -> Corpus {
    Corpus::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/load/corpus"), ".elf")
}

const NAME: &str = "mutant";
const RAM: Window = Window { base: Pa(0), size: 4 << 20 };

/// RAM that looks only where it is written to.
struct Ram;

impl RamWriter for Ram {
    fn write(&mut self, pa: Pa, bytes: &[u8]) -> Result<(), WriteError> {
        assert!(RAM.holds(pa, bytes.len() as u64), "{} bytes at {pa} are not in RAM", bytes.len());
        Ok(())
    }

    fn clear(&mut self, pa: Pa, length: u64) -> Result<(), WriteError> {
        assert!(RAM.holds(pa, length), "{length} zeros at {pa} are not in RAM");
        Ok(())
    }
}

#[test]
fn fuzz_kernel() {
    let corpus = corpus();
    fuzzing::run(|numbers| {
        let file = corpus.bytes(numbers);
        let placed = Image::parse(Path::new(NAME), &file).and_then(|image| {
            assert!(image.segments.iter().all(|segment| segment.size > 0));
            image.place(&[RAM], &mut Ram)
        });
        if let Err(error) = placed {
            assert!(error.to_string().contains(NAME), "{error}");
        }
    });
}

fn options(numbers: &mut Numbers) -> program::Options {
    program::Options {
        cpu: numbers.one_of(&[Cpu::Mips32r2, Cpu::Mips64r2]),
        endian: numbers.one_of(&[Endian::Little, Endian::Big]),
        compat: numbers.one_of(&[Compat::Mars, Compat::Spim, Compat::Gas]),
    }
}

#[test]
fn fuzz_program() {
    let corpus = corpus();
    fuzzing::run(|numbers| {
        let file = corpus.bytes(numbers);
        match program::Image::elf(NAME, &file, options(numbers)) {
            Ok(image) => {
                assert!(!image.pieces.is_empty());
                for piece in &image.pieces {
                    assert!(piece.bytes.len() as u64 <= piece.size && piece.address + piece.size <= 1 << 32);
                }
            }
            Err(error) => assert!(error.to_string().contains(NAME), "{error}"),
        }
    });
}

/// Or everything above is refused at once.
#[test]
fn examples_are_loaded() {
    let example = |name: &str| {
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/load/corpus").join(name))
            .expect("it is there")
    };
    for kernel in ["n64.elf", "o32-big.elf"] {
        let file = example(kernel);
        let image = Image::parse(Path::new(kernel), &file).expect("it is a kernel");
        image.place(&[RAM], &mut Ram).expect("there is room");
        assert!(image.symbols.address("main") == Some(image.entry), "{kernel}");
    }
    for file in ["n32.elf", "o32.elf", "o32-big.elf"] {
        let options = program::Options { cpu: Cpu::Mips64r2, ..program::Options::default() };
        program::Image::elf(file, &example(file), options).expect("it is a program");
    }
}
