//! Soft TLBs and jump caches: what generated code looks addresses up in. There is a soft TLB for each
//! view (mode and address space) and a jump cache for each mode and address space that runs code, kept
//! in least-recently-used pools, so that a change of address space changes two pointers and flushes
//! nothing.

use std::hash::Hash;
use std::num::NonZeroUsize;

use lru::LruCache;
use translator::addr::{PAGE_SIZE, Va};
use translator::cpu::{JUMP_CACHE_ENTRIES, JUMP_ROTATION, JumpEntry, SOFT_TLB_ENTRIES, SoftEntry, SoftTlb};
use translator::mode::Mode;

/// How many views and jump caches are kept.
const POOL: NonZeroUsize = NonZeroUsize::new(24).unwrap();

/// The words of a filter of pages; a power of two.
const FILTER_WORDS: usize = 64;

/// Above this many pages a flush of a range clears whole tables.
const PAGES_WORTH_A_SCAN: u64 = 64;

/// What a soft TLB is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct View {
    mode: Mode,
    asid: u8,
}

/// What a jump cache is for. Kernel code is nearly always in unmapped segments or global pages, so
/// kernel modes share one cache over all address spaces, which is cleared when they change if
/// anything else was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Track {
    mode: Mode,
    asid: Option<u8>,
}

impl View {
    fn new(mode: Mode, asid: u8) -> Self {
        Self { mode: mode & Mode::VIEW, asid }
    }
}

impl Track {
    fn new(mode: Mode, asid: u8) -> Self {
        Self { mode, asid: (!mode.is_kernel()).then_some(asid) }
    }
}

/// A jump cache and which pages it may hold addresses of.
struct Jumps {
    entries: Box<[JumpEntry; JUMP_CACHE_ENTRIES]>,
    /// A Bloom filter of page numbers: most pages that are flushed hold no code.
    pages: [u64; FILTER_WORDS],
    /// Whether an entry depends on the address space although the track does not.
    bound: bool,
}

impl Jumps {
    fn new() -> Self {
        let entries: Box<[_]> = (0..JUMP_CACHE_ENTRIES).map(JumpEntry::empty).collect();
        let entries = entries.try_into().unwrap_or_else(|_| unreachable!("the length is the array's"));
        Self { entries, pages: [0; FILTER_WORDS], bound: false }
    }

    fn clear(&mut self) {
        self.entries.iter_mut().enumerate().for_each(|(slot, entry)| *entry = JumpEntry::empty(slot));
        self.pages = [0; FILTER_WORDS];
        self.bound = false;
    }

    /// Remembers that `va` runs the block at `host`.
    fn add(&mut self, va: Va, host: u64) {
        self.entries[jump_slot(va)] = JumpEntry { va: va.0, host };
        let (word, bit) = filter_bit(va);
        self.pages[word] |= bit;
    }

    /// Forgets the addresses in the page of `va`.
    fn flush_page(&mut self, va: Va) {
        let (word, bit) = filter_bit(va);
        if self.pages[word] & bit == 0 {
            return;
        }
        for offset in (0..PAGE_SIZE).step_by(4) {
            let address = va.page() + offset;
            let slot = jump_slot(address);
            if self.entries[slot].va == address.0 {
                self.entries[slot] = JumpEntry::empty(slot);
            }
        }
    }
}

/// The word and the bit in it that stand for the page of `va` in a filter.
const fn filter_bit(va: Va) -> (usize, u64) {
    const BITS: u32 = (FILTER_WORDS as u64 * 64).trailing_zeros();
    let hash = va.page_number().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS);
    ((hash / 64) as usize, 1 << (hash % 64))
}

/// The slot of `va` in a jump cache, as generated code works it out.
const fn jump_slot(va: Va) -> usize {
    let low = va.0 as u32;
    ((low ^ low.rotate_right(JUMP_ROTATION)) >> 2) as usize & (JUMP_CACHE_ENTRIES - 1)
}

const fn soft_slot(va: u64) -> usize {
    (va / PAGE_SIZE) as usize & (SOFT_TLB_ENTRIES - 1)
}

/// Tables by what they are for; of many, those that were not used for the longest time are forgotten.
struct Pool<K, T> {
    places: LruCache<K, usize>,
    /// With what they are for.
    tables: Vec<(K, T)>,
}

impl<K: Copy + Eq + Hash, T> Pool<K, T> {
    fn new() -> Self {
        Self { places: LruCache::new(POOL), tables: Vec::with_capacity(POOL.get()) }
    }

    /// The place of the table for `key`, if need be a new one. Then another may have lost its place.
    fn find(&mut self, key: K, new: impl FnOnce() -> T) -> (usize, Found) {
        if let Some(place) = self.places.get(&key) {
            return (*place, Found::Old);
        }
        let place = match self.places.push(key, self.tables.len()) {
            Some((_, place)) => {
                self.places.put(key, place);
                self.tables[place] = (key, new());
                place
            }
            None => {
                self.tables.push((key, new()));
                self.tables.len() - 1
            }
        };
        (place, Found::New)
    }
}

/// Whether a table was there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Old,
    New,
}

/// A mode, an address space, and the places of their tables.
#[derive(Clone, Copy)]
struct Selection {
    mode: Mode,
    asid: u8,
    view: usize,
    track: usize,
}

/// All soft TLBs and jump caches of one vCPU.
pub struct SoftTables {
    views: Pool<View, Box<SoftTlb>>,
    tracks: Pool<Track, Jumps>,
    current: Selection,
    /// What was current before: system calls go from one to the other and back.
    previous: Selection,
}

impl SoftTables {
    /// Tables for a vCPU that is in `mode` and `asid`.
    pub fn new(mode: Mode, asid: u8) -> Self {
        let (mut views, mut tracks) = (Pool::new(), Pool::new());
        let (view, _) = views.find(View::new(mode, asid), empty_soft_tlb);
        let (track, _) = tracks.find(Track::new(mode, asid), Jumps::new);
        let current = Selection { mode, asid, view, track };
        Self { views, tracks, current, previous: current }
    }

    /// Makes the tables of `mode` and `asid` current and gives the host addresses of the soft TLB and
    /// the jump cache, which stay valid until the next call of any method that takes `&mut self`
    /// and selects.
    pub fn select(&mut self, mode: Mode, asid: u8) -> (u64, u64) {
        let is_current = self.current.mode == mode && self.current.asid == asid;
        if !is_current {
            std::mem::swap(&mut self.current, &mut self.previous);
            if self.current.mode != mode || self.current.asid != asid {
                self.find(mode, asid);
            }
        }
        let Selection { view, track, .. } = self.current;
        let jumps = self.tracks.tables[track].1.entries.as_mut_ptr();
        (std::ptr::from_mut(&mut *self.views.tables[view].1) as u64, jumps as u64)
    }

    /// Makes the tables of `mode` and `asid` current by a look into the pools.
    fn find(&mut self, mode: Mode, asid: u8) {
        let (view, found_view) = self.views.find(View::new(mode, asid), empty_soft_tlb);
        let (track, found_track) = self.tracks.find(Track::new(mode, asid), Jumps::new);
        self.current = Selection { mode, asid, view, track };
        if found_view == Found::New || found_track == Found::New {
            // Its places may be another's now.
            self.previous = self.current;
        }
    }

    /// Forgets what kernel modes cached of the address space that is being left.
    pub fn leave_address_space(&mut self) {
        for (_, jumps) in self.tracks.tables.iter_mut().filter(|(t, j)| t.asid.is_none() && j.bound) {
            jumps.clear();
        }
    }

    /// The entry for loads at `va` in the current view.
    #[inline]
    pub fn load_entry(&self, va: Va) -> Option<SoftEntry> {
        let entry = self.views.tables[self.current.view].1.load[soft_slot(va.0)];
        (entry.tag == va.page().0).then_some(entry)
    }

    /// The entry for stores at `va` in the current view.
    #[inline]
    pub fn store_entry(&self, va: Va) -> Option<SoftEntry> {
        let entry = self.views.tables[self.current.view].1.store[soft_slot(va.0)];
        (entry.tag == va.page().0).then_some(entry)
    }

    /// Grants loads, and stores if `writable`, to the page of `va` in the current view.
    pub fn grant(&mut self, va: Va, addend: u64, readable: bool, writable: bool) {
        let soft = &mut self.views.tables[self.current.view].1;
        let (slot, tag) = (soft_slot(va.0), va.page().0);
        if readable {
            soft.load[slot] = SoftEntry { tag, addend };
        }
        if writable {
            soft.store[slot] = SoftEntry { tag, addend };
        }
    }

    /// Remembers that `va` runs the block at `host`. `bound` says whether that is so only in this
    /// address space.
    pub fn add_jump(&mut self, va: Va, host: u64, bound: bool) {
        let jumps = &mut self.tracks.tables[self.current.track].1;
        jumps.add(va, host);
        jumps.bound |= bound;
    }

    /// Forgets the pages from `va` for `bytes` bytes in address space `asid`, or in all of them.
    pub fn flush_range(&mut self, va: Va, bytes: u64, asid: Option<u8>) {
        let in_space = |space: u8| asid.is_none_or(|asid| asid == space);
        let pages = bytes / PAGE_SIZE;
        for (_, soft) in self.views.tables.iter_mut().filter(|(view, _)| in_space(view.asid)) {
            flush_soft(soft, va, pages);
        }
        for (_, jumps) in self.tracks.tables.iter_mut().filter(|(track, _)| track.asid.is_none_or(in_space)) {
            if pages > PAGES_WORTH_A_SCAN {
                jumps.clear();
            } else {
                (0..pages).for_each(|page| jumps.flush_page(va + page * PAGE_SIZE));
            }
        }
    }

    /// Forgets everything.
    pub fn flush_all(&mut self) {
        for (_, soft) in &mut self.views.tables {
            soft.load.fill(SoftEntry::EMPTY);
            soft.store.fill(SoftEntry::EMPTY);
        }
        self.flush_jumps();
    }

    /// Forgets every jump, for translations have gone.
    pub fn flush_jumps(&mut self) {
        for (_, jumps) in &mut self.tracks.tables {
            jumps.clear();
        }
    }

    /// Takes all write entries out of every view.
    pub fn forget_writes(&mut self) {
        for (_, soft) in &mut self.views.tables {
            soft.store.fill(SoftEntry::EMPTY);
        }
    }

    /// Takes the write entries of the host page at `host_page` out of every view: its next store is
    /// noticed.
    pub fn revoke_writes(&mut self, host_page: u64) {
        for (_, soft) in &mut self.views.tables {
            let entries = soft.store.iter_mut();
            for entry in entries.filter(|e| e.tag & (PAGE_SIZE - 1) == 0) {
                if entry.tag.wrapping_add(entry.addend) == host_page {
                    *entry = SoftEntry::EMPTY;
                }
            }
        }
    }
}

fn flush_soft(soft: &mut SoftTlb, va: Va, pages: u64) {
    if pages > PAGES_WORTH_A_SCAN {
        soft.load.fill(SoftEntry::EMPTY);
        soft.store.fill(SoftEntry::EMPTY);
        return;
    }
    for page in 0..pages {
        let slot = soft_slot((va + page * PAGE_SIZE).0);
        soft.load[slot] = SoftEntry::EMPTY;
        soft.store[slot] = SoftEntry::EMPTY;
    }
}

fn empty_soft_tlb() -> Box<SoftTlb> {
    let empty = [SoftEntry::EMPTY; SOFT_TLB_ENTRIES];
    Box::new(SoftTlb { load: empty, store: empty })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_is_found_in_an_empty_jump_cache() {
        for (slot, entry) in Jumps::new().entries.iter().enumerate() {
            assert_ne!(jump_slot(Va(entry.va)), slot);
        }
    }

    #[test]
    fn entries_belong_to_their_view() {
        let user = Mode::USER | Mode::WIDE_ADDRESSES;
        let mut tables = SoftTables::new(user, 1);
        tables.grant(Va(0x5000), 0x1000, true, false);
        assert!(tables.load_entry(Va(0x5123)).is_some());
        tables.select(user, 2);
        assert!(tables.load_entry(Va(0x5123)).is_none());
        tables.select(user, 1);
        assert!(tables.load_entry(Va(0x5123)).is_some());
        tables.flush_range(Va(0x4000), 0x2000, Some(1));
        assert!(tables.load_entry(Va(0x5123)).is_none());
    }

    #[test]
    fn of_many_spaces_the_last_ones_are_kept() {
        let user = Mode::USER | Mode::WIDE_ADDRESSES;
        let mut tables = SoftTables::new(user, 0);
        let spaces = POOL.get() as u8 + 3;
        for asid in 0..spaces {
            tables.select(user, asid);
            tables.grant(Va(0x5000), 0x1000 * u64::from(asid), true, false);
            // There and back, as a system call does.
            tables.select(Mode::empty(), asid);
            assert!(tables.load_entry(Va(0x5000)).is_none());
            tables.select(user, asid);
            assert_eq!(tables.load_entry(Va(0x5000)).map(|e| e.addend), Some(0x1000 * u64::from(asid)));
        }
        tables.select(user, spaces - 2);
        assert_eq!(tables.load_entry(Va(0x5000)).map(|e| e.addend), Some(0x1000 * u64::from(spaces - 2)));
        tables.select(user, 0);
        assert!(tables.load_entry(Va(0x5000)).is_none());
        // What was current before must not lead to a table that has since become another's.
        tables.select(user, 1);
        assert!(tables.load_entry(Va(0x5000)).is_none());
    }
}
