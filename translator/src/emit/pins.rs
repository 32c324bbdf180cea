//! Which guest registers live in host registers in every block of a machine, so that blocks chain without glue. It must
//! not know what generated code does with them.

use std::cmp::Reverse;

use super::asm::{Reg, reg};
use crate::isa::operand::Form;
use crate::isa::{Classes, Insn, decode};

/// The host registers that hold guest registers. The first [`KEPT`] survive calls by the host's convention.
const HOSTS: [Reg; 10] =
    [reg::RBX, reg::R12, reg::R13, reg::R14, reg::RDI, reg::RSI, reg::R8, reg::R9, reg::R10, reg::R11];
const KEPT: usize = 4;

/// The guest registers that live in host registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pins([u8; HOSTS.len()]);

impl Pins {
    /// The choice for compiled code: in Debian's kernel and libc these ten are three quarters of all operands.
    pub const COMPILED: Pins = Pins([2, 29, 16, 28, 4, 5, 3, 6, 17, 25]);

    /// The registers that `code`, instruction words in a row from address `start` on, names most often, where a loop counts
    /// as if it ran eight times.
    pub fn of_code(start: u64, code: &[u32]) -> Self {
        let mut uses = [0u64; 32];
        for (index, depth) in loop_depths(start, code).into_iter().enumerate() {
            let Some(insn) = decode(code[index]) else { continue };
            for register in general_registers(insn) {
                uses[register as usize & 31] += 1 << (3 * depth);
            }
        }
        uses[0] = 0;
        // Of two that are named as often, compiled code decides.
        let mut order: Vec<u8> = Self::COMPILED.0.into_iter().chain(1..32).collect();
        order.sort_by_key(|register| Reverse(uses[*register as usize]));
        let mut chosen = Vec::with_capacity(order.len());
        for register in order {
            if !chosen.contains(&register) {
                chosen.push(register);
            }
        }
        Pins(std::array::from_fn(|place| chosen[place]))
    }

    /// The guest registers with the host register of each.
    pub fn iter(&self) -> impl Iterator<Item = (u8, Reg)> {
        self.0.into_iter().zip(HOSTS)
    }

    /// Those that a call by the host's convention may change.
    pub fn caller_saved(&self) -> impl Iterator<Item = (u8, Reg)> {
        self.iter().skip(KEPT)
    }

    /// The host register of guest register `r`.
    pub fn host(&self, r: u8) -> Option<Reg> {
        self.iter().find(|(guest, _)| *guest == r).map(|(_, host)| host)
    }
}

/// How many loops each instruction is in, at most five: a backward jump that does not link closes one.
fn loop_depths(start: u64, code: &[u32]) -> Vec<u32> {
    const DEEPEST: i32 = 5;
    let mut changes = vec![0i32; code.len() + 2];
    for (index, word) in code.iter().enumerate() {
        let pc = start.wrapping_add(4 * index as u64);
        let target = decode(*word).and_then(|insn| jump_target(insn, pc));
        let first = target.map(|target| target.wrapping_sub(start) / 4);
        if let Some(first) =
            first.and_then(|first| usize::try_from(first).ok()).filter(|first| *first <= index)
        {
            changes[first] += 1;
            // The delay slot is in the loop, too.
            changes[index + 2] -= 1;
        }
    }
    let mut depth = 0;
    let depths = changes[..code.len()].iter().map(|change| {
        depth += change;
        depth.clamp(0, DEEPEST) as u32
    });
    depths.collect()
}

/// Where a branch or jump at `pc` goes, if that is in its word and it does not link.
fn jump_target(insn: Insn, pc: u64) -> Option<u64> {
    if insn.classes().contains(Classes::LINK) {
        return None;
    }
    let slot = insn.op.row().operands().iter().find(|slot| slot.kind.form() == Form::Target)?;
    Some(slot.get(insn.word, pc).first as u64)
}

/// The general registers that an instruction names.
fn general_registers(insn: Insn) -> impl Iterator<Item = u8> {
    insn.op.row().operands().iter().flat_map(move |slot| {
        let value = slot.get(insn.word, 0);
        let (first, second) = (value.first as u8, value.second as u8);
        let named = match slot.kind.form() {
            Form::Gpr => [Some(first), None],
            Form::Memory => [Some(second), None],
            Form::Indexed => [Some(first), Some(second)],
            _ => [None, None],
        };
        named.into_iter().flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_loops_name_wins() {
        let addu = |rd: u32, rs: u32, rt: u32| 0x21 | rd << 11 | rt << 16 | rs << 21;
        let bnez = |rs: u32, words: i16| 0x1400_0000 | rs << 21 | u32::from(words as u16);
        let mut code: Vec<u32> = (16..26).map(|r| addu(r, r, r)).collect();
        code.extend([addu(8, 9, 10), bnez(11, -2), addu(12, 12, 13)]);
        let pins = Pins::of_code(0x40_0000, &code);
        for register in 8..14 {
            assert!(pins.host(register).is_some(), "{register}");
        }
        assert_eq!(pins.host(12), Some(HOSTS[0]));
        assert_eq!(pins.host(0), None);
    }

    #[test]
    fn code_that_names_nothing_is_like_compiled_code() {
        assert_eq!(Pins::of_code(0, &[]), Pins::COMPILED);
        assert_eq!(Pins::of_code(0x1000, &[0; 4]), Pins::COMPILED);
    }
}
