//! The routines that every block shares: entering and leaving generated code, calling stubs, and the
//! jump to wherever the program counter says. They are emitted once and put at the arena's start.

use std::collections::HashMap;
use std::mem::offset_of;

use super::asm::{Alu, Asm, Cond, Label, Reg, reg};
use super::end::emit_jump;
use super::frame::{self, CPU, SOFT_TLB};
use super::pins::Pins;
use crate::code::{ExitReason, Routine};
use crate::cpu::{CPU_BIAS, Shared};
use crate::stub::{Flow, Stub};

/// The shared routines.
#[derive(Clone, Debug)]
pub struct Routines {
    /// Their bytes.
    pub bytes: Vec<u8>,
    /// The offset of each.
    pub offsets: HashMap<Routine, usize>,
    /// The offset of the way in, a function `extern "C" fn(*mut Cpu, entry: u64) -> u64` that returns
    /// the number of an [`ExitReason`].
    pub enter: usize,
}

/// What the host's convention wants back, in the order in which it is pushed.
const HOST_SAVED: [Reg; 6] = [reg::RBX, reg::RBP, reg::R12, reg::R13, reg::R14, reg::R15];

/// Emits the shared routines of a machine with `pins`.
pub fn routines(pins: &Pins) -> Routines {
    let mut asm = Asm::new();
    let mut offsets = HashMap::new();
    let enter = asm.offset();
    emit_enter(&mut asm, pins);
    let leave = asm.label();
    let dispatch = asm.label();
    let with_stub = asm.label();
    let reasons = [
        (Routine::Alarm, ExitReason::Alarm),
        (Routine::Budget, ExitReason::Budget),
        (Routine::Polled, ExitReason::Polled),
    ];
    let mut labels = HashMap::new();
    for (routine, reason) in reasons {
        let label = asm.label();
        asm.bind(label);
        labels.insert(routine, label);
        offsets.insert(routine, asm.offset());
        asm.mov_imm32(reg::RAX, reason as i32);
        asm.jump(leave);
    }
    asm.bind(with_stub);
    asm.mov_imm32(reg::RAX, ExitReason::Leave as i32);
    asm.bind(leave);
    emit_leave(&mut asm, pins);
    asm.bind(dispatch);
    offsets.insert(Routine::Dispatch, asm.offset());
    let miss = asm.label();
    emit_dispatch(&mut asm, labels[&Routine::Alarm], miss);
    asm.bind(miss);
    offsets.insert(Routine::Miss, asm.offset());
    let find = asm.label();
    asm.call(find);
    asm.trap();
    for stub in Stub::ALL {
        asm.align(16, 0);
        match stub {
            Stub::Find => asm.bind(find),
            Stub::Join => {
                // The link's stub has called: what it would return to is the argument.
                offsets.insert(Routine::Link, asm.offset());
                asm.load(reg::RAX, reg::RSP, 0);
            }
            _ => {}
        }
        offsets.insert(Routine::Stub(*stub), asm.offset());
        emit_stub(&mut asm, pins, *stub, dispatch, with_stub);
    }
    Routines { bytes: asm.finish(), offsets, enter }
}

/// Saves the host's registers, takes over the guest's, and jumps to the entry. The stack pointer is
/// then a multiple of 16, so a call from generated code leaves it as the host's convention has it.
fn emit_enter(asm: &mut Asm, pins: &Pins) {
    for register in HOST_SAVED {
        asm.push(register);
    }
    asm.lea(reg::RSP, reg::RSP, -8);
    asm.mov(reg::RAX, reg::RSI);
    asm.lea(CPU, reg::RDI, CPU_BIAS);
    asm.stmxcsr(CPU, frame::HOST_MXCSR);
    asm.ldmxcsr(CPU, frame::MXCSR);
    asm.load(SOFT_TLB, CPU, frame::SOFT_TLB_ADDRESS);
    for (guest, host) in pins.iter() {
        asm.load(host, CPU, frame::gpr(guest));
    }
    asm.jump_register(reg::RAX);
}

/// Gives the guest's registers back to their homes and returns the reason in rax.
fn emit_leave(asm: &mut Asm, pins: &Pins) {
    for (guest, host) in pins.iter() {
        asm.store(CPU, frame::gpr(guest), host);
    }
    asm.stmxcsr(CPU, frame::MXCSR);
    asm.ldmxcsr(CPU, frame::HOST_MXCSR);
    asm.lea(reg::RSP, reg::RSP, 8);
    for register in HOST_SAVED.into_iter().rev() {
        asm.pop(register);
    }
    asm.ret();
}

/// Goes to the block at the program counter, if the jump cache knows it.
fn emit_dispatch(asm: &mut Asm, alarm: Label, miss: Label) {
    asm.load(reg::RAX, CPU, frame::ALARM_ADDRESS);
    asm.cmp32_memory_imm(reg::RAX, offset_of!(Shared, alarm) as i32, 0);
    asm.jump_if(Cond::NotEqual, alarm);
    asm.load(reg::RCX, CPU, frame::PC);
    emit_jump(asm, miss);
}

/// Calls `stub`, a function `extern "sysv64" fn(*mut Cpu, u64, u64, u32, u32) -> Returned`, with
/// arguments in rax, rdx and ecx and its own number, and returns its value in rax, or goes where its
/// [`Flow`] says. A stub may change the mode or the address space, and so the soft TLB.
fn emit_stub(asm: &mut Asm, pins: &Pins, stub: Stub, dispatch: Label, leave: Label) {
    let touches_flags = matches!(stub, Stub::ReadFloatControl | Stub::WriteFloatControl);
    asm.lea(reg::RSP, reg::RSP, -8);
    for (guest, host) in pins.caller_saved() {
        asm.store(CPU, frame::gpr(guest), host);
    }
    if touches_flags {
        asm.stmxcsr(CPU, frame::MXCSR);
    }
    asm.mov(reg::RSI, reg::RAX);
    asm.lea(reg::RDI, CPU, -CPU_BIAS);
    asm.mov_imm32(reg::R8, stub as i32);
    asm.call_memory(CPU, frame::stub(stub));
    for (guest, host) in pins.caller_saved() {
        asm.load(host, CPU, frame::gpr(guest));
    }
    if touches_flags {
        asm.ldmxcsr(CPU, frame::MXCSR);
    }
    asm.load(SOFT_TLB, CPU, frame::SOFT_TLB_ADDRESS);
    asm.lea(reg::RSP, reg::RSP, 8);
    let elsewhere = asm.label();
    asm.test32(reg::RDX, reg::RDX);
    asm.jump_if(Cond::NotEqual, elsewhere);
    asm.ret();
    asm.bind(elsewhere);
    // The return address into the block is dropped.
    asm.lea(reg::RSP, reg::RSP, 8);
    asm.alu_imm(Alu::Cmp, reg::RDX, Flow::Leave as i32);
    asm.jump_if(Cond::Equal, leave);
    if !stub.is_between_blocks() {
        return asm.jump(dispatch);
    }
    asm.jump_if(Cond::Less, dispatch);
    asm.jump_register(reg::RAX);
}
