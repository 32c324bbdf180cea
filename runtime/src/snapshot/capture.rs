//! RAM as it was at one moment, while the guest goes on: a page that is about to change is copied first, the
//! others are read where they are. It must not know what becomes of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use translator::addr::{PAGE_SIZE, Pa};

use crate::memory::{PageKeeper, Ram};

/// RAM at the moment at which the watch over its pages began.
pub struct Capture {
    ram: Arc<Ram>,
    pages: Mutex<Pages>,
}

struct Pages {
    /// By page number: the page was taken, and may change.
    taken: Vec<bool>,
    /// What changed pages held.
    copies: HashMap<u64, Box<[u8]>>,
}

impl Capture {
    /// A capture of `ram`, which must be given to the watch before anything writes.
    pub fn new(ram: Arc<Ram>) -> Arc<Self> {
        let taken = vec![false; (ram.top() / PAGE_SIZE) as usize];
        Arc::new(Self { ram, pages: Mutex::new(Pages { taken, copies: HashMap::new() }) })
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fills `to` with what was at `pa`; both are whole pages of one bank. Pages are taken once.
    ///
    /// # Panics
    /// Panics if a page is not in RAM: callers walk its banks.
    pub fn take(&self, pa: Pa, to: &mut [u8]) {
        for (page, to) in (pa.0..).step_by(PAGE_SIZE as usize).zip(to.chunks_exact_mut(PAGE_SIZE as usize)) {
            // Until the lock is given back, nobody gets past `keep`, so the page holds still.
            let mut pages = self.lock();
            match pages.copies.remove(&page) {
                Some(copy) => to.copy_from_slice(&copy),
                None => self.ram.read(Pa(page), to).expect("callers walk the banks"),
            }
            pages.taken[(page / PAGE_SIZE) as usize] = true;
        }
    }
}

impl PageKeeper for Capture {
    fn keep(&self, page: Pa) {
        let mut pages = self.lock();
        if !pages.taken[page.page_number() as usize] {
            let mut copy = vec![0; PAGE_SIZE as usize].into_boxed_slice();
            self.ram.read(page, &mut copy).expect("only RAM is watched");
            pages.copies.insert(page.0, copy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Window;
    use crate::memory::{PageFlags, WriteWatch};

    #[test]
    fn a_capture_is_of_one_moment() {
        let ram = Arc::new(Ram::new(&[Window { base: Pa(0), size: 0x3000 }]).unwrap());
        let (flags, watch) = (PageFlags::new(ram.top()), WriteWatch::default());
        let write = |pa: u64, byte: u8| {
            watch.before_write(&flags, Pa(pa), 1);
            ram.write(Pa(pa), &[byte]).unwrap();
        };
        write(0x10, 1);
        write(0x1010, 2);
        let capture = Capture::new(Arc::clone(&ram));
        watch.begin(&flags, ram.banks(), Some(capture.clone()));
        write(0x10, 7);
        let mut page = vec![9; 0x1000];
        let mut at = |pa: u64, capture: &Capture| {
            capture.take(Pa(pa & !0xfff), &mut page);
            page[(pa & 0xfff) as usize]
        };
        assert_eq!(at(0x10, &capture), 1);
        assert_eq!(at(0x1010, &capture), 2);
        write(0x1010, 8);
        write(0x2010, 9);
        assert_eq!(at(0x2010, &capture), 0);
        assert!(capture.lock().copies.is_empty());
    }
}
