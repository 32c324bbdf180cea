//! The layouts of the numbers in a floating-point register. This file knows no arithmetic.

/// A floating-point format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Single: 1 sign bit, 8 exponent bits, 23 fraction bits.
    S,
    /// Double: 1 sign bit, 11 exponent bits, 52 fraction bits.
    D,
}

impl Format {
    /// The bits of the fraction, without the hidden one.
    pub(super) const fn fraction_bits(self) -> u32 {
        match self {
            Self::S => 23,
            Self::D => 52,
        }
    }

    /// What the exponent field of 1.0 holds.
    pub(super) const fn bias(self) -> u32 {
        match self {
            Self::S => 127,
            Self::D => 1023,
        }
    }

    /// The part of a register that holds a value of this format.
    pub(super) const fn truncate(self, bits: u64) -> u64 {
        match self {
            Self::S => bits & 0xffff_ffff,
            Self::D => bits,
        }
    }

    pub(super) const fn sign(self) -> u64 {
        match self {
            Self::S => 1 << 31,
            Self::D => 1 << 63,
        }
    }

    /// `bits` without its sign. Magnitudes of numbers are in the order of their bits.
    pub(super) const fn magnitude(self, bits: u64) -> u64 {
        bits & !self.sign()
    }

    pub(super) const fn infinity(self) -> u64 {
        self.sign() - self.smallest_normal()
    }

    pub(super) const fn smallest_normal(self) -> u64 {
        1 << self.fraction_bits()
    }

    /// The largest finite number.
    pub(super) const fn largest(self) -> u64 {
        self.infinity() - 1
    }

    /// Two to the power `exponent`, which must be in the range of the normal numbers.
    pub(super) const fn power_of_two(self, exponent: i32) -> u64 {
        ((self.bias() as i32 + exponent) as u64) << self.fraction_bits()
    }

    pub(super) const fn is_nan(self, bits: u64) -> bool {
        self.magnitude(bits) > self.infinity()
    }

    /// The top fraction bit, by which quiet and signalling NaNs differ.
    pub(super) const fn quiet_bit(self) -> u64 {
        1 << (self.fraction_bits() - 1)
    }
}

/// A format of signed integers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Integer {
    /// Word: 32 bits.
    W,
    /// Long: 64 bits.
    L,
}

impl Integer {
    pub(super) const fn bits(self) -> u32 {
        match self {
            Self::W => 32,
            Self::L => 64,
        }
    }

    /// The largest value, in a register.
    pub(super) const fn largest(self) -> u64 {
        u64::MAX >> (65 - self.bits())
    }

    /// The value in a register.
    pub(super) const fn value(self, bits: u64) -> i64 {
        match self {
            Self::W => bits as i32 as i64,
            Self::L => bits as i64,
        }
    }

    /// The register that holds this value.
    pub(super) const fn register(self, value: i64) -> u64 {
        match self {
            Self::W => value as u32 as u64,
            Self::L => value as u64,
        }
    }
}
