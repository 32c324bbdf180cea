//! Which function of [`crate::float`] each floating-point instruction is.

use crate::float::{self as f, Condition, Fcsr, FloatException, Format, Integer, RoundingMode};
use crate::isa::Op;

/// The result of floating-point instruction `op` on the raw operands `fs`, `ft` and `fr`. A compare
/// gives 1 or 0.
///
/// # Errors
/// Gives [`FloatException`] if FCSR enables an exception that the operation raises.
///
/// # Panics
/// Panics for an instruction that [`super::float_shape`] does not list.
pub fn operate(op: Op, fcsr: &mut Fcsr, [fs, ft, fr]: [u64; 3]) -> Result<u64, FloatException> {
    use Format::{D, S};
    use Integer::{L, W};
    use RoundingMode::{Down, Nearest, Up, Zero};
    let current = fcsr.rounding_mode();
    match op {
        Op::AddS => f::add(fcsr, S, fs, ft),
        Op::AddD => f::add(fcsr, D, fs, ft),
        Op::SubS => f::sub(fcsr, S, fs, ft),
        Op::SubD => f::sub(fcsr, D, fs, ft),
        Op::MulS => f::mul(fcsr, S, fs, ft),
        Op::MulD => f::mul(fcsr, D, fs, ft),
        Op::DivS => f::div(fcsr, S, fs, ft),
        Op::DivD => f::div(fcsr, D, fs, ft),
        Op::SqrtS => f::sqrt(fcsr, S, fs),
        Op::SqrtD => f::sqrt(fcsr, D, fs),
        Op::AbsS => f::abs(fcsr, S, fs),
        Op::AbsD => f::abs(fcsr, D, fs),
        Op::NegS => f::neg(fcsr, S, fs),
        Op::NegD => f::neg(fcsr, D, fs),
        Op::RecipS => f::recip(fcsr, S, fs),
        Op::RecipD => f::recip(fcsr, D, fs),
        Op::RsqrtS => f::rsqrt(fcsr, S, fs),
        Op::RsqrtD => f::rsqrt(fcsr, D, fs),
        Op::MaddS => f::madd(fcsr, S, fr, fs, ft),
        Op::MaddD => f::madd(fcsr, D, fr, fs, ft),
        Op::MsubS => f::msub(fcsr, S, fr, fs, ft),
        Op::MsubD => f::msub(fcsr, D, fr, fs, ft),
        Op::NmaddS => f::nmadd(fcsr, S, fr, fs, ft),
        Op::NmaddD => f::nmadd(fcsr, D, fr, fs, ft),
        Op::NmsubS => f::nmsub(fcsr, S, fr, fs, ft),
        Op::NmsubD => f::nmsub(fcsr, D, fr, fs, ft),
        Op::CvtDS => f::widen(fcsr, fs),
        Op::CvtSD => f::narrow(fcsr, fs),
        Op::CvtSW => f::from_integer(fcsr, S, W, fs),
        Op::CvtSL => f::from_integer(fcsr, S, L, fs),
        Op::CvtDW => f::from_integer(fcsr, D, W, fs),
        Op::CvtDL => f::from_integer(fcsr, D, L, fs),
        Op::CvtWS => f::to_integer(fcsr, W, S, current, fs),
        Op::CvtWD => f::to_integer(fcsr, W, D, current, fs),
        Op::CvtLS => f::to_integer(fcsr, L, S, current, fs),
        Op::CvtLD => f::to_integer(fcsr, L, D, current, fs),
        Op::RoundWS => f::to_integer(fcsr, W, S, Nearest, fs),
        Op::RoundWD => f::to_integer(fcsr, W, D, Nearest, fs),
        Op::RoundLS => f::to_integer(fcsr, L, S, Nearest, fs),
        Op::RoundLD => f::to_integer(fcsr, L, D, Nearest, fs),
        Op::TruncWS => f::to_integer(fcsr, W, S, Zero, fs),
        Op::TruncWD => f::to_integer(fcsr, W, D, Zero, fs),
        Op::TruncLS => f::to_integer(fcsr, L, S, Zero, fs),
        Op::TruncLD => f::to_integer(fcsr, L, D, Zero, fs),
        Op::CeilWS => f::to_integer(fcsr, W, S, Up, fs),
        Op::CeilWD => f::to_integer(fcsr, W, D, Up, fs),
        Op::CeilLS => f::to_integer(fcsr, L, S, Up, fs),
        Op::CeilLD => f::to_integer(fcsr, L, D, Up, fs),
        Op::FloorWS => f::to_integer(fcsr, W, S, Down, fs),
        Op::FloorWD => f::to_integer(fcsr, W, D, Down, fs),
        Op::FloorLS => f::to_integer(fcsr, L, S, Down, fs),
        Op::FloorLD => f::to_integer(fcsr, L, D, Down, fs),
        _ => match compare_condition(op) {
            Some((format, condition)) => f::compare(fcsr, format, condition, fs, ft).map(u64::from),
            None => unreachable!("{} is not floating-point arithmetic", op.row().name),
        },
    }
}

/// The format and condition of a compare; the condition is in the low four bits of its encoding.
pub fn compare_condition(op: Op) -> Option<(Format, Condition)> {
    let row = op.row();
    if !row.classes.contains(crate::isa::Classes::COMPARE) {
        return None;
    }
    let format = if row.name.ends_with(".s") { Format::S } else { Format::D };
    Some((format, Condition::new(row.value & 15)))
}
