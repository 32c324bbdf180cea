//! What a program's standard input and output are to it. It knows nothing of terminals or pipes.

use std::io;

/// How much of the input is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// A line with its newline, but at most so many bytes.
    Newline(usize),
    /// What there is, but at most so many bytes.
    Count(usize),
}

/// The console of one program.
pub trait Console {
    /// Prints bytes.
    ///
    /// # Errors
    /// Fails if nothing more can be printed; the program then ends.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Reads bytes; none at the end of the input. `None` says that there may be some later: the program
    /// waits, and others go on.
    ///
    /// # Errors
    /// Fails if nothing more can be read; the program then ends.
    fn read(&mut self, until: Until) -> io::Result<Option<Vec<u8>>>;
}
