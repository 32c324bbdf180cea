//! The floating-point control and status register: its fields, its views and what a write does.
//!
//! Facts are from "MIPS64 Architecture for Programmers, Volume I-A", chapter 5, sections "Floating
//! Point Control Registers" and "FPU Exceptions". This file knows no arithmetic.

use serde::{Deserialize, Serialize};

use super::FloatException;

bitflags::bitflags! {
    /// IEEE exceptions in the order of the Flags, Enables and Cause fields.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Exceptions: u32 {
        /// I: the result was rounded.
        const INEXACT = 1 << 0;
        /// U: the result was tiny.
        const UNDERFLOW = 1 << 1;
        /// O: the result was too large.
        const OVERFLOW = 1 << 2;
        /// Z: a finite number was divided by zero.
        const DIVIDE_BY_ZERO = 1 << 3;
        /// V: the operands have no meaningful result.
        const INVALID = 1 << 4;
        /// E: only in Cause, and always enabled.
        const UNIMPLEMENTED = 1 << 5;
    }
}

/// How an inexact result is rounded, in the encoding of FCSR.RM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoundingMode {
    /// RN: to the nearest, a tie to the even one.
    Nearest,
    /// RZ: towards zero.
    Zero,
    /// RP: towards plus infinity.
    Up,
    /// RM: towards minus infinity.
    Down,
}

impl RoundingMode {
    /// All modes, in the order of their encoding.
    pub const ALL: [Self; 4] = [Self::Nearest, Self::Zero, Self::Up, Self::Down];
}

/// The registers through which CFC1 and CTC1 reach the FCSR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control {
    /// Register 25, FCCR: the condition codes, gathered in bits 0 to 7.
    Conditions,
    /// Register 26, FEXR: Cause and Flags in their places.
    Exceptions,
    /// Register 28, FENR: Enables and RM in their places, and FS in bit 2.
    Enables,
    /// Register 31, the FCSR itself.
    Status,
}

impl Control {
    /// The view with this register number; the others (FIR, UFR, ...) are no views of the FCSR.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            25 => Some(Self::Conditions),
            26 => Some(Self::Exceptions),
            28 => Some(Self::Enables),
            31 => Some(Self::Status),
            _ => None,
        }
    }
}

/// What differs between processors: a row's share of the FCSR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// NaNs are encoded as IEEE 754-2008 says; otherwise a set top fraction bit is a signalling NaN.
    pub nan2008: bool,
    /// ABS and NEG only touch the sign; otherwise they are arithmetic.
    pub abs2008: bool,
    /// The condition codes that exist, bit n for FCCn.
    pub condition_codes: u8,
}

impl Rules {
    /// MIPS IV to MIPS64 Release 2: legacy NaNs, eight condition codes.
    pub const LEGACY: Self = Self { nan2008: false, abs2008: false, condition_codes: 0xff };
    /// MIPS64 Release 6: IEEE 754-2008 NaNs, compares write a register instead of a condition code.
    pub const RELEASE_6: Self = Self { nan2008: true, abs2008: true, condition_codes: 0 };

    /// FCSR after reset. NAN2008 and ABS2008 are fixed by the processor (read-only, "preset").
    pub const fn reset(self) -> Fcsr {
        Fcsr((self.nan2008 as u32 * Fcsr::NAN2008) | (self.abs2008 as u32 * Fcsr::ABS2008))
    }

    /// The bits that CTC1 can change; the rest, bits 18 to 22 among them, keep their value.
    pub const fn writable(self) -> u32 {
        Fcsr::EXCEPTION_FIELDS | Fcsr::ROUNDING_MODE | Fcsr::FLUSH | spread(self.condition_codes as u32)
    }
}

/// The bits of FCSR that hold these condition codes: FCC0 is bit 23, FCC1 to FCC7 bits 25 to 31,
/// because MIPS I to III had only the first, and FS beside it.
const fn spread(codes: u32) -> u32 {
    (codes & 1) << 23 | (codes & 0xfe) << 24
}

/// The inverse of [`spread`].
const fn gather(fcsr: u32) -> u32 {
    fcsr >> 23 & 1 | fcsr >> 24 & 0xfe
}

/// FCSR, control register 31.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[repr(transparent)]
pub struct Fcsr(pub u32);

impl Fcsr {
    /// RM, bits 0 and 1.
    pub const ROUNDING_MODE: u32 = 3;
    /// NAN2008, bit 18.
    pub const NAN2008: u32 = 1 << 18;
    /// ABS2008, bit 19.
    pub const ABS2008: u32 = 1 << 19;
    /// FS, bit 24: flush tiny results to zero.
    pub const FLUSH: u32 = 1 << 24;
    const FLAGS_SHIFT: u32 = 2;
    const ENABLES_SHIFT: u32 = 7;
    const CAUSE_SHIFT: u32 = 12;
    const FLAGS: u32 = 0x1f << Self::FLAGS_SHIFT;
    const ENABLES: u32 = 0x1f << Self::ENABLES_SHIFT;
    const CAUSE: u32 = 0x3f << Self::CAUSE_SHIFT;
    const EXCEPTION_FIELDS: u32 = Self::FLAGS | Self::ENABLES | Self::CAUSE;
    /// FS as FENR shows it.
    const ENABLES_VIEW_FLUSH: u32 = 1 << 2;

    /// RM.
    pub const fn rounding_mode(self) -> RoundingMode {
        RoundingMode::ALL[(self.0 & Self::ROUNDING_MODE) as usize]
    }

    /// The exceptions seen since software last cleared them.
    pub const fn flags(self) -> Exceptions {
        Exceptions::from_bits_truncate((self.0 & Self::FLAGS) >> Self::FLAGS_SHIFT)
    }

    /// The exceptions that trap.
    pub const fn enables(self) -> Exceptions {
        Exceptions::from_bits_truncate((self.0 & Self::ENABLES) >> Self::ENABLES_SHIFT)
    }

    /// The exceptions of the last arithmetic instruction.
    pub const fn cause(self) -> Exceptions {
        Exceptions::from_bits_truncate((self.0 & Self::CAUSE) >> Self::CAUSE_SHIFT)
    }

    /// Whether tiny results become zero.
    pub const fn flush(self) -> bool {
        self.0 & Self::FLUSH != 0
    }

    /// Whether NaNs are encoded as IEEE 754-2008 says.
    pub const fn nan2008(self) -> bool {
        self.0 & Self::NAN2008 != 0
    }

    /// Whether ABS and NEG only touch the sign.
    pub const fn abs2008(self) -> bool {
        self.0 & Self::ABS2008 != 0
    }

    /// Condition code `number` (0 to 7).
    pub const fn condition(self, number: u32) -> bool {
        self.0 & spread(1 << number) != 0
    }

    /// Sets or clears condition code `number` (0 to 7).
    pub const fn set_condition(&mut self, number: u32, value: bool) {
        let bit = spread(1 << number);
        self.0 = if value { self.0 | bit } else { self.0 & !bit };
    }

    /// The value CFC1 reads.
    pub const fn read(self, control: Control) -> u32 {
        match control {
            Control::Conditions => gather(self.0),
            Control::Exceptions => self.0 & (Self::CAUSE | Self::FLAGS),
            Control::Enables => {
                let flush = if self.flush() { Self::ENABLES_VIEW_FLUSH } else { 0 };
                self.0 & (Self::ENABLES | Self::ROUNDING_MODE) | flush
            }
            Control::Status => self.0,
        }
    }

    /// What CTC1 does. The write always happens; it raises at once if it leaves a Cause bit set
    /// together with its Enable (CTC1, "Restrictions"). Bits outside the view are ignored: the
    /// manual leaves them unpredictable, and QEMU drops the whole write.
    pub fn write(&mut self, control: Control, value: u32, rules: &Rules) -> Result<(), FloatException> {
        let (mask, value) = match control {
            Control::Conditions => (spread(0xff), spread(value)),
            Control::Exceptions => (Self::CAUSE | Self::FLAGS, value),
            Control::Enables => {
                let flush = if value & Self::ENABLES_VIEW_FLUSH != 0 { Self::FLUSH } else { 0 };
                let fields = Self::ENABLES | Self::ROUNDING_MODE;
                (fields | Self::FLUSH, value & fields | flush)
            }
            Control::Status => (u32::MAX, value),
        };
        let mask = mask & rules.writable();
        self.0 = self.0 & !mask | value & mask;
        self.trap(self.cause())
    }

    /// Ends an arithmetic instruction that raised `raised`: Cause is replaced, and Flags gather the
    /// exceptions unless one of them traps ("FPU Exceptions", "Cause Bits").
    pub(super) fn record(&mut self, raised: Exceptions) -> Result<(), FloatException> {
        self.0 = self.0 & !Self::CAUSE | raised.bits() << Self::CAUSE_SHIFT;
        self.trap(raised)?;
        self.0 |= raised.bits() << Self::FLAGS_SHIFT & Self::FLAGS;
        Ok(())
    }

    fn trap(self, cause: Exceptions) -> Result<(), FloatException> {
        let trapping = self.enables() | Exceptions::UNIMPLEMENTED;
        if cause.intersects(trapping) { Err(FloatException) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn condition_codes_sit_around_the_flush_bit() {
        let mut fcsr = Fcsr::default();
        for number in 0..8 {
            fcsr.set_condition(number, true);
            assert!(fcsr.condition(number));
        }
        assert_eq!(fcsr.0, 0xfe80_0000);
        assert_eq!(fcsr.read(Control::Conditions), 0xff);
        fcsr.set_condition(1, false);
        assert_eq!(fcsr.read(Control::Conditions), 0xfd);
    }

    #[test]
    fn write_keeps_bits_the_processor_fixes() {
        let mut fcsr = Rules::RELEASE_6.reset();
        fcsr.write(Control::Status, 0xfff4_0003, &Rules::RELEASE_6).unwrap();
        assert_eq!(fcsr.0, 0x010c_0003);
        let mut fcsr = Rules::LEGACY.reset();
        fcsr.write(Control::Status, 0xfffc_0003, &Rules::LEGACY).unwrap();
        assert_eq!(fcsr.0, 0xff80_0003);
    }

    #[test]
    fn views_write_only_their_fields() {
        let mut fcsr = Fcsr(0xff80_0003);
        fcsr.write(Control::Conditions, 0x01, &Rules::LEGACY).unwrap();
        assert_eq!(fcsr.0, 0x0180_0003);
        fcsr.write(Control::Enables, 0x0000_0f82, &Rules::LEGACY).unwrap();
        assert_eq!(fcsr.0, 0x0080_0f82);
        fcsr.write(Control::Enables, 0x0000_0005, &Rules::LEGACY).unwrap();
        assert_eq!((fcsr.0, fcsr.read(Control::Enables)), (0x0180_0001, 0x5));
        fcsr.write(Control::Exceptions, 0xffff_f07f & !(1 << 17), &Rules::LEGACY).unwrap();
        assert_eq!((fcsr.0, fcsr.read(Control::Exceptions)), (0x0181_f07d, 0x1_f07c));
    }

    #[test]
    fn a_write_of_cause_with_its_enable_raises_and_is_kept() {
        let mut fcsr = Fcsr::default();
        let overflow = 1 << 14 | 1 << 9;
        assert_eq!(fcsr.write(Control::Status, overflow, &Rules::LEGACY), Err(FloatException));
        assert_eq!(fcsr.0, overflow);
        assert_eq!(fcsr.write(Control::Status, 1 << 14 | 1 << 8, &Rules::LEGACY), Ok(()));
        assert_eq!(fcsr.write(Control::Exceptions, 1 << 17, &Rules::LEGACY), Err(FloatException));
    }

    #[test]
    fn flags_gather_only_what_does_not_trap() {
        let both = Exceptions::OVERFLOW | Exceptions::INEXACT;
        let mut fcsr = Fcsr(1 << 9 | 1 << 16);
        assert_eq!(fcsr.record(both), Err(FloatException));
        assert_eq!((fcsr.cause(), fcsr.flags()), (both, Exceptions::empty()));
        let mut fcsr = Fcsr(1 << 6);
        assert_eq!(fcsr.record(both), Ok(()));
        assert_eq!((fcsr.cause(), fcsr.flags()), (both, both | Exceptions::INVALID));
        fcsr.record(Exceptions::empty()).unwrap();
        assert_eq!((fcsr.cause(), fcsr.flags()), (Exceptions::empty(), both | Exceptions::INVALID));
    }
}
