//! A loop whose branch is the last word of a page and has its delay slot on the next: it runs in generated code, and
//! follows when the slot is written.

use runtime::program::ProgramVm;
use runtime::vcpu::Engine;
use translator::asm::Options;

use crate::harness::{Memory, assemble, ending, run};

const ROUNDS: u64 = 10_000;
const T3: usize = 11;

/// Two times [`ROUNDS`]: the slot adds 1 in the first, and is then changed to add 2.
const PROGRAM: &str = "
        .set noreorder
        .text 0x400000
main:   move    $t4, $ra
        li      $t3, 0
        li      $t5, 2
again:  li      $t0, 0
        j       loop
        li      $t1, 10000
        .text 0x400ff8
loop:   addiu   $t0, $t0, 1
        bne     $t0, $t1, loop
slot:   addiu   $t3, $t3, 1
        la      $t6, slot
        la      $t7, other
        lw      $t7, 0($t7)
        sw      $t7, 0($t6)
        addiu   $t5, $t5, -1
        bnez    $t5, again
        nop
        jr      $t4
        nop
other:  addiu   $t3, $t3, 2
";

#[test]
fn a_slot_on_the_next_page_runs_in_generated_code_and_is_never_stale() {
    for engine in [Engine::Interpreter, Engine::Blocks, Engine::Jit, Engine::Auto] {
        let image = assemble("far_slot.s", PROGRAM, Options::default());
        let mut vm = ProgramVm::new(image, engine).unwrap();
        run(&mut vm, &mut Memory::default(), u64::MAX, u64::MAX);
        assert_eq!(ending(&vm), "returned", "{engine:?}");
        assert_eq!(vm.registers().gpr[T3], ROUNDS + 2 * ROUNDS, "{engine:?}");
        if matches!(engine, Engine::Jit | Engine::Auto) {
            let exits: u64 = vm.vcpu().statistics.exits.values().sum();
            assert!(exits < 50, "{engine:?}: {:?}", vm.vcpu().statistics.exits);
        }
    }
}
