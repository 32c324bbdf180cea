//! Whether the self-check can fail: memory is changed behind the machine's back, so that a block is stale without anybody's
//! having given notice. A build that checks itself must end; any other runs on with the old code.

use std::process::Command;

use runtime::program::ProgramVm;
use runtime::vcpu::Engine;
use translator::addr::Pa;
use translator::asm::Options;
use translator::asm::layout::TEXT;

use crate::harness::{Memory, assemble, run};

/// Set for the process that is to end.
const ALONE: &str = "MYVMM_STALE_BLOCK";
const NAME: &str = "stale::a_stale_block_is_noticed_by_the_self_check";
const T0: usize = 8;

#[test]
fn a_stale_block_is_noticed_by_the_self_check() {
    if std::env::var_os(ALONE).is_some() {
        return run_stale_code();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", NAME, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let is_noticed = said.contains("was made from other bytes than are at 0x400000");
    assert_eq!(is_noticed, cfg!(feature = "self-check"), "{said}");
    assert_eq!(output.status.success(), !is_noticed, "{said}");
}

/// Counts for a while, turns the instruction that counts into a NOP, and goes on.
fn run_stale_code() {
    let image = assemble("stale.s", "main: addiu $t0, $t0, 1\nb main\n", Options::default());
    let mut vm = ProgramVm::new(image, Engine::Jit).unwrap();
    run(&mut vm, &mut Memory::default(), 300, 300);
    let before = vm.registers().gpr[T0];
    assert!(before > 0);
    vm.vcpu().machine.ram.write(Pa(TEXT.0), &[0; 4]).unwrap();
    run(&mut vm, &mut Memory::default(), 300, 600);
    assert!(vm.registers().gpr[T0] > before, "the old code no longer runs");
}
