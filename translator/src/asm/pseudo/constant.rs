//! Loads of constants and addresses into registers.

use super::super::diagnostics::Problem;
use super::super::expression::{Expr, Part};
use super::super::instruction::{number_of, register, value};
use super::super::lex::Float;
use super::super::operand::Argument;
use super::super::source::Span;
use super::{Address, Expansion, Operands, Pseudo};
use crate::isa::Op;

pub(super) const TABLE: &[Pseudo] = &[
    ("li", "rd, imm", |e, o| {
        let (expr, span) = o.value(1)?;
        e.load_value(o.gpr(0)?, &expr, span)
    }),
    ("dli", "rd, imm", |e, o| {
        let (expr, span) = o.value(1)?;
        e.load_value(o.gpr(0)?, &expr, span)
    }),
    ("la", "rd, address", |e, o| e.load_address(o.gpr(0)?, &o.address(1)?, false)),
    ("dla", "rd, address", |e, o| e.load_address(o.gpr(0)?, &o.address(1)?, true)),
    ("li.s", "fd, number", load_single),
    ("li.d", "fd, number", load_double),
];

impl Expansion {
    /// Loads a value that may depend on labels; one that does takes two instructions.
    pub(super) fn load_value(&mut self, to: u8, expr: &Expr, span: Span) -> Result<(), Problem> {
        if let Some(number) = expr.number() {
            return self.load_constant(to, number, span);
        }
        self.put(Op::Lui, [register(to), value(expr.clone().part(Part::Upper), Some(span))]);
        self.put(Op::Ori, [register(to), register(to), value(expr.clone().part(Part::Lower), Some(span))]);
        Ok(())
    }

    /// Loads a number by as few instructions as it takes.
    pub(super) fn load_constant(&mut self, to: u8, number: i64, span: Span) -> Result<(), Problem> {
        if i16::try_from(number).is_ok() {
            self.with_number(Op::Addiu, to, 0, number);
        } else if u16::try_from(number).is_ok() {
            self.with_number(Op::Ori, to, 0, number);
        } else if i32::try_from(number).is_ok() {
            self.put(Op::Lui, [register(to), number_of(number >> 16 & 0xffff)]);
            self.or_low(to, number);
        } else if self.wide {
            self.load_wide(to, number, span)?;
        } else {
            let problem = Problem::new(span, format!("immediate out of range: {number}"));
            return Err(problem.label("expected -2147483648 to 4294967295; larger ones need mips64r2"));
        }
        Ok(())
    }

    /// Loads the upper bits, shifts them, and puts in the lower ones.
    fn load_wide(&mut self, to: u8, number: i64, span: Span) -> Result<(), Problem> {
        let (mut rest, mut shift) = (number >> 16, 16);
        while rest & 0xffff == 0 && shift < 48 {
            rest >>= 16;
            shift += 16;
        }
        self.load_constant(to, rest, span)?;
        self.shift_left(to, shift);
        self.or_low(to, number);
        Ok(())
    }

    fn or_low(&mut self, to: u8, number: i64) {
        if number & 0xffff != 0 {
            self.with_number(Op::Ori, to, to, number & 0xffff);
        }
    }

    fn shift_left(&mut self, to: u8, amount: i64) {
        let op = if amount < 32 { Op::Dsll } else { Op::Dsll32 };
        self.with_number(op, to, to, amount & 31);
    }

    /// Loads the sum of an offset and a base; a `long` offset with labels has 64 bits.
    pub(super) fn load_address(&mut self, to: u8, address: &Address, long: bool) -> Result<(), Problem> {
        let add = self.by_width(Op::Addu, Op::Daddu);
        let Address { offset, base, span } = address;
        match offset.number() {
            _ if *base == 0 => return self.load_offset(to, offset, *span, long),
            Some(0) => self.copy(to, *base),
            Some(number) if i16::try_from(number).is_ok() => {
                let add = self.by_width(Op::Addiu, Op::Daddiu);
                self.with_number(add, to, *base, number);
            }
            _ => {
                let sum = if to == *base { self.at() } else { to };
                self.load_offset(sum, offset, *span, long)?;
                self.three(add, to, sum, *base);
            }
        }
        Ok(())
    }

    fn load_offset(&mut self, to: u8, offset: &Expr, span: Span, long: bool) -> Result<(), Problem> {
        if !long || offset.number().is_some() || !self.wide {
            return self.load_value(to, offset, span);
        }
        let part = |part| value(offset.clone().part(part), Some(span));
        self.put(Op::Lui, [register(to), part(Part::Highest)]);
        self.put(Op::Daddiu, [register(to), register(to), part(Part::Higher)]);
        self.shift_left(to, 16);
        self.put(Op::Daddiu, [register(to), register(to), part(Part::High)]);
        self.shift_left(to, 16);
        self.put(Op::Daddiu, [register(to), register(to), part(Part::Low)]);
        Ok(())
    }

    /// Moves 32 bits to an FPU register through the temporary.
    fn move_bits(&mut self, op: Op, bits: i64, to: u8, span: Span) -> Result<(), Problem> {
        let mut from = 0;
        if bits != 0 {
            from = self.at();
            self.load_constant(from, bits, span)?;
        }
        self.two(op, from, to);
        Ok(())
    }
}

fn float_of(o: &Operands) -> Result<Float, Problem> {
    match o.given.get(1).map(|g| &g.argument) {
        Some(Argument::Float(number)) => Ok(*number),
        Some(Argument::Value(Expr::Number(number))) => Ok(Float::from_integer(*number)),
        _ => Err(o.mismatch(1, "a floating-point number")),
    }
}

fn load_single(e: &mut Expansion, o: &Operands) -> Result<(), Problem> {
    let bits = float_of(o)?.single.to_bits();
    e.move_bits(Op::Mtc1, i64::from(bits as i32), o.fpr(0)?, o.span)
}

fn load_double(e: &mut Expansion, o: &Operands) -> Result<(), Problem> {
    let (bits, to) = (float_of(o)?.double.to_bits(), o.fpr(0)?);
    if e.wide {
        return e.move_bits(Op::Dmtc1, bits as i64, to, o.span);
    }
    let odd = odd_half(o, to, 0)?;
    e.move_bits(Op::Mtc1, i64::from(bits as i32), to, o.span)?;
    e.move_bits(Op::Mtc1, i64::from((bits >> 32) as i32), odd, o.span)
}

/// The register with the upper half of the double in `even`, where registers are 32 bits wide.
pub(super) fn odd_half(o: &Operands, even: u8, index: usize) -> Result<u8, Problem> {
    if even.is_multiple_of(2) {
        return Ok(even + 1);
    }
    let span = o.given.get(index).map_or(o.span, |g| g.span);
    Err(Problem::new(span, "a double is in an even floating-point register")
        .label(format!("expected $f{}", even - 1)))
}
