//! One step of an instruction: the modes it reads, the exceptions it raises, and how MIPS delivers
//! a rounded result. This file knows no single instruction.

use super::FloatException;
use super::fcsr::{Exceptions, Fcsr, RoundingMode};
use super::format::Format;
use super::ieee::{self, Operator, Rounded};

/// Powers of two by which a doubtful result is computed again, further from the limits of its
/// format. More than the fraction of a double, so that no bit of the result is lost there.
const SCALE: i32 = 64;

/// In which direction a doubtful result is moved.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    Up,
    Down,
}

impl Scale {
    const fn exponent(self) -> i32 {
        match self {
            Self::Up => SCALE,
            Self::Down => -SCALE,
        }
    }

    /// `bits` times the power of two; the caller knows that this is exact.
    pub(super) fn apply(self, format: Format, bits: u64) -> u64 {
        let power = format.power_of_two(self.exponent());
        ieee::apply(format, Operator::Mul, bits, power, RoundingMode::Zero).0
    }
}

/// An instruction at work.
pub(super) struct Operation {
    pub(super) mode: RoundingMode,
    pub(super) nan2008: bool,
    flush: bool,
    underflow_enabled: bool,
    /// All exceptions so far: an instruction of two steps raises those of both.
    pub(super) raised: Exceptions,
}

/// Runs an arithmetic instruction and settles FCSR.
#[inline]
pub(super) fn run<T>(fcsr: &mut Fcsr, body: impl FnOnce(&mut Operation) -> T) -> Result<T, FloatException> {
    let mut operation = Operation::new(*fcsr);
    let value = body(&mut operation);
    fcsr.record(operation.raised)?;
    Ok(value)
}

impl Operation {
    fn new(fcsr: Fcsr) -> Self {
        Self {
            mode: fcsr.rounding_mode(),
            nan2008: fcsr.nan2008(),
            flush: fcsr.flush(),
            underflow_enabled: fcsr.enables().contains(Exceptions::UNDERFLOW),
            raised: Exceptions::empty(),
        }
    }

    /// Delivers a rounded result. `again` computes it once more in a rounding mode, multiplied by
    /// a power of two; it is asked only when the result is at a limit of its format.
    #[inline]
    pub(super) fn deliver(
        &mut self,
        format: Format,
        (bits, raised): Rounded,
        again: impl FnOnce(RoundingMode, Scale) -> u64,
    ) -> u64 {
        if raised.contains(Exceptions::INVALID) {
            return self.invalid(format);
        }
        self.raised |= raised - Exceptions::UNDERFLOW;
        let magnitude = format.magnitude(bits);
        if magnitude == format.largest() && raised.contains(Exceptions::INEXACT) {
            self.overflow_to_largest(format, again);
        } else if magnitude <= format.smallest_normal() && self.is_tiny(format, magnitude, raised, again) {
            return self.deliver_tiny(format, bits, raised);
        }
        bits
    }

    /// Tells an overflow from a result just above the largest number: with more room, it is larger.
    fn overflow_to_largest(&mut self, format: Format, again: impl FnOnce(RoundingMode, Scale) -> u64) {
        let limit = Scale::Down.apply(format, format.largest());
        if format.magnitude(again(self.mode, Scale::Down)) > limit {
            self.raised |= Exceptions::OVERFLOW;
        }
    }

    /// Whether a result no larger than the smallest normal number is tiny. MIPS detects that after
    /// rounding as if the exponent had no limit ("Underflow Exception"); only what rounds up to the
    /// smallest normal number is in doubt. Flushing looks before rounding, as in QEMU.
    fn is_tiny(
        &self,
        format: Format,
        magnitude: u64,
        raised: Exceptions,
        again: impl FnOnce(RoundingMode, Scale) -> u64,
    ) -> bool {
        let inexact = raised.contains(Exceptions::INEXACT);
        if magnitude < format.smallest_normal() {
            return magnitude != 0 || inexact;
        }
        let mode = if self.flush { RoundingMode::Zero } else { self.mode };
        let limit = Scale::Up.apply(format, format.smallest_normal());
        inexact && format.magnitude(again(mode, Scale::Up)) < limit
    }

    /// Delivers a tiny result. Underflow is raised if it is inexact, and if enabled, always
    /// ("Underflow Exception"; QEMU does not raise it for an exact one).
    ///
    /// With FS set it becomes a zero of its sign in every rounding mode, Underflow and Inexact are
    /// raised (QEMU raises nothing), and operands are left alone: the manual demands that they be
    /// flushed only as of Release 5.
    fn deliver_tiny(&mut self, format: Format, bits: u64, raised: Exceptions) -> u64 {
        if self.flush {
            self.raised |= Exceptions::UNDERFLOW | Exceptions::INEXACT;
            return bits & format.sign();
        }
        if self.underflow_enabled || raised.contains(Exceptions::INEXACT) {
            self.raised |= Exceptions::UNDERFLOW;
        }
        bits
    }
}
