//! One instruction as assembly text, for listings, traces and dumps.

use std::fmt::Write;

use super::operand::{Operand, Slot, Value};
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
        if is_left_out(slot, value, rest_is_zero) {
            continue;
        }
        text.push_str(separator);
        separator = ", ";
        push_operand(&mut text, slot, value, names);
    }
    text
}

/// The text of `word` at address `pc`: the instruction, or `.word` for a reserved encoding.
pub fn print_word(word: u32, pc: u64, names: Names) -> String {
    decode(word).map_or_else(|| format!(".word {word:#010x}"), |insn| print(insn, pc, names))
}

fn is_left_out(slot: &Slot, value: Value, rest_is_zero: bool) -> bool {
    use Operand as O;
    match slot.kind {
        O::Code20 | O::Code10 | O::CodeLow | O::CodeTrap | O::Code19 | O::CodeHypcall | O::SyncType => {
            rest_is_zero
        }
        O::Condition | O::GprOptional => value.first == 0,
        _ => false,
    }
}

fn push_operand(text: &mut String, slot: &Slot, value: Value, names: Names) {
    use Operand as O;
    let number = value.first as u8;
    let result = match slot.kind {
        O::Gpr | O::GprT | O::GprD | O::GprOptional => write!(text, "{}", names.gpr(number)),
        O::FprD | O::FprS | O::FprT | O::FprR => write!(text, "$f{number}"),
        O::Condition => write!(text, "$fcc{number}"),
        O::FloatControl | O::Cop2Register => write!(text, "${number}"),
        O::Cp0 | O::Hardware if value.second == 0 => write!(text, "${number}"),
        O::Cp0 | O::Hardware => write!(text, "${number}, {}", value.second),
        O::Memory => write!(text, "{}({})", value.first, names.gpr(value.second as u8)),
        O::Indexed => write!(text, "{}({})", names.gpr(number), names.gpr(value.second as u8)),
        O::Branch | O::Target | O::Unsigned => write!(text, "{:#x}", value.first),
        O::Code20 | O::Code10 | O::CodeLow | O::CodeTrap | O::Code19 | O::CodeHypcall | O::Code25 => {
            write!(text, "{:#x}", value.first)
        }
        O::Hint | O::HintD | O::SyncType | O::Cop2Immediate => write!(text, "{:#x}", value.first),
        O::Shift | O::Signed | O::Position | O::PositionUpper => write!(text, "{}", value.first),
        O::ExtractSize | O::ExtractSizeUpper => write!(text, "{}", value.first),
        O::InsertSize | O::InsertSizeMiddle | O::InsertSizeUpper => write!(text, "{}", value.first),
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
