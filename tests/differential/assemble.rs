//! Words from table rows and operand values, for the code that the harness itself needs. It knows no
//! encoding: the rows say where each operand goes.

use translator::isa::Op;
use translator::isa::operand::Value;

/// An operand with one part.
pub fn one(value: impl Into<i64>) -> Value {
    Value { first: value.into(), second: 0 }
}

/// `offset(base)`.
pub fn memory(offset: impl Into<i64>, base: u8) -> Value {
    Value { first: offset.into(), second: u32::from(base) }
}

/// The word of `op` with operands in assembly order, at address `pc`.
pub fn word(op: Op, pc: u64, values: &[Value]) -> u32 {
    let row = op.row();
    assert_eq!(row.operands().len(), values.len(), "{} has other operands", row.name);
    row.operands().iter().zip(values).fold(row.value, |word, (slot, value)| {
        slot.put(word, *value, pc).unwrap_or_else(|| panic!("{}: {value:?} does not fit", row.name))
    })
}

/// Loads `value`, a sign-extended 32-bit constant, into `register`.
pub fn constant(register: u8, value: u64) -> [u32; 2] {
    assert_eq!(value as i32 as u64, value, "a constant is a word");
    let (high, low) = (value as u32 >> 16, value as u32 & 0xffff);
    [
        word(Op::Lui, 0, &[one(register), one(high)]),
        word(Op::Ori, 0, &[one(register), one(register), one(low)]),
    ]
}
