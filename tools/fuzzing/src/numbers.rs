//! Numbers that follow from the number of a case.

use std::ops::Range;

/// A stream of numbers that follows from a seed (SplitMix64: Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub struct Numbers {
    seed: u64,
    state: u64,
}

impl Numbers {
    /// The stream of `seed`. Neighbouring seeds have nothing in common.
    pub fn new(seed: u64) -> Self {
        Self { seed, state: seed.wrapping_mul(0xd134_2543_de82_ef95) }
    }

    /// The seed, which is the number of the case: for a target that goes through all that there is.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Any number.
    #[expect(clippy::should_implement_trait, reason = "a stream without end is better off without Option")]
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// An index of something that has `length` items, of which there is one at least.
    pub fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// Whether something happens that happens once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of `choices`, which are not none.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    /// A number of the kinds that find mistakes: small, all ones, one bit, next to one bit, anything.
    pub fn value(&mut self) -> u64 {
        match self.below(5) {
            0 => self.below(16),
            1 => u64::MAX >> self.below(64),
            2 => 1 << self.below(64),
            3 => (1u64 << self.below(64)).wrapping_add(self.below(33)).wrapping_sub(16),
            _ => self.next(),
        }
    }

    /// Bytes, any, fewer than `limit`.
    pub fn bytes(&mut self, limit: usize) -> Vec<u8> {
        (0..self.index(limit)).map(|_| self.next() as u8).collect()
    }

    /// A part of something that has `length` items; more often a short one.
    pub fn part(&mut self, length: usize) -> Range<usize> {
        let start = self.index(length + 1);
        let reach = if self.once_in(4) { length } else { 16 };
        start..start + self.index((length - start).min(reach) + 1)
    }
}
