//! What does each part of the machine cost alone? Decoding and translating a block, going from block to block, a load
//! through a soft TLB, a call of a stub, exact arithmetic, a request of a virtqueue, a snapshot. Run one by name:
//! `cargo bench --bench micro -- translate`. The host is never quiet: compare the fastest times.

#[expect(dead_code, reason = "a test's module, of which this needs a part")]
#[path = "../tests/program/harness.rs"]
mod harness;

use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use harness::{Memory, assemble};
use runtime::device::Window;
use runtime::device::virtio::Interrupt;
use runtime::device::virtio::queue::{Layout, Queue};
use runtime::memory::{Dma, Ram};
use runtime::program::{ProgramVm, Turn};
use runtime::vcpu::Engine;
use translator::addr::{Pa, Va};
use translator::asm::{self, Cpu, Options};
use translator::block::{Block, Key};
use translator::emit::{Pins, emit};
use translator::float::{self, Fcsr, Format};
use translator::ir;
use translator::mode::Mode;
use translator::model::MIPS64R2;

fn main() {
    divan::main();
}

/// The words of a block of sixteen instructions of many kinds, and a branch.
const BLOCK: &str = "
        .set noreorder
main:   lw $t0, 0($a0)
        addu $t1, $t0, $a1
        sll $t2, $t1, 3
        xor $t1, $t1, $t2
        sw $t1, 4($a0)
        andi $t3, $t1, 255
        ld $t4, 8($a0)
        daddu $t5, $t4, $t3
        sltu $t6, $t5, $t1
        movn $t7, $t6, $t5
        mult $t1, $t3
        mflo $t8
        dsrl $t9, $t8, 5
        ext $v0, $t9, 3, 7
        sb $v0, 16($a0)
        bne $v0, $t7, main
        addiu $a0, $a0, 1
        ";

fn words() -> Vec<u32> {
    let options = Options { cpu: Cpu::Mips64r2, ..Options::default() };
    let program = asm::assemble("block.s", &[("block.s", BLOCK)], &options);
    let program = program.unwrap_or_else(|errors| panic!("{errors}"));
    let bytes = program.segments[0].bytes.chunks_exact(4);
    bytes.map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect()
}

fn decode_block(words: &[u32]) -> Block {
    let key = Key::new(Va(0), Pa(0), Mode::empty());
    Block::decode(key, Va(0), &MIPS64R2, |index| words.get(index).copied().unwrap_or(0), None)
}

#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    let words = words();
    bencher.counter(ItemsCount::new(words.len())).bench(|| decode_block(&words));
}

#[divan::bench]
fn translate(bencher: Bencher<'_, '_>) {
    let words = words();
    let block = decode_block(&words);
    bencher.counter(ItemsCount::new(words.len())).bench(|| emit(&block, &ir::build(&block), &Pins::COMPILED));
}

/// Runs `source` for ever in portions of a million instructions of warm code.
fn run(bencher: Bencher<'_, '_>, engine: Engine, source: &str) {
    const PORTION: u64 = 1_000_000;
    let options = Options { cpu: Cpu::Mips64r2, delayed_branches: true, ..Options::default() };
    let mut vm = ProgramVm::new(assemble("loop.s", source, options), engine).expect("the host has memory");
    let mut portion = || {
        vm.grant(PORTION);
        assert!(matches!(vm.run(&mut Memory::default()), Turn::Slice));
    };
    portion();
    bencher.counter(ItemsCount::new(PORTION)).bench_local(portion);
}

/// Blocks of three instructions that are linked to each other.
#[divan::bench(args = [Engine::Interpreter, Engine::Blocks, Engine::Jit])]
fn dispatch_by_links(bencher: Bencher<'_, '_>, engine: Engine) {
    run(bencher, engine, "main: b one\nnop\ntwo: b main\naddiu $t0, $t0, 1\none: b two\naddiu $t1, $t1, 1\n");
}

/// Jumps to registers, which go through the jump cache.
#[divan::bench(args = [Engine::Interpreter, Engine::Blocks, Engine::Jit])]
fn dispatch_by_registers(bencher: Bencher<'_, '_>, engine: Engine) {
    run(
        bencher,
        engine,
        "main: la $s0, one\nla $s1, two\none: jr $s1\naddiu $t0, $t0, 1\ntwo: jr $s0\nnop\n",
    );
}

/// Loads and stores that hit the soft TLB.
#[divan::bench(args = [Engine::Interpreter, Engine::Jit])]
fn soft_tlb(bencher: Bencher<'_, '_>, engine: Engine) {
    let body = "lw $t1, 0($t0)\nsw $t1, 4096($t0)\n".repeat(16);
    run(bencher, engine, &format!("main: la $t0, 0x10010000\nagain: {body}b again\nnop\n"));
}

/// Reads of Count, each a call of a stub.
#[divan::bench]
fn stub_call(bencher: Bencher<'_, '_>) {
    let body = "mfc0 $t1, $9\n".repeat(32);
    run(bencher, Engine::Jit, &format!("main: {body}b main\nnop\n"));
}

/// A request with one buffer, from the driver's ring and back.
#[divan::bench]
fn queue(bencher: Bencher<'_, '_>) {
    const AVAILABLE: u64 = 0x2000;
    let ram = Ram::new(&[Window { base: Pa(0), size: 1 << 20 }]).expect("the host has memory");
    let dma = Dma::new(Arc::new(ram));
    let descriptor = [0x1_0000u64.to_le_bytes(), 512u64.to_le_bytes()].concat();
    dma.write(Pa(0), &descriptor).expect("is RAM");
    let layout = Layout { size: 8, ready: true, descriptors: 0, available: AVAILABLE, used: 0x3000 };
    let mut queue = Queue::new(&dma, &Arc::new(Interrupt::default()), layout, 8, 0).expect("is well formed");
    let mut index = 0u16;
    bencher.bench_local(|| {
        index = index.wrapping_add(1);
        dma.write(Pa(AVAILABLE + 2), &index.to_le_bytes()).expect("is RAM");
        let chain = queue.pop().expect("is well formed").expect("was offered");
        queue.push(&chain, 0).expect("is well formed");
    });
}

/// A snapshot of a small program, with 1 MB of memory that is not zero.
#[divan::bench]
fn snapshot(bencher: Bencher<'_, '_>) {
    let source = ".data\nbytes: .space 1048576\n.text\nmain: la $t0, bytes\nfill: sw $t0, 0($t0)\nb fill\naddiu $t0, $t0, 4\n";
    let options = Options { cpu: Cpu::Mips64r2, delayed_branches: true, ..Options::default() };
    let mut vm =
        ProgramVm::new(assemble("fill.s", source, options), Engine::Jit).expect("the host has memory");
    vm.grant(3 * (1 << 18));
    assert!(matches!(vm.run(&mut Memory::default()), Turn::Slice));
    bencher.bench_local(|| vm.snapshot());
}

/// An operation of the exact arithmetic, as stubs have it, on doubles that have no special case.
fn operate(
    bencher: Bencher<'_, '_>,
    operation: fn(&mut Fcsr, Format, u64, u64) -> Result<u64, float::FloatException>,
) {
    let [x, y] = [1.234_567e3_f64, -9.876_543e-2].map(f64::to_bits);
    let mut fcsr = Fcsr::default();
    bencher.bench_local(|| operation(&mut fcsr, Format::D, divan::black_box(x), divan::black_box(y)));
}

#[divan::bench]
fn float_add(bencher: Bencher<'_, '_>) {
    operate(bencher, float::add);
}

#[divan::bench]
fn float_mul(bencher: Bencher<'_, '_>) {
    operate(bencher, float::mul);
}

#[divan::bench]
fn float_div(bencher: Bencher<'_, '_>) {
    operate(bencher, float::div);
}
