//! The patch plan: what replaces each instruction in a translation, and why. An instruction is kept,
//! replaced by one action (one to one), or by several (one to many). The plan depends only on the
//! instruction, the CPU model and the mode, so it is data that the translator, the interpreter, the
//! dump and the statistics read alike.

use std::fmt;

use crate::cp0::{Cp0, HARDWARE_USER_LOCAL, Touch};
use crate::isa::{Classes, Insn, Op};
use crate::machine::Raise;
use crate::mode::Mode;
use crate::model::Model;
use crate::nature::{Nature, Site};
use crate::stub::Stub;

/// One step of what replaces a sensitive instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The instruction's effect on a plain field, inline.
    Field,
    /// Go on only if HWREna lets programs read the hardware register.
    Permission,
    /// A call of a stub.
    Call(Stub),
    /// Go where the stub's [`Flow`](crate::stub::Flow) says.
    Follow,
    /// Leave if an interrupt is pending that is no longer masked.
    Interrupts,
    /// A memory barrier of the host.
    Barrier,
    /// The exception that the instruction is in this mode.
    Raise(Raise),
    /// A load that keeps address and value, inline where the soft TLB has the page.
    LoadLinked,
    /// A compare-and-swap of the host with what the load linked kept, inline likewise.
    StoreConditional,
    /// Nothing: the effect does not exist on this machine.
    Ignore,
    /// Check that the site is still what it has shown to be; if not, patch it back.
    Guard,
    /// The load by a constant distance, without asking the TLB.
    Direct,
    /// The jump by a direct link.
    Link,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Field => f.write_str("field"),
            Action::Permission => f.write_str("permission"),
            Action::Call(stub) => write!(f, "call {}", stub.name()),
            Action::Follow => f.write_str("follow"),
            Action::Interrupts => f.write_str("interrupts"),
            Action::Barrier => f.write_str("barrier"),
            Action::Raise(what) => write!(f, "raise {what:?}"),
            Action::LoadLinked => f.write_str("load linked"),
            Action::StoreConditional => f.write_str("store conditional"),
            Action::Ignore => f.write_str("ignore"),
            Action::Guard => f.write_str("guard"),
            Action::Direct => f.write_str("direct"),
            Action::Link => f.write_str("link"),
        }
    }
}

/// How many actions replace the instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Innocuous here: the instruction itself is compiled.
    Kept,
    /// One action replaces the instruction.
    OneToOne,
    /// Several actions replace the instruction.
    OneToMany,
}

impl Kind {
    /// The name that dumps and statistics show.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Kept => "kept",
            Kind::OneToOne => "one to one",
            Kind::OneToMany => "one to many",
        }
    }
}

/// What replaces one instruction, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The actions in order; empty if the instruction is kept.
    pub actions: &'static [Action],
    /// Why, in a few words, for people.
    pub reason: &'static str,
}

impl Plan {
    const fn new(actions: &'static [Action], reason: &'static str) -> Plan {
        Plan { actions, reason }
    }

    /// How many actions replace the instruction.
    pub const fn kind(&self) -> Kind {
        match self.actions.len() {
            0 => Kind::Kept,
            1 => Kind::OneToOne,
            _ => Kind::OneToMany,
        }
    }
}

const KEPT: Plan = Plan::new(&[], "innocuous");

const fn raise(what: Raise, reason: &'static str) -> Plan {
    let actions: &'static [Action] = match what {
        Raise::Syscall => &[Action::Raise(Raise::Syscall)],
        Raise::Breakpoint => &[Action::Raise(Raise::Breakpoint)],
        Raise::ReservedInstruction => &[Action::Raise(Raise::ReservedInstruction)],
        Raise::Coprocessor0 => &[Action::Raise(Raise::Coprocessor0)],
        Raise::Coprocessor1 => &[Action::Raise(Raise::Coprocessor1)],
        Raise::Coprocessor2 => &[Action::Raise(Raise::Coprocessor2)],
        Raise::Overflow => &[Action::Raise(Raise::Overflow)],
        Raise::Trap => &[Action::Raise(Raise::Trap)],
    };
    Plan::new(actions, reason)
}

/// What replaces a word that encodes no instruction of the table.
pub const RESERVED: Plan = raise(Raise::ReservedInstruction, "no instruction has this encoding");

/// What replaces `insn` on `model` in `mode`.
pub fn plan(insn: Insn, model: &Model, mode: Mode) -> Plan {
    let classes = insn.classes();
    if !model.has(insn) {
        return raise(Raise::ReservedInstruction, "the CPU model lacks the instruction");
    }
    if classes.contains(Classes::WIDE) && !mode.contains(Mode::WIDE_OPERATIONS) {
        return raise(Raise::ReservedInstruction, "64-bit operations are off in this mode");
    }
    if classes.contains(Classes::PRIVILEGED) && !mode.contains(Mode::CP0_USABLE) {
        return raise(Raise::Coprocessor0, "privileged instruction without the privilege");
    }
    if classes.contains(Classes::COP2) {
        return raise(Raise::Coprocessor2, "there is no coprocessor 2");
    }
    if classes.contains(Classes::SENSITIVE) { sensitive(insn, mode) } else { KEPT }
}

/// What replaces the innocuous `insn` at a site that has shown what it is.
pub fn patched(insn: Insn, site: &Site) -> Plan {
    match site.nature {
        Nature::Plain if site.was_patched => Plan::new(&[], "innocuous; patched back when a guard failed"),
        Nature::Plain => KEPT,
        Nature::Device if insn.classes().contains(Classes::STORE) => {
            Plan::new(&[Action::Call(Stub::DeviceStore), Action::Follow], "the site met a device")
        }
        Nature::Device => {
            Plan::new(&[Action::Call(Stub::DeviceLoad), Action::Follow], "the site met a device")
        }
        Nature::Window(_) => {
            Plan::new(&[Action::Guard, Action::Direct], "the site met only RAM that no TLB maps")
        }
        Nature::Target(_) => Plan::new(&[Action::Guard, Action::Link], "the jump went to one place only"),
    }
}

/// The barriers of SYNC that order nothing before a later load but loads, as the host always does:
/// SYNC_WMB, SYNC_ACQUIRE, SYNC_RELEASE and SYNC_RMB (MIPS64 volume II-A, SYNC). Any other type than
/// those and SYNC_MB acts as type 0, which orders all.
const SYNC_KEPT_BY_HOST: [u32; 4] = [0x04, 0x11, 0x12, 0x13];

/// The plan of a sensitive instruction that the mode allows.
///
/// # Panics
/// Panics for a row that is marked sensitive and has no plan; a test visits every row.
fn sensitive(insn: Insn, mode: Mode) -> Plan {
    use Action as A;
    const fn one(actions: &'static [Action], reason: &'static str) -> Plan {
        Plan::new(actions, reason)
    }
    match insn.op {
        Op::Syscall => raise(Raise::Syscall, "always an exception"),
        Op::Break | Op::Sdbbp => raise(Raise::Breakpoint, "always an exception"),
        Op::Sync if mode.contains(Mode::ALONE) => one(&[A::Ignore], "nothing else uses memory"),
        Op::Sync if SYNC_KEPT_BY_HOST.contains(&(insn.word >> 6 & 0x1f)) => {
            one(&[A::Ignore], "the host keeps this order by itself")
        }
        Op::Sync => one(&[A::Barrier], "only stores before loads are out of order on the host"),
        Op::Synci => one(&[A::Ignore], "translations follow memory without being told"),
        Op::Cache => one(&[A::Ignore], "caches are coherent, and translations follow memory"),
        Op::Ll | Op::Lld => one(&[A::LoadLinked, A::Follow], "the link is an address and its value"),
        Op::Sc | Op::Scd => one(&[A::StoreConditional, A::Follow], "memory must still have the linked value"),
        Op::Rdhwr if insn.rd() == HARDWARE_USER_LOCAL && mode.contains(Mode::CP0_USABLE) => {
            one(&[A::Field], "the register is a plain field")
        }
        Op::Rdhwr if insn.rd() == HARDWARE_USER_LOCAL => {
            one(&[A::Permission, A::Field], "HWREna says whether this plain field may be read")
        }
        Op::Rdhwr => one(&[A::Call(Stub::ReadHardware), A::Follow], "HWREna says what may be read"),
        Op::Mfc0 | Op::Dmfc0 => read_cp0(insn),
        Op::Mtc0 | Op::Dmtc0 => write_cp0(insn),
        Op::Rdpgpr | Op::Wrpgpr => one(&[A::Field], "there is one register set"),
        Op::Di => one(&[A::Field], "Status.IE is a plain bit"),
        Op::Ei => one(&[A::Field, A::Interrupts], "a pending interrupt must be taken now"),
        Op::Tlbp => one(&[A::Call(Stub::TlbProbe)], "the TLB is the hypervisor's"),
        Op::Tlbr => one(&[A::Call(Stub::TlbRead), A::Follow], "the TLB is the hypervisor's"),
        Op::Tlbwi => one(&[A::Call(Stub::TlbWriteIndexed), A::Follow], "the TLB is the hypervisor's"),
        Op::Tlbwr => one(&[A::Call(Stub::TlbWriteRandom), A::Follow], "the TLB is the hypervisor's"),
        Op::Tlbinv => one(&[A::Call(Stub::TlbInvalidate), A::Follow], "the TLB is the hypervisor's"),
        Op::Tlbinvf => one(&[A::Call(Stub::TlbInvalidateAll), A::Follow], "the TLB is the hypervisor's"),
        Op::Eret => one(&[A::Call(Stub::ExceptionReturn), A::Follow], "the mode changes"),
        Op::Deret => raise(Raise::ReservedInstruction, "there is no debug mode"),
        Op::Wait => one(&[A::Call(Stub::Wait), A::Follow], "the vCPU sleeps"),
        Op::Hypcall => one(&[A::Call(Stub::Hypercall), A::Follow], "a request to the hypervisor"),
        Op::Cfc1 => one(&[A::Call(Stub::ReadFloatControl), A::Follow], "flags are kept by the host's FPU"),
        Op::Ctc1 => one(&[A::Call(Stub::WriteFloatControl), A::Follow], "the host's rounding mode follows"),
        _ => unreachable!("{} is sensitive and has no plan", insn.op.row().name),
    }
}

fn read_cp0(insn: Insn) -> Plan {
    match Cp0::find(insn.rd(), insn.sel()) {
        None => Plan::new(&[Action::Field], "the register does not exist and reads as zero"),
        Some(r) if r.row().read == Touch::Plain => {
            Plan::new(&[Action::Field], "the register is a plain field")
        }
        Some(_) => Plan::new(&[Action::Call(Stub::ReadCp0)], "the register moves by itself"),
    }
}

fn write_cp0(insn: Insn) -> Plan {
    match Cp0::find(insn.rd(), insn.sel()) {
        None => Plan::new(&[Action::Ignore], "the register does not exist"),
        Some(r) if r.row().writable == 0 => Plan::new(&[Action::Ignore], "the register cannot be written"),
        Some(r) if r.row().write == Touch::Plain => {
            Plan::new(&[Action::Field], "the register is a plain field")
        }
        Some(_) => Plan::new(
            &[Action::Call(Stub::WriteCp0), Action::Follow],
            "mode, mapping or interrupts may change",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MIPS64R2;

    #[test]
    fn every_sensitive_row_has_a_plan_in_every_mode() {
        let user = Mode::USER | Mode::WIDE_ADDRESSES | Mode::WIDE_OPERATIONS;
        let kernel = Mode::WIDE_ADDRESSES | Mode::WIDE_OPERATIONS | Mode::CP0_USABLE;
        for op in Op::ALL {
            let insn = Insn { op: *op, word: op.row().value };
            let in_kernel = plan(insn, &MIPS64R2, kernel);
            let sensitive = op.classes().intersects(Classes::SENSITIVE);
            let missing = !MIPS64R2.has(insn);
            assert_eq!(in_kernel.kind() != Kind::Kept, sensitive || missing, "{}", op.row().name);
            let in_user = plan(insn, &MIPS64R2, user);
            if op.classes().contains(Classes::PRIVILEGED) {
                assert_eq!(in_user.actions, [Action::Raise(Raise::Coprocessor0)], "{}", op.row().name);
            }
        }
    }
}
