//! What can be learnt of guest memory as a vCPU sees it, without any effect: for dumps and messages.

use translator::addr::{Pa, Va};
use translator::mode::Mode;

use super::Vcpu;
use crate::mmu::segment::{Segment, classify};
use crate::mmu::tlb::Entry;
use crate::mmu::walk;

impl Vcpu {
    /// The instruction word at `va` of RAM, without any effect; `None` elsewhere.
    pub fn word_at(&self, va: Va) -> Option<u32> {
        let (pa, _) = self.look_up(va, self.cpu.mode).filter(|_| va.0 & 3 == 0)?;
        self.word_of_ram(pa)
    }

    /// The instruction word at `pa`, a multiple of 4, if that is RAM.
    pub fn word_of_ram(&self, pa: Pa) -> Option<u32> {
        let raw = self.machine.ram.load(pa, 4)? as u32;
        Some(if self.cpu.mode.contains(Mode::BIG_ENDIAN) { raw.swap_bytes() } else { raw })
    }

    /// The physical address of `va` for code in `mode`, and its segment as a mode bit, without any effect: by the
    /// TLB as it is, and then by the tables that the page walker would read.
    pub fn look_up(&self, va: Va, mode: Mode) -> Option<(Pa, Mode)> {
        match classify(va, mode) {
            Segment::Unmapped(pa) => Some((pa, Mode::empty())),
            Segment::Mapped => {
                let known = self.tlb.find(va, self.cpu.asid()).map(|index| self.tlb.read(index));
                let walked = || {
                    let [even, odd] = walk::walk(&self.cpu, &self.machine.ram, va)?;
                    Some(Entry::new(va.0, 0, even, odd))
                };
                let page = known.or_else(walked)?.page(va);
                page.is_valid().then_some((page.pa, Mode::MAPPED))
            }
            Segment::Forbidden => None,
        }
    }
}
