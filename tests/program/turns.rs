//! Many machines in turns: the same results whatever the slice is.

use runtime::program::{ProgramVm, Turn};
use runtime::schedule::{Guest, Progress};
use runtime::vcpu::Engine;
use translator::asm::Options;

use crate::harness::{Memory, assemble, ending};

/// About a million instructions, with loads, stores, calls and a result that depends on all of them.
fn source(number: usize) -> String {
    format!(
        "       .data
         table: .space 64
                .text
         main:  li $s0, 90000
                li $s1, {number}
         loop:  move $a0, $s1
                jal step
                move $s1, $v0
                andi $t0, $v0, 60
                la $t1, table
                addu $t1, $t1, $t0
                lw $t2, 0($t1)
                xor $s1, $s1, $t2
                sw $s1, 0($t1)
                addiu $s0, $s0, -1
                bnez $s0, loop
                move $a0, $s1
                li $v0, 1
                syscall
                jr $ra
         step:  mul $v0, $a0, 1103515245
                addiu $v0, $v0, 12345
                jr $ra"
    )
    // `jal` overwrites where `main` returns to.
    .replace("main:  li", "main:  move $s7, $ra\n li")
    .replace("syscall\n                jr $ra", "syscall\n jr $s7")
}

pub struct Player {
    vm: ProgramVm,
    console: Memory,
}

impl Guest for Player {
    fn run(&mut self, slice: u64) -> Progress {
        self.vm.grant(slice);
        while !matches!(self.vm.run(&mut self.console), Turn::Slice | Turn::Ended) {}
        if self.vm.end().is_some() { Progress::Ended } else { Progress::Ready }
    }
}

pub fn players(count: usize, engine: Engine) -> Vec<Player> {
    let player = |number| {
        let image = assemble("turns.s", &source(number), Options::default());
        Player { vm: ProgramVm::new(image, engine).unwrap(), console: Memory::default() }
    };
    (0..count).map(player).collect()
}

pub fn results(players: &[Player]) -> Vec<(String, String, u64)> {
    let result = |player: &Player| {
        let output = String::from_utf8_lossy(&player.console.output).into_owned();
        (output, ending(&player.vm), player.vm.retired())
    };
    players.iter().map(result).collect()
}

#[test]
fn a_hundred_machines_agree_whatever_the_slice() {
    let count = crate::harness::setting("MYVMM_PROGRAM_MACHINES", 100) as usize;
    let mut alone = players(count, Engine::Jit);
    alone
        .iter_mut()
        .for_each(|player| crate::harness::run(&mut player.vm, &mut player.console, u64::MAX, u64::MAX));
    let expected = results(&alone);
    assert!(expected.iter().all(|(_, end, ran)| end == "returned" && *ran > 1_000_000), "{:?}", expected[0]);
    for slice in [100, 100_000] {
        let mut turns = players(count, Engine::Jit);
        runtime::schedule::slices(&mut turns, slice);
        assert_eq!(results(&turns), expected, "slices of {slice}");
    }
    let mut threads = players(count.min(8), Engine::Jit);
    runtime::schedule::threads(&mut threads, 100_000).unwrap();
    assert_eq!(results(&threads), expected[..threads.len()]);
}
