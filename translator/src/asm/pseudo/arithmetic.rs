//! Arithmetic, logic, shifts, comparisons into registers, and moves between register files.

use super::super::Compat;
use super::super::diagnostics::Problem;
use super::super::expression::Expr;
use super::super::instruction::{number_of, register, skip, value};
use super::super::source::Span;
use super::constant::odd_half;
use super::{Expansion, Operands, Pseudo, Source};
use crate::isa::Op;

const THREE: &str = "rd, [rs], rt|imm";
const TWO: &str = "rd, [rs]";

pub(super) const TABLE: &[Pseudo] = &[
    ("add", THREE, |e, o| operate(e, o, Op::Add, Some(Op::Addi))),
    ("addu", THREE, |e, o| operate(e, o, Op::Addu, Some(Op::Addiu))),
    ("and", THREE, |e, o| operate(e, o, Op::And, Some(Op::Andi))),
    ("or", THREE, |e, o| operate(e, o, Op::Or, Some(Op::Ori))),
    ("xor", THREE, |e, o| operate(e, o, Op::Xor, Some(Op::Xori))),
    ("nor", THREE, |e, o| operate(e, o, Op::Nor, None)),
    ("slt", THREE, |e, o| operate(e, o, Op::Slt, Some(Op::Slti))),
    ("sltu", THREE, |e, o| operate(e, o, Op::Sltu, Some(Op::Sltiu))),
    ("dadd", THREE, |e, o| operate(e, o, Op::Dadd, Some(Op::Daddi))),
    ("daddu", THREE, |e, o| operate(e, o, Op::Daddu, Some(Op::Daddiu))),
    ("mul", THREE, |e, o| operate(e, o, Op::Mul, None)),
    ("addi", "rt, [rs], imm", |e, o| operate_immediate(e, o, Op::Add, Op::Addi)),
    ("addiu", "rt, [rs], imm", |e, o| operate_immediate(e, o, Op::Addu, Op::Addiu)),
    ("andi", "rt, [rs], imm", |e, o| operate_immediate(e, o, Op::And, Op::Andi)),
    ("ori", "rt, [rs], imm", |e, o| operate_immediate(e, o, Op::Or, Op::Ori)),
    ("xori", "rt, [rs], imm", |e, o| operate_immediate(e, o, Op::Xor, Op::Xori)),
    ("slti", "rt, [rs], imm", |e, o| operate_immediate(e, o, Op::Slt, Op::Slti)),
    ("sltiu", "rt, [rs], imm", |e, o| operate_immediate(e, o, Op::Sltu, Op::Sltiu)),
    ("daddi", "rt, [rs], imm", |e, o| operate_immediate(e, o, Op::Dadd, Op::Daddi)),
    ("daddiu", "rt, [rs], imm", |e, o| operate_immediate(e, o, Op::Daddu, Op::Daddiu)),
    ("sub", THREE, |e, o| subtract(e, o, Op::Sub, Op::Addi)),
    ("subu", THREE, |e, o| subtract(e, o, Op::Subu, Op::Addiu)),
    ("dsub", THREE, |e, o| subtract(e, o, Op::Dsub, Op::Daddi)),
    ("dsubu", THREE, |e, o| subtract(e, o, Op::Dsubu, Op::Daddiu)),
    ("subi", "rt, [rs], imm", |e, o| subtract(e, o, Op::Sub, Op::Addi)),
    ("subiu", "rt, [rs], imm", |e, o| subtract(e, o, Op::Subu, Op::Addiu)),
    ("dsubi", "rt, [rs], imm", |e, o| subtract(e, o, Op::Dsub, Op::Daddi)),
    ("dsubiu", "rt, [rs], imm", |e, o| subtract(e, o, Op::Dsubu, Op::Daddiu)),
    ("sll", THREE, |e, o| shift(e, o, (Op::Sll, None), Op::Sllv)),
    ("srl", THREE, |e, o| shift(e, o, (Op::Srl, None), Op::Srlv)),
    ("sra", THREE, |e, o| shift(e, o, (Op::Sra, None), Op::Srav)),
    ("rotr", THREE, |e, o| shift(e, o, (Op::Rotr, None), Op::Rotrv)),
    ("ror", THREE, |e, o| shift(e, o, (Op::Rotr, None), Op::Rotrv)),
    ("dsll", THREE, |e, o| shift(e, o, (Op::Dsll, Some(Op::Dsll32)), Op::Dsllv)),
    ("dsrl", THREE, |e, o| shift(e, o, (Op::Dsrl, Some(Op::Dsrl32)), Op::Dsrlv)),
    ("dsra", THREE, |e, o| shift(e, o, (Op::Dsra, Some(Op::Dsra32)), Op::Dsrav)),
    ("drotr", THREE, |e, o| shift(e, o, (Op::Drotr, Some(Op::Drotr32)), Op::Drotrv)),
    ("dror", THREE, |e, o| shift(e, o, (Op::Drotr, Some(Op::Drotr32)), Op::Drotrv)),
    ("rol", THREE, |e, o| rotate_left(e, o, (Op::Rotr, None), Op::Rotrv)),
    ("drol", THREE, |e, o| rotate_left(e, o, (Op::Drotr, Some(Op::Drotr32)), Op::Drotrv)),
    ("mulu", THREE, |e, o| multiply(e, o, Op::Multu)),
    ("dmul", THREE, |e, o| multiply(e, o, Op::Dmult)),
    ("dmulu", THREE, |e, o| multiply(e, o, Op::Dmultu)),
    ("mulo", THREE, |e, o| multiply_checked(e, o, Op::Mult, Some((Op::Sra, 31)))),
    ("mulou", THREE, |e, o| multiply_checked(e, o, Op::Multu, None)),
    ("dmulo", THREE, |e, o| multiply_checked(e, o, Op::Dmult, Some((Op::Dsra32, 31)))),
    ("dmulou", THREE, |e, o| multiply_checked(e, o, Op::Dmultu, None)),
    ("div", THREE, |e, o| divide(e, o, Op::Div, Op::Mflo)),
    ("divu", THREE, |e, o| divide(e, o, Op::Divu, Op::Mflo)),
    ("rem", THREE, |e, o| divide(e, o, Op::Div, Op::Mfhi)),
    ("remu", THREE, |e, o| divide(e, o, Op::Divu, Op::Mfhi)),
    ("ddiv", THREE, |e, o| divide(e, o, Op::Ddiv, Op::Mflo)),
    ("ddivu", THREE, |e, o| divide(e, o, Op::Ddivu, Op::Mflo)),
    ("drem", THREE, |e, o| divide(e, o, Op::Ddiv, Op::Mfhi)),
    ("dremu", THREE, |e, o| divide(e, o, Op::Ddivu, Op::Mfhi)),
    ("abs", TWO, |e, o| absolute(e, o, (Op::Sra, Op::Sub, Op::Subu))),
    ("dabs", TWO, |e, o| absolute(e, o, (Op::Dsra32, Op::Dsub, Op::Dsubu))),
    ("neg", TWO, |e, o| negate(e, o, Op::Sub)),
    ("negu", TWO, |e, o| negate(e, o, Op::Subu)),
    ("dneg", TWO, |e, o| negate(e, o, Op::Dsub)),
    ("dnegu", TWO, |e, o| negate(e, o, Op::Dsubu)),
    ("not", TWO, |e, o| {
        let (to, from) = o.pair()?;
        e.three(Op::Nor, to, from, 0);
        Ok(())
    }),
    ("move", "rd, rs", |e, o| {
        let (to, from) = (o.gpr(0)?, o.gpr(1)?);
        e.copy(to, from);
        Ok(())
    }),
    ("seq", THREE, |e, o| set_equal(e, o, true)),
    ("sne", THREE, |e, o| set_equal(e, o, false)),
    ("sge", THREE, |e, o| set_not_less(e, o, Op::Slt, Op::Slti)),
    ("sgeu", THREE, |e, o| set_not_less(e, o, Op::Sltu, Op::Sltiu)),
    ("sgt", THREE, |e, o| set_greater(e, o, Op::Slt, false)),
    ("sgtu", THREE, |e, o| set_greater(e, o, Op::Sltu, false)),
    ("sle", THREE, |e, o| set_greater(e, o, Op::Slt, true)),
    ("sleu", THREE, |e, o| set_greater(e, o, Op::Sltu, true)),
    ("mfc1.d", "rt, fs", |e, o| move_double(e, o, Op::Mfc1, Op::Mfhc1)),
    ("mtc1.d", "rt, fs", |e, o| move_double(e, o, Op::Mtc1, Op::Mthc1)),
];

/// Whether a number fits in the immediate of `op`.
fn fits(op: Op, number: i64) -> bool {
    op.row().operands().last().is_some_and(|slot| slot.range(0).contains(&number))
}

/// `rd = rs op source`, by the instruction with an immediate if the value fits there.
fn operate(e: &mut Expansion, o: &Operands, op: Op, immediate: Option<Op>) -> Result<(), Problem> {
    let (to, from, source) = o.triple()?;
    match (&source, immediate) {
        (Source::Value(expr, span), Some(immediate)) => {
            with_value(e, (op, immediate), (to, from), (expr, *span))
        }
        _ => {
            let other = e.register_of(&source)?;
            e.three(op, to, from, other);
            Ok(())
        }
    }
}

fn with_value(
    e: &mut Expansion,
    (op, immediate): (Op, Op),
    (to, from): (u8, u8),
    (expr, span): (&Expr, Span),
) -> Result<(), Problem> {
    let too_large = expr.number().is_some_and(|number| !fits(immediate, number));
    if !too_large {
        e.put(immediate, [register(to), register(from), value(expr.clone(), Some(span))]);
        return Ok(());
    }
    let other = e.register_of(&Source::Value(expr.clone(), span))?;
    e.three(op, to, from, other);
    Ok(())
}

/// A row with an immediate. SPIM refuses values that do not fit; the others load them first.
fn operate_immediate(e: &mut Expansion, o: &Operands, op: Op, immediate: Op) -> Result<(), Problem> {
    let last = o.given.len() - 1;
    let (to, from) = (o.gpr(0)?, o.gpr(last - 1)?);
    let (expr, span) =
        o.value(last).map_err(|problem| problem.label(format!("for a register, use `{}`", op.row().name)))?;
    if let Some(number) = expr.number().filter(|n| e.compat == Compat::Spim && !fits(immediate, *n)) {
        let (least, most) = if fits(immediate, -1) { (-32768, 32767) } else { (0, 65535) };
        let problem = Problem::new(span, format!("immediate out of range: {number}"));
        return Err(problem.label(format!("expected {least} to {most}")));
    }
    with_value(e, (op, immediate), (to, from), (&expr, span))
}

fn subtract(e: &mut Expansion, o: &Operands, op: Op, add: Op) -> Result<(), Problem> {
    let (to, from, source) = o.triple()?;
    if let Source::Value(Expr::Number(number), _) = source
        && fits(add, number.wrapping_neg())
    {
        e.with_number(add, to, from, number.wrapping_neg());
        return Ok(());
    }
    let other = e.register_of(&source)?;
    e.three(op, to, from, other);
    Ok(())
}

/// A shift by a register or by a number; by 32 and more, with the second of the two instructions.
fn shift(e: &mut Expansion, o: &Operands, by: (Op, Option<Op>), variable: Op) -> Result<(), Problem> {
    match o.triple()? {
        (to, from, Source::Register(amount)) => {
            e.three(variable, to, from, amount);
            Ok(())
        }
        (to, from, Source::Value(expr, span)) => shift_by(e, by, (to, from), (expr, span)),
    }
}

fn shift_by(
    e: &mut Expansion,
    (lower, upper): (Op, Option<Op>),
    (to, from): (u8, u8),
    (expr, span): (Expr, Span),
) -> Result<(), Problem> {
    let most = if upper.is_some() { 63 } else { 31 };
    match (expr.number(), upper) {
        (Some(number), Some(upper)) if (32..64).contains(&number) => {
            e.with_number(upper, to, from, number - 32);
        }
        (Some(number), _) if !(0..=most).contains(&number) => {
            let problem = Problem::new(span, format!("shift amount out of range: {number}"));
            return Err(problem.label(format!("expected 0 to {most}")));
        }
        _ => e.put(lower, [register(to), register(from), value(expr, Some(span))]),
    }
    Ok(())
}

fn rotate_left(e: &mut Expansion, o: &Operands, by: (Op, Option<Op>), variable: Op) -> Result<(), Problem> {
    let bits = if by.1.is_some() { 64 } else { 32 };
    match o.triple()? {
        (to, from, Source::Register(amount)) => {
            let at = e.at();
            e.three(Op::Subu, at, 0, amount);
            e.three(variable, to, from, at);
            Ok(())
        }
        (to, from, Source::Value(Expr::Number(number), span)) if (0..bits).contains(&number) => {
            shift_by(e, by, (to, from), (Expr::Number((bits - number) % bits), span))
        }
        (_, _, Source::Value(_, span)) => {
            let problem = Problem::new(span, "rotate amount out of range");
            Err(problem.label(format!("expected 0 to {}", bits - 1)))
        }
    }
}

fn multiply(e: &mut Expansion, o: &Operands, op: Op) -> Result<(), Problem> {
    let (to, from, source) = o.triple()?;
    let other = e.register_of(&source)?;
    e.two(op, from, other);
    e.put(Op::Mflo, [register(to)]);
    Ok(())
}

/// The code of `break` for an overflow, and for a division by zero.
const OVERFLOW: i64 = 6;
const DIVISION_BY_ZERO: i64 = 7;

fn break_with(e: &mut Expansion, code: i64) {
    e.put(Op::Break, [number_of(code), number_of(0)]);
}

/// Breaks unless HI is what the sign of LO says, or, without a sign, zero.
fn multiply_checked(e: &mut Expansion, o: &Operands, op: Op, sign: Option<(Op, i64)>) -> Result<(), Problem> {
    let (to, from, source) = o.triple()?;
    let other = e.register_of(&source)?;
    let at = e.at();
    e.two(op, from, other);
    e.put(Op::Mfhi, [register(at)]);
    e.put(Op::Mflo, [register(to)]);
    let expected = if let Some((shift, amount)) = sign {
        e.with_number(shift, to, to, amount);
        to
    } else {
        0
    };
    e.put(Op::Beq, [register(at), register(expected), skip(1)]);
    e.nop();
    break_with(e, OVERFLOW);
    e.put(Op::Mflo, [register(to)]);
    Ok(())
}

/// Three-operand division. All dialects break on a zero divisor in a register; GNU as also on the one
/// quotient that does not fit. A destination of `$0` asks for the bare instruction.
fn divide(e: &mut Expansion, o: &Operands, op: Op, result: Op) -> Result<(), Problem> {
    let (to, from, source) = o.triple()?;
    if let Source::Value(Expr::Number(0), _) = source {
        break_with(e, DIVISION_BY_ZERO);
        return Ok(());
    }
    let is_constant = matches!(source, Source::Value(..));
    let by = e.register_of(&source)?;
    let is_bare = to == 0 && matches!(result, Op::Mflo) && !is_constant;
    if !is_constant && !is_bare {
        e.put(Op::Bne, [register(by), register(0), skip(1)]);
        e.nop();
        break_with(e, DIVISION_BY_ZERO);
    }
    e.two(op, from, by);
    if is_bare {
        return Ok(());
    }
    if e.compat == Compat::Gas && !is_constant && matches!(op, Op::Div | Op::Ddiv) {
        check_quotient(e, op, from, by);
    }
    e.put(result, [register(to)]);
    Ok(())
}

/// Breaks if the least number is divided by -1.
fn check_quotient(e: &mut Expansion, op: Op, from: u8, by: u8) {
    let at = e.at();
    let least_is_long = op == Op::Ddiv;
    e.with_number(Op::Addiu, at, 0, -1);
    e.put(Op::Bne, [register(by), register(at), skip(if least_is_long { 5 } else { 4 })]);
    e.nop();
    if least_is_long {
        e.with_number(Op::Addiu, at, 0, 1);
        e.with_number(Op::Dsll32, at, at, 31);
    } else {
        e.put(Op::Lui, [register(at), number_of(0x8000)]);
    }
    e.put(Op::Bne, [register(from), register(at), skip(1)]);
    e.nop();
    break_with(e, OVERFLOW);
}

/// MARS wraps the absolute value of the least number, without a branch; SPIM and GNU as trap it.
fn absolute(e: &mut Expansion, o: &Operands, (shift, trap, wrap): (Op, Op, Op)) -> Result<(), Problem> {
    let (to, from) = o.pair()?;
    if e.compat == Compat::Mars {
        let at = e.at();
        e.with_number(shift, at, from, 31);
        e.three(Op::Xor, to, at, from);
        e.three(wrap, to, to, at);
        return Ok(());
    }
    e.put(Op::Bgez, [register(from), skip(1)]);
    e.copy(to, from);
    e.three(trap, to, 0, from);
    Ok(())
}

fn negate(e: &mut Expansion, o: &Operands, op: Op) -> Result<(), Problem> {
    let (to, from) = o.pair()?;
    e.three(op, to, 0, from);
    Ok(())
}

fn set_equal(e: &mut Expansion, o: &Operands, equal: bool) -> Result<(), Problem> {
    let (to, from, source) = o.triple()?;
    let difference = match &source {
        Source::Register(0) | Source::Value(Expr::Number(0), _) => from,
        Source::Value(Expr::Number(number), _) if fits(Op::Xori, *number) => {
            e.with_number(Op::Xori, to, from, *number);
            to
        }
        _ => {
            let other = e.register_of(&source)?;
            e.three(Op::Xor, to, from, other);
            to
        }
    };
    if equal {
        e.with_number(Op::Sltiu, to, difference, 1);
    } else {
        e.three(Op::Sltu, to, 0, difference);
    }
    Ok(())
}

fn set_not_less(e: &mut Expansion, o: &Operands, op: Op, immediate: Op) -> Result<(), Problem> {
    let (to, from, source) = o.triple()?;
    match &source {
        Source::Value(Expr::Number(number), _) if fits(immediate, *number) => {
            e.with_number(immediate, to, from, *number);
        }
        _ => {
            let other = e.register_of(&source)?;
            e.three(op, to, from, other);
        }
    }
    e.with_number(Op::Xori, to, to, 1);
    Ok(())
}

fn set_greater(e: &mut Expansion, o: &Operands, op: Op, inverted: bool) -> Result<(), Problem> {
    let (to, from, source) = o.triple()?;
    let other = e.register_of(&source)?;
    e.three(op, to, other, from);
    if inverted {
        e.with_number(Op::Xori, to, to, 1);
    }
    Ok(())
}

/// A double between two general registers and the FPU: by an even pair of registers where they are 32
/// bits wide, else by the halves of one.
fn move_double(e: &mut Expansion, o: &Operands, low: Op, high: Op) -> Result<(), Problem> {
    let (general, float) = (o.gpr(0)?, o.fpr(1)?);
    if general == 31 {
        return Err(Problem::new(o.span, "a pair of registers cannot start with $31"));
    }
    e.two(low, general, float);
    if e.wide {
        e.two(high, general + 1, float);
    } else {
        e.two(low, general + 1, odd_half(o, float, 1)?);
    }
    Ok(())
}
