//! Comparisons. Facts are from Volume II-A, C.cond.fmt: the condition is four bits, which say for
//! each relation whether it makes the condition true, and whether a quiet NaN is an error.
//! This file knows neither condition codes nor registers: callers put the answer away.

use std::cmp::Ordering;

use super::FloatException;
use super::fcsr::{Exceptions, Fcsr};
use super::format::Format;
use super::operation::run;

/// The condition field of C.cond.fmt. Release 6's CMP.cond.fmt has the same meanings for 0 to 15.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Condition(u8);

impl Condition {
    const UNORDERED: u8 = 1;
    const EQUAL: u8 = 2;
    const LESS: u8 = 4;
    const SIGNALLING: u8 = 8;

    /// The condition with this encoding; bits above the four are ignored.
    pub const fn new(field: u32) -> Self {
        Self((field & 0xf) as u8)
    }

    /// Whether a quiet NaN, too, is an invalid operation.
    pub const fn is_signalling(self) -> bool {
        self.0 & Self::SIGNALLING != 0
    }

    /// Whether two operands in this relation (`None`: a NaN is among them) meet the condition.
    pub const fn holds(self, relation: Option<Ordering>) -> bool {
        let bit = match relation {
            None => Self::UNORDERED,
            Some(Ordering::Equal) => Self::EQUAL,
            Some(Ordering::Less) => Self::LESS,
            Some(Ordering::Greater) => 0,
        };
        self.0 & bit != 0
    }
}

/// C.cond.fmt and CMP.cond.fmt: whether `fs cond ft` holds.
pub fn compare(
    fcsr: &mut Fcsr,
    format: Format,
    condition: Condition,
    fs: u64,
    ft: u64,
) -> Result<bool, FloatException> {
    let operands = [fs, ft].map(|bits| format.truncate(bits));
    run(fcsr, |operation| {
        let relation = relation(format, operands);
        let signalling = operands.iter().any(|&bits| operation.is_signalling(format, bits));
        if signalling || relation.is_none() && condition.is_signalling() {
            operation.raised |= Exceptions::INVALID;
        }
        condition.holds(relation)
    })
}

fn relation(format: Format, operands: [u64; 2]) -> Option<Ordering> {
    if operands.iter().any(|&bits| format.is_nan(bits)) {
        return None;
    }
    let [a, b] = operands.map(|bits| ordinal(format, bits));
    Some(a.cmp(&b))
}

/// An integer in the order of the numbers; both zeros are 0.
fn ordinal(format: Format, bits: u64) -> i64 {
    let magnitude = format.magnitude(bits) as i64;
    if bits & format.sign() != 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: u64 = 0x7fbf_ffff;
    const SIGNALLING: u64 = 0x7fc0_0000;

    fn holds(condition: u32, fs: f32, ft: f32) -> bool {
        let [fs, ft] = [fs, ft].map(|value| u64::from(value.to_bits()));
        compare(&mut Fcsr::default(), Format::S, Condition::new(condition), fs, ft).unwrap()
    }

    #[test]
    fn numbers_are_ordered() {
        const LT: u32 = 12;
        const LE: u32 = 14;
        const EQ: u32 = 2;
        assert!(holds(LT, -2.0, -1.0) && holds(LT, -1.0, 1e-45) && holds(LT, 1.0, f32::INFINITY));
        assert!(!holds(LT, 0.0, -0.0) && !holds(LT, 2.0, 1.0) && holds(LE, -0.0, 0.0));
        assert!(holds(EQ, 0.0, -0.0) && !holds(EQ, 1.0, 2.0));
    }

    #[test]
    fn unordered_operands_meet_the_odd_conditions() {
        for condition in 0..16 {
            let mut fcsr = Fcsr::default();
            let result = compare(&mut fcsr, Format::S, Condition::new(condition), QUIET, 0);
            assert_eq!(result, Ok(condition & 1 != 0));
            let expected = if condition < 8 { Exceptions::empty() } else { Exceptions::INVALID };
            assert_eq!(fcsr.cause(), expected);
        }
    }

    #[test]
    fn a_signalling_nan_is_invalid_for_every_condition() {
        let mut fcsr = Fcsr::default();
        assert_eq!(compare(&mut fcsr, Format::S, Condition::new(0), 0, SIGNALLING), Ok(false));
        assert_eq!(fcsr.cause(), Exceptions::INVALID);
        let mut fcsr = Fcsr(Exceptions::INVALID.bits() << 7);
        let result = compare(&mut fcsr, Format::S, Condition::new(0), 0, SIGNALLING);
        assert_eq!(result, Err(FloatException));
    }
}
