//! The random numbers of MARS, which are those of Java's `java.util.Random`: the same seeds give the
//! same numbers here.
//!
//! Source: the specification of `java.util.Random` (Java SE API), which prescribes the algorithm.

use serde::{Deserialize, Serialize};

const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const INCREMENT: u64 = 0xB;
const MASK: u64 = (1 << 48) - 1;

/// A generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator with a seed.
    pub fn new(seed: i64) -> Self {
        Self { state: (seed as u64 ^ MULTIPLIER) & MASK }
    }

    fn next(&mut self, bits: u32) -> i32 {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT) & MASK;
        (self.state >> (48 - bits)) as i32
    }

    /// Any integer.
    pub fn integer(&mut self) -> i32 {
        self.next(32)
    }

    /// An integer from 0 to below `bound`; `None` if there is none.
    pub fn integer_below(&mut self, bound: i32) -> Option<i32> {
        if bound <= 0 {
            return None;
        }
        if bound & -bound == bound {
            return Some(((i64::from(bound) * i64::from(self.next(31))) >> 31) as i32);
        }
        loop {
            let bits = self.next(31);
            let value = bits % bound;
            // Numbers above the last whole multiple would make small ones more likely.
            if bits.wrapping_sub(value).wrapping_add(bound - 1) >= 0 {
                return Some(value);
            }
        }
    }

    /// A number from 0 to below 1.
    pub fn float(&mut self) -> f32 {
        self.next(24) as f32 / (1 << 24) as f32
    }

    /// A number from 0 to below 1.
    pub fn double(&mut self) -> f64 {
        let high = i64::from(self.next(26)) << 27;
        (high + i64::from(self.next(27))) as f64 / (1i64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What OpenJDK 17 prints for `new Random(42)`.
    #[test]
    fn numbers_are_those_of_java() {
        let mut random = Random::new(42);
        assert_eq!([random.integer(), random.integer()], [-1170105035, 234785527]);
        let mut random = Random::new(42);
        assert_eq!([random.integer_below(10), random.integer_below(10)], [Some(0), Some(3)]);
        assert_eq!(Random::new(42).integer_below(0), None);
        assert_eq!(Random::new(42).double(), 0.7275636800328681);
        assert_eq!(Random::new(42).float(), 0.7275637);
    }
}
