//! What random programs leave out, with the reason beside each.

use translator::cp0::{Cp0, HARDWARE_USER_LOCAL};
use translator::float::Fcsr;
use translator::isa::operand::Operand;
use translator::isa::{Classes, Insn, Op};

/// Where a program runs, which decides what it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// In user mode, here and under QEMU's user-mode emulation of Linux.
    Linux,
    /// In user mode, here only.
    User,
    /// In kernel mode, here only.
    Kernel,
}

/// Why programs for `world` never have `op`, if so.
pub fn excluded(op: Op, world: World) -> Option<&'static str> {
    match world {
        World::Linux => excluded_under_linux(op),
        World::User | World::Kernel => None,
    }
}

fn excluded_under_linux(op: Op) -> Option<&'static str> {
    match op {
        Op::Syscall => Some("would be a random system call"),
        Op::Ctc1 => {
            Some("QEMU ignores values with bits outside the view; the generator masks its own writes")
        }
        Op::Sdbbp => Some("is for a debugger, which QEMU's user mode emulates by stopping"),
        Op::AbsS | Op::AbsD | Op::NegS | Op::NegD => {
            Some("are bit operations in QEMU even where FCSR says arithmetic; tests/float compares them")
        }
        _ if op.classes().contains(Classes::PAIRED) => {
            Some("QEMU's generic CPU has paired singles, ours not")
        }
        _ => None,
    }
}

/// Why programs for `world` never have `insn` with these operands, if so.
pub fn excluded_operands(insn: Insn, world: World) -> Option<&'static str> {
    let classes = insn.classes();
    if classes.contains(Classes::LINK | Classes::JUMP) && insn.rd() == insn.rs() {
        return Some("UNPREDICTABLE: a link register that is also the target cannot be restarted");
    }
    if classes.contains(Classes::LINK | Classes::BRANCH) && insn.rs() == 31 && reads_gpr(insn) {
        return Some("UNPREDICTABLE: a link register that is also tested cannot be restarted");
    }
    if bit_field_leaves_register(insn) {
        return Some("UNPREDICTABLE: the bit field ends before it begins or outside the register");
    }
    match world {
        World::Linux => excluded_operands_under_linux(insn),
        World::User | World::Kernel => excluded_operands_here(insn),
    }
}

fn excluded_operands_under_linux(insn: Insn) -> Option<&'static str> {
    /// BRK_OVERFLOW and BRK_DIVZERO.
    const FLOAT_SIGNAL_CODES: [u32; 2] = [6, 7];
    const NEVER_TAKEN: &str = "QEMU makes it no branch, so that a fault in the slot names the slot";
    let code = insn.word >> 6 & 0x3ff;
    let upper_code = insn.word >> 16 & 0x3ff;
    match insn.op {
        Op::Rdhwr if insn.rd() != 0 && insn.rd() != HARDWARE_USER_LOCAL => {
            Some("a clock, its step, or what another CPU model says")
        }
        Op::Bltz | Op::Bltzal | Op::Bgtz if insn.rs() == 0 => Some(NEVER_TAKEN),
        Op::Bne if insn.rs() == insn.rt() => Some(NEVER_TAKEN),
        Op::Cfc1 if insn.fs() == 0 => Some("FIR, which differs by CPU model"),
        Op::Cfc1 if !matches!(insn.fs(), 25 | 26 | 28 | 31) => {
            Some("UNPREDICTABLE: no such control register in Release 2; QEMU emulates those of Release 5")
        }
        Op::Break if FLOAT_SIGNAL_CODES.iter().any(|c| code == *c || upper_code == *c) => {
            Some("Linux gives such a BREAK another signal")
        }
        _ if insn.classes().contains(Classes::TRAP) && FLOAT_SIGNAL_CODES.contains(&code) => {
            Some("Linux gives such a trap another signal")
        }
        _ => None,
    }
}

fn excluded_operands_here(insn: Insn) -> Option<&'static str> {
    const HARDWARE_COUNT: u8 = 2;
    if insn.op == Op::Rdhwr && insn.rd() == HARDWARE_COUNT {
        return Some("Count moves at different points of a block in each engine");
    }
    let moves_cp0 = matches!(insn.op, Op::Mfc0 | Op::Dmfc0 | Op::Mtc0 | Op::Dmtc0);
    match Cp0::find(insn.rd(), insn.sel()).filter(|_| moves_cp0) {
        Some(Cp0::Count | Cp0::Compare) => Some("Count moves at different points of a block in each engine"),
        Some(Cp0::Status | Cp0::EBase) => Some("the harness's exception handler depends on it"),
        Some(Cp0::KScratch1 | Cp0::KScratch2) => Some("the harness's exception handler keeps values there"),
        Some(Cp0::PWCtl | Cp0::PWBase) => Some("the walker would read random addresses"),
        _ => None,
    }
}

/// Whether programs may change code ahead of them. QEMU lets a block that does so run on with what it
/// was translated from; here a store is seen by the next instruction.
pub fn patches(world: World) -> bool {
    world != World::Linux
}

/// Addresses without code.
pub fn nowhere(world: World) -> &'static [u64] {
    const UNMAPPED: u64 = 0x1000;
    const FORBIDDEN: u64 = 0xffff_ffff_ffff_f000;
    const MISALIGNED: u64 = 0x2001_0002;
    match world {
        // QEMU's user mode does not expect a misaligned jump and aborts.
        World::Linux => &[UNMAPPED, FORBIDDEN],
        World::User | World::Kernel => &[UNMAPPED, FORBIDDEN, MISALIGNED],
    }
}

/// Why `insn` cannot be in a delay slot, if so.
pub fn excluded_in_slot(insn: Insn) -> Option<&'static str> {
    match insn.op {
        _ if insn.classes().has_delay_slot() => Some("UNPREDICTABLE: a branch in a delay slot"),
        Op::Eret | Op::Deret | Op::Wait => Some("UNPREDICTABLE in a delay slot"),
        _ => None,
    }
}

/// Whether the instruction is UNPREDICTABLE for sources that are not sign-extended words, and QEMU
/// then works on all 64 bits where we look at the low 32.
pub fn wants_words(op: Op) -> bool {
    matches!(
        op,
        Op::Add | Op::Addi | Op::Addu | Op::Sub | Op::Subu | Op::Sra | Op::Srav | Op::Madd | Op::Msub
    )
}

/// The bits of FCSR that a program may set.
pub fn fcsr_mask(world: World) -> u32 {
    const UNDERFLOW_ENABLE: u32 = 1 << 8;
    const FIXED: u32 = 0x1f << 18;
    match world {
        // QEMU raises nothing when it flushes, and nothing for an exact tiny result where Underflow
        // is enabled; tests/float compares what can be compared.
        World::Linux => !(FIXED & !(1 << 23) | Fcsr::FLUSH | UNDERFLOW_ENABLE),
        World::User | World::Kernel => !(FIXED & !(1 << 23)),
    }
}

fn reads_gpr(insn: Insn) -> bool {
    insn.op.row().operands().iter().any(|slot| slot.kind == Operand::Gpr)
}

fn bit_field_leaves_register(insn: Insn) -> bool {
    use Operand as O;
    let operands = insn.op.row().operands();
    let value = |wanted: &[O]| {
        let slot = operands.iter().find(|slot| wanted.contains(&slot.kind))?;
        Some(slot.get(insn.word, 0).first)
    };
    let Some(position) = value(&[O::Position, O::PositionUpper]) else { return false };
    let sizes = [O::ExtractSize, O::ExtractSizeUpper, O::InsertSize, O::InsertSizeMiddle, O::InsertSizeUpper];
    let size = value(&sizes).expect("a bit field has a size");
    let register = if insn.classes().contains(Classes::WIDE) { 64 } else { 32 };
    size < 1 || position + size > register
}
