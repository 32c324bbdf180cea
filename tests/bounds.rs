//! What a guest can make the host keep is bounded: memory that grew until the code cache was full once must not grow
//! on, however often code is written anew.

#[expect(dead_code, reason = "another test's module, of which this needs a part")]
#[path = "program/harness.rs"]
mod harness;

use harness::{Memory, assemble, run};
use runtime::program::ProgramVm;
use runtime::vcpu::Engine;
use translator::asm::Options;

/// A function of two instructions whose constant is written anew before each call, for ever: ten instructions a time.
const REWRITES: &str = "
        .set noreorder
main:   la $s0, patched
        lui $s2, 0x2402
again:  addiu $s1, $s1, 1
        andi $t0, $s1, 0x7fff
        or $t0, $t0, $s2
        sw $t0, 0($s0)
        jal function
        nop
        b again
        nop
function:
        jr $ra
patched: addiu $v0, $zero, 0
";
const ROUND: u64 = 10;

/// The memory of this process that is there, in bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn code_that_is_written_anew_for_ever_takes_no_more_memory() {
    const GROWTH: u64 = 4 << 20;
    let image = assemble("rewrites.s", REWRITES, Options::default());
    let mut vm = ProgramVm::new(image, Engine::Jit).unwrap();
    let mut console = Memory::default();
    let mut rewrite = |times: u64| {
        let limit = vm.retired() + ROUND * times;
        run(&mut vm, &mut console, 1_000_000, limit);
        assert!(vm.end().is_none(), "{}", harness::ending(&vm));
        vm.statistics().host_bytes
    };
    // More code than the cache holds, so that it has been filled and emptied.
    let code = rewrite(800_000);
    assert!(code > 64 << 20, "only {code} bytes of code");
    let before = resident();
    rewrite(1_200_000);
    let growth = resident().saturating_sub(before);
    assert!(growth < GROWTH, "{growth} bytes more");
}

#[test]
fn random_generators_are_counted() {
    let source = "main: li $v0, 40\nmove $a0, $s0\nsyscall\naddiu $s0, $s0, 1\nb main\n";
    let mut vm = ProgramVm::new(assemble("randoms.s", source, Options::default()), Engine::Jit).unwrap();
    run(&mut vm, &mut Memory::default(), 1_000_000, 10_000_000);
    let ending = harness::ending(&vm);
    assert!(ending.contains("65536 random generators"), "{ending}");
}
