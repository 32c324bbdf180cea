//! The arithmetic instructions. Facts are from "MIPS64 Architecture for Programmers, Volume II-A",
//! the page of each instruction. This file knows nothing of formats' layouts beyond their signs.

use super::FloatException;
use super::fcsr::Fcsr;
use super::format::Format;
use super::ieee::{self, Operator};
use super::operation::{Operation, Scale, run};
use super::root;

type Result<T> = std::result::Result<T, FloatException>;

impl Operation {
    /// One rounded operation.
    fn binary(&mut self, format: Format, operator: Operator, a: u64, b: u64) -> u64 {
        if let Some(nan) = self.nan_result(format, [a, b]) {
            return nan;
        }
        let result = ieee::apply(format, operator, a, b, self.mode);
        self.deliver(format, result, |mode, scale| {
            let (a, b) = scaled(format, operator, a, b, scale);
            ieee::apply(format, operator, a, b, mode).0
        })
    }

    fn sqrt(&mut self, format: Format, a: u64) -> u64 {
        if let Some(nan) = self.nan_result(format, [a]) {
            return nan;
        }
        if format.magnitude(a) == 0 || a == format.infinity() {
            return a;
        }
        if a & format.sign() != 0 {
            return self.invalid(format);
        }
        let (bits, raised) = root::root(format, a, self.mode);
        self.raised |= raised;
        bits
    }

    fn reciprocal(&mut self, format: Format, a: u64) -> u64 {
        self.binary(format, Operator::Div, format.power_of_two(0), a)
    }
}

/// The operands with which `operator` yields its result times a power of two. A product or quotient
/// at a limit of the format leaves room to scale one operand exactly: for a product the one further
/// from where it is moved.
fn scaled(format: Format, operator: Operator, a: u64, b: u64, scale: Scale) -> (u64, u64) {
    let apply = |bits| scale.apply(format, bits);
    let a_is_larger = format.magnitude(a) > format.magnitude(b);
    match operator {
        Operator::Add | Operator::Sub => (apply(a), apply(b)),
        Operator::Div => (apply(a), b),
        Operator::Mul if a_is_larger == (scale == Scale::Down) => (apply(a), b),
        Operator::Mul => (a, apply(b)),
    }
}

fn binary(fcsr: &mut Fcsr, format: Format, operator: Operator, fs: u64, ft: u64) -> Result<u64> {
    run(fcsr, |operation| operation.binary(format, operator, format.truncate(fs), format.truncate(ft)))
}

/// ADD.fmt: `fs + ft`.
pub fn add(fcsr: &mut Fcsr, format: Format, fs: u64, ft: u64) -> Result<u64> {
    binary(fcsr, format, Operator::Add, fs, ft)
}

/// SUB.fmt: `fs - ft`.
pub fn sub(fcsr: &mut Fcsr, format: Format, fs: u64, ft: u64) -> Result<u64> {
    binary(fcsr, format, Operator::Sub, fs, ft)
}

/// MUL.fmt: `fs * ft`.
pub fn mul(fcsr: &mut Fcsr, format: Format, fs: u64, ft: u64) -> Result<u64> {
    binary(fcsr, format, Operator::Mul, fs, ft)
}

/// DIV.fmt: `fs / ft`.
pub fn div(fcsr: &mut Fcsr, format: Format, fs: u64, ft: u64) -> Result<u64> {
    binary(fcsr, format, Operator::Div, fs, ft)
}

/// SQRT.fmt. The root of -0 is -0.
pub fn sqrt(fcsr: &mut Fcsr, format: Format, fs: u64) -> Result<u64> {
    run(fcsr, |operation| operation.sqrt(format, format.truncate(fs)))
}

/// RECIP.fmt. The manual permits an error of one unit in the last place; this one is the rounded
/// quotient `1 / fs`, as in QEMU.
pub fn recip(fcsr: &mut Fcsr, format: Format, fs: u64) -> Result<u64> {
    run(fcsr, |operation| operation.reciprocal(format, format.truncate(fs)))
}

/// RSQRT.fmt. The manual permits an error of two units in the last place; this one rounds the root
/// and then its reciprocal, as in QEMU.
pub fn rsqrt(fcsr: &mut Fcsr, format: Format, fs: u64) -> Result<u64> {
    run(fcsr, |operation| {
        let root = operation.sqrt(format, format.truncate(fs));
        operation.reciprocal(format, root)
    })
}

/// ABS.fmt: arithmetic unless FCSR.ABS2008 is set, when it clears the sign and touches nothing
/// else. (QEMU always does the latter.) A subnormal result is not flushed: none was computed.
pub fn abs(fcsr: &mut Fcsr, format: Format, fs: u64) -> Result<u64> {
    sign_operation(fcsr, format, fs, |bits| format.magnitude(bits))
}

/// NEG.fmt: as [`abs`], but inverts the sign.
pub fn neg(fcsr: &mut Fcsr, format: Format, fs: u64) -> Result<u64> {
    sign_operation(fcsr, format, fs, |bits| bits ^ format.sign())
}

fn sign_operation(fcsr: &mut Fcsr, format: Format, fs: u64, change: impl Fn(u64) -> u64) -> Result<u64> {
    let bits = format.truncate(fs);
    if fcsr.abs2008() {
        return Ok(change(bits));
    }
    run(fcsr, |operation| operation.nan_result(format, [bits]).unwrap_or_else(|| change(bits)))
}

/// A multiplication and an addition, each rounded, with the exceptions of both.
fn multiply_add(
    fcsr: &mut Fcsr,
    format: Format,
    operator: Operator,
    fr: u64,
    factors: [u64; 2],
) -> Result<u64> {
    let [fs, ft] = factors.map(|bits| format.truncate(bits));
    run(fcsr, |operation| {
        let product = operation.binary(format, Operator::Mul, fs, ft);
        operation.binary(format, operator, product, format.truncate(fr))
    })
}

/// MADD.fmt: `fs * ft + fr`, rounded twice.
pub fn madd(fcsr: &mut Fcsr, format: Format, fr: u64, fs: u64, ft: u64) -> Result<u64> {
    multiply_add(fcsr, format, Operator::Add, fr, [fs, ft])
}

/// MSUB.fmt: `fs * ft - fr`, rounded twice.
pub fn msub(fcsr: &mut Fcsr, format: Format, fr: u64, fs: u64, ft: u64) -> Result<u64> {
    multiply_add(fcsr, format, Operator::Sub, fr, [fs, ft])
}

/// NMADD.fmt: the negated [`madd`]. The sign of a NaN is inverted too, as in QEMU.
pub fn nmadd(fcsr: &mut Fcsr, format: Format, fr: u64, fs: u64, ft: u64) -> Result<u64> {
    Ok(madd(fcsr, format, fr, fs, ft)? ^ format.sign())
}

/// NMSUB.fmt: the negated [`msub`]. The sign of a NaN is inverted too, as in QEMU.
pub fn nmsub(fcsr: &mut Fcsr, format: Format, fr: u64, fs: u64, ft: u64) -> Result<u64> {
    Ok(msub(fcsr, format, fr, fs, ft)? ^ format.sign())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::float::{Exceptions, RoundingMode, Rules};

    const QUIET: u64 = 0x7ff7_ffff_ffff_ffff;
    const QUIET_2008: u64 = 0x7ff8_0000_0000_0000;
    const SMALLEST_NORMAL: u64 = 0x0010_0000_0000_0000;
    const LARGEST: u64 = 0x7fef_ffff_ffff_ffff;
    const HALF: u64 = 0x3fe0_0000_0000_0000;
    const TWO: u64 = 0x4000_0000_0000_0000;

    fn with(mode: RoundingMode, enables: Exceptions) -> Fcsr {
        Fcsr(mode as u32 | enables.bits() << 7)
    }

    #[test]
    fn invalid_operations_give_the_default_nan_of_the_encoding() {
        let (zero, infinity, minus_one) = (0, 0x7ff0_0000_0000_0000, (-1.0_f64).to_bits());
        for (rules, expected) in [(Rules::LEGACY, QUIET), (Rules::RELEASE_6, QUIET_2008)] {
            let mut fcsr = rules.reset();
            assert_eq!(mul(&mut fcsr, Format::D, zero, infinity), Ok(expected));
            assert_eq!(div(&mut fcsr, Format::D, zero, zero), Ok(expected));
            assert_eq!(sub(&mut fcsr, Format::D, infinity, infinity), Ok(expected));
            assert_eq!(sqrt(&mut fcsr, Format::D, minus_one), Ok(expected));
            assert_eq!(fcsr.cause(), Exceptions::INVALID);
        }
        assert_eq!(div(&mut Rules::LEGACY.reset(), Format::S, 0, 0), Ok(0x7fbf_ffff));
        assert_eq!(div(&mut Rules::RELEASE_6.reset(), Format::S, 0, 0), Ok(0x7fc0_0000));
    }

    #[test]
    fn nans_of_2008_propagate_the_first_signalling_one() {
        let (quiet, signalling) = (0xfff8_0000_0000_0123, 0x7ff0_0000_0000_0456);
        let mut fcsr = Rules::RELEASE_6.reset();
        assert_eq!(add(&mut fcsr, Format::D, 0, quiet), Ok(quiet));
        assert_eq!(fcsr.flags(), Exceptions::empty());
        assert_eq!(add(&mut fcsr, Format::D, quiet, signalling), Ok(signalling | 1 << 51));
        assert_eq!(fcsr.flags(), Exceptions::INVALID);
    }

    #[test]
    fn legacy_nans_all_become_the_default_one() {
        let (quiet, signalling) = (0x7ff0_0000_0000_0123, 0x7ff8_0000_0000_0456);
        let mut fcsr = Rules::LEGACY.reset();
        assert_eq!(add(&mut fcsr, Format::D, quiet, 0), Ok(QUIET));
        assert_eq!(fcsr.cause(), Exceptions::empty());
        assert_eq!(add(&mut fcsr, Format::D, 0, signalling), Ok(QUIET));
        assert_eq!(fcsr.cause(), Exceptions::INVALID);
    }

    #[test]
    fn signs_are_arithmetic_only_for_legacy_processors() {
        let (minus_one, one) = ((-1.0_f64).to_bits(), 1.0_f64.to_bits());
        let signalling = 0xfff8_0000_0000_0001;
        let mut fcsr = Fcsr(1 << 12);
        assert_eq!(abs(&mut fcsr, Format::D, minus_one), Ok(one));
        assert_eq!(fcsr.cause(), Exceptions::empty());
        assert_eq!(neg(&mut fcsr, Format::D, signalling), Ok(QUIET));
        assert_eq!(fcsr.cause(), Exceptions::INVALID);
        assert_eq!(
            abs(&mut with(RoundingMode::Nearest, Exceptions::INVALID), Format::D, signalling),
            Err(FloatException)
        );
        let mut fcsr = Fcsr(Rules::RELEASE_6.reset().0 | 1 << 12);
        assert_eq!(neg(&mut fcsr, Format::D, 0x7ff0_0000_0000_0001), Ok(0xfff0_0000_0000_0001));
        assert_eq!(fcsr.cause(), Exceptions::INEXACT);
    }

    #[test]
    fn overflow_is_seen_in_every_rounding_mode() {
        for mode in RoundingMode::ALL {
            let mut fcsr = with(mode, Exceptions::empty());
            mul(&mut fcsr, Format::D, LARGEST, TWO).unwrap();
            assert_eq!(fcsr.cause(), Exceptions::OVERFLOW | Exceptions::INEXACT, "{mode:?}");
        }
        let mut fcsr = with(RoundingMode::Zero, Exceptions::empty());
        assert_eq!(add(&mut fcsr, Format::D, LARGEST, HALF), Ok(LARGEST));
        assert_eq!(fcsr.cause(), Exceptions::INEXACT);
    }

    #[test]
    fn tininess_is_detected_after_rounding() {
        let just_below_one = 1.0_f64.to_bits() - 1;
        let mut fcsr = Fcsr::default();
        assert_eq!(mul(&mut fcsr, Format::D, SMALLEST_NORMAL, just_below_one), Ok(SMALLEST_NORMAL));
        assert_eq!(fcsr.cause(), Exceptions::UNDERFLOW | Exceptions::INEXACT);
        // (1 - 2^-53) (1 + 2^-52) is 1 + 2^-53 - 2^-105: not tiny, and rounds to 1.
        assert_eq!(mul(&mut fcsr, Format::D, SMALLEST_NORMAL + 1, just_below_one), Ok(SMALLEST_NORMAL));
        assert_eq!(fcsr.cause(), Exceptions::INEXACT);
    }

    #[test]
    fn an_enabled_underflow_is_raised_for_exact_results() {
        let mut fcsr = Fcsr::default();
        assert_eq!(mul(&mut fcsr, Format::D, SMALLEST_NORMAL, HALF), Ok(SMALLEST_NORMAL / 2));
        assert_eq!(fcsr.cause(), Exceptions::empty());
        let mut fcsr = with(RoundingMode::Nearest, Exceptions::UNDERFLOW);
        assert_eq!(mul(&mut fcsr, Format::D, SMALLEST_NORMAL, HALF), Err(FloatException));
        assert_eq!((fcsr.cause(), fcsr.flags()), (Exceptions::UNDERFLOW, Exceptions::empty()));
    }

    #[test]
    fn flushing_gives_a_zero_of_the_same_sign() {
        let tiny = Exceptions::UNDERFLOW | Exceptions::INEXACT;
        for mode in RoundingMode::ALL {
            let mut fcsr = Fcsr(Fcsr::FLUSH | mode as u32);
            let minus_half = HALF | 1 << 63;
            assert_eq!(mul(&mut fcsr, Format::D, SMALLEST_NORMAL, minus_half), Ok(1 << 63));
            assert_eq!((fcsr.cause(), fcsr.flags()), (tiny, tiny));
            // Operands are not flushed.
            assert_eq!(mul(&mut fcsr, Format::D, SMALLEST_NORMAL / 2, TWO), Ok(SMALLEST_NORMAL));
            assert_eq!(fcsr.cause(), Exceptions::empty());
        }
    }

    #[test]
    fn multiply_add_rounds_twice_and_keeps_both_causes() {
        let (x, minus_product) = (1.0_f64.to_bits() + 1, (1.0_f64.to_bits() + 2) | 1 << 63);
        let mut fcsr = Fcsr::default();
        // A fused one would give 2^-104.
        assert_eq!(madd(&mut fcsr, Format::D, minus_product, x, x), Ok(0));
        assert_eq!(fcsr.cause(), Exceptions::INEXACT);
        assert_eq!(nmadd(&mut fcsr, Format::D, minus_product, x, x), Ok(1 << 63));
        let infinity = 0x7ff0_0000_0000_0000;
        assert_eq!(msub(&mut fcsr, Format::D, infinity, LARGEST, TWO), Ok(QUIET));
        let all = Exceptions::OVERFLOW | Exceptions::INEXACT | Exceptions::INVALID;
        assert_eq!(fcsr.cause(), all);
        assert_eq!(nmsub(&mut fcsr, Format::D, TWO, HALF, TWO), Ok(1.0_f64.to_bits()));
    }

    #[test]
    fn reciprocals_of_zero_divide_by_zero() {
        let mut fcsr = Fcsr::default();
        assert_eq!(recip(&mut fcsr, Format::S, 1 << 31), Ok(0xff80_0000));
        assert_eq!(fcsr.cause(), Exceptions::DIVIDE_BY_ZERO);
        assert_eq!(rsqrt(&mut fcsr, Format::S, 1 << 31), Ok(0xff80_0000));
        assert_eq!(rsqrt(&mut fcsr, Format::D, 4.0_f64.to_bits()), Ok(HALF));
        assert_eq!(fcsr.cause(), Exceptions::empty());
    }

    #[test]
    fn high_halves_of_singles_are_ignored() {
        let one = u64::from(1.0_f32.to_bits());
        let two = u64::from(2.0_f32.to_bits());
        assert_eq!(add(&mut Fcsr::default(), Format::S, one | 7 << 40, one | 9 << 33), Ok(two));
    }
}
