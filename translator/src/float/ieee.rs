//! IEEE 754 on raw bits, in the four rounding modes, for operands that are no NaNs.
//!
//! This is the only file that knows the library underneath, rustc_apfloat. Its status is not what
//! IEEE 754 asks for in two places, both taken over from LLVM, and [`super::operation`] makes up
//! for them: an overflow that is rounded to the largest finite number is only called inexact, and
//! a result rounded up to the smallest normal number is never called an underflow.

use rustc_apfloat::ieee::{Double, Single};
use rustc_apfloat::{Float, FloatConvert, Round, Status};

use super::fcsr::{Exceptions, RoundingMode};
use super::format::{Format, Integer};

/// An operation with two operands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operator {
    Add,
    Sub,
    Mul,
    Div,
}

/// A result and the exceptions the library reports for it.
pub(super) type Rounded = (u64, Exceptions);

fn round(mode: RoundingMode) -> Round {
    match mode {
        RoundingMode::Nearest => Round::NearestTiesToEven,
        RoundingMode::Zero => Round::TowardZero,
        RoundingMode::Up => Round::TowardPositive,
        RoundingMode::Down => Round::TowardNegative,
    }
}

fn exceptions(status: Status) -> Exceptions {
    let pairs = [
        (Status::INVALID_OP, Exceptions::INVALID),
        (Status::DIV_BY_ZERO, Exceptions::DIVIDE_BY_ZERO),
        (Status::OVERFLOW, Exceptions::OVERFLOW),
        (Status::UNDERFLOW, Exceptions::UNDERFLOW),
        (Status::INEXACT, Exceptions::INEXACT),
    ];
    pairs.into_iter().filter(|&(from, _)| status.contains(from)).map(|(_, to)| to).collect()
}

/// `a operator b`.
pub(super) fn apply(format: Format, operator: Operator, a: u64, b: u64, mode: RoundingMode) -> Rounded {
    match format {
        Format::S => apply_as::<Single>(operator, a, b, mode),
        Format::D => apply_as::<Double>(operator, a, b, mode),
    }
}

fn apply_as<F: Float>(operator: Operator, a: u64, b: u64, mode: RoundingMode) -> Rounded {
    let (a, b, mode) = (F::from_bits(a.into()), F::from_bits(b.into()), round(mode));
    let result = match operator {
        Operator::Add => a.add_r(b, mode),
        Operator::Sub => a.sub_r(b, mode),
        Operator::Mul => a.mul_r(b, mode),
        Operator::Div => a.div_r(b, mode),
    };
    (result.value.to_bits() as u64, exceptions(result.status))
}

/// A double as a single.
pub(super) fn narrow(bits: u64, mode: RoundingMode) -> Rounded {
    let result = FloatConvert::<Single>::convert_r(Double::from_bits(bits.into()), round(mode), &mut false);
    (result.value.to_bits() as u64, exceptions(result.status))
}

/// A single as a double; always exact.
pub(super) fn widen(bits: u64) -> u64 {
    let result = FloatConvert::<Double>::convert(Single::from_bits(bits.into()), &mut false);
    result.value.to_bits() as u64
}

/// The number nearest to an integer.
pub(super) fn from_integer(format: Format, value: i64, mode: RoundingMode) -> Rounded {
    match format {
        Format::S => from_integer_as::<Single>(value, mode),
        Format::D => from_integer_as::<Double>(value, mode),
    }
}

fn from_integer_as<F: Float>(value: i64, mode: RoundingMode) -> Rounded {
    let result = F::from_i128_r(value.into(), round(mode));
    (result.value.to_bits() as u64, exceptions(result.status))
}

/// A number as an integer; the nearest limit and an invalid operation if it does not fit.
pub(super) fn to_integer(format: Format, bits: u64, to: Integer, mode: RoundingMode) -> (i64, Exceptions) {
    match format {
        Format::S => to_integer_as::<Single>(bits, to, mode),
        Format::D => to_integer_as::<Double>(bits, to, mode),
    }
}

fn to_integer_as<F: Float>(bits: u64, to: Integer, mode: RoundingMode) -> (i64, Exceptions) {
    let result = F::from_bits(bits.into()).to_i128_r(to.bits() as usize, round(mode), &mut false);
    (result.value as i64, exceptions(result.status))
}
