//! One machine instruction before its symbols have values: a row of the instruction table and a value for
//! each of its operands. Operands are matched to rows, and put into words, by what `isa::operand` says.

use super::diagnostics::Problem;
use super::expression::Expr;
use super::layout::canonical;
use super::operand::{Argument, Given};
use super::register::Register;
use super::source::Span;
use super::symbol::Symbols;
use crate::isa::operand::{Operand, Value};
use crate::isa::{Form, Op, Row, Slot};

/// The value of an operand.
#[derive(Clone, Debug)]
pub(super) struct Arg {
    pub first: Expr,
    pub second: u32,
    /// Where it was written; `None` for what an expansion adds.
    pub span: Option<Span>,
}

/// A general or floating-point register.
pub(super) fn register(number: u8) -> Arg {
    number_of(i64::from(number))
}

/// A number that was not written.
pub(super) fn number_of(number: i64) -> Arg {
    value(Expr::Number(number), None)
}

/// An expression.
pub(super) fn value(first: Expr, span: Option<Span>) -> Arg {
    Arg { first, second: 0, span }
}

/// `offset(base)`.
pub(super) fn memory(offset: Expr, base: u8) -> Arg {
    Arg { first: offset, second: u32::from(base), span: None }
}

/// The target of a branch over so many instructions, itself and its delay slot not counted.
pub(super) fn skip(instructions: i64) -> Arg {
    value(Expr::Ahead(8 + 4 * instructions), None)
}

/// A row and its operands.
#[derive(Clone, Debug)]
pub(super) struct Instruction {
    pub op: Op,
    pub args: Vec<Arg>,
}

impl Instruction {
    /// `op` with operands as they were written at `span`.
    pub fn bind(op: Op, given: &[Given], span: Span, wide: bool) -> Result<Self, Problem> {
        let slots = op.row().operands();
        let mut args = Vec::with_capacity(slots.len());
        let mut rest = given;
        for (index, slot) in slots.iter().enumerate() {
            let needed_after = slots[index + 1..].iter().filter(|s| !s.kind.is_optional()).count();
            if slot.kind.is_optional() && rest.len() <= needed_after {
                args.push(number_of(0));
                continue;
            }
            let Some(first) = rest.first() else {
                let problem = Problem::new(span, format!("`{}` needs more operands", op.row().name));
                return Err(problem.label(usage(op.row())));
            };
            let (arg, count) = bind_slot(slot, first, rest, wide).map_err(|p| p.label(usage(op.row())))?;
            args.push(arg);
            rest = &rest[count..];
        }
        if let Some(extra) = rest.first() {
            let problem = Problem::new(extra.span, format!("too many operands for `{}`", op.row().name));
            return Err(problem.label(usage(op.row())));
        }
        let instruction = Self { op, args };
        instruction.check_numbers(span)?;
        Ok(instruction)
    }

    /// Complains about numbers that do not fit, as far as that can be said before labels have values.
    fn check_numbers(&self, span: Span) -> Result<(), Problem> {
        let mut word = self.op.row().value;
        for (slot, arg) in self.op.row().operands().iter().zip(&self.args) {
            if let (Some(number), false) = (arg.first.number(), slot.kind.form() == Form::Target) {
                word = put(slot, word, (number, arg), 0, span)?;
            }
        }
        Ok(())
    }

    /// The word, at address `pc`.
    pub fn encode(&self, pc: u64, symbols: &Symbols, span: Span) -> Result<u32, Problem> {
        let mut word = self.op.row().value;
        for (slot, arg) in self.op.row().operands().iter().zip(&self.args) {
            let number = arg.first.value(symbols, pc)?;
            let number = if arg.first.is_part() { fit_part(slot, number) } else { number };
            word = put(slot, word, (number, arg), pc, span)?;
        }
        Ok(word)
    }
}

/// The 16 bits of a part, in the range of the operand that takes them.
fn fit_part(slot: &Slot, number: i64) -> i64 {
    match slot.kind {
        Operand::Signed | Operand::Memory => i64::from(number as i16),
        Operand::Unsigned => number & 0xffff,
        _ => number,
    }
}

fn put(slot: &Slot, word: u32, (number, arg): (i64, &Arg), pc: u64, span: Span) -> Result<u32, Problem> {
    let number = if slot.kind.form() == Form::Target { canonical(number) as i64 } else { number };
    let put = slot.put(word, Value { first: number, second: arg.second }, pc);
    put.ok_or_else(|| out_of_range(slot, word, number, pc, arg.span.unwrap_or(span)))
}

fn out_of_range(slot: &Slot, word: u32, number: i64, pc: u64, span: Span) -> Problem {
    if slot.kind.form() == Form::Target {
        return unreachable_target(slot, number, pc, span);
    }
    let range = slot.range(word);
    let what = match slot.kind {
        Operand::Shift => "shift amount",
        Operand::Memory => "offset",
        Operand::Position | Operand::PositionUpper => "position",
        _ if matches!(slot.kind.form(), Form::Decimal) && slot.kind != Operand::Signed => "size",
        _ => "immediate",
    };
    let (least, most) = (range.start(), range.end());
    if range.contains(&number) {
        return Problem::new(span, "select out of range").label("expected 0 to 7");
    }
    Problem::new(span, format!("{what} out of range: {number}")).label(format!("expected {least} to {most}"))
}

fn unreachable_target(slot: &Slot, number: i64, pc: u64, span: Span) -> Problem {
    if number & 3 != 0 {
        return Problem::new(span, format!("branch target {number:#x} is not the address of an instruction"))
            .label("expected a multiple of 4");
    }
    if slot.kind == Operand::Target {
        return Problem::new(span, format!("jump target {number:#x} is too far"))
            .label(format!("a jump at {pc:#x} stays in its 256 MB region; load the address and use `jr`"));
    }
    let distance = number.wrapping_sub(pc as i64).wrapping_sub(4);
    Problem::new(span, format!("branch target is too far: {distance} bytes"))
        .label("a branch reaches -131072 to 131068 bytes; branch around a `j`")
}

fn bind_slot(slot: &Slot, given: &Given, rest: &[Given], wide: bool) -> Result<(Arg, usize), Problem> {
    let span = Some(given.span);
    let single = |first: i64| Ok((value(Expr::Number(first), span), 1));
    let mismatch = || Err(given.unexpected(expected(slot)));
    match (slot.kind.form(), &given.argument) {
        (Form::Gpr, Argument::Register(Register::Gpr(n) | Register::Number(n)))
        | (Form::Fpr, Argument::Register(Register::Fpr(n)))
        | (Form::Condition, Argument::Register(Register::Condition(n)))
        | (Form::Numbered, Argument::Register(Register::Number(n))) => single(i64::from(*n)),
        (Form::Numbered, Argument::Register(Register::FloatControl(n)))
            if slot.kind == Operand::FloatControl =>
        {
            single(i64::from(*n))
        }
        (Form::Selected, Argument::Register(Register::Number(n))) => {
            let (select, count) = select_of(rest)?;
            Ok((Arg { first: Expr::Number(i64::from(*n)), second: select, span }, count))
        }
        (Form::Hexadecimal, Argument::Register(Register::Number(n)))
            if slot.kind == Operand::Cop2Immediate =>
        {
            let (select, count) = select_of(rest)?;
            Ok((value(Expr::Number(i64::from(*n) << 11 | i64::from(select)), span), count))
        }
        (Form::Condition | Form::Decimal | Form::Hexadecimal | Form::Target, Argument::Value(expr)) => {
            if given.is_unknown_register() {
                return mismatch();
            }
            Ok((value(narrow(slot, expr, wide), span), 1))
        }
        (Form::Memory, Argument::Memory(offset, base)) => {
            Ok((Arg { first: offset.clone(), second: u32::from(*base), span }, 1))
        }
        (Form::Indexed, Argument::Indexed(index, base)) => {
            Ok((Arg { first: Expr::Number(i64::from(*index)), second: u32::from(*base), span }, 1))
        }
        _ => mismatch(),
    }
}

/// The select after a register, and the number of operands in both.
fn select_of(rest: &[Given]) -> Result<(u32, usize), Problem> {
    let Some(second) = rest.get(1) else { return Ok((0, 1)) };
    let Argument::Value(Expr::Number(number)) = second.argument else {
        return Err(second.unexpected("a select, 0 to 7"));
    };
    let select = u32::try_from(number).ok().filter(|select| *select <= 7);
    let select =
        select.ok_or_else(|| Problem::new(second.span, "select out of range").label("expected 0 to 7"))?;
    Ok((select, 2))
}

/// On a 32-bit CPU 0xffffffff is -1.
fn narrow(slot: &Slot, expr: &Expr, wide: bool) -> Expr {
    match expr {
        Expr::Number(number) if slot.kind == Operand::Signed && !wide => Expr::Number(narrow_number(*number)),
        _ => expr.clone(),
    }
}

/// A number of 32 bits as a signed one; others as they are.
pub(super) fn narrow_number(number: i64) -> i64 {
    canonical(number) as i64
}

/// What an operand may be, for messages.
fn expected(slot: &Slot) -> &'static str {
    match slot.kind.form() {
        Form::Gpr => "a general register",
        Form::Fpr => "a floating-point register",
        Form::Condition => "a condition code, $fcc0 to $fcc7",
        Form::Numbered | Form::Selected => "the number of a register, as in `$12`",
        Form::Decimal | Form::Hexadecimal => "a number",
        Form::Target => "a label",
        Form::Memory => "an address, as in `4($sp)`",
        Form::Indexed => "an address, as in `$t0($sp)`",
    }
}

/// How an instruction is written.
pub(super) fn usage(row: &Row) -> String {
    let words: Vec<String> = row.operands().iter().map(operand_name).collect();
    format!("usage: {} {}", row.name, words.join(", ")).trim_end().to_owned()
}

fn operand_name(slot: &Slot) -> String {
    let name = match slot.kind.form() {
        Form::Memory => "offset(base)",
        Form::Indexed => "index(base)",
        Form::Target => "label",
        _ => slot.kind.name().trim_end_matches(['?', '2']),
    };
    if slot.kind.is_optional() { format!("[{name}]") } else { name.into() }
}
