//! Which pages were marked lately, in order, for vCPUs that must each do something about every one of them before they
//! run on. It keeps so many and no more, however often a guest has pages marked: who comes late does it for all pages.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use translator::addr::Pa;

/// A vCPU that looks at more pages than this does better to start anew.
const KEPT: usize = 1024;

/// The pages that were marked.
#[derive(Debug, Default)]
pub struct Notices {
    latest: Mutex<VecDeque<Pa>>,
    count: AtomicUsize,
}

impl Notices {
    /// How many pages were marked in all.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Adds a page.
    pub fn add(&self, page: Pa) {
        let mut latest = self.lock();
        if latest.len() == KEPT {
            latest.pop_front();
        }
        latest.push_back(page);
        self.count.fetch_add(1, Ordering::Release);
    }

    /// How many were marked in all, and those after the first `seen`; `None` if some of them are forgotten.
    pub fn after(&self, seen: usize) -> (usize, Option<Vec<Pa>>) {
        let latest = self.lock();
        let count = self.count();
        let missed = count - seen;
        let pages =
            (missed <= latest.len()).then(|| latest.range(latest.len() - missed..).copied().collect());
        (count, pages)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Pa>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_comers_learn_that_they_are_late() {
        let notices = Notices::default();
        assert_eq!(notices.after(0), (0, Some(Vec::new())));
        for page in 0..3 {
            notices.add(Pa(page));
        }
        assert_eq!(notices.after(1), (3, Some(vec![Pa(1), Pa(2)])));
        for page in 3..KEPT as u64 + 2 {
            notices.add(Pa(page));
        }
        assert_eq!(notices.after(1), (KEPT + 2, None));
        let (count, pages) = notices.after(2);
        assert_eq!((count, pages.map(|pages| pages.len())), (KEPT + 2, Some(KEPT)));
        assert_eq!(notices.lock().len(), KEPT);
    }
}
