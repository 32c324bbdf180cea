//! Which blocks of a disk something is true of: a bit for each. It must not know what that is.

use std::io;

/// The most blocks of a disk: what is kept of them takes 2 GB. An image may say that it is of any size.
const MOST: u64 = 1 << 34;

/// A set of blocks of one size.
pub struct Blocks {
    bits: Vec<u64>,
    /// Bytes of a block.
    block: u64,
}

impl Blocks {
    /// No block of a disk of `size` bytes, which is cut into blocks of `block` bytes.
    ///
    /// # Errors
    /// Refuses a disk that is larger than any should be.
    pub fn none(size: u64, block: u64) -> io::Result<Self> {
        let count = size.div_ceil(block);
        if count > MOST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(Self { bits: vec![0; count.div_ceil(64) as usize], block })
    }

    /// Whether block `number` is in it.
    pub fn contains(&self, number: u64) -> bool {
        self.bits[(number / 64) as usize] & 1 << (number % 64) != 0
    }

    /// Adds block `number`.
    pub fn insert(&mut self, number: u64) {
        self.bits[(number / 64) as usize] |= 1 << (number % 64);
    }

    /// How many bytes from `place` on, up to `end`, are in it, or are not, as the first is.
    pub fn run(&self, place: u64, end: u64) -> (bool, u64) {
        let first = place / self.block;
        let is_in = self.contains(first);
        let others = (first..end.div_ceil(self.block)).find(|number| self.contains(*number) != is_in);
        (is_in, others.map_or(end, |number| number * self.block) - place)
    }

    /// Takes all blocks out; gives their numbers in order.
    pub fn take(&mut self) -> Vec<u64> {
        let mut numbers = Vec::new();
        for (first, word) in (0..).step_by(64).zip(&mut self.bits) {
            let mut rest = std::mem::take(word);
            while rest != 0 {
                numbers.push(first + u64::from(rest.trailing_zeros()));
                rest &= rest - 1;
            }
        }
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_taken_once_and_in_order() {
        let mut blocks = Blocks::none(1000 * 512 + 1, 512).unwrap();
        for number in [1000, 0, 63, 64, 64, 700] {
            blocks.insert(number);
        }
        assert_eq!(blocks.run(10, 5000), (true, 502));
        assert_eq!(blocks.run(512, 40_000), (false, 62 * 512));
        assert_eq!(blocks.take(), [0, 63, 64, 700, 1000]);
        assert!(blocks.take().is_empty() && !blocks.contains(64));
        assert!(Blocks::none(u64::MAX, 4096).is_err());
    }
}
