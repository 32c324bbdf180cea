//! RAM as it was at one moment, while the guest goes on: a page that is about to change is copied first, the
//! others are read where they are. What is kept of changed pages is bounded: whoever changes more waits until some have
//! been read. It must not know what becomes of them.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use translator::addr::{PAGE_SIZE, Pa};

use crate::memory::{PageKeeper, Ram};

/// The most pages that are kept: 256 MB. A guest that changes more while it is saved becomes as slow as the host's disk.
const MOST_COPIES: usize = 1 << 16;

/// RAM at the moment at which the watch over its pages began.
pub struct Capture {
    ram: Arc<Ram>,
    pages: Mutex<Pages>,
    most: usize,
    /// Told when there may be room for a copy again.
    room: Condvar,
}

struct Pages {
    /// By page number: the page was taken, and may change.
    taken: Vec<bool>,
    /// What changed pages held.
    copies: HashMap<u64, Box<[u8]>>,
    /// Nothing is taken any more.
    over: bool,
}

impl Capture {
    /// A capture of `ram`, which must be given to the watch before anything writes.
    pub fn new(ram: Arc<Ram>) -> Arc<Self> {
        Self::with_room(ram, MOST_COPIES)
    }

    /// As [`Capture::new`], with room for `most` copies.
    fn with_room(ram: Arc<Ram>, most: usize) -> Arc<Self> {
        let taken = vec![false; (ram.top() / PAGE_SIZE) as usize];
        let pages = Pages { taken, copies: HashMap::new(), over: false };
        Arc::new(Self { ram, pages: Mutex::new(pages), most, room: Condvar::new() })
    }

    /// Whether nothing is to be taken any more.
    pub fn is_over(&self) -> bool {
        self.lock().over
    }

    /// Nothing is taken any more, and nobody waits.
    pub fn end(&self) {
        let mut pages = self.lock();
        pages.over = true;
        pages.copies.clear();
        self.room.notify_all();
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
            self.room.notify_all();
        }
    }
}

impl PageKeeper for Capture {
    fn keep(&self, page: Pa) {
        let index = page.page_number() as usize;
        let waits = |pages: &mut Pages| !pages.over && !pages.taken[index] && pages.copies.len() >= self.most;
        let pages = self.room.wait_while(self.lock(), waits);
        let mut pages = pages.unwrap_or_else(PoisonError::into_inner);
        if !pages.over && !pages.taken[index] {
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

    #[test]
    fn who_changes_too_much_waits_until_it_is_taken_or_over() {
        let ram = Arc::new(Ram::new(&[Window { base: Pa(0), size: 0x4000 }]).unwrap());
        let capture = Capture::with_room(Arc::clone(&ram), 1);
        let (sender, kept) = std::sync::mpsc::channel();
        let writer = Arc::clone(&capture);
        let writer = std::thread::spawn(move || {
            for page in 0..4 {
                writer.keep(Pa(page * PAGE_SIZE));
                sender.send(page).unwrap();
            }
        });
        let soon = std::time::Duration::from_millis(50);
        assert_eq!(kept.recv().unwrap(), 0);
        assert!(kept.recv_timeout(soon).is_err());
        let mut page = vec![0; PAGE_SIZE as usize];
        capture.take(Pa(0), &mut page);
        assert_eq!(kept.recv().unwrap(), 1);
        // One that is taken while someone waits to change it needs no copy.
        assert!(kept.recv_timeout(soon).is_err());
        capture.take(Pa(2 * PAGE_SIZE), &mut page);
        assert_eq!(kept.recv().unwrap(), 2);
        assert!(kept.recv_timeout(soon).is_err());
        capture.end();
        writer.join().unwrap();
        assert!(capture.lock().copies.is_empty());
    }
}
