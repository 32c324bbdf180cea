//! The architectural TLB. Entries are found by hash, never by scanning, because stock Linux is told
//! that there are a thousand of them.

use serde::{Deserialize, Serialize};
use translator::addr::{Pa, Va};
use translator::cp0::{ENTRY_HI_ASID, ENTRY_HI_BITS, ENTRY_HI_EHINV};

/// EntryLo.G: the entry matches in every address space.
const ENTRY_LO_GLOBAL: u64 = 1 << 0;
/// EntryLo.V: the page is valid.
const ENTRY_LO_VALID: u64 = 1 << 1;
/// EntryLo.D: the page can be written.
const ENTRY_LO_DIRTY: u64 = 1 << 2;
/// EntryLo.XI: the page cannot be executed.
const ENTRY_LO_XI: u64 = 1 << 62;
/// EntryLo.RI: the page cannot be read.
const ENTRY_LO_RI: u64 = 1 << 63;
/// The lowest bit of EntryLo's frame number.
const ENTRY_LO_PFN_SHIFT: u32 = 6;
const ENTRY_LO_PFN_BITS: u64 = (1 << 28) - 1;
/// EntryHi's address bits.
const ENTRY_HI_ADDRESS: u64 = ENTRY_HI_BITS & !(ENTRY_HI_ASID | ENTRY_HI_EHINV);
/// The offset in the smallest pair of pages.
const PAIR_MASK: u64 = 0x1fff;

/// One entry: a pair of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Entry {
    /// EntryHi as written: address and ASID, with EHINV set if the entry matches nothing.
    pub hi: u64,
    /// PageMask as written.
    pub mask: u64,
    /// EntryLo0 and EntryLo1, each with the entry's common G bit.
    pub lo: [u64; 2],
}

impl Entry {
    /// An entry from the registers that a TLB write reads. The G bits of both halves are anded.
    pub fn new(hi: u64, mask: u64, lo0: u64, lo1: u64) -> Self {
        let mask = mask & 0x1fff_e000;
        let global = lo0 & lo1 & ENTRY_LO_GLOBAL;
        let clean = |lo: u64| lo & !ENTRY_LO_GLOBAL | global;
        Self { hi: hi & ENTRY_HI_BITS & !(mask & ENTRY_HI_ADDRESS), mask, lo: [clean(lo0), clean(lo1)] }
    }

    const INVALID: Entry = Entry { hi: ENTRY_HI_EHINV, mask: 0, lo: [0; 2] };

    /// Whether the entry can match at all.
    pub const fn is_live(&self) -> bool {
        self.hi & ENTRY_HI_EHINV == 0
    }

    /// Whether the entry matches in every address space.
    pub const fn is_global(&self) -> bool {
        self.lo[0] & ENTRY_LO_GLOBAL != 0
    }

    /// The address space that the entry belongs to.
    pub const fn asid(&self) -> u8 {
        self.hi as u8
    }

    /// The bytes that the pair of pages covers.
    pub const fn pair_bytes(&self) -> u64 {
        (self.mask | PAIR_MASK) + 1
    }

    /// The first virtual address of the pair, without the sign extension of compatibility segments.
    pub const fn address(&self) -> u64 {
        self.hi & ENTRY_HI_ADDRESS
    }

    /// The page of the pair that holds `va`.
    pub fn page(&self, va: Va) -> Page {
        let bytes = self.pair_bytes() / 2;
        let lo = self.lo[usize::from(va.0 & bytes != 0)];
        let frame = (lo >> ENTRY_LO_PFN_SHIFT & ENTRY_LO_PFN_BITS) << 12;
        Page { lo, pa: Pa(frame & !(bytes - 1) | va.0 & (bytes - 1)) }
    }
}

/// One page of an entry, with the physical address of what was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    lo: u64,
    /// The physical address.
    pub pa: Pa,
}

impl Page {
    /// Whether the page is valid.
    pub const fn is_valid(&self) -> bool {
        self.lo & ENTRY_LO_VALID != 0
    }
    /// Whether the page can be written.
    pub const fn is_dirty(&self) -> bool {
        self.lo & ENTRY_LO_DIRTY != 0
    }
    /// Whether reading is inhibited.
    pub const fn read_inhibit(&self) -> bool {
        self.lo & ENTRY_LO_RI != 0
    }
    /// Whether executing is inhibited.
    pub const fn execute_inhibit(&self) -> bool {
        self.lo & ENTRY_LO_XI != 0
    }
}

/// The end of a hash chain.
const NONE: u16 = u16::MAX;

/// The TLB.
#[derive(Clone, Debug)]
pub struct Tlb {
    entries: Vec<Entry>,
    /// The next entry of the same bucket.
    next: Vec<u16>,
    buckets: Vec<u16>,
    /// How many live entries have each page mask; a lookup tries only these sizes.
    sizes: Vec<(u64, u32)>,
    random: usize,
}

impl Tlb {
    /// A TLB of `size` entries that match nothing.
    pub fn new(size: usize) -> Self {
        let buckets = (2 * size).next_power_of_two();
        Self {
            entries: vec![Entry::INVALID; size],
            next: vec![NONE; size],
            buckets: vec![NONE; buckets],
            sizes: Vec::new(),
            random: 0,
        }
    }

    /// The entries in order, for snapshots and traces.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn bucket(&self, address: u64, mask: u64) -> usize {
        let pair = (address & ENTRY_HI_ADDRESS & !mask) >> 13;
        (pair.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize & (self.buckets.len() - 1)
    }

    /// The entry that matches `va` in address space `asid`.
    #[inline]
    pub fn find(&self, va: Va, asid: u8) -> Option<usize> {
        for (mask, _) in &self.sizes {
            let wanted = va.0 & ENTRY_HI_ADDRESS & !mask;
            let mut index = self.buckets[self.bucket(va.0, *mask)];
            while index != NONE {
                let entry = &self.entries[index as usize];
                let same_space = entry.is_global() || entry.asid() == asid;
                if entry.mask == *mask && entry.address() == wanted && same_space {
                    return Some(index as usize);
                }
                index = self.next[index as usize];
            }
        }
        None
    }

    /// Entry `index`, counted modulo the size as the Index register's unused bits are ignored.
    pub fn read(&self, index: usize) -> Entry {
        self.entries[index % self.entries.len()]
    }

    /// Replaces entry `index` and returns what was there. Another entry for the same pages, which
    /// would be a machine check on hardware, is dropped.
    pub fn write(&mut self, index: usize, entry: Entry) -> Entry {
        let index = index % self.entries.len();
        let old = self.entries[index];
        self.unlink(index);
        if entry.is_live() {
            while let Some(twin) = self.find_twin(&entry) {
                self.unlink(twin);
            }
        }
        self.entries[index] = entry;
        self.link(index);
        old
    }

    fn find_twin(&self, entry: &Entry) -> Option<usize> {
        let twin = self.find(Va(entry.address()), entry.asid())?;
        (self.entries[twin].mask == entry.mask).then_some(twin)
    }

    /// The entry that the next TLBWR takes: any from `wired` upwards.
    pub fn random(&mut self, wired: usize) -> usize {
        let size = self.entries.len();
        let wired = wired.min(size - 1);
        self.random = if self.random + 1 >= size { wired } else { (self.random + 1).max(wired) };
        self.random
    }

    /// The entry that [`Tlb::random`] gave last.
    pub fn last_random(&self) -> usize {
        self.random
    }

    /// Makes `index`, or the last entry if it is larger, the one that [`Tlb::random`] gave last.
    pub fn set_last_random(&mut self, index: usize) {
        self.random = index.min(self.entries.len() - 1);
    }

    /// Invalidates every entry, or the non-global ones of one address space.
    pub fn invalidate(&mut self, asid: Option<u8>) {
        for index in 0..self.entries.len() {
            let entry = &self.entries[index];
            let chosen = asid.is_none_or(|asid| !entry.is_global() && entry.asid() == asid);
            if chosen && entry.is_live() {
                self.unlink(index);
            }
        }
    }

    fn link(&mut self, index: usize) {
        let entry = self.entries[index];
        if !entry.is_live() {
            return;
        }
        let bucket = self.bucket(entry.address(), entry.mask);
        self.next[index] = self.buckets[bucket];
        self.buckets[bucket] = index as u16;
        match self.sizes.iter_mut().find(|(mask, _)| *mask == entry.mask) {
            Some((_, count)) => *count += 1,
            None => self.sizes.push((entry.mask, 1)),
        }
    }

    /// Takes entry `index` out of its chain and makes it match nothing.
    fn unlink(&mut self, index: usize) {
        let entry = self.entries[index];
        if !entry.is_live() {
            return;
        }
        let bucket = self.bucket(entry.address(), entry.mask);
        let next = self.next[index];
        let index16 = index as u16;
        if self.buckets[bucket] == index16 {
            self.buckets[bucket] = next;
        } else {
            let mut before = self.buckets[bucket] as usize;
            while self.next[before] != index16 {
                before = self.next[before] as usize;
            }
            self.next[before] = next;
        }
        if let Some(position) = self.sizes.iter().position(|(mask, _)| *mask == entry.mask) {
            self.sizes[position].1 -= 1;
            if self.sizes[position].1 == 0 {
                self.sizes.remove(position);
            }
        }
        self.entries[index].hi |= ENTRY_HI_EHINV;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(va: u64, asid: u8, pfn: u64) -> Entry {
        let lo = |pfn: u64| pfn << ENTRY_LO_PFN_SHIFT | ENTRY_LO_VALID;
        Entry::new(va | u64::from(asid), 0, lo(pfn), lo(pfn + 1))
    }

    #[test]
    fn finds_by_address_and_space() {
        let mut tlb = Tlb::new(64);
        tlb.write(3, entry(0x4000, 7, 0x10));
        assert_eq!(tlb.find(Va(0x5fff), 7), Some(3));
        assert_eq!(tlb.find(Va(0x5fff), 8), None);
        assert_eq!(tlb.read(3).page(Va(0x5123)).pa, Pa(0x11123));
        tlb.write(3, entry(0x8000, 7, 0x20));
        assert_eq!(tlb.find(Va(0x4000), 7), None);
        tlb.invalidate(Some(7));
        assert_eq!(tlb.find(Va(0x8000), 7), None);
    }

    #[test]
    fn large_pages_and_global_entries_match() {
        let mut tlb = Tlb::new(64);
        let global = Entry::new(0xc000_0000_0000_0000 | 1, 0x1f_e000, 0x3 | 0x100 << 6, 0x3 | 0x200 << 6);
        tlb.write(0, global);
        assert_eq!(tlb.find(Va(0xc000_0000_0012_3456), 9), Some(0));
        assert_eq!(tlb.read(0).page(Va(0xc000_0000_0012_3456)).pa, Pa(0x22_3456));
    }

    #[test]
    fn a_twin_is_dropped() {
        let mut tlb = Tlb::new(16);
        tlb.write(1, entry(0x2000, 1, 5));
        tlb.write(2, entry(0x2000, 1, 6));
        assert_eq!(tlb.find(Va(0x2000), 1), Some(2));
        assert!(!tlb.read(1).is_live());
    }

    #[test]
    fn random_respects_wired() {
        let mut tlb = Tlb::new(16);
        assert!((0..100).all(|_| (4..16).contains(&tlb.random(4))));
    }
}
