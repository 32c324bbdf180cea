//! Branches and jumps. The branch itself is always the last instruction, so that under `.set noreorder`
//! the programmer's next instruction is in its delay slot.

use super::super::diagnostics::Problem;
use super::super::expression::Expr;
use super::super::instruction::register;
use super::{Expansion, Operands, Pseudo, Source};
use crate::isa::Op;

/// A comparison that a branch depends on.
#[derive(Clone, Copy)]
struct Comparison {
    /// Whether it is "greater" or "not greater" rather than "less" or "not less".
    greater: bool,
    /// Whether the branch is taken if the comparison is false.
    inverted: bool,
    unsigned: bool,
    likely: bool,
    /// The row that compares with zero, if signed.
    zero: Op,
}

const COMPARE: &str = "rs, rt|imm, label";

/// An entry of the table for each family `blt`, `bge`, `bgt`, `ble`.
macro_rules! compare {
    ($name:literal, $greater:literal, $inverted:literal, $unsigned:literal, $likely:literal, $zero:ident) => {
        ($name, COMPARE, |e, o| {
            let zero = Op::$zero;
            let (greater, inverted, unsigned, likely) = ($greater, $inverted, $unsigned, $likely);
            compare_and_branch(e, o, Comparison { greater, inverted, unsigned, likely, zero })
        })
    };
}

pub(super) const TABLE: &[Pseudo] = &[
    ("b", "label", |e, o| {
        e.put(Op::Beq, [register(0), register(0), o.target(0)?]);
        Ok(())
    }),
    ("bal", "label", |e, o| {
        e.put(Op::Bgezal, [register(0), o.target(0)?]);
        Ok(())
    }),
    ("beqz", "rs, label", |e, o| with_zero(e, o, Op::Beq)),
    ("bnez", "rs, label", |e, o| with_zero(e, o, Op::Bne)),
    ("beqzl", "rs, label", |e, o| with_zero(e, o, Op::Beql)),
    ("bnezl", "rs, label", |e, o| with_zero(e, o, Op::Bnel)),
    ("beq", COMPARE, |e, o| with_source(e, o, Op::Beq)),
    ("bne", COMPARE, |e, o| with_source(e, o, Op::Bne)),
    ("beql", COMPARE, |e, o| with_source(e, o, Op::Beql)),
    ("bnel", COMPARE, |e, o| with_source(e, o, Op::Bnel)),
    compare!("blt", false, false, false, false, Bltz),
    compare!("bltl", false, false, false, true, Bltzl),
    compare!("bltu", false, false, true, false, Bltz),
    compare!("bltul", false, false, true, true, Bltzl),
    compare!("bge", false, true, false, false, Bgez),
    compare!("bgel", false, true, false, true, Bgezl),
    compare!("bgeu", false, true, true, false, Bgez),
    compare!("bgeul", false, true, true, true, Bgezl),
    compare!("bgt", true, false, false, false, Bgtz),
    compare!("bgtl", true, false, false, true, Bgtzl),
    compare!("bgtu", true, false, true, false, Bgtz),
    compare!("bgtul", true, false, true, true, Bgtzl),
    compare!("ble", true, true, false, false, Blez),
    compare!("blel", true, true, false, true, Blezl),
    compare!("bleu", true, true, true, false, Blez),
    compare!("bleul", true, true, true, true, Blezl),
    ("j", "rs|label", |e, o| {
        e.put(Op::Jr, [register(o.gpr(0)?)]);
        Ok(())
    }),
    ("jal", "[rd], rs|label", |e, o| link(e, o, Op::Jalr)),
    ("jalr", "[rd], rs", |e, o| link(e, o, Op::Jalr)),
    ("jalr.hb", "[rd], rs", |e, o| link(e, o, Op::JalrHb)),
];

/// A jump that links, to `$ra` if no other register is named.
fn link(e: &mut Expansion, o: &Operands, op: Op) -> Result<(), Problem> {
    let last = o.given.len() - 1;
    let to = if last == 0 { 31 } else { o.gpr(0)? };
    e.two(op, to, o.gpr(last)?);
    Ok(())
}

fn with_zero(e: &mut Expansion, o: &Operands, op: Op) -> Result<(), Problem> {
    e.put(op, [register(o.gpr(0)?), register(0), o.target(1)?]);
    Ok(())
}

fn with_source(e: &mut Expansion, o: &Operands, op: Op) -> Result<(), Problem> {
    let (left, source, target) = (o.gpr(0)?, o.source(1)?, o.target(2)?);
    let right = e.register_of(&source)?;
    e.put(op, [register(left), register(right), target]);
    Ok(())
}

fn compare_and_branch(e: &mut Expansion, o: &Operands, c: Comparison) -> Result<(), Problem> {
    let (left, source, target) = (o.gpr(0)?, o.source(1)?, o.target(2)?);
    let is_zero = matches!(source, Source::Register(0) | Source::Value(Expr::Number(0), _));
    if is_zero && !c.unsigned {
        e.put(c.zero, [register(left), target]);
        return Ok(());
    }
    let holds_if_set = compare(e, left, &source, c)?;
    let op = match (holds_if_set, c.likely) {
        (true, false) => Op::Bne,
        (true, true) => Op::Bnel,
        (false, false) => Op::Beq,
        (false, true) => Op::Beql,
    };
    let at = e.at();
    e.put(op, [register(at), register(0), target]);
    Ok(())
}

/// Sets the temporary, and says whether the branch is taken when it is 1.
fn compare(e: &mut Expansion, left: u8, source: &Source, c: Comparison) -> Result<bool, Problem> {
    let (op, immediate) = if c.unsigned { (Op::Sltu, Op::Sltiu) } else { (Op::Slt, Op::Slti) };
    // `left > n` is `not (left < n + 1)`, if n + 1 is greater than n as the comparison sees it.
    let bound = match source {
        Source::Value(Expr::Number(number), _) if !c.greater => Some(*number),
        Source::Value(Expr::Number(-1), _) if c.unsigned => None,
        Source::Value(Expr::Number(number), _) => number.checked_add(1),
        _ => None,
    };
    if let Some(bound) = bound.filter(|b| i16::try_from(*b).is_ok()) {
        let at = e.at();
        e.with_number(immediate, at, left, bound);
        return Ok(c.greater == c.inverted);
    }
    let right = e.register_of(source)?;
    let at = e.at();
    if c.greater {
        e.three(op, at, right, left);
    } else {
        e.three(op, at, left, right);
    }
    Ok(!c.inverted)
}
