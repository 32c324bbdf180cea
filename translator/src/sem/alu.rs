//! Integer arithmetic, logic, shifts, multiplication, bit fields and conditional traps.

use crate::isa::{Insn, Op};
use crate::machine::{Binary, Machine, Raise, Special, Unary};

/// Carries out `insn` if it is an integer instruction that touches only registers.
#[inline]
pub fn execute<M: Machine>(m: &mut M, insn: Insn) -> Option<Result<(), M::Stop>> {
    use Binary as B;
    let i = insn;
    match i.op {
        Op::Nop | Op::Ssnop | Op::Ehb | Op::Pause | Op::Pref => {}
        Op::Addu => three(m, i, B::Add32),
        Op::Subu => three(m, i, B::Sub32),
        Op::Daddu => three(m, i, B::Add),
        Op::Dsubu => three(m, i, B::Sub),
        Op::And => three(m, i, B::And),
        Op::Or => three(m, i, B::Or),
        Op::Xor => three(m, i, B::Xor),
        Op::Nor => nor(m, i),
        Op::Slt => three(m, i, B::LessSigned),
        Op::Sltu => three(m, i, B::LessUnsigned),
        Op::Mul => multiply(m, i),
        Op::Addiu => immediate(m, i, B::Add32, i.simm()),
        Op::Daddiu => immediate(m, i, B::Add, i.simm()),
        Op::Slti => immediate(m, i, B::LessSigned, i.simm()),
        Op::Sltiu => immediate(m, i, B::LessUnsigned, i.simm()),
        Op::Andi => immediate(m, i, B::And, i.uimm()),
        Op::Ori => immediate(m, i, B::Or, i.uimm()),
        Op::Xori => immediate(m, i, B::Xor, i.uimm()),
        Op::Lui => {
            let value = m.constant((i.word << 16) as i32 as u64);
            m.set_gpr(i.rt(), value);
        }
        Op::Sll => shift(m, i, B::Shl32, 0),
        Op::Srl => shift(m, i, B::Shr32, 0),
        Op::Sra => shift(m, i, B::Sar32, 0),
        Op::Rotr => shift(m, i, B::Rotr32, 0),
        Op::Dsll => shift(m, i, B::Shl, 0),
        Op::Dsrl => shift(m, i, B::Shr, 0),
        Op::Dsra => shift(m, i, B::Sar, 0),
        Op::Drotr => shift(m, i, B::Rotr, 0),
        Op::Dsll32 => shift(m, i, B::Shl, 32),
        Op::Dsrl32 => shift(m, i, B::Shr, 32),
        Op::Dsra32 => shift(m, i, B::Sar, 32),
        Op::Drotr32 => shift(m, i, B::Rotr, 32),
        Op::Sllv => shift_variable(m, i, B::Shl32),
        Op::Srlv => shift_variable(m, i, B::Shr32),
        Op::Srav => shift_variable(m, i, B::Sar32),
        Op::Rotrv => shift_variable(m, i, B::Rotr32),
        Op::Dsllv => shift_variable(m, i, B::Shl),
        Op::Dsrlv => shift_variable(m, i, B::Shr),
        Op::Dsrav => shift_variable(m, i, B::Sar),
        Op::Drotrv => shift_variable(m, i, B::Rotr),
        Op::Movz => conditional_move(m, i, B::Equal),
        Op::Movn => conditional_move(m, i, B::NotEqual),
        Op::Mfhi => move_special(m, i, Special::Hi),
        Op::Mflo => move_special(m, i, Special::Lo),
        Op::Mthi => set_special(m, i, Special::Hi),
        Op::Mtlo => set_special(m, i, Special::Lo),
        Op::Mult => multiply_word(m, i, Unary::SignExtend32),
        Op::Multu => multiply_word(m, i, Unary::ZeroExtend32),
        Op::Dmult => high_low(m, i, B::MulHighSigned, B::Mul),
        Op::Dmultu => high_low(m, i, B::MulHighUnsigned, B::Mul),
        Op::Div => divide_word(m, i, Unary::SignExtend32, B::RemSigned, B::DivSigned),
        Op::Divu => divide_word(m, i, Unary::ZeroExtend32, B::RemUnsigned, B::DivUnsigned),
        Op::Ddiv => high_low(m, i, B::RemSigned, B::DivSigned),
        Op::Ddivu => high_low(m, i, B::RemUnsigned, B::DivUnsigned),
        Op::Madd => accumulate(m, i, Unary::SignExtend32, B::Add),
        Op::Maddu => accumulate(m, i, Unary::ZeroExtend32, B::Add),
        Op::Msub => accumulate(m, i, Unary::SignExtend32, B::Sub),
        Op::Msubu => accumulate(m, i, Unary::ZeroExtend32, B::Sub),
        Op::Clz => count(m, i, Unary::LeadingZeros32, false),
        Op::Clo => count(m, i, Unary::LeadingZeros32, true),
        Op::Dclz => count(m, i, Unary::LeadingZeros64, false),
        Op::Dclo => count(m, i, Unary::LeadingZeros64, true),
        Op::Seb => unary(m, i, Unary::SignExtend8),
        Op::Seh => unary(m, i, Unary::SignExtend16),
        Op::Dsbh => unary(m, i, Unary::SwapBytesInHalves),
        Op::Dshd => unary(m, i, Unary::SwapHalves),
        Op::Wsbh => {
            let value = m.gpr(i.rt());
            let swapped = m.unary(Unary::SwapBytesInHalves, value);
            let value = m.unary(Unary::SignExtend32, swapped);
            m.set_gpr(i.rd(), value);
        }
        Op::Ext => extract(m, i, 0, 1, true),
        Op::Dext => extract(m, i, 0, 1, false),
        Op::Dextm => extract(m, i, 0, 33, false),
        Op::Dextu => extract(m, i, 32, 1, false),
        Op::Ins => insert(m, i, 0, 0, true),
        Op::Dins => insert(m, i, 0, 0, false),
        Op::Dinsm => insert(m, i, 0, 32, false),
        Op::Dinsu => insert(m, i, 32, 32, false),
        Op::Add | Op::Addi | Op::Sub => return Some(overflowing_word(m, i)),
        Op::Dadd | Op::Daddi | Op::Dsub => return Some(overflowing_double(m, i)),
        Op::Teq | Op::Tne | Op::Tge | Op::Tgeu | Op::Tlt | Op::Tltu => return Some(trap(m, i)),
        Op::Teqi | Op::Tnei | Op::Tgei | Op::Tgeiu | Op::Tlti | Op::Tltiu => return Some(trap(m, i)),
        _ => return None,
    }
    Some(Ok(()))
}

#[inline]
fn three<M: Machine>(m: &mut M, i: Insn, op: Binary) {
    let (a, b) = (m.gpr(i.rs()), m.gpr(i.rt()));
    let value = m.binary(op, a, b);
    m.set_gpr(i.rd(), value);
}

fn multiply<M: Machine>(m: &mut M, i: Insn) {
    let (a, b) = (m.gpr(i.rs()), m.gpr(i.rt()));
    let product = m.binary(Binary::Mul, a, b);
    let word = m.unary(Unary::SignExtend32, product);
    m.set_gpr(i.rd(), word);
}

fn nor<M: Machine>(m: &mut M, i: Insn) {
    let (a, b) = (m.gpr(i.rs()), m.gpr(i.rt()));
    let either = m.binary(Binary::Or, a, b);
    let value = m.unary(Unary::Not, either);
    m.set_gpr(i.rd(), value);
}

#[inline]
fn immediate<M: Machine>(m: &mut M, i: Insn, op: Binary, value: u64) {
    let (a, b) = (m.gpr(i.rs()), m.constant(value));
    let value = m.binary(op, a, b);
    m.set_gpr(i.rt(), value);
}

#[inline]
fn shift<M: Machine>(m: &mut M, i: Insn, op: Binary, plus: u64) {
    let (a, b) = (m.gpr(i.rt()), m.constant(u64::from(i.sa()) + plus));
    let value = m.binary(op, a, b);
    m.set_gpr(i.rd(), value);
}

#[inline]
fn shift_variable<M: Machine>(m: &mut M, i: Insn, op: Binary) {
    let (a, b) = (m.gpr(i.rt()), m.gpr(i.rs()));
    let value = m.binary(op, a, b);
    m.set_gpr(i.rd(), value);
}

fn conditional_move<M: Machine>(m: &mut M, i: Insn, when: Binary) {
    let (tested, zero) = (m.gpr(i.rt()), m.constant(0));
    let condition = m.binary(when, tested, zero);
    let (new, old) = (m.gpr(i.rs()), m.gpr(i.rd()));
    let value = m.select(condition, new, old);
    m.set_gpr(i.rd(), value);
}

fn move_special<M: Machine>(m: &mut M, i: Insn, s: Special) {
    let value = m.special(s);
    m.set_gpr(i.rd(), value);
}

fn set_special<M: Machine>(m: &mut M, i: Insn, s: Special) {
    let value = m.gpr(i.rs());
    m.set_special(s, value);
}

/// The operands of a word multiplication or division as 64-bit values.
fn words<M: Machine>(m: &mut M, i: Insn, extend: Unary) -> (M::Val, M::Val) {
    let (a, b) = (m.gpr(i.rs()), m.gpr(i.rt()));
    (m.unary(extend, a), m.unary(extend, b))
}

/// Puts the halves of a 64-bit result into HI and LO, each sign-extended.
fn split<M: Machine>(m: &mut M, result: M::Val) {
    let thirty_two = m.constant(32);
    let low = m.unary(Unary::SignExtend32, result);
    m.set_special(Special::Lo, low);
    let high = m.binary(Binary::Sar, result, thirty_two);
    m.set_special(Special::Hi, high);
}

fn multiply_word<M: Machine>(m: &mut M, i: Insn, extend: Unary) {
    let (a, b) = words(m, i, extend);
    let product = m.binary(Binary::Mul, a, b);
    split(m, product);
}

fn high_low<M: Machine>(m: &mut M, i: Insn, high: Binary, low: Binary) {
    let (a, b) = (m.gpr(i.rs()), m.gpr(i.rt()));
    let value = m.binary(low, a, b);
    m.set_special(Special::Lo, value);
    let (a, b) = (m.gpr(i.rs()), m.gpr(i.rt()));
    let value = m.binary(high, a, b);
    m.set_special(Special::Hi, value);
}

fn divide_word<M: Machine>(m: &mut M, i: Insn, extend: Unary, rem: Binary, div: Binary) {
    let (a, b) = words(m, i, extend);
    let quotient = m.binary(div, a, b);
    let low = m.unary(Unary::SignExtend32, quotient);
    m.set_special(Special::Lo, low);
    let (a, b) = words(m, i, extend);
    let remainder = m.binary(rem, a, b);
    let high = m.unary(Unary::SignExtend32, remainder);
    m.set_special(Special::Hi, high);
}

fn accumulate<M: Machine>(m: &mut M, i: Insn, extend: Unary, op: Binary) {
    let (a, b) = words(m, i, extend);
    let product = m.binary(Binary::Mul, a, b);
    let (high, low) = (m.special(Special::Hi), m.special(Special::Lo));
    let thirty_two = m.constant(32);
    let high = m.binary(Binary::Shl, high, thirty_two);
    let low = m.unary(Unary::ZeroExtend32, low);
    let old = m.binary(Binary::Or, high, low);
    let sum = m.binary(op, old, product);
    split(m, sum);
}

fn count<M: Machine>(m: &mut M, i: Insn, op: Unary, invert: bool) {
    let mut value = m.gpr(i.rs());
    if invert {
        value = m.unary(Unary::Not, value);
    }
    let value = m.unary(op, value);
    m.set_gpr(i.rd(), value);
}

fn unary<M: Machine>(m: &mut M, i: Insn, op: Unary) {
    let value = m.gpr(i.rt());
    let value = m.unary(op, value);
    m.set_gpr(i.rd(), value);
}

/// `size_base` is what the size field counts from; a word result is sign-extended.
fn extract<M: Machine>(m: &mut M, i: Insn, position_base: u32, size_base: u32, word: bool) {
    let position = u32::from(i.sa()) + position_base;
    let size = u32::from(i.rd()) + size_base;
    let (value, amount) = (m.gpr(i.rs()), m.constant(u64::from(position)));
    let shifted = m.binary(Binary::Shr, value, amount);
    let mask = m.constant(low_bits(size));
    let mut value = m.binary(Binary::And, shifted, mask);
    if word {
        value = m.unary(Unary::SignExtend32, value);
    }
    m.set_gpr(i.rt(), value);
}

/// A field whose end lies below its position is unpredictable; here it inserts nothing.
fn insert<M: Machine>(m: &mut M, i: Insn, position_base: u32, end_base: u32, word: bool) {
    let position = u32::from(i.sa()) + position_base;
    let end = u32::from(i.rd()) + end_base;
    let mask = if end < position { 0 } else { low_bits(end + 1 - position) << position };
    let (old, keep) = (m.gpr(i.rt()), m.constant(!mask));
    let kept = m.binary(Binary::And, old, keep);
    let (new, amount) = (m.gpr(i.rs()), m.constant(u64::from(position)));
    let shifted = m.binary(Binary::Shl, new, amount);
    let mask = m.constant(mask);
    let inserted = m.binary(Binary::And, shifted, mask);
    let mut value = m.binary(Binary::Or, kept, inserted);
    if word {
        value = m.unary(Unary::SignExtend32, value);
    }
    m.set_gpr(i.rt(), value);
}

/// A value whose lowest `count` bits are set.
const fn low_bits(count: u32) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

/// The second operand of an addition or subtraction that can overflow, and where the result goes.
fn overflow_operands<M: Machine>(m: &mut M, i: Insn) -> (M::Val, M::Val, u8) {
    let a = m.gpr(i.rs());
    match i.op {
        Op::Addi | Op::Daddi => (a, m.constant(i.simm()), i.rt()),
        _ => (a, m.gpr(i.rt()), i.rd()),
    }
}

/// The 64-bit result of two words overflows exactly if it differs from its own sign-extended word.
fn overflowing_word<M: Machine>(m: &mut M, i: Insn) -> Result<(), M::Stop> {
    let op = if i.op == Op::Sub { Binary::Sub } else { Binary::Add };
    let (a, b, to) = overflow_operands(m, i);
    let (a, b) = (m.unary(Unary::SignExtend32, a), m.unary(Unary::SignExtend32, b));
    let exact = m.binary(op, a, b);
    let word = m.unary(Unary::SignExtend32, exact);
    let overflowed = m.binary(Binary::NotEqual, exact, word);
    m.raise_if(overflowed, Raise::Overflow)?;
    m.set_gpr(to, word);
    Ok(())
}

/// A sum overflows if both operands differ from it in sign; a difference, if the operands differ from
/// each other and the first from the result.
fn overflowing_double<M: Machine>(m: &mut M, i: Insn) -> Result<(), M::Stop> {
    let op = if i.op == Op::Dsub { Binary::Sub } else { Binary::Add };
    let (a, b, to) = overflow_operands(m, i);
    let result = m.binary(op, a, b);
    let one = m.binary(Binary::Xor, a, result);
    let two = m.binary(Binary::Xor, b, if i.op == Op::Dsub { a } else { result });
    let both = m.binary(Binary::And, one, two);
    let zero = m.constant(0);
    let overflowed = m.binary(Binary::LessSigned, both, zero);
    m.raise_if(overflowed, Raise::Overflow)?;
    m.set_gpr(to, result);
    Ok(())
}

fn trap<M: Machine>(m: &mut M, i: Insn) -> Result<(), M::Stop> {
    let a = m.gpr(i.rs());
    let b = match i.op {
        Op::Teqi | Op::Tnei | Op::Tgei | Op::Tgeiu | Op::Tlti | Op::Tltiu => m.constant(i.simm()),
        _ => m.gpr(i.rt()),
    };
    let (op, negate) = match i.op {
        Op::Teq | Op::Teqi => (Binary::Equal, false),
        Op::Tne | Op::Tnei => (Binary::NotEqual, false),
        Op::Tlt | Op::Tlti => (Binary::LessSigned, false),
        Op::Tltu | Op::Tltiu => (Binary::LessUnsigned, false),
        Op::Tge | Op::Tgei => (Binary::LessSigned, true),
        _ => (Binary::LessUnsigned, true),
    };
    let mut condition = m.binary(op, a, b);
    if negate {
        let zero = m.constant(0);
        condition = m.binary(Binary::Equal, condition, zero);
    }
    m.raise_if(condition, Raise::Trap)
}
