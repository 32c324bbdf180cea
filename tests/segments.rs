//! Code that runs at several virtual addresses of one physical page: each address sees itself.

use std::sync::Arc;

use runtime::bus::Bus;
use runtime::device::Window;
use runtime::machine::{Clock, Control, Exceptions, Guest, Machine};
use runtime::memory::Ram;
use runtime::vcpu::{Engine, Outcome, Vcpu};
use translator::addr::{PAGE_SIZE, Pa};
use translator::asm::{Cpu, Options, assemble};
use translator::cp0::{Cp0, Status};
use translator::mode::Mode;
use translator::model::PROGRAM_MIPS64R2;

/// The text goes to physical address 0. `where` gives its own address, which `bal` knows; it is asked in ckseg0,
/// in ckseg1 and in xkphys, in turn, often enough for every engine to translate and join its blocks.
const TEXT: &str = "
        .text
        .set noreorder
main:   lui $s0, 0x8000
        addiu $s0, $s0, 64
        lui $s1, 0xa000
        addiu $s1, $s1, 64
        ori $s2, $zero, 0x9800
        dsll32 $s2, $s2, 16
        daddiu $s2, $s2, 64
again:  jalr $s0
        move $s7, $ra
        move $s3, $v0
        jalr $s1
        nop
        move $s4, $v0
        b ask
        nop
        .align 6
where:  move $t8, $ra
        bal here
        nop
here:   jr $t8
        daddiu $v0, $ra, -12
ask:    jalr $s2
        nop
        bne $v0, $s2, wrong
        nop
        bne $s3, $s0, wrong
        nop
        bne $s4, $s1, wrong
        nop
        bnez $a0, again
        addiu $a0, $a0, -1
        hypcall 1
wrong:  hypcall 2
";

#[test]
fn code_in_several_segments_sees_where_it_runs() {
    let options = Options { cpu: Cpu::Mips64r2, ..Options::default() };
    let program = assemble("segments.s", &[("segments.s", TEXT)], &options);
    let program = program.unwrap_or_else(|errors| panic!("{errors}"));
    for engine in [Engine::Interpreter, Engine::Jit, Engine::Auto] {
        let ram = Arc::new(Ram::new(&[Window { base: Pa(0), size: PAGE_SIZE }]).unwrap());
        ram.write(Pa(0), &program.segments[0].bytes).unwrap();
        let (bus, control) = (Bus::new(), Control::new(1));
        let machine = Machine::for_guest(
            &PROGRAM_MIPS64R2,
            Mode::default(),
            ram,
            bus,
            control,
            Clock::Host,
            Guest { exceptions: Exceptions::Host, ..Guest::KERNEL },
        );
        let mut vcpu = Vcpu::new(Arc::new(machine.unwrap()), 0);
        vcpu.set_cp0(Cp0::Status, Status::KX.bits());
        vcpu.cpu.pc = 0xffff_ffff_8000_0000;
        vcpu.cpu.gpr[4] = 20;
        assert_eq!(vcpu.run(engine, 1 << 30), Outcome::Hypercall(1), "{engine:?}");
    }
}
