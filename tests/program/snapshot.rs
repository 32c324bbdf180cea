//! Snapshots: taken anywhere, they lead to the same end under either engine, and nothing but a whole snapshot of the
//! same program is taken.

use std::sync::Arc;

use runtime::program::{Image, ProgramVm};
use runtime::vcpu::Engine;
use translator::asm::{Compat, Cpu, Endian, Options};

use crate::harness::{Dice, ENGINES, Memory, assemble, ending, run, setting};
use crate::spim::generate;

const PATIENCE: u64 = 200_000;

struct Result {
    output: Vec<u8>,
    end: String,
    registers: runtime::program::Registers,
    memory: Vec<u8>,
}

fn finish(mut vm: ProgramVm, mut console: Memory) -> Result {
    run(&mut vm, &mut console, 1000, PATIENCE);
    let memory = vm.read(translator::addr::Va(0x1001_0000), 4096).unwrap();
    Result { output: console.output, end: ending(&vm), registers: vm.registers(), memory }
}

fn assert_same(case: &str, found: &Result, expected: &Result) {
    assert_eq!(String::from_utf8_lossy(&found.output), String::from_utf8_lossy(&expected.output), "{case}");
    assert_eq!(found.end, expected.end, "{case}");
    assert_eq!(found.registers, expected.registers, "{case}");
    assert!(found.memory == expected.memory, "{case}: memory differs");
}

fn options(dice: &mut Dice) -> Options {
    Options {
        cpu: dice.pick(&[Cpu::Mips32r2, Cpu::Mips64r2]),
        endian: dice.pick(&[Endian::Little, Endian::Big]),
        compat: Compat::Spim,
        ..Options::default()
    }
}

fn check(seed: u64) {
    let mut dice = Dice::new(seed);
    let options = options(&mut dice);
    let image = assemble("random.s", &generate::program(seed).text, options);
    let expected = finish(ProgramVm::new(image.clone(), Engine::Interpreter).unwrap(), Memory::default());
    let length = expected.registers.instructions;
    for _ in 0..4 {
        let (at, first, second) = (dice.below(length.max(1)), dice.pick(&ENGINES), dice.pick(&ENGINES));
        let case = format!("seed {seed}, snapshot after {at} of {length} by {first:?}, then {second:?}");
        let mut console = Memory::default();
        let mut vm = ProgramVm::new(image.clone(), first).unwrap();
        run(&mut vm, &mut console, 1 + dice.below(50), at);
        let snapshot = vm.snapshot();
        assert_same(&case, &finish(vm, console.clone()), &expected);
        let resumed = ProgramVm::resume(image.clone(), second, &snapshot).unwrap();
        assert_same(&case, &finish(resumed, console), &expected);
    }
}

#[test]
fn a_snapshot_anywhere_leads_to_the_same_end() {
    (1..=setting("MYVMM_PROGRAM_SNAPSHOTS", 40)).for_each(check);
}

fn small(text: &str, options: Options) -> Arc<Image> {
    assemble("small.s", text, options)
}

#[test]
fn damaged_and_foreign_snapshots_are_refused() {
    const TEXT: &str = "main: li $t0, 5\n sw $t0, 0($gp)\n jr $ra";
    let image = small(TEXT, Options::default());
    let mut vm = ProgramVm::new(image.clone(), Engine::Jit).unwrap();
    run(&mut vm, &mut Memory::default(), 1, 2);
    let good = vm.snapshot();
    assert!(good.len() < 4096, "{} bytes", good.len());
    let refused = |image: &Arc<Image>, bytes: &[u8]| {
        ProgramVm::resume(image.clone(), Engine::Jit, bytes).err().expect("refused").to_string()
    };
    for length in (0..good.len()).step_by(7) {
        refused(&image, &good[..length]);
    }
    for index in (0..good.len()).step_by(3) {
        let mut bad = good.clone();
        bad[index] ^= 1 << (index % 8);
        refused(&image, &bad);
    }
    assert!(refused(&image, b"main: nop\n").contains("no snapshot"));
    let other = small("main: li $t0, 6\n jr $ra", Options::default());
    assert!(refused(&other, &good).contains("another program"));
    let big = small(TEXT, Options { endian: Endian::Big, ..Options::default() });
    assert!(refused(&big, &good).contains("big-endian"));
    assert!(ProgramVm::resume(image, Engine::Jit, &good).is_ok());
}
