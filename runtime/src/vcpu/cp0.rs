//! Coprocessor 0 registers with effects, the TLB instructions, and RDHWR.

use translator::addr::{PAGE_SIZE, Va};
use translator::cp0::{Cause, Cp0, ENTRY_HI_ASID, ENTRY_HI_EHINV, Status};
use translator::cpu::PAGE_SLOTS;
use translator::exception::Exception;
use translator::mode::Mode;
use translator::sem::system::CP0_DOUBLE;

use super::{Stop, Vcpu};
use crate::machine::Clock;
use crate::mmu::tlb::Entry;
use crate::trace::Kinds;

/// Index.P: the probe found nothing.
const INDEX_PROBE_FAILURE: u64 = 1 << 31;
/// EntryLo's inhibit bits in a 64-bit move, and how far lower they are in a 32-bit one.
const INHIBIT_BITS: u64 = 3 << 62;
const INHIBIT_SHIFT: u32 = 32;

/// The hardware registers of RDHWR that are no plain fields, and the bits of HWREna that allow them.
mod hardware {
    pub const CPU_NUMBER: u32 = 0;
    pub const SYNCI_STEP: u32 = 1;
    pub const COUNT: u32 = 2;
    pub const COUNT_RESOLUTION: u32 = 3;
}

impl Vcpu {
    /// MFC0 and DMFC0 of a register whose read has effects.
    pub(super) fn read_cp0(&mut self, immediate: u32) -> u64 {
        let (register, double) = decode(immediate);
        let stored = self.cpu.cp0(register);
        match register {
            Cp0::Count => self.read_count() as i32 as u64,
            Cp0::Random => self.tlb.random(self.cpu.cp0(Cp0::Wired) as usize) as u64,
            Cp0::Cause => {
                if self.machine.clock == Clock::Instructions {
                    self.check_timer();
                }
                (self.cpu.cp0(Cp0::Cause) | self.pending_interrupts()) as i32 as u64
            }
            Cp0::EntryLo0 | Cp0::EntryLo1 if !double => {
                (stored & !INHIBIT_BITS | (stored & INHIBIT_BITS) >> INHIBIT_SHIFT) as i32 as u64
            }
            _ => stored,
        }
    }

    /// A coprocessor 0 register as software would read it, without any effect.
    pub fn shown_cp0(&self, register: Cp0) -> u64 {
        match register {
            Cp0::Count => self.count() as i32 as u64,
            Cp0::Cause => self.cpu.cp0(Cp0::Cause) | self.pending_interrupts(),
            _ => self.cpu.cp0(register),
        }
    }

    /// MTC0 and DMTC0 of a register whose write has effects.
    pub(super) fn write_cp0(&mut self, immediate: u32, value: u64) -> Result<(), Stop> {
        let (register, double) = decode(immediate);
        let writable = register.row().writable;
        match register {
            Cp0::Status => return self.write_status(value),
            Cp0::Cause => return self.write_cause(value),
            Cp0::Count => {
                self.set_count(value as u32);
                return self.deadline_changed();
            }
            Cp0::Compare => {
                self.set_compare(value as u32);
                return self.deadline_changed();
            }
            Cp0::EntryHi => return self.write_entry_hi(value),
            Cp0::EntryLo0 | Cp0::EntryLo1 => {
                let low = value & u64::from(u32::MAX >> 2);
                let moved = low | (value & u64::from(3u32 << 30)) << INHIBIT_SHIFT;
                self.cpu.set_cp0(register, if double { value } else { moved } & writable);
            }
            Cp0::PageMask => self.cpu.set_cp0(register, legal_page_mask(value & writable)),
            _ => self.cpu.set_cp0(register, value & writable),
        }
        Ok(())
    }

    /// By the clock of instructions the rest of the block may reach past the new deadline.
    fn deadline_changed(&mut self) -> Result<(), Stop> {
        match self.machine.clock {
            Clock::Host => Ok(()),
            Clock::Instructions => self.redispatch_after(),
        }
    }

    fn write_status(&mut self, value: u64) -> Result<(), Stop> {
        let writable = Cp0::Status.row().writable;
        let before = self.cpu.mode;
        let kept = self.cpu.cp0(Cp0::Status) & !writable;
        self.set_status(Status::from_bits_retain(kept | value & writable));
        if self.cpu.mode != before || self.interrupt_is_due() {
            return self.interrupt_after();
        }
        Ok(())
    }

    fn write_cause(&mut self, value: u64) -> Result<(), Stop> {
        let writable = Cp0::Cause.row().writable;
        let cause = self.cpu.cp0(Cp0::Cause) & !writable | value & writable;
        self.cpu.set_cp0(Cp0::Cause, cause as i32 as u64);
        if cause & Cause::IP_SOFTWARE.bits() != 0 && self.interrupt_is_due() {
            return self.interrupt_after();
        }
        Ok(())
    }

    /// Goes on after the current instruction, in the interrupt handler if one is due.
    pub(super) fn interrupt_after(&mut self) -> Result<(), Stop> {
        let result = self.redispatch_after();
        match result {
            Err(_) => self.take_interrupt(),
            // In a delay slot the branch comes first; the block's end then sees the alarm.
            Ok(()) => self.doorbell.shared.raise(translator::cpu::alarm::INTERRUPT),
        }
        result
    }

    fn write_entry_hi(&mut self, value: u64) -> Result<(), Stop> {
        let before = self.cpu.asid();
        self.cpu.set_cp0(Cp0::EntryHi, value & Cp0::EntryHi.row().writable);
        if self.cpu.asid() == before {
            return Ok(());
        }
        self.soft.leave_address_space();
        self.select_tables();
        self.mapping_changed()
    }

    /// After a change of mappings, mapped code must be looked up again.
    fn mapping_changed(&mut self) -> Result<(), Stop> {
        self.forget_recent();
        match crate::mmu::segment::classify(self.site.pc, self.cpu.mode) {
            crate::mmu::segment::Segment::Mapped => self.redispatch_after(),
            _ => Ok(()),
        }
    }

    /// TLBP. A miss also forgets what the soft TLBs may still hold of the page: they may keep
    /// mappings that TLBWR has evicted, and software that unmaps a page relies on the probe.
    pub(super) fn tlb_probe(&mut self) {
        let hi = self.cpu.cp0(Cp0::EntryHi);
        let index = match self.tlb.find(Va(hi & !ENTRY_HI_ASID), hi as u8) {
            Some(index) => index as u64,
            None => {
                self.soft.flush_range(pair(hi), 2 * PAGE_SIZE, Some(hi as u8));
                self.forget_recent();
                INDEX_PROBE_FAILURE as i32 as u64
            }
        };
        self.cpu.set_cp0(Cp0::Index, index);
    }

    /// TLBR.
    pub(super) fn tlb_read(&mut self) -> Result<(), Stop> {
        let entry = self.tlb.read(self.cpu.cp0(Cp0::Index) as usize);
        let before = self.cpu.asid();
        let asid = if entry.is_live() { 0 } else { u64::from(before) };
        self.cpu.set_cp0(Cp0::EntryHi, entry.hi | asid);
        self.cpu.set_cp0(Cp0::PageMask, entry.mask);
        self.cpu.set_cp0(Cp0::EntryLo0, entry.lo[0]);
        self.cpu.set_cp0(Cp0::EntryLo1, entry.lo[1]);
        if self.cpu.asid() == before {
            return Ok(());
        }
        self.soft.leave_address_space();
        self.select_tables();
        self.mapping_changed()
    }

    /// TLBWI: what the entry held is gone at once.
    pub(super) fn tlb_write_indexed(&mut self) -> Result<(), Stop> {
        let index = self.cpu.cp0(Cp0::Index) as usize;
        let old = self.tlb.read(index);
        if old.is_live() {
            self.forget_entry(&old);
        }
        self.write_entry(index)
    }

    /// TLBWR.
    pub(super) fn tlb_write_random(&mut self) -> Result<(), Stop> {
        let index = self.random_index();
        self.write_entry(index)
    }

    /// The entry that is written next when nobody says which. Software cannot know which went, so the soft TLBs may
    /// keep it. But where every run must be like the other, they may not: what they hold differs after a snapshot.
    pub(super) fn random_index(&mut self) -> usize {
        let index = self.tlb.random(self.cpu.cp0(Cp0::Wired) as usize);
        let old = self.tlb.read(index);
        if self.machine.clock == Clock::Instructions && old.is_live() {
            self.forget_entry(&old);
        }
        index
    }

    fn write_entry(&mut self, index: usize) -> Result<(), Stop> {
        let cpu = &self.cpu;
        let (lo0, lo1) = (cpu.cp0(Cp0::EntryLo0), cpu.cp0(Cp0::EntryLo1));
        let mut entry = Entry::new(cpu.cp0(Cp0::EntryHi), cpu.cp0(Cp0::PageMask), lo0, lo1);
        if cpu.cp0(Cp0::EntryHi) & ENTRY_HI_EHINV != 0 {
            entry.hi |= ENTRY_HI_EHINV;
        }
        self.tlb.write(index, entry);
        self.trace_tlb(index, &entry);
        if entry.is_live() {
            self.forget_entry(&entry);
        }
        self.mapping_changed()
    }

    /// Forgets in the soft tables what `entry` maps, and what the running block has kept of them.
    fn forget_entry(&mut self, entry: &Entry) {
        let space = (!entry.is_global()).then_some(entry.asid());
        self.soft.flush_range(pair(entry.hi), entry.pair_bytes(), space);
        self.cpu.pages = [0; PAGE_SLOTS];
        self.forget_recent();
    }

    /// TLBINVF, or TLBINV of the current address space.
    pub(super) fn tlb_invalidate(&mut self, asid: Option<u8>) -> Result<(), Stop> {
        self.tlb.invalidate(asid);
        self.trace(Kinds::TLB, self.site.pc, || match asid {
            Some(asid) => format!("address space {asid} dropped"),
            None => "all dropped".to_owned(),
        });
        self.soft.flush_all();
        self.mapping_changed()
    }

    /// RDHWR of a register that is no plain field.
    pub(super) fn read_hardware(&mut self, number: u32) -> Result<u64, Stop> {
        let allowed = self.cpu.mode.contains(Mode::CP0_USABLE)
            || self.cpu.cp0(Cp0::HWREna) & 1u64.checked_shl(number).unwrap_or(0) != 0;
        match number {
            _ if !allowed => Err(self.raise(Exception::ReservedInstruction)),
            hardware::CPU_NUMBER => Ok(self.number as u64),
            hardware::SYNCI_STEP => Ok(self.synci_step()),
            hardware::COUNT => Ok(self.read_count() as i32 as u64),
            hardware::COUNT_RESOLUTION => Ok(1),
            _ => Err(self.raise(Exception::ReservedInstruction)),
        }
    }

    /// The line size of the instruction cache, from Config1.IL.
    fn synci_step(&self) -> u64 {
        match self.cpu.cp0(Cp0::Config1) >> 19 & 7 {
            0 => 0,
            line => 2 << line,
        }
    }
}

fn decode(immediate: u32) -> (Cp0, bool) {
    let index = (immediate & (CP0_DOUBLE - 1)) as usize;
    (Cp0::ALL[index.min(Cp0::COUNT - 1)], immediate & CP0_DOUBLE != 0)
}

/// The first address of the pair of pages of an EntryHi value. Compatibility addresses, which the
/// register holds without the bits between R and VPN2, get their sign extension back.
fn pair(hi: u64) -> Va {
    const COMPATIBILITY: u64 = 3 << 62 | 0xff_8000_0000;
    let va = hi & (3 << 62 | 0xff_ffff_e000);
    Va(if va & COMPATIBILITY == COMPATIBILITY { va | !0xff_ffff_ffff } else { va })
}

/// The page mask with every bit below its highest set: sizes go in steps of four. A mask with an odd
/// number of bits is no page size, and becomes the next smaller one.
fn legal_page_mask(mask: u64) -> u64 {
    let bits = 64 - (mask >> 13).leading_zeros();
    ((1u64 << (bits & !1)) - 1) << 13
}
