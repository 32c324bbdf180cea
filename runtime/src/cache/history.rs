//! Every translation that was ever placed, and how often each was entered: for profiles, which also
//! want blocks that were dropped. Kept only on request, because it grows as long as a machine runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use translator::block::Block;

/// Counters are made in runs that never move, because generated code holds their addresses.
const RUN: usize = 4096;

/// One translation.
#[derive(Clone, Debug)]
pub struct Placed {
    /// What was translated.
    pub block: Arc<Block>,
    /// The host address of its code.
    pub address: u64,
    /// The bytes of its code.
    pub bytes: usize,
}

/// All translations, in the order in which they were placed.
#[derive(Debug, Default)]
pub struct History {
    placed: Vec<Placed>,
    /// The counter of each translation. One is never used again: code of a dropped block may still run.
    counters: Vec<Box<[AtomicU64]>>,
}

impl History {
    /// The host address of the counter of the translation that comes next. Several vCPUs count
    /// without a lock, and so may lose a few.
    pub fn next_counter(&mut self) -> u64 {
        let index = self.placed.len();
        if index / RUN == self.counters.len() {
            self.counters.push((0..RUN).map(|_| AtomicU64::new(0)).collect());
        }
        self.counter(index) as *const AtomicU64 as u64
    }

    /// Adds a translation.
    pub fn add(&mut self, placed: Placed) {
        self.placed.push(placed);
    }

    /// All translations, each with how often it was entered.
    pub fn iter(&self) -> impl Iterator<Item = (&Placed, u64)> {
        let entered = |index| match self.counters.get(index / RUN) {
            Some(_) => self.counter(index).load(Ordering::Relaxed),
            None => 0,
        };
        self.placed.iter().enumerate().map(move |(index, placed)| (placed, entered(index)))
    }

    fn counter(&self, index: usize) -> &AtomicU64 {
        &self.counters[index / RUN][index % RUN]
    }
}

#[cfg(test)]
mod tests {
    use translator::addr::{Pa, Va};
    use translator::block::Key;
    use translator::mode::Mode;
    use translator::model::MIPS64R2;

    use super::*;

    #[test]
    fn counters_stay_where_they_are() {
        let key = Key::new(Va(0), Pa(0), Mode::empty());
        let block = Arc::new(Block::decode(key, Va(0), &MIPS64R2, |_| 0, None));
        let mut history = History::default();
        let first = history.next_counter();
        for _ in 0..2 * RUN {
            let address = history.next_counter();
            history.add(Placed { block: Arc::clone(&block), address, bytes: 8 });
        }
        assert_eq!(
            history.iter().next().map(|(placed, entered)| (placed.address, entered)),
            Some((first, 0))
        );
        assert_eq!(history.iter().count(), 2 * RUN);
    }
}
