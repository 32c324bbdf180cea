//! Conversions between the formats. Facts are from Volume II-A, the pages of CVT.*, ROUND.*,
//! TRUNC.*, CEIL.* and FLOOR.*. This file knows no arithmetic.

use super::FloatException;
use super::fcsr::{Exceptions, Fcsr, RoundingMode};
use super::format::{Format, Integer};
use super::ieee;
use super::operation::{Operation, run};

/// How far a double's fraction is wider than a single's.
const FRACTION_STEP: u32 = Format::D.fraction_bits() - Format::S.fraction_bits();

/// CVT.D.S.
pub fn widen(fcsr: &mut Fcsr, fs: u64) -> Result<u64, FloatException> {
    let bits = Format::S.truncate(fs);
    run(fcsr, |operation| {
        operation.converted_nan(Format::S, bits, widen_nan).unwrap_or_else(|| ieee::widen(bits))
    })
}

/// CVT.S.D.
pub fn narrow(fcsr: &mut Fcsr, fs: u64) -> Result<u64, FloatException> {
    run(fcsr, |operation| {
        if let Some(nan) = operation.converted_nan(Format::D, fs, narrow_nan) {
            return nan;
        }
        let result = ieee::narrow(fs, operation.mode);
        operation.deliver(Format::S, result, |mode, scale| ieee::narrow(scale.apply(Format::D, fs), mode).0)
    })
}

/// CVT.S.W, CVT.S.L, CVT.D.W and CVT.D.L.
pub fn from_integer(fcsr: &mut Fcsr, to: Format, from: Integer, fs: u64) -> Result<u64, FloatException> {
    run(fcsr, |operation| {
        let (bits, raised) = ieee::from_integer(to, from.value(fs), operation.mode);
        operation.raised |= raised;
        bits
    })
}

/// CVT, ROUND, TRUNC, CEIL and FLOOR to W or L: `mode` is FCSR.RM for CVT and fixed for the others.
///
/// What has no integer is an invalid operation. Its result is the largest integer for legacy
/// processors; with FCSR.NAN2008 it is the nearest integer, and zero for a NaN.
pub fn to_integer(
    fcsr: &mut Fcsr,
    to: Integer,
    from: Format,
    mode: RoundingMode,
    fs: u64,
) -> Result<u64, FloatException> {
    run(fcsr, |operation| {
        let (value, raised) = ieee::to_integer(from, from.truncate(fs), to, mode);
        operation.raised |= raised;
        if raised.contains(Exceptions::INVALID) && !operation.nan2008 {
            return to.largest();
        }
        to.register(value)
    })
}

impl Operation {
    /// The result for a NaN operand of a conversion that moves its payload by `convert`.
    fn converted_nan(&mut self, from: Format, bits: u64, convert: fn(u64) -> u64) -> Option<u64> {
        let to = if from == Format::S { Format::D } else { Format::S };
        let quiet = self.nan_result(from, [bits])?;
        Some(self.quieted(to, convert(quiet)))
    }
}

fn widen_nan(bits: u64) -> u64 {
    let payload = bits & (Format::S.smallest_normal() - 1);
    (bits & Format::S.sign()) << 32 | Format::D.infinity() | payload << FRACTION_STEP
}

fn narrow_nan(bits: u64) -> u64 {
    let payload = bits & (Format::D.smallest_normal() - 1);
    (bits & Format::D.sign()) >> 32 | Format::S.infinity() | payload >> FRACTION_STEP
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::float::Rules;

    #[test]
    fn what_has_no_integer_depends_on_the_processor() {
        let (quiet, minus_large) = (0x7ff0_0000_0000_0001, (-1e300_f64).to_bits());
        let convert = |rules: Rules, to, bits| {
            let mut fcsr = rules.reset();
            let result = to_integer(&mut fcsr, to, Format::D, RoundingMode::Zero, bits);
            assert_eq!(fcsr.cause(), Exceptions::INVALID);
            result.unwrap()
        };
        for bits in [quiet, minus_large, minus_large & (u64::MAX >> 1)] {
            assert_eq!(convert(Rules::LEGACY, Integer::W, bits), 0x7fff_ffff);
            assert_eq!(convert(Rules::LEGACY, Integer::L, bits), 0x7fff_ffff_ffff_ffff);
        }
        assert_eq!(convert(Rules::RELEASE_6, Integer::W, quiet), 0);
        assert_eq!(convert(Rules::RELEASE_6, Integer::W, minus_large), 0x8000_0000);
        assert_eq!(convert(Rules::RELEASE_6, Integer::L, minus_large), 1 << 63);
    }

    #[test]
    fn rounding_to_an_integer_is_inexact() {
        let bits = u64::from((-2.5_f32).to_bits());
        let expected = [-2_i32, -2, -2, -3];
        for (mode, expected) in RoundingMode::ALL.into_iter().zip(expected) {
            let mut fcsr = Fcsr::default();
            let result = to_integer(&mut fcsr, Integer::W, Format::S, mode, bits);
            assert_eq!(result, Ok(u64::from(expected as u32)));
            assert_eq!(fcsr.cause(), Exceptions::INEXACT);
        }
    }

    #[test]
    fn nan_payloads_keep_their_high_bits_in_2008() {
        let mut fcsr = Rules::RELEASE_6.reset();
        assert_eq!(widen(&mut fcsr, 0xffc0_0001), Ok(0xfff8_0000_2000_0000));
        assert_eq!(narrow(&mut fcsr, 0xfff8_0000_2000_0000), Ok(0xffc0_0001));
        assert_eq!(fcsr.flags(), Exceptions::empty());
        assert_eq!(narrow(&mut fcsr, 0x7ff0_0000_0000_0001), Ok(0x7fc0_0000));
        assert_eq!(fcsr.flags(), Exceptions::INVALID);
    }

    #[test]
    fn legacy_nans_convert_to_the_default_one() {
        let mut fcsr = Rules::LEGACY.reset();
        assert_eq!(widen(&mut fcsr, 0x7f80_0001), Ok(0x7ff7_ffff_ffff_ffff));
        assert_eq!(fcsr.cause(), Exceptions::empty());
        assert_eq!(narrow(&mut fcsr, 0x7ff8_0000_0000_0000), Ok(0x7fbf_ffff));
        assert_eq!(fcsr.cause(), Exceptions::INVALID);
    }

    #[test]
    fn words_and_longs_are_signed() {
        let mut fcsr = Fcsr::default();
        let minus_one = u64::from((-1.0_f32).to_bits());
        assert_eq!(from_integer(&mut fcsr, Format::S, Integer::W, 0x5_ffff_ffff), Ok(minus_one));
        let rounded = from_integer(&mut fcsr, Format::D, Integer::L, (1 << 53) + 1);
        assert_eq!(rounded, Ok(2.0_f64.powi(53).to_bits()));
        assert_eq!(fcsr.cause(), Exceptions::INEXACT);
    }
}
