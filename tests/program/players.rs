//! Machines of a million instructions each, for turns.

use runtime::program::{ProgramVm, Turn};
use runtime::schedule::{Guest, Progress};
use runtime::vcpu::Engine;
use translator::asm::Options;

use crate::harness::{Memory, assemble};

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
    pub vm: ProgramVm,
    pub console: Memory,
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
