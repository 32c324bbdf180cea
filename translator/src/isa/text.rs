//! One instruction as assembly text, for listings, traces and dumps.

use std::fmt::Write;

use super::operand::{Form, Operand, Slot, Value};
use super::{Insn, decode};

/// General registers by their o32 names, as MARS and SPIM show them.
pub const GPR_NAMES_O32: [&str; 32] = [
    "zero", "at", "v0", "v1", "a0", "a1", "a2", "a3", "t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "s0",
    "s1", "s2", "s3", "s4", "s5", "s6", "s7", "t8", "t9", "k0", "k1", "gp", "sp", "fp", "ra",
];

/// General registers by their n64 and n32 names, as a 64-bit kernel and its tools show them.
pub const GPR_NAMES_N64: [&str; 32] = [
    "zero", "at", "v0", "v1", "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "t0", "t1", "t2", "t3", "s0",
    "s1", "s2", "s3", "s4", "s5", "s6", "s7", "t8", "t9", "k0", "k1", "gp", "sp", "s8", "ra",
];

/// How registers are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Names {
    /// `$8`: the form that every assembler reads alike.
    #[default]
    Numeric,
    /// `$t0` is register 8.
    O32,
    /// `$t0` is register 12.
    N64,
}

impl Names {
    /// The name of general register `number`, with its `$`.
    pub fn gpr(self, number: u8) -> String {
        match self {
            Names::Numeric => format!("${number}"),
            Names::O32 => format!("${}", GPR_NAMES_O32[number as usize & 31]),
            Names::N64 => format!("${}", GPR_NAMES_N64[number as usize & 31]),
        }
    }
}

/// The text of the instruction `insn` at address `pc`.
pub fn print(insn: Insn, pc: u64, names: Names) -> String {
    let row = insn.op.row();
    let mut text = String::from(row.name);
    let mut separator = " ";
    for (index, slot) in row.operands().iter().enumerate() {
        let value = slot.get(insn.word, pc);
        let rest_is_zero = row.operands()[index..].iter().all(|s| s.get(insn.word, pc).first == 0);
        if is_left_out(index, slot.kind, value.first == 0, rest_is_zero) {
            continue;
        }
        text.push_str(separator);
        separator = ", ";
        push_operand(&mut text, slot, value, names);
    }
    text
}

/// The text of `word` at address `pc`: the instruction, or `.word` for a reserved encoding and for one
/// whose operands have no assembly form.
pub fn print_word(word: u32, pc: u64, names: Names) -> String {
    let insn = decode(word).filter(|insn| is_writable(*insn, pc));
    insn.map_or_else(|| format!(".word {word:#010x}"), |insn| print(insn, pc, names))
}

/// The code of `insn` if it calls the hypervisor: what [`Stub::Hypercall`](crate::stub::Stub::Hypercall) is
/// given.
pub fn hypercall_code(insn: Insn) -> Option<u32> {
    let slot = insn.op.row().operands().first()?;
    (slot.kind == Operand::CodeHypcall).then(|| slot.get(insn.word, 0).first as u32)
}

/// Whether every operand has a value that may be written: a bit field can be encoded as if it ended
/// before it begins.
fn is_writable(insn: Insn, pc: u64) -> bool {
    insn.op.row().operands().iter().all(|slot| slot.put(insn.word, slot.get(insn.word, pc), pc).is_some())
}

/// Optional operands are left out when they are 0: a leading one by itself, a trailing one if what
/// follows is 0 too. A trailing condition is written always, because other assemblers want it.
fn is_left_out(index: usize, kind: Operand, is_zero: bool, rest_is_zero: bool) -> bool {
    match kind {
        Operand::Condition => index == 0 && is_zero,
        kind => kind.is_optional() && rest_is_zero,
    }
}

fn push_operand(text: &mut String, slot: &Slot, value: Value, names: Names) {
    let number = value.first as u8;
    let result = match slot.kind.form() {
        Form::Gpr => write!(text, "{}", names.gpr(number)),
        Form::Fpr => write!(text, "$f{number}"),
        Form::Condition => write!(text, "$fcc{number}"),
        Form::Numbered => write!(text, "${number}"),
        Form::Selected if value.second == 0 => write!(text, "${number}"),
        Form::Selected => write!(text, "${number}, {}", value.second),
        Form::Memory => write!(text, "{}({})", value.first, names.gpr(value.second as u8)),
        Form::Indexed => write!(text, "{}({})", names.gpr(number), names.gpr(value.second as u8)),
        Form::Target | Form::Hexadecimal => write!(text, "{:#x}", value.first),
        Form::Decimal => write!(text, "{}", value.first),
    };
    debug_assert!(result.is_ok(), "writing to a String never fails");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_the_manual_writes() {
        let cases = [
            (0x27bd_fff0, "addiu $29, $29, -16"),
            (0x8fa4_0010, "lw $4, 16($29)"),
            (0x4008_6000, "mfc0 $8, $12"),
            (0x4008_8001, "mfc0 $8, $16, 1"),
            (0x0000_000c, "syscall"),
            (0x7d02_2a40, "ext $2, $8, 9, 6"),
            (0x1000_ffff, "beq $0, $0, 0x1000"),
            (0x4620_1032, "c.eq.d $f2, $f0"),
        ];
        for (word, text) in cases {
            assert_eq!(print_word(word, 0x1000, Names::Numeric), text);
        }
    }
}
