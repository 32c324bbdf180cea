//! A random program: its initial state and its units of code. Targets are relative to units, so that
//! deleting a unit leaves a program; addresses appear only when it is laid out.

use translator::isa::operand::{Operand, Value};
use translator::isa::text::{Names, print_word};
use translator::isa::{Op, decode};

use crate::assemble::{constant, memory, one, word};

/// The doublewords of the data area.
pub const DATA_DOUBLES: usize = 256;

/// What a general register holds at the start.
#[derive(Clone, Copy, Debug)]
pub enum Initial {
    /// A number.
    Number(u64),
    /// The middle of the data area.
    Data,
}

/// A piece of code that is kept or deleted as a whole.
#[derive(Clone, Debug)]
pub enum Unit {
    /// Instructions without targets.
    Straight(Vec<u32>),
    /// A branch over the next `skip` units of the same list, with its delay slot.
    Branch { word: u32, skip: usize, slot: u32 },
    /// A jump by `register` over the next `skip` units of the same list, with its delay slot.
    Jump { word: u32, register: u8, skip: usize, slot: u32 },
    /// Stores `word` over the first word of the unit after the next `skip`, by way of two registers.
    Patch { word: u32, address: u8, value: u8, skip: usize },
    /// Runs `body` `turns` times. `back` is the branch at its end.
    Loop { counter: u8, turns: u8, body: Vec<Unit>, back: Op, slot: u32 },
}

/// A program with the state it begins in.
#[derive(Clone, Debug)]
pub struct Program {
    /// What it was made from.
    pub seed: u64,
    pub gpr: [Initial; 32],
    pub hi: u64,
    pub lo: u64,
    pub fpr: [u64; 32],
    pub fcsr: u32,
    pub data: Vec<u64>,
    /// Where the code begins in its room, in words: so that code crosses pages here and there.
    pub start: usize,
    pub units: Vec<Unit>,
}

/// The trap that ends a program that nothing else has ended.
pub fn end_word() -> u32 {
    const END_CODE: u32 = 0x3ff;
    word(Op::Teq, 0, &[one(0), one(0), one(END_CODE)])
}

impl Unit {
    fn words(&self) -> usize {
        match self {
            Unit::Straight(words) => words.len(),
            Unit::Branch { .. } => 2,
            Unit::Jump { .. } => 4,
            Unit::Patch { .. } => 5,
            Unit::Loop { body, .. } => 4 + body.iter().map(Unit::words).sum::<usize>(),
        }
    }

    fn emit(&self, at: u64, target: u64, out: &mut Vec<u32>) {
        match self {
            Unit::Straight(words) => out.extend(words),
            Unit::Branch { word, slot, .. } => out.extend([with_target(*word, at, target), *slot]),
            Unit::Jump { word, register, slot, .. } => {
                out.extend(constant(*register, target));
                out.extend([*word, *slot]);
            }
            Unit::Patch { word: new, address, value, .. } => {
                out.extend(constant(*address, target));
                out.extend(constant(*value, *new as i32 as u64));
                out.push(word(Op::Sw, 0, &[one(*value), memory(0, *address)]));
            }
            Unit::Loop { counter, turns, body, back, slot } => {
                out.push(word(Op::Addiu, 0, &[one(*counter), one(0), one(*turns)]));
                emit_list(body, at + 4, out);
                out.push(word(Op::Addiu, 0, &[one(*counter), one(*counter), one(-1)]));
                let branch = at + 4 * (self.words() as u64 - 2);
                let to = one((at + 4) as i64);
                let values = [one(*counter), one(0), to];
                let two_registers = back.row().operands().len() == 3;
                let values = if two_registers { &values[..] } else { &[values[0], to] };
                out.extend([word(*back, branch, values), *slot]);
            }
        }
    }
}

fn skip_of(unit: &Unit) -> usize {
    match unit {
        Unit::Branch { skip, .. } | Unit::Jump { skip, .. } | Unit::Patch { skip, .. } => *skip,
        _ => 0,
    }
}

fn emit_list(units: &[Unit], at: u64, out: &mut Vec<u32>) {
    let mut starts = vec![at];
    for unit in units {
        starts.push(starts[starts.len() - 1] + 4 * unit.words() as u64);
    }
    for (index, unit) in units.iter().enumerate() {
        let target = match (unit, units.get(index + 1 + skip_of(unit))) {
            // The set-up of a loop or jump and the end must stay, so the patch hits itself.
            (Unit::Patch { .. }, None | Some(Unit::Loop { .. } | Unit::Jump { .. })) => starts[index],
            _ => starts[(index + 1 + skip_of(unit)).min(units.len())],
        };
        unit.emit(starts[index], target, out);
    }
}

/// The branch `word` at `at` with its target operand set.
fn with_target(word: u32, at: u64, target: u64) -> u32 {
    let insn = decode(word).expect("a branch is an instruction");
    let is_target = |kind| matches!(kind, Operand::Branch | Operand::Target);
    let slot = insn.op.row().operands().iter().find(|slot| is_target(slot.kind));
    let slot = slot.expect("a branch has a target");
    slot.put(word, Value { first: target as i64, second: 0 }, at).expect("targets are near")
}

impl Program {
    /// The code, for address `at`, with its end.
    pub fn code(&self, at: u64) -> Vec<u32> {
        let mut out = Vec::new();
        emit_list(&self.units, at, &mut out);
        out.push(end_word());
        out
    }

    /// The general registers at the start, where the data area's middle is `data`.
    pub fn registers(&self, data: u64) -> [u64; 32] {
        self.gpr.map(|initial| match initial {
            Initial::Number(value) => value,
            Initial::Data => data,
        })
    }

    /// The code as text.
    pub fn listing(&self, at: u64) -> String {
        let lines = self.code(at).into_iter().enumerate().map(|(index, word)| {
            let pc = at + 4 * index as u64;
            format!("  {pc:016x}  {word:08x}  {}\n", print_word(word, pc, Names::Numeric))
        });
        lines.collect()
    }
}
