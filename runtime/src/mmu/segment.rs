//! The fixed map of virtual address space: which addresses are mapped by the TLB, which are windows
//! into physical memory, and which are forbidden in a mode.
//!
//! Source: MIPS64 Architecture For Programmers, volume III (MD00091, revision 5.03), chapter 4.

use translator::addr::{Pa, Va};
use translator::mode::Mode;

/// What a virtual address is before the TLB is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A window into physical memory.
    Unmapped(Pa),
    /// Translated by the TLB.
    Mapped,
    /// An address error.
    Forbidden,
}

/// The virtual address bits of each 64-bit mapped segment.
const SEGMENT_SIZE: u64 = 1 << 40;
/// The physical address bits.
const PHYSICAL_SIZE: u64 = 1 << 40;

const USEG_END: u64 = 1 << 31;
const XSSEG: u64 = 1 << 62;
const XKPHYS: u64 = 2 << 62;
const XKSEG: u64 = 3 << 62;
const CKSEG0: u64 = 0xffff_ffff_8000_0000;
const CKSEG1: u64 = 0xffff_ffff_a000_0000;
const CKSSEG: u64 = 0xffff_ffff_c000_0000;
const CKSEG3: u64 = 0xffff_ffff_e000_0000;
const CKSEG_WINDOW: u64 = 0x1fff_ffff;
/// The bits of an xkphys address that choose the cache attribute.
const XKPHYS_CACHE: u64 = 7 << 59;

/// What `va` is in `mode`.
#[inline]
pub fn classify(va: Va, mode: Mode) -> Segment {
    if mode.contains(Mode::FLAT) {
        return flat(va);
    }
    let wide = mode.contains(Mode::WIDE_ADDRESSES);
    match va.0 {
        0..USEG_END if mode.contains(Mode::ERROR_LEVEL) && mode.is_kernel() => Segment::Unmapped(Pa(va.0)),
        0..USEG_END => Segment::Mapped,
        USEG_END..SEGMENT_SIZE if wide => Segment::Mapped,
        _ if mode.contains(Mode::USER) => Segment::Forbidden,
        XSSEG..XKPHYS if wide && va.0 - XSSEG < SEGMENT_SIZE => Segment::Mapped,
        CKSSEG..CKSEG3 => Segment::Mapped,
        _ if mode.contains(Mode::SUPERVISOR) => Segment::Forbidden,
        CKSEG0..CKSEG1 => Segment::Unmapped(Pa(va.0 & CKSEG_WINDOW)),
        CKSEG1..CKSSEG => Segment::Unmapped(Pa(va.0 & CKSEG_WINDOW)),
        CKSEG3.. => Segment::Mapped,
        XKPHYS..XKSEG if wide => match va.0 & !XKPHYS_CACHE & !XKPHYS {
            pa @ 0..PHYSICAL_SIZE => Segment::Unmapped(Pa(pa)),
            _ => Segment::Forbidden,
        },
        XKSEG..CKSEG0 if wide && va.0 - XKSEG < SEGMENT_SIZE - USEG_END => Segment::Mapped,
        _ => Segment::Forbidden,
    }
}

/// Flat memory has the physical addresses of 32 bits; wider virtual addresses are errors.
fn flat(va: Va) -> Segment {
    let is_canonical = va.0 as i32 as u64 == va.0;
    if is_canonical { Segment::Unmapped(Pa(u64::from(va.0 as u32))) } else { Segment::Forbidden }
}

/// The unmapped segment that `va` is in, as its first address, the physical address there and its size;
/// `None` if it is in none.
pub fn window(va: Va, mode: Mode) -> Option<(Va, Pa, u64)> {
    let Segment::Unmapped(pa) = classify(va, mode) else { return None };
    let (first, size) = match va.0 {
        _ if mode.contains(Mode::FLAT) => (pa.0 & !(USEG_END - 1), USEG_END),
        0..USEG_END => (0, USEG_END),
        XKPHYS..XKSEG => (0, PHYSICAL_SIZE),
        _ => (0, CKSEG_WINDOW + 1),
    };
    Some((Va(va.0 - (pa.0 - first)), Pa(first), size))
}

/// The physical address of `va` if it lies in an unmapped segment of 64-bit kernel mode.
pub fn unmapped(va: Va) -> Option<Pa> {
    match classify(va, Mode::WIDE_ADDRESSES) {
        Segment::Unmapped(pa) => Some(pa),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_whole_segments() {
        let kernel = Mode::WIDE_ADDRESSES;
        let ckseg0 = (Va(CKSEG0), Pa(0), 512 << 20);
        assert_eq!(window(Va(0xffff_ffff_8123_4560), kernel), Some(ckseg0));
        let cached = (Va(0x9800_0000_0000_0000), Pa(0), PHYSICAL_SIZE);
        assert_eq!(window(Va(0x9800_0000_2000_0000), kernel), Some(cached));
        assert_eq!(window(Va(0x1000), kernel), None);
        let high = (Va(0xffff_ffff_8000_0000), Pa(USEG_END), USEG_END);
        assert_eq!(window(Va(0xffff_ffff_9000_0000), Mode::FLAT), Some(high));
    }

    #[test]
    fn segments_follow_the_manual() {
        let kernel = Mode::WIDE_ADDRESSES;
        let user = Mode::USER | Mode::WIDE_ADDRESSES;
        let narrow = Mode::USER;
        let cases = [
            (0x1000, kernel, Segment::Mapped),
            (0x1000, kernel | Mode::ERROR_LEVEL, Segment::Unmapped(Pa(0x1000))),
            (0xff_ffff_fff8, user, Segment::Mapped),
            (0xff_ffff_fff8, narrow, Segment::Forbidden),
            (0x100_0000_0000, user, Segment::Forbidden),
            (0xffff_ffff_8000_1000, kernel, Segment::Unmapped(Pa(0x1000))),
            (0xffff_ffff_bfc0_0000, kernel, Segment::Unmapped(Pa(0x1fc0_0000))),
            (0xffff_ffff_8000_1000, user, Segment::Forbidden),
            (0xa800_0000_2000_0000, kernel, Segment::Unmapped(Pa(0x2000_0000))),
            (0x9000_0000_1000_0000, kernel, Segment::Unmapped(Pa(0x1000_0000))),
            (0x9000_0100_0000_0000, kernel, Segment::Forbidden),
            (0x9000_0000_1000_0000, Mode::empty(), Segment::Forbidden),
            (0xc000_0000_0000_0000, kernel, Segment::Mapped),
            (0xc000_00ff_8000_0000, kernel, Segment::Forbidden),
            (0xffff_ffff_c000_0000, Mode::SUPERVISOR, Segment::Mapped),
            (0xffff_ffff_e000_0000, Mode::SUPERVISOR, Segment::Forbidden),
            (0x7fff_effc, Mode::FLAT, Segment::Unmapped(Pa(0x7fff_effc))),
            (0xffff_ffff_8000_0180, Mode::FLAT, Segment::Unmapped(Pa(0x8000_0180))),
            (0x8000_0180, Mode::FLAT, Segment::Forbidden),
        ];
        for (va, mode, expected) in cases {
            assert_eq!(classify(Va(va), mode), expected, "{va:#x} in {mode:?}");
        }
    }
}
