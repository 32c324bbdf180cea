//! Which pages of RAM are written, and what they held before: for snapshots that are taken while the guest
//! runs, and for migration. It must not know who writes, nor what becomes of the pages.
//!
//! A page is *clean* until the first write after the watch began. A clean page has no write entry in any soft
//! TLB ([`PageFlags`]), so that write is noticed beforehand, and only that one costs anything.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use translator::addr::{PAGE_SIZE, Pa};

use super::PageFlags;
use crate::device::Window;

/// Who wants to see a clean page before it changes.
pub trait PageKeeper: Send + Sync {
    /// `page` is about to be written, for the first time since the watch began. Called on the writer's thread,
    /// which waits.
    fn keep(&self, page: Pa);
}

/// The watch over the pages of a machine.
#[derive(Default)]
pub struct WriteWatch {
    /// Locked while a page stops being clean, so that no writer goes ahead while another one keeps the page.
    keeper: Mutex<Option<Arc<dyn PageKeeper>>>,
}

impl WriteWatch {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<dyn PageKeeper>>> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes every page of `banks` clean and gives the pages that were not, in ascending order. From now on
    /// `keeper` sees each page before it changes. Nothing may write meanwhile: vCPUs and devices stand still,
    /// and vCPUs give up their write entries before they go on.
    pub fn begin(&self, flags: &PageFlags, banks: &[Window], keeper: Option<Arc<dyn PageKeeper>>) -> Vec<Pa> {
        *self.lock() = keeper;
        pages(banks).filter(|page| flags.set(*page, PageFlags::CLEAN)).collect()
    }

    /// Nobody sees pages any more. They stay clean until they are written.
    pub fn release(&self) {
        *self.lock() = None;
    }

    /// The `bytes` bytes at `pa` are about to be written.
    pub fn before_write(&self, flags: &PageFlags, pa: Pa, bytes: u64) {
        let pages = (pa.page().0..pa.0 + bytes).step_by(PAGE_SIZE as usize).map(Pa);
        for page in pages.filter(|page| flags.get(*page) & PageFlags::CLEAN != 0) {
            let keeper = self.lock();
            if flags.get(page) & PageFlags::CLEAN != 0 {
                if let Some(keeper) = &*keeper {
                    keeper.keep(page);
                }
                flags.clear(page, PageFlags::CLEAN);
            }
        }
    }
}

/// The pages of `banks`.
pub fn pages(banks: &[Window]) -> impl Iterator<Item = Pa> {
    banks.iter().flat_map(|bank| (0..bank.size).step_by(PAGE_SIZE as usize).map(|offset| bank.base + offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Kept(Mutex<Vec<Pa>>);

    impl PageKeeper for Kept {
        fn keep(&self, page: Pa) {
            self.0.lock().unwrap().push(page);
        }
    }

    #[test]
    fn a_page_is_kept_once_and_then_dirty() {
        let banks = [Window { base: Pa(0x2000), size: 0x4000 }];
        let (flags, watch, kept) = (PageFlags::new(0x6000), WriteWatch::default(), Arc::new(Kept::default()));
        assert_eq!(watch.begin(&flags, &banks, Some(kept.clone())).len(), 4);
        watch.before_write(&flags, Pa(0x2ffe), 4);
        watch.before_write(&flags, Pa(0x3000), 8);
        assert_eq!(*kept.0.lock().unwrap(), [Pa(0x2000), Pa(0x3000)]);
        watch.release();
        watch.before_write(&flags, Pa(0x5000), 1);
        assert_eq!(kept.0.lock().unwrap().len(), 2);
        assert_eq!(watch.begin(&flags, &banks, None), [Pa(0x2000), Pa(0x3000), Pa(0x5000)]);
        assert!(watch.begin(&flags, &banks, None).is_empty());
    }
}
