//! NaNs in both encodings: which are signalling, what an instruction makes of one.
//!
//! Legacy (FCSR.NAN2008 = 0): a set top fraction bit means signalling, and every NaN result is the
//! default one, as in QEMU. The manual would rather see an operand's quiet NaN returned, "when
//! possible"; one result for all is permitted and cheaper for translated code.
//! IEEE 754-2008: a set top fraction bit means quiet, and operands are propagated.
//! Facts: Volume I-A, "Representation of NaNs" and "Invalid Operation Exception".

use super::fcsr::Exceptions;
use super::format::Format;
use super::operation::Operation;

impl Operation {
    /// The NaN of an invalid operation: 0x7fbfffff or 0x7ff7ffffffffffff in the legacy encoding,
    /// 0x7fc00000 or 0x7ff8000000000000 in that of 2008.
    pub(super) fn default_nan(&self, format: Format) -> u64 {
        let quiet = format.quiet_bit();
        format.infinity() | if self.nan2008 { quiet } else { quiet - 1 }
    }

    pub(super) fn is_signalling(&self, format: Format, bits: u64) -> bool {
        format.is_nan(bits) && (bits & format.quiet_bit() == 0) == self.nan2008
    }

    /// The result of an arithmetic instruction with a NaN among its operands, if there is one.
    /// The first signalling one is taken, else the first.
    #[inline]
    pub(super) fn nan_result<const N: usize>(&mut self, format: Format, operands: [u64; N]) -> Option<u64> {
        let nan = operands.into_iter().find(|&bits| format.is_nan(bits))?;
        let signalling = operands.into_iter().find(|&bits| self.is_signalling(format, bits));
        if signalling.is_some() {
            self.raised |= Exceptions::INVALID;
        }
        Some(self.quieted(format, signalling.unwrap_or(nan)))
    }

    /// `bits`, a NaN, as a result.
    pub(super) fn quieted(&self, format: Format, bits: u64) -> u64 {
        if self.nan2008 { bits | format.quiet_bit() } else { self.default_nan(format) }
    }

    /// Raises Invalid Operation; the result is the default NaN.
    pub(super) fn invalid(&mut self, format: Format) -> u64 {
        self.raised |= Exceptions::INVALID;
        self.default_nan(format)
    }
}
