//! How a long task tells its caller how far it is. The crate prints nothing; the caller draws, or does not.

/// Receives the steps of a task.
pub trait Progress {
    /// `what` is under way: `done` of `total` units of its own (bytes, or hundredths of a per cent), or of an unknown
    /// number. Called again with the same `what` as it goes on, a few times a second at most for each file.
    fn step(&mut self, what: &str, done: u64, total: Option<u64>);
}

/// Every closure of the right shape is a [`Progress`].
impl<F: FnMut(&str, u64, Option<u64>)> Progress for F {
    fn step(&mut self, what: &str, done: u64, total: Option<u64>) {
        self(what, done, total);
    }
}

/// The [`Progress`] of a caller that does not want to know.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&mut self, _what: &str, _done: u64, _total: Option<u64>) {}
}
