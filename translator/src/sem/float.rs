//! Floating-point registers, moves and arithmetic. What an operation computes is in
//! [`crate::float`]; here is which registers it reads and writes, in both register modes.

use crate::isa::{Classes, Insn, Op};
use crate::machine::{Binary, Machine, Special, Unary};
use crate::mode::Mode;

/// How wide a floating-point operand is: a word or a doubleword of register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// S and W: the low word.
    Single,
    /// D and L: the whole register, or a pair of low words where Status.FR is 0.
    Double,
}

/// The operands of an arithmetic instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloatShape {
    /// The kind of the sources.
    pub source: Kind,
    /// The kind of the result; a compare has none.
    pub result: Option<Kind>,
    /// The number of sources: `fs`, then `ft`, then `fr`.
    pub sources: usize,
}

/// The operands of `op`, or `None` if it does no arithmetic.
pub fn float_shape(op: Op) -> Option<FloatShape> {
    use Kind::{Double, Single};
    let row = op.row();
    if !row.classes.contains(Classes::FPU)
        || row.classes.intersects(Classes::LOAD | Classes::STORE | Classes::BRANCH | Classes::PAIRED)
    {
        return None;
    }
    let mut parts = row.name.split('.');
    let (base, formats): (&str, Vec<&str>) = (parts.next()?, parts.collect());
    let kind = |format: &str| if matches!(format, "s" | "w") { Single } else { Double };
    let shape = |source: &str, result: Option<&str>, sources| {
        Some(FloatShape { source: kind(source), result: result.map(kind), sources })
    };
    match (base, formats.as_slice()) {
        ("c", [_, format]) => shape(format, None, 2),
        ("cvt" | "round" | "trunc" | "ceil" | "floor", [to, from]) => shape(from, Some(to), 1),
        ("add" | "sub" | "mul" | "div", [format]) => shape(format, Some(format), 2),
        ("sqrt" | "abs" | "neg" | "recip" | "rsqrt", [format]) => shape(format, Some(format), 1),
        ("madd" | "msub" | "nmadd" | "nmsub", [format]) => shape(format, Some(format), 3),
        _ => None,
    }
}

/// Reads floating-point register `r`.
///
/// Where Status.FR is 0 a doubleword is the even register's low word below the odd one's.
pub fn read_float<M: Machine>(m: &mut M, r: u8, kind: Kind, mode: Mode) -> M::Val {
    match kind {
        Kind::Single => m.fpr_low(r),
        Kind::Double if mode.contains(Mode::WIDE_FPU) => m.special(Special::Fpr(r)),
        Kind::Double => {
            let (low, high) = (m.fpr_low(r & !1), m.fpr_low(r | 1));
            let thirty_two = m.constant(32);
            let high = m.binary(Binary::Shl, high, thirty_two);
            m.binary(Binary::Or, high, low)
        }
    }
}

/// Writes floating-point register `r`; a word leaves the rest of the register as it was.
pub fn write_float<M: Machine>(m: &mut M, r: u8, kind: Kind, value: M::Val, mode: Mode) {
    match kind {
        Kind::Single => m.set_fpr_low(r, value),
        Kind::Double if mode.contains(Mode::WIDE_FPU) => m.set_special(Special::Fpr(r), value),
        Kind::Double => {
            m.set_fpr_low(r & !1, value);
            let thirty_two = m.constant(32);
            let high = m.binary(Binary::Shr, value, thirty_two);
            m.set_fpr_low(r | 1, high);
        }
    }
}

/// Carries out a floating-point instruction that is no load, store or branch; the FPU is usable.
pub fn execute<M: Machine>(m: &mut M, i: Insn, mode: Mode) -> Result<(), M::Stop> {
    match i.op {
        Op::Mfc1 => {
            let value = m.fpr_low(i.fs());
            let value = m.unary(Unary::SignExtend32, value);
            m.set_gpr(i.rt(), value);
        }
        Op::Mtc1 => {
            let value = m.gpr(i.rt());
            m.set_fpr_low(i.fs(), value);
        }
        Op::Dmfc1 => {
            let value = read_float(m, i.fs(), Kind::Double, mode);
            m.set_gpr(i.rt(), value);
        }
        Op::Dmtc1 => {
            let value = m.gpr(i.rt());
            write_float(m, i.fs(), Kind::Double, value, mode);
        }
        Op::Mfhc1 => {
            let value = high_word(m, i.fs(), mode);
            m.set_gpr(i.rt(), value);
        }
        Op::Mthc1 => set_high_word(m, i, mode),
        Op::MovS => copy(m, i, Kind::Single, None, mode),
        Op::MovD => copy(m, i, Kind::Double, None, mode),
        Op::Movf | Op::Movt => {
            let taken = condition_holds(m, i.cc(), i.op == Op::Movt);
            let (new, old) = (m.gpr(i.rs()), m.gpr(i.rd()));
            let value = m.select(taken, new, old);
            m.set_gpr(i.rd(), value);
        }
        Op::MovfS | Op::MovfD | Op::MovtS | Op::MovtD => {
            let taken = condition_holds(m, i.cc(), matches!(i.op, Op::MovtS | Op::MovtD));
            copy(m, i, move_kind(i.op), Some(taken), mode);
        }
        Op::MovzS | Op::MovzD | Op::MovnS | Op::MovnD => {
            let (value, zero) = (m.gpr(i.rt()), m.constant(0));
            let when_zero = matches!(i.op, Op::MovzS | Op::MovzD);
            let taken = m.binary(if when_zero { Binary::Equal } else { Binary::NotEqual }, value, zero);
            copy(m, i, move_kind(i.op), Some(taken), mode);
        }
        Op::Prefx => {}
        _ => return arithmetic(m, i, mode),
    }
    Ok(())
}

fn move_kind(op: Op) -> Kind {
    match op {
        Op::MovfS | Op::MovtS | Op::MovzS | Op::MovnS => Kind::Single,
        _ => Kind::Double,
    }
}

fn condition_holds<M: Machine>(m: &mut M, cc: u8, wanted: bool) -> M::Val {
    let (code, zero) = (m.condition(cc), m.constant(0));
    m.binary(if wanted { Binary::NotEqual } else { Binary::Equal }, code, zero)
}

fn copy<M: Machine>(m: &mut M, i: Insn, kind: Kind, when: Option<M::Val>, mode: Mode) {
    let mut value = read_float(m, i.fs(), kind, mode);
    if let Some(condition) = when {
        let old = read_float(m, i.fd(), kind, mode);
        value = m.select(condition, value, old);
    }
    write_float(m, i.fd(), kind, value, mode);
}

fn high_word<M: Machine>(m: &mut M, r: u8, mode: Mode) -> M::Val {
    let value = read_float(m, r, Kind::Double, mode);
    let thirty_two = m.constant(32);
    m.binary(Binary::Sar, value, thirty_two)
}

fn set_high_word<M: Machine>(m: &mut M, i: Insn, mode: Mode) {
    let (new, thirty_two) = (m.gpr(i.rt()), m.constant(32));
    let high = m.binary(Binary::Shl, new, thirty_two);
    let old = read_float(m, i.fs(), Kind::Double, mode);
    let low = m.unary(Unary::ZeroExtend32, old);
    let value = m.binary(Binary::Or, high, low);
    write_float(m, i.fs(), Kind::Double, value, mode);
}

fn arithmetic<M: Machine>(m: &mut M, i: Insn, mode: Mode) -> Result<(), M::Stop> {
    let Some(shape) = shape_of(i.op) else {
        unreachable!("{} is not a floating-point instruction", i.op.row().name)
    };
    let first = read_float(m, i.fs(), shape.source, mode);
    let second = if shape.sources > 1 { read_float(m, i.ft(), shape.source, mode) } else { first };
    let third = if shape.sources > 2 { read_float(m, i.fr(), shape.source, mode) } else { first };
    let value = m.float(i.op, [first, second, third])?;
    match shape.result {
        Some(kind) => write_float(m, i.fd(), kind, value, mode),
        None => m.set_condition(i.compare_cc(), value),
    }
    Ok(())
}

/// [`float_shape`], looked up in a table that is made once.
fn shape_of(op: Op) -> Option<FloatShape> {
    use std::sync::LazyLock;
    static SHAPES: LazyLock<Vec<Option<FloatShape>>> =
        LazyLock::new(|| Op::ALL.iter().map(|op| float_shape(*op)).collect());
    SHAPES[op as usize]
}
