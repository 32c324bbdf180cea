//! Addresses that do not fit in a load or store, loads and stores of unaligned data, and of doubles by
//! two words.

use super::super::diagnostics::Problem;
use super::super::expression::{Expr, Part};
use super::super::instruction::{Instruction, memory, narrow_number, register, value};
use super::super::operand::{Argument, Given};
use super::{Address, Expansion, Operands, Pseudo};
use crate::isa::{Form, Op};

pub(super) const TABLE: &[Pseudo] = &[
    ("l.s", "ft, address", |e, o| load_or_store_float(e, o, Op::Lwc1)),
    ("s.s", "ft, address", |e, o| load_or_store_float(e, o, Op::Swc1)),
    ("l.d", "ft, address", |e, o| load_or_store_float(e, o, Op::Ldc1)),
    ("s.d", "ft, address", |e, o| load_or_store_float(e, o, Op::Sdc1)),
    ("ld", "rt, address", |e, o| load_or_store_pair(e, o, Op::Lw)),
    ("sd", "rt, address", |e, o| load_or_store_pair(e, o, Op::Sw)),
    ("ulw", "rt, address", |e, o| load_unaligned(e, o, (Op::Lwl, Op::Lwr), 3)),
    ("usw", "rt, address", |e, o| store_unaligned(e, o, (Op::Swl, Op::Swr), 3)),
    ("uld", "rt, address", |e, o| load_unaligned(e, o, (Op::Ldl, Op::Ldr), 7)),
    ("usd", "rt, address", |e, o| store_unaligned(e, o, (Op::Sdl, Op::Sdr), 7)),
    ("ulh", "rt, address", |e, o| load_half(e, o, Op::Lb)),
    ("ulhu", "rt, address", |e, o| load_half(e, o, Op::Lbu)),
    ("ush", "rt, address", store_half),
];

/// Rewrites the operands of a row with an address so that the address fits in the instruction; what it
/// takes to get there goes before.
pub fn direct(e: &mut Expansion, op: Op, o: &Operands) -> Result<Vec<Given>, Problem> {
    let mut given = o.given.to_vec();
    let slots = op.row().operands();
    let has_memory = slots.last().is_some_and(|slot| slot.kind.form() == Form::Memory);
    if !has_memory || given.len() != slots.len() {
        return Ok(given);
    }
    let last = given.len() - 1;
    if matches!(given[last].argument, Argument::Memory(..) | Argument::Value(_)) {
        let (offset, base) = e.near(&o.address(last)?)?;
        given[last].argument = Argument::Memory(offset, base);
    }
    Ok(given)
}

impl Expansion {
    /// The address as an offset of 16 bits from a register.
    fn near(&mut self, address: &Address) -> Result<(Expr, u8), Problem> {
        let Address { offset, base, span } = address;
        let fits = offset.number().map(|number| i16::try_from(number).is_ok());
        if fits == Some(true) || offset.is_part() {
            return Ok((offset.clone(), *base));
        }
        let at = self.at();
        if offset.number().is_some_and(|number| !self.splits(number)) {
            self.load_address(at, address, false)?;
            return Ok((Expr::Number(0), at));
        }
        self.put(Op::Lui, [register(at), value(offset.clone().part(Part::High), Some(*span))]);
        if *base != 0 {
            let add = self.by_width(Op::Addu, Op::Daddu);
            self.three(add, at, at, *base);
        }
        Ok((offset.clone().part(Part::Low), at))
    }

    /// Whether a number is what `lui` of its high part and its low part add up to.
    fn splits(&self, number: i64) -> bool {
        let in_wide = i32::try_from(number.saturating_add(0x8000)).is_ok();
        in_wide || !self.wide && i32::try_from(narrow_number(number)).is_ok()
    }

    /// The address as a register and a number, so that the next `more` bytes can be reached too.
    fn near_run(&mut self, address: &Address, more: i64) -> Result<(i64, u8), Problem> {
        if let Some(number) = address.offset.number() {
            let fits = |n| i16::try_from(n).is_ok();
            if fits(number) && fits(number + more) {
                return Ok((number, address.base));
            }
        }
        let at = self.at();
        self.load_address(at, address, false)?;
        Ok((0, at))
    }

    /// A load or store at an offset from a register.
    fn access(&mut self, op: Op, rt: u8, offset: i64, base: u8) {
        self.put(op, [register(rt), memory(Expr::Number(offset), base)]);
    }
}

fn load_or_store_float(e: &mut Expansion, o: &Operands, op: Op) -> Result<(), Problem> {
    let given = direct(e, op, o)?;
    e.out.push(Instruction::bind(op, &given, o.span, o.wide)?);
    Ok(())
}

/// A double in two general registers, where there are no wider ones.
fn load_or_store_pair(e: &mut Expansion, o: &Operands, op: Op) -> Result<(), Problem> {
    let (rt, address) = (o.gpr(0)?, o.address(1)?);
    if rt == 31 {
        return Err(Problem::new(o.span, "a pair of registers cannot start with $31"));
    }
    let (offset, base) = e.near_run(&address, 7)?;
    let halves = [(rt, offset), (rt + 1, offset + 4)];
    // The half that overwrites the base comes last.
    let ordered = if base == rt && op == Op::Lw { [halves[1], halves[0]] } else { halves };
    for (register, offset) in ordered {
        e.access(op, register, offset, base);
    }
    Ok(())
}

/// The offsets of the left and the right instruction of a pair for `last + 1` bytes.
fn sides(e: &Expansion, offset: i64, last: i64) -> (i64, i64) {
    if e.big_endian { (offset, offset + last) } else { (offset + last, offset) }
}

fn load_unaligned(
    e: &mut Expansion,
    o: &Operands,
    (left, right): (Op, Op),
    last: i64,
) -> Result<(), Problem> {
    let (rt, address) = (o.gpr(0)?, o.address(1)?);
    let (offset, base) = e.near_run(&address, last)?;
    let to = if rt == base { e.at() } else { rt };
    let (left_offset, right_offset) = sides(e, offset, last);
    e.access(left, to, left_offset, base);
    e.access(right, to, right_offset, base);
    if to != rt {
        e.copy(rt, to);
    }
    Ok(())
}

fn store_unaligned(
    e: &mut Expansion,
    o: &Operands,
    (left, right): (Op, Op),
    last: i64,
) -> Result<(), Problem> {
    let (rt, address) = (o.gpr(0)?, o.address(1)?);
    let (offset, base) = e.near_run(&address, last)?;
    let (left_offset, right_offset) = sides(e, offset, last);
    e.access(left, rt, left_offset, base);
    e.access(right, rt, right_offset, base);
    Ok(())
}

/// The offsets of the high and the low byte of a halfword.
fn bytes(e: &Expansion, offset: i64) -> (i64, i64) {
    if e.big_endian { (offset, offset + 1) } else { (offset + 1, offset) }
}

/// The high byte is loaded where the base is not needed any more afterwards.
fn load_half(e: &mut Expansion, o: &Operands, high_op: Op) -> Result<(), Problem> {
    let (rt, address) = (o.gpr(0)?, o.address(1)?);
    let (offset, base) = e.near_run(&address, 1)?;
    let at = e.at();
    let (high, low) = if base == at { (rt, at) } else { (at, rt) };
    let (high_offset, low_offset) = bytes(e, offset);
    e.access(high_op, high, high_offset, base);
    e.access(Op::Lbu, low, low_offset, base);
    e.with_number(Op::Sll, high, high, 8);
    e.three(Op::Or, rt, high, low);
    Ok(())
}

/// The high byte is shifted down in the temporary; if that holds the address, in the register itself,
/// which then gets its low byte back from memory.
fn store_half(e: &mut Expansion, o: &Operands) -> Result<(), Problem> {
    let (rt, address) = (o.gpr(0)?, o.address(1)?);
    let (offset, base) = e.near_run(&address, 1)?;
    let at = e.at();
    let (high_offset, low_offset) = bytes(e, offset);
    e.access(Op::Sb, rt, low_offset, base);
    if base != at {
        e.with_number(Op::Srl, at, rt, 8);
        e.access(Op::Sb, at, high_offset, base);
        return Ok(());
    }
    let (right, left) = (e.by_width(Op::Srl, Op::Dsrl), e.by_width(Op::Sll, Op::Dsll));
    e.with_number(right, rt, rt, 8);
    e.access(Op::Sb, rt, high_offset, at);
    e.access(Op::Lbu, at, low_offset, at);
    e.with_number(left, rt, rt, 8);
    e.three(Op::Or, rt, rt, at);
    Ok(())
}
