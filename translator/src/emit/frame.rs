//! Where guest state is while generated code runs: which guest registers have a host register, and
//! the offsets of everything else from the register that points to [`Cpu`].

use std::mem::{offset_of, size_of};

use super::asm::{Reg, reg};
use crate::cp0::Cp0;
use crate::cpu::{CPU_BIAS, Cpu};
use crate::ir::Home;
use crate::machine::Special;
use crate::stub::Stub;

/// Points to [`Cpu`], [`CPU_BIAS`] bytes past its start.
pub const CPU: Reg = reg::RBP;
/// Points to the soft TLB of the current view.
pub const SOFT_TLB: Reg = reg::R15;

/// Guest registers that live in host registers in every block, so that blocks chain without glue.
/// The choice follows how often compilers name them: in Debian's kernel and libc these ten are three
/// quarters of all operands. The first four survive calls by the host's convention.
pub const PINS: [(u8, Reg); 10] = [
    (2, reg::RBX),
    (29, reg::R12),
    (16, reg::R13),
    (28, reg::R14),
    (4, reg::RDI),
    (5, reg::RSI),
    (3, reg::R8),
    (6, reg::R9),
    (17, reg::R10),
    (25, reg::R11),
];

/// The pins that a host call may change.
pub const CALLER_SAVED: &[(u8, Reg)] = PINS.split_at(4).1;

/// The host register of guest register `r`.
pub fn pin(r: u8) -> Option<Reg> {
    PINS.iter().find(|(guest, _)| *guest == r).map(|(_, host)| *host)
}

const fn biased(offset: usize) -> i32 {
    offset as i32 - CPU_BIAS
}

/// The offset of general register `r`.
pub const fn gpr(r: u8) -> i32 {
    biased(offset_of!(Cpu, gpr) + r as usize * size_of::<u64>())
}

/// Whether `offset` is that of a general register.
pub const fn is_general(offset: i32) -> bool {
    gpr(0) <= offset && offset <= gpr(31)
}

/// The offset of floating-point register `r`.
pub const fn fpr(r: u8) -> i32 {
    biased(offset_of!(Cpu, fpr) + r as usize * size_of::<u64>())
}

/// The offset of spill slot `slot`.
pub const fn spill(slot: usize) -> i32 {
    biased(offset_of!(Cpu, spill) + slot * size_of::<u64>())
}

/// The offset of the address of `stub`.
pub const fn stub(stub: Stub) -> i32 {
    biased(offset_of!(Cpu, stubs) + stub as usize * size_of::<u64>())
}

/// The offset of a coprocessor 0 register.
pub const fn cp0(register: Cp0) -> i32 {
    biased(offset_of!(Cpu, cp0) + register as usize * size_of::<u64>())
}

/// The offset of an operand of the floating-point instruction whose cause is owed.
pub const fn float_operand(index: usize) -> i32 {
    biased(offset_of!(Cpu, float_operands) + index * size_of::<u64>())
}

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident = $field:ident;)*) => {
        $($(#[$doc])* pub const $name: i32 = biased(offset_of!(Cpu, $field));)*
    };
}

fields! {
    /// The offset of [`Cpu::pc`].
    PC = pc;
    /// The offset of [`Cpu::hi`].
    HI = hi;
    /// The offset of [`Cpu::lo`].
    LO = lo;
    /// The offset of [`Cpu::budget`].
    BUDGET = budget;
    /// The offset of [`Cpu::alarm_address`].
    ALARM_ADDRESS = alarm_address;
    /// The offset of [`Cpu::soft_tlb`].
    SOFT_TLB_ADDRESS = soft_tlb;
    /// The offset of [`Cpu::jump_cache`].
    JUMP_CACHE = jump_cache;
    /// The offset of [`Cpu::exit_link`].
    EXIT_LINK = exit_link;
    /// The offset of [`Cpu::place`].
    PLACE = place;
    /// The offset of [`Cpu::float_state`].
    FLOAT_STATE = float_state;
    /// The offset of [`Cpu::float_word`].
    FLOAT_WORD = float_word;
    /// The offset of [`Cpu::kept`].
    KEPT = kept;
    /// The offset of [`Cpu::fcsr`].
    FCSR = fcsr;
    /// The offset of [`Cpu::mxcsr`].
    MXCSR = mxcsr;
    /// The offset of [`Cpu::host_mxcsr`].
    HOST_MXCSR = host_mxcsr;
}

/// The memory of a home that is a whole 64-bit field.
pub fn field(home: Home) -> Option<i32> {
    match home {
        Home::Gpr(r) => Some(gpr(r)),
        Home::Special(Special::Hi) => Some(HI),
        Home::Special(Special::Lo) => Some(LO),
        Home::Special(Special::Cp0(register)) => Some(cp0(register)),
        Home::Special(Special::Fpr(r)) => Some(fpr(r)),
        Home::FprLow(_) | Home::Condition(_) => None,
    }
}
