//! What people and shells are told: remarks on standard error, and what a command was asked for on standard output. It
//! must not know what that is.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write as _};

use anyhow::Context as _;

/// Tells people something on standard error, as `eprint!` does, but nobody has to listen: no guest ends because the
/// disk of a log is full, or a window was closed.
macro_rules! tell {
    ($($words:tt)*) => { $crate::telling::remark(format_args!($($words)*)) };
}

/// The same with the end of a line.
macro_rules! tell_line {
    ($($words:tt)*) => { tell!("{}\n", format_args!($($words)*)) };
}

/// What [`tell`] does.
pub fn remark(words: Arguments<'_>) {
    let _ = io::stderr().write_fmt(words);
}

/// Writes what was asked for to standard output; a reader that has seen enough is no error.
///
/// # Errors
/// Fails if the host does not take it.
pub fn answer(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("Cannot write to standard output"),
    }
}
