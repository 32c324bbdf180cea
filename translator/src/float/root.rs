//! Square roots, which the library lacks: an integer root with a sticky bit, rounded once.
//! This file knows no exceptions but Inexact; the caller has sorted out special operands.

use super::fcsr::RoundingMode;
use super::format::Format;
use super::ieee::{self, Rounded};

/// Where the top bit of the radicand is put: its root then has 55 or 56 bits, two more than the
/// widest fraction, so that the rounding below sees a guard bit and a sticky bit.
const RADICAND_TOP: i32 = 111;

/// The root of a positive, finite number.
pub(super) fn root(format: Format, bits: u64, mode: RoundingMode) -> Rounded {
    let (significand, exponent) = decompose(format, bits);
    let shift = RADICAND_TOP - significand.ilog2() as i32;
    let shift = shift - (exponent - shift) % 2;
    let radicand = u128::from(significand) << shift;
    let root = radicand.isqrt();
    let sticky = root * root != radicand;
    let wide = (root as i64) << 1 | i64::from(sticky);
    let (rounded, raised) = ieee::from_integer(format, wide, mode);
    let exponent = (exponent - shift) / 2 - 1;
    (rounded.wrapping_add_signed(i64::from(exponent) << format.fraction_bits()), raised)
}

/// The integers (s, e) of which s times two to the e is the number.
fn decompose(format: Format, bits: u64) -> (u64, i32) {
    let hidden = format.smallest_normal();
    let field = (bits >> format.fraction_bits()) as i32;
    let fraction = bits & (hidden - 1);
    let significand = if field == 0 { fraction } else { fraction | hidden };
    (significand, field.max(1) - format.bias() as i32 - format.fraction_bits() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::float::Exceptions;

    #[test]
    fn perfect_squares_are_exact() {
        for n in 1..1000_u32 {
            let n = f64::from(n);
            let expected = (n.to_bits(), Exceptions::empty());
            assert_eq!(root(Format::D, (n * n).to_bits(), RoundingMode::Up), expected);
        }
    }

    #[test]
    fn directed_modes_enclose_the_root() {
        let two = 2.0_f64.to_bits();
        let down = root(Format::D, two, RoundingMode::Down);
        let up = root(Format::D, two, RoundingMode::Up);
        assert_eq!(down.0 + 1, up.0);
        assert_eq!(root(Format::D, two, RoundingMode::Nearest).0, 2.0_f64.sqrt().to_bits());
        assert_eq!((down.1, up.1), (Exceptions::INEXACT, Exceptions::INEXACT));
    }

    #[test]
    fn subnormal_operands_have_normal_roots() {
        let (bits, raised) = root(Format::S, 1, RoundingMode::Nearest);
        assert_eq!(bits as u32, f32::from_bits(1).sqrt().to_bits());
        assert_eq!(raised, Exceptions::INEXACT);
        assert_eq!(root(Format::D, 1, RoundingMode::Nearest).0, 2.0_f64.powi(-537).to_bits());
    }
}
