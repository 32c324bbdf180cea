//! ELF files that were damaged in a few places: each is loaded or refused with a sentence that names
//! it, and nothing lands outside of the guest's RAM, nor on anything else. The symbols of what is loaded are usable.

use std::path::Path;

use fuzzing::{Corpus, Numbers};
use translator::addr::{Pa, Va};
use translator::asm::{Compat, Cpu, Endian};

use super::elf::Image;
use super::kernel::{self, Request};
use super::symbols::Symbols;
use super::{RamWriter, WriteError};
use crate::device::Window;
use crate::program;

/// Of both widths and orders, with symbols and sections: see the README beside them.
fn corpus() -> Corpus {
    Corpus::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/load/corpus"), ".elf")
}

const NAME: &str = "mutant";
const RAM: [Window; 2] =
    [Window { base: Pa(0), size: 24 << 20 }, Window { base: Pa(0x2000_0000), size: 4 << 20 }];

/// RAM that looks only where it is written to.
#[derive(Default)]
struct Ram(Vec<Window>);

impl RamWriter for Ram {
    fn write(&mut self, pa: Pa, bytes: &[u8]) -> Result<(), WriteError> {
        self.clear(pa, bytes.len() as u64)
    }

    fn clear(&mut self, pa: Pa, length: u64) -> Result<(), WriteError> {
        let inside = RAM.iter().any(|bank| bank.holds(pa, length));
        assert!(inside, "{length} bytes at {pa} are not in RAM");
        self.0.push(Window { base: pa, size: length });
        Ok(())
    }
}

/// Asks for names near some addresses.
fn look_up(symbols: &Symbols, numbers: &mut Numbers) {
    let near = symbols.address("main").map_or(0, |main| main.0).wrapping_add(numbers.below(64));
    for va in [near, numbers.value(), u64::MAX].map(Va) {
        let place = symbols.lookup(va);
        assert!(place.is_none_or(|place| place.offset <= va.0));
        assert!(symbols.function(va).is_none() || place.is_some());
        assert!(symbols.next_after(va).is_none_or(|next| next > va));
    }
}

#[test]
fn fuzz_kernel() {
    let corpus = corpus();
    fuzzing::run(|numbers| {
        let file = corpus.bytes(numbers);
        let placed = Image::parse(Path::new(NAME), &file).and_then(|image| {
            assert!(image.segments.iter().all(|segment| segment.size > 0));
            look_up(&image.symbols, numbers);
            look_up(&image.symbols.clone().moved(numbers.value()), numbers);
            image.place(&RAM, &mut Ram::default())
        });
        if let Err(error) = placed {
            assert!(error.to_string().contains(NAME), "{error}");
        }
    });
}

/// The kernel with what belongs to it, each in its place.
#[test]
fn fuzz_boot() {
    let corpus = corpus();
    let directory = tempfile::tempdir().expect("there is a temporary directory");
    let [kernel, initrd] = [NAME, "initrd"].map(|name| directory.path().join(name));
    fuzzing::run(|numbers| {
        std::fs::write(&kernel, corpus.bytes(numbers)).expect("there is room");
        let length = numbers.below(9000);
        std::fs::write(&initrd, vec![1; length as usize]).expect("there is room");
        let banks = &RAM[..1 + numbers.index(2)];
        let request = Request {
            kernel: &kernel,
            initrd: (!numbers.once_in(4)).then_some(&*initrd),
            ram: if numbers.once_in(8) { &banks[1..] } else { banks },
        };
        let tree = if numbers.once_in(8) { numbers.below(32 << 20) } else { numbers.below(5000) };
        let mut memory = Ram::default();
        match kernel::load(request, &mut memory, |_| Ok(vec![0; tree as usize])) {
            Ok(boot) => {
                let tree = Window { base: Pa(boot.a1.0 & 0x1fff_ffff), size: tree };
                let disk = boot.placement.initrd.map(|disk| Window { base: disk.start, size: length });
                let others = memory.0.iter().filter(|other| **other != tree && Some(**other) != disk);
                for kernel in others {
                    assert!(!kernel.overlaps(tree) && disk.is_none_or(|disk| !kernel.overlaps(disk)));
                }
                assert!(disk.is_none_or(|disk| !tree.overlaps(disk)));
            }
            Err(error) => {
                let sentence = error.to_string();
                assert!([NAME, "initrd"].iter().any(|name| sentence.contains(name)), "{sentence}");
            }
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
                    assert!(piece.bytes.len() as u64 <= piece.size && piece.end() <= 1 << 32);
                }
                look_up(&image.symbols(), numbers);
                let near = image.entry.0.wrapping_add(numbers.below(64));
                for address in [near, numbers.value()].map(Va) {
                    assert!(image.label(address).is_none_or(|(_, distance)| distance <= address.0));
                }
                image.has_handler();
                image.text(numbers.next() as u32, image.entry);
                assert_eq!(image.identity(), image.clone().identity());
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
        image.place(&RAM, &mut Ram::default()).expect("there is room");
        assert!(image.symbols.address("main") == Some(image.entry), "{kernel}");
    }
    for file in ["n32.elf", "o32.elf", "o32-big.elf"] {
        let options = program::Options { cpu: Cpu::Mips64r2, ..program::Options::default() };
        program::Image::elf(file, &example(file), options).expect("it is a program");
    }
}
