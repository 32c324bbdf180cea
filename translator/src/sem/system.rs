//! The actions that replace sensitive instructions, over [`Machine`]: how each action's operands and
//! results meet the instruction's registers. What a stub does is the runtime's.

use super::memory::address;
use crate::cp0::{Cp0, HARDWARE_USER_LOCAL, Status};
use crate::isa::{Insn, Op};
use crate::machine::{Access, Binary, Machine, Raise, Special, Unary};
use crate::mode::Mode;
use crate::patch::{Action, Plan};
use crate::stub::Stub;

/// Carries out the actions that replace `insn`.
pub fn perform<M: Machine>(m: &mut M, insn: Insn, plan: &Plan, mode: Mode) -> Result<(), M::Stop> {
    for action in plan.actions {
        match *action {
            Action::Field => field(m, insn),
            Action::Permission => check_permission(m, insn)?,
            Action::Call(stub) => call(m, insn, stub)?,
            Action::LoadLinked => load_linked(m, insn, mode)?,
            Action::StoreConditional => store_conditional(m, insn, mode)?,
            Action::Interrupts => m.check_interrupts()?,
            Action::Barrier => m.fence(),
            Action::Raise(what) => m.raise(what)?,
            Action::Follow | Action::Ignore | Action::Guard | Action::Direct | Action::Link => {}
        }
    }
    Ok(())
}

/// An instruction whose whole effect is on plain fields.
fn field<M: Machine>(m: &mut M, i: Insn) {
    match i.op {
        Op::Mfc0 | Op::Dmfc0 => read_field(m, i),
        Op::Mtc0 | Op::Dmtc0 => write_field(m, i),
        Op::Rdpgpr | Op::Wrpgpr => {
            let value = m.gpr(i.rt());
            m.set_gpr(i.rd(), value);
        }
        Op::Di | Op::Ei => set_interrupt_enable(m, i),
        Op::Rdhwr if i.rd() == HARDWARE_USER_LOCAL => {
            let value = m.special(Special::Cp0(Cp0::UserLocal));
            m.set_gpr(i.rt(), value);
        }
        _ => unreachable!("{} has no field", i.op.row().name),
    }
}

fn read_field<M: Machine>(m: &mut M, i: Insn) {
    let value = match Cp0::find(i.rd(), i.sel()) {
        None => m.constant(0),
        Some(register) => {
            let value = m.special(Special::Cp0(register));
            let narrow = i.op == Op::Mfc0 && register.row().wide;
            if narrow { m.unary(Unary::SignExtend32, value) } else { value }
        }
    };
    m.set_gpr(i.rt(), value);
}

fn write_field<M: Machine>(m: &mut M, i: Insn) {
    let Some(register) = Cp0::find(i.rd(), i.sel()) else { return };
    let row = register.row();
    let mut value = m.gpr(i.rt());
    if !row.wide {
        value = m.unary(Unary::SignExtend32, value);
    }
    if row.writable != u64::MAX {
        // A 32-bit register is held sign-extended, so the mask must keep the extension right.
        let mask = if row.wide { row.writable } else { row.writable as u32 as i32 as u64 };
        let (writable, fixed) = (m.constant(mask), m.constant(!mask));
        let new = m.binary(Binary::And, value, writable);
        let old = m.special(Special::Cp0(register));
        let kept = m.binary(Binary::And, old, fixed);
        value = m.binary(Binary::Or, new, kept);
    }
    m.set_special(Special::Cp0(register), value);
}

fn set_interrupt_enable<M: Machine>(m: &mut M, i: Insn) {
    let old = m.special(Special::Cp0(Cp0::Status));
    m.set_gpr(i.rt(), old);
    let old = m.special(Special::Cp0(Cp0::Status));
    let bit = Status::IE.bits();
    let new = if i.op == Op::Ei {
        let bit = m.constant(bit);
        m.binary(Binary::Or, old, bit)
    } else {
        let others = m.constant(!bit);
        m.binary(Binary::And, old, others)
    };
    m.set_special(Special::Cp0(Cp0::Status), new);
}

/// RDHWR of a register that HWREna does not let programs read is a reserved instruction.
fn check_permission<M: Machine>(m: &mut M, i: Insn) -> Result<(), M::Stop> {
    let (allowed, bit) = (m.special(Special::Cp0(Cp0::HWREna)), m.constant(1 << i.rd()));
    let masked = m.binary(Binary::And, allowed, bit);
    let none = m.constant(0);
    let forbidden = m.binary(Binary::Equal, masked, none);
    m.raise_if(forbidden, Raise::ReservedInstruction)
}

/// Calls `stub` for `insn`, with the arguments and result that the stub's documentation names.
fn call<M: Machine>(m: &mut M, i: Insn, stub: Stub) -> Result<(), M::Stop> {
    let none = m.constant(0);
    match stub {
        Stub::ReadCp0 => {
            let value = m.stub(stub, [none, none], cp0_immediate(i))?;
            m.set_gpr(i.rt(), value);
        }
        Stub::WriteCp0 => {
            let value = m.gpr(i.rt());
            m.stub(stub, [value, none], cp0_immediate(i))?;
        }
        Stub::ReadHardware => {
            let value = m.stub(stub, [none, none], u32::from(i.rd()))?;
            m.set_gpr(i.rt(), value);
        }
        Stub::ReadFloatControl => {
            m.need_fpu()?;
            let value = m.stub(stub, [none, none], u32::from(i.fs()))?;
            m.set_gpr(i.rt(), value);
        }
        Stub::WriteFloatControl => {
            m.need_fpu()?;
            let value = m.gpr(i.rt());
            m.stub(stub, [value, none], u32::from(i.fs()))?;
        }
        Stub::Hypercall => {
            m.stub(stub, [none, none], i.word >> 11 & 0x3ff)?;
        }
        _ => {
            m.stub(stub, [none, none], 0)?;
        }
    }
    Ok(())
}

fn load_linked<M: Machine>(m: &mut M, i: Insn, mode: Mode) -> Result<(), M::Stop> {
    let address = address(m, i, mode);
    let value = m.load_linked(link_access(i.op), address)?;
    m.set_gpr(i.rt(), value);
    Ok(())
}

fn store_conditional<M: Machine>(m: &mut M, i: Insn, mode: Mode) -> Result<(), M::Stop> {
    let (address, value) = (address(m, i, mode), m.gpr(i.rt()));
    let done = m.store_conditional(link_access(i.op), address, value)?;
    m.set_gpr(i.rt(), done);
    Ok(())
}

/// The access of a linked instruction.
fn link_access(op: Op) -> Access {
    if matches!(op, Op::Lld | Op::Scd) { Access::U64 } else { Access::I32 }
}

/// Set in the immediate of [`Stub::ReadCp0`] and [`Stub::WriteCp0`] for a 64-bit move.
pub const CP0_DOUBLE: u32 = 1 << 8;

fn cp0_immediate(i: Insn) -> u32 {
    let register = Cp0::find(i.rd(), i.sel()).map_or(0, |r| r as u32);
    let double = matches!(i.op, Op::Dmfc0 | Op::Dmtc0);
    register | if double { CP0_DOUBLE } else { 0 }
}
