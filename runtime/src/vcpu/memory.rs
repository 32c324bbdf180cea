//! Guest memory as one vCPU sees it: translation, the slow paths of loads and stores, linked
//! accesses, and the notice that a store gives to code made from the page.
#![expect(unsafe_code, reason = "soft-TLB hits of the interpreter are read by host address")]

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Instant;

use translator::addr::{PAGE_SIZE, Pa, Va};
use translator::cp0::Cp0;
use translator::cpu::Cpu;
use translator::exception::{Exception, Intent};
use translator::machine::Access;
use translator::mode::Mode;
use translator::nature::Nature;

use super::{Stop, Vcpu};
use crate::device::Size;
use crate::memory::{PageFlags, Ram, WriteNotice};
use crate::mmu::segment::{Segment, classify};
use crate::mmu::tlb::Entry;
use crate::mmu::walk;

/// PageGrain.RIE and XIE: the inhibit bits count.
const READ_INHIBIT_ENABLE: u64 = 1 << 31;
const EXECUTE_INHIBIT_ENABLE: u64 = 1 << 30;
/// PageGrain.IEC: inhibited accesses have exception codes of their own.
const INHIBIT_CODES: u64 = 1 << 27;

/// A translated address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Translated {
    /// The physical address.
    pub pa: Pa,
    /// Whether loads from the page are allowed.
    pub readable: bool,
    /// Whether stores to the page are allowed.
    pub writable: bool,
    /// Whether the TLB was asked.
    pub mapped: bool,
    /// Whether the translation holds in every address space.
    pub global: bool,
}

impl Vcpu {
    /// Translates `va` for `intent`.
    pub(super) fn translate(&mut self, va: Va, intent: Intent) -> Result<Translated, Exception> {
        match classify(va, self.cpu.mode) {
            Segment::Unmapped(pa) => {
                Ok(Translated { pa, readable: true, writable: true, mapped: false, global: true })
            }
            Segment::Forbidden => Err(Exception::AddressError(va, intent)),
            Segment::Mapped => {
                let entry = self.find_entry(va).ok_or(Exception::TlbRefill(va, intent))?;
                self.check_entry(&entry, va, intent)
            }
        }
    }

    /// The byte at `va` as the guest would load it, if it is in RAM and could be loaded without an exception.
    pub(crate) fn peek(&mut self, va: Va) -> Option<u8> {
        let to = self.translate(va, Intent::Load).ok()?;
        let mut byte = [0];
        self.machine.ram.read(to.pa, &mut byte)?;
        Some(byte[0])
    }

    /// The TLB entry for `va`, if need be fetched by the page walker.
    fn find_entry(&mut self, va: Va) -> Option<Entry> {
        let asid = self.cpu.asid();
        if let Some(index) = self.tlb.find(va, asid) {
            return Some(self.tlb.read(index));
        }
        let [even, odd] = walk::walk(&self.cpu, &self.machine.ram, va)?;
        self.statistics.walks += 1;
        let entry = Entry::new(va.0 & !0x1fff | u64::from(asid), 0, even, odd);
        // The pair enters the architectural TLB, because the handlers of invalid and modified
        // exceptions probe for it and return if it is not there.
        let index = self.random_index();
        self.tlb.write(index, entry);
        self.trace_tlb(index, &entry);
        Some(entry)
    }

    fn check_entry(&self, entry: &Entry, va: Va, intent: Intent) -> Result<Translated, Exception> {
        let page = entry.page(va);
        let grain = self.cpu.cp0(Cp0::PageGrain);
        let read_inhibit = grain & READ_INHIBIT_ENABLE != 0 && page.read_inhibit();
        let execute_inhibit = grain & EXECUTE_INHIBIT_ENABLE != 0 && page.execute_inhibit();
        let own_codes = grain & INHIBIT_CODES != 0;
        match intent {
            _ if !page.is_valid() => return Err(Exception::TlbInvalid(va, intent)),
            Intent::Load if read_inhibit && own_codes => return Err(Exception::TlbReadInhibit(va)),
            Intent::Fetch if execute_inhibit && own_codes => return Err(Exception::TlbExecuteInhibit(va)),
            Intent::Load if read_inhibit => return Err(Exception::TlbInvalid(va, intent)),
            Intent::Fetch if execute_inhibit => return Err(Exception::TlbInvalid(va, intent)),
            Intent::Store if !page.is_dirty() => return Err(Exception::TlbModified(va)),
            _ => {}
        }
        Ok(Translated {
            pa: page.pa,
            readable: !read_inhibit,
            writable: page.is_dirty(),
            mapped: true,
            global: entry.is_global(),
        })
    }

    /// Puts the page of `va` into the soft TLB, as far as accesses to it need no notice.
    fn grant(&mut self, va: Va, to: Translated) {
        let page = to.pa.page();
        if self.machine.ram.contains(page, PAGE_SIZE) {
            let addend = self.machine.ram.host_base().wrapping_add(page.0).wrapping_sub(va.page().0);
            let writable = to.writable && self.machine.pages.get(page) == 0;
            self.soft.grant(va, addend, to.readable, writable);
        }
    }

    /// Lets generated code load from the page of `va`, if the guest may.
    pub(super) fn grant_load(&mut self, va: Va) {
        if let Ok(to) = self.translate(va, Intent::Load) {
            self.grant(va, to);
        }
    }

    pub(super) fn check_alignment(&mut self, access: Access, va: Va, intent: Intent) -> Result<(), Stop> {
        if va.0 & (access.bytes() - 1) == 0 {
            return Ok(());
        }
        Err(self.raise(Exception::AddressError(va, intent)))
    }

    /// A load that missed the soft TLB.
    pub(super) fn load_slow(&mut self, access: Access, va: Va, intent: Intent) -> Result<u64, Stop> {
        self.statistics.soft_misses += 1;
        self.check_alignment(access, va, intent)?;
        let to = self.translate(va, intent).map_err(|e| self.raise(e))?;
        if let Some(raw) = self.machine.ram.load(to.pa, access.bytes()) {
            self.grant(va, to);
            return Ok(self.extend(access, raw));
        }
        self.read_device(access, to.pa)
    }

    pub(super) fn read_device(&mut self, access: Access, pa: Pa) -> Result<u64, Stop> {
        self.statistics.device_accesses += 1;
        let begin = Instant::now();
        let answer = self.machine.bus.read(pa, size_of(access), self.number);
        self.statistics.device_time += begin.elapsed();
        match answer {
            Ok(raw) => {
                self.show(Nature::Device);
                Ok(access.extend(raw))
            }
            Err(_) => Err(self.raise(Exception::BusError(Intent::Load))),
        }
    }

    /// A store that missed the soft TLB: to a new page, to one that wants notice, or to a device.
    pub(super) fn store_slow(&mut self, access: Access, va: Va, value: u64) -> Result<(), Stop> {
        self.statistics.soft_misses += 1;
        self.check_alignment(access, va, Intent::Store)?;
        let to = self.translate(va, Intent::Store).map_err(|e| self.raise(e))?;
        self.machine.write_watch.before_write(&self.machine.pages, to.pa, access.bytes());
        if self.machine.ram.store(to.pa, access.bytes(), self.swap(access, value)).is_some() {
            self.grant(va, to);
            return self.notice_store(to.pa, access.bytes());
        }
        self.write_device(access, to.pa, value)
    }

    pub(super) fn write_device(&mut self, access: Access, pa: Pa, value: u64) -> Result<(), Stop> {
        self.statistics.device_accesses += 1;
        let begin = Instant::now();
        let answer = self.machine.bus.write(pa, size_of(access), self.number, value);
        self.statistics.device_time += begin.elapsed();
        match answer {
            Ok(()) => {
                self.show(Nature::Device);
                Ok(())
            }
            Err(_) => Err(self.raise(Exception::BusError(Intent::Store))),
        }
    }

    /// Drops translations of bytes that were just written. If there were any, the rest of the running
    /// block may be stale, so the vCPU goes on by a fresh look-up.
    fn notice_store(&mut self, pa: Pa, bytes: u64) -> Result<(), Stop> {
        if self.machine.pages.get(pa) & PageFlags::CODE == 0 {
            return Ok(());
        }
        let dropped = self.machine.invalidate_code(pa, bytes);
        self.statistics.invalidated += dropped as u64;
        if dropped == 0 { Ok(()) } else { self.redispatch_after() }
    }

    /// The vCPU's view of raw little-endian bytes: swapped on a big-endian machine, then extended.
    fn extend(&self, access: Access, raw: u64) -> u64 {
        access.extend(self.swap(access, raw))
    }

    fn swap(&self, access: Access, value: u64) -> u64 {
        if !self.cpu.mode.contains(Mode::BIG_ENDIAN) {
            return value;
        }
        value.swap_bytes() >> (64 - 8 * access.bytes())
    }

    /// A load by the interpreter.
    #[inline]
    pub(super) fn load(&mut self, access: Access, va: Va) -> Result<u64, Stop> {
        if self.is_watching() {
            self.watch_load(va);
        }
        match self.soft.load_entry(va) {
            Some(entry) if va.0 & (access.bytes() - 1) == 0 => {
                // SAFETY: the entry's tag is the page of `va`, and `va` is aligned.
                let raw = unsafe { Ram::load_host(va.0.wrapping_add(entry.addend), access.bytes()) };
                Ok(self.extend(access, raw))
            }
            _ => self.load_slow(access, va, Intent::Load),
        }
    }

    /// A store by the interpreter.
    #[inline]
    pub(super) fn store(&mut self, access: Access, va: Va, value: u64) -> Result<(), Stop> {
        match self.soft.store_entry(va) {
            Some(entry) if va.0 & (access.bytes() - 1) == 0 => {
                let value = self.swap(access, value);
                // SAFETY: the entry's tag is the page of `va`, and `va` is aligned.
                unsafe { Ram::store_host(va.0.wrapping_add(entry.addend), access.bytes(), value) };
                Ok(())
            }
            _ => self.store_slow(access, va, value),
        }
    }

    /// LL and LLD.
    pub(super) fn load_linked(&mut self, access: Access, va: Va) -> Result<u64, Stop> {
        self.check_alignment(access, va, Intent::Load)?;
        let to = self.translate(va, Intent::Load).map_err(|e| self.raise(e))?;
        let Some(raw) = self.machine.ram.load(to.pa, access.bytes()) else {
            return Err(self.raise(Exception::BusError(Intent::Load)));
        };
        self.grant(va, to);
        self.cpu.link_address = to.pa.0;
        self.cpu.link_value = raw;
        self.cpu.set_cp0(Cp0::LLAddr, to.pa.0 >> 4);
        Ok(self.extend(access, raw))
    }

    /// SC and SCD: stores if the link holds and memory still has the linked value. A value that
    /// changed and changed back goes unnoticed, as in other emulators; code that minds uses a counter.
    pub(super) fn store_conditional(&mut self, access: Access, va: Va, value: u64) -> Result<u64, Stop> {
        self.check_alignment(access, va, Intent::Store)?;
        let to = self.translate(va, Intent::Store).map_err(|e| self.raise(e))?;
        let linked = self.cpu.link_address == to.pa.0;
        self.cpu.link_address = Cpu::NO_LINK;
        if !linked {
            return Ok(0);
        }
        let value = self.swap(access, value);
        self.machine.write_watch.before_write(&self.machine.pages, to.pa, access.bytes());
        let ram = &self.machine.ram;
        match ram.compare_exchange(to.pa, access.bytes(), self.cpu.link_value, value) {
            Some(done) => {
                self.grant(va, to);
                if done && self.machine.pages.get(to.pa) & PageFlags::CODE != 0 {
                    let dropped = self.machine.invalidate_code(to.pa, access.bytes());
                    self.statistics.invalidated += dropped as u64;
                }
                Ok(u64::from(done))
            }
            None => Err(self.raise(Exception::BusError(Intent::Store))),
        }
    }
}

fn size_of(access: Access) -> Size {
    match access.bytes() {
        1 => Size::Byte,
        2 => Size::Half,
        4 => Size::Word,
        _ => Size::Double,
    }
}

impl crate::machine::Machine {
    /// Drops the blocks made from the `bytes` bytes at `pa`, which have been written. Gives their
    /// number.
    pub(crate) fn invalidate_code(&self, pa: Pa, bytes: u64) -> usize {
        let mut cache = self.cache();
        let (dropped, left) = cache.invalidate(pa, bytes);
        if !left {
            self.pages.clear(pa, PageFlags::CODE);
        }
        drop(cache);
        if dropped > 0 {
            next_epoch(&self.code_epoch);
        }
        dropped
    }
}

impl WriteNotice for crate::machine::Machine {
    fn writing(&self, pa: Pa, bytes: u64) {
        self.write_watch.before_write(&self.pages, pa, bytes);
    }

    fn written(&self, pa: Pa, bytes: u64) {
        // Who does not see these bytes when it reads them for code has set the page's flag before: see
        // `Machine::watch_code_page`.
        fence(Ordering::SeqCst);
        let end = pa.0 + bytes;
        let mut from = pa.0;
        while from < end {
            let to = end.min((from & !(PAGE_SIZE - 1)) + PAGE_SIZE);
            if self.pages.get(Pa(from)) & PageFlags::CODE != 0 {
                self.invalidate_code(Pa(from), to - from);
            }
            from = to;
        }
    }
}

fn next_epoch(epoch: &AtomicU64) {
    fence(Ordering::Release);
    epoch.fetch_add(1, Ordering::AcqRel);
}
