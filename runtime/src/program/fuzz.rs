//! Programs that ask for anything, and snapshots of programs that were damaged in a few places: each is served, goes on
//! or is refused with a sentence.

use std::io;
use std::sync::Arc;

use fuzzing::{Numbers, run};
use translator::asm::{self, Compat, Cpu, Endian};

use super::image::{Image, Options};
use super::*;
use crate::snapshot::Reader;
use crate::snapshot::damage::Example;
use crate::vcpu::Engine;

/// A program that works on memory and asks for nothing: what comes into its memory never names a file of the host.
const SOURCE: &str = "
        .data
name:   .asciiz \"/no/such/directory/file\"
text:   .asciiz \"some text\"
        .align 3
room:   .space 64
        .text
main:   la $t0, room
again:  lw $t1, 0($t0)
        addiu $t1, $t1, 1
        sw $t1, 0($t0)
        b again
";

/// Services that open no file.
const SERVICES: [u64; 37] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 17, 30, 31, 32, 33, 34, 35, 36, 40, 41, 42, 43, 44,
    50, 51, 52, 53, 54, 55, 56, 59, 99,
];

/// A console with some input, and no more for now, now and then.
struct Input<'a>(&'a mut Numbers);

impl Console for Input<'_> {
    fn write(&mut self, _: &[u8]) -> io::Result<()> {
        if self.0.once_in(64) { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    fn read(&mut self, until: Until) -> io::Result<Option<Vec<u8>>> {
        if self.0.once_in(8) {
            return Ok(None);
        }
        let (Until::Newline(most) | Until::Count(most)) = until;
        let lines = [
            "12\n",
            "-0x7fffffff9\n",
            "1e999\n",
            "  nan\n",
            "\n",
            "text without an end",
            "\u{e9}\u{e9}\n",
            "",
        ];
        let line = self.0.one_of(&lines).as_bytes();
        Ok(Some(line[..line.len().min(most)].to_vec()))
    }
}

/// The program for every kind of machine.
fn images() -> Vec<Arc<Image>> {
    let mut images = Vec::new();
    for cpu in [Cpu::Mips32r2, Cpu::Mips64r2] {
        for (endian, compat) in [(Endian::Little, Compat::Mars), (Endian::Big, Compat::Spim)] {
            let settings = asm::Options { cpu, endian, compat, ..asm::Options::default() };
            let program = asm::assemble("fuzz.s", &[("fuzz.s", SOURCE)], &settings).expect("it is a program");
            let image = Image::assembled("fuzz.s", program, Options { cpu, endian, compat });
            images.push(Arc::new(image.expect("it has code")));
        }
    }
    images
}

fn engine(numbers: &mut Numbers) -> Engine {
    numbers.one_of(&[Engine::Interpreter, Engine::Jit, Engine::Auto])
}

/// An argument: an address of the program, or anything.
fn argument(numbers: &mut Numbers) -> u64 {
    let near = numbers.one_of(&[0x1001_0000, 0x7fff_effc, 0x0040_0000, 0x1fff_ffff, 0xffff_ffff_9000_fff0]);
    match numbers.below(4) {
        0 => near + numbers.below(64),
        1 => numbers.below(64),
        2 => numbers.value() as i32 as u64,
        _ => numbers.value(),
    }
}

/// Lets a program run for a while, and ask for what it never would.
fn live(vm: &mut ProgramVm, numbers: &mut Numbers) {
    for _ in 0..8 {
        vm.grant(200);
        if !vm.asked {
            vm.vcpu.cpu.gpr[4..7].fill_with(|| argument(numbers));
            vm.vcpu.cpu.fpr[12] = numbers.value();
        }
        if numbers.once_in(16) {
            vm.vcpu.cpu.pc = argument(numbers) & !3;
        }
        // Whatever it was about to ask for.
        vm.vcpu.cpu.gpr[2] = numbers.one_of(&SERVICES);
        vm.asked |= numbers.once_in(2);
        match vm.run(&mut Input(numbers)) {
            Turn::Ended => {
                assert!(vm.end().is_some());
                return;
            }
            Turn::Notice(fault) => assert!(!fault.to_string().is_empty()),
            Turn::Slice | Turn::Called | Turn::Waiting(_) | Turn::Para(_) => {}
        }
        assert!(!vm.here().to_string().is_empty());
        vm.dump();
    }
}

#[test]
fn fuzz_services() {
    let images = images();
    run(|numbers| {
        let image = Arc::clone(&images[numbers.index(images.len())]);
        let mut vm = ProgramVm::new(image, engine(numbers)).expect("the host has memory");
        live(&mut vm, numbers);
        // Wherever it is, it can be saved, and then goes on.
        let snapshot = vm.snapshot();
        ProgramVm::resume(Arc::clone(vm.image()), Engine::Auto, &snapshot).expect("it is right");
    });
}

#[test]
fn fuzz_snapshot() {
    let example = |image: Arc<Image>| {
        let mut vm = ProgramVm::new(Arc::clone(&image), Engine::Auto).expect("the host has memory");
        vm.grant(1000);
        vm.run(&mut Input(&mut Numbers::new(0)));
        let bytes = vm.snapshot();
        let reader = Reader::new(&bytes).expect("it is right");
        (image, Example::new(bytes, reader))
    };
    let examples: Vec<_> = images().into_iter().map(example).collect();
    let (mut refused, mut ran) = (0, 0);
    run(|numbers| {
        let (image, example) = &examples[numbers.index(examples.len())];
        match ProgramVm::resume(Arc::clone(image), engine(numbers), &example.damaged(numbers)) {
            Ok(mut vm) => {
                live(&mut vm, numbers);
                ran += 1;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
        }
    });
    eprintln!("{refused} were refused, {ran} ran");
}

/// A heap's end is as a snapshot has it.
#[test]
fn a_heap_at_the_end_of_all_addresses_cannot_grow() {
    let mut vm = ProgramVm::new(Arc::clone(&images()[0]), Engine::Interpreter).expect("the host has memory");
    vm.services.heap = u64::MAX - 1;
    vm.vcpu.cpu.gpr[2] = 9;
    vm.vcpu.cpu.gpr[4] = 1;
    vm.asked = true;
    vm.grant(10);
    vm.run(&mut Input(&mut Numbers::new(0)));
    assert!(vm.end().is_some_and(|end| format!("{end:?}").contains("the heap cannot grow")));
}
