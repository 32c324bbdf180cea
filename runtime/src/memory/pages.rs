//! One byte of flags for each page of physical memory. A page with any flag set has no write entry in
//! a soft TLB, so the first store to it is noticed: this is the one mechanism behind self-modifying
//! code and the dirty pages of snapshots and migration.

use std::sync::atomic::{AtomicU8, Ordering};

use translator::addr::{PAGE_SIZE, Pa};

/// The flags of every page up to the top of RAM.
#[derive(Debug)]
pub struct PageFlags {
    flags: Vec<AtomicU8>,
}

impl PageFlags {
    /// Translations were made from the page.
    pub const CODE: u8 = 1 << 0;
    /// The page has not been written since a [`WriteWatch`](super::WriteWatch) began.
    pub const CLEAN: u8 = 1 << 1;

    /// Flags for physical addresses below `top`.
    pub fn new(top: u64) -> Self {
        let pages = usize::try_from(top.div_ceil(PAGE_SIZE)).unwrap_or(usize::MAX);
        Self { flags: (0..pages).map(|_| AtomicU8::new(0)).collect() }
    }

    /// The flags of the page that holds `pa`; none outside RAM.
    #[inline]
    pub fn get(&self, pa: Pa) -> u8 {
        self.flags.get(pa.page_number() as usize).map_or(0, |f| f.load(Ordering::Acquire))
    }

    /// Sets `flag` and tells whether it was clear.
    pub fn set(&self, pa: Pa, flag: u8) -> bool {
        let Some(flags) = self.flags.get(pa.page_number() as usize) else { return false };
        flags.fetch_or(flag, Ordering::AcqRel) & flag == 0
    }

    /// Clears `flag`.
    pub fn clear(&self, pa: Pa, flag: u8) {
        if let Some(flags) = self.flags.get(pa.page_number() as usize) {
            flags.fetch_and(!flag, Ordering::AcqRel);
        }
    }
}
