//! Live migration: a guest moves to another process while it runs. `channel` carries checked messages over any
//! stream, `message` says which there are, `pieces` how memory and disks go, `register` who decided what became of a
//! guest; `source` and `target` are the two sides. It knows a guest only as something with memory, and perhaps disks, that
//! can stand still, and neither command lines nor what kind of stream it is.
//!
//! ```text
//! source                                          target
//! preamble: magic, versions           ────►
//!                                     ◄────       preamble
//! Hello: identity, name, shape        ────►
//!                                     ◄────       Accept, or Refuse with a sentence
//! Blocks..., Pages..., Mark           ────►
//!                                     ◄────       Heard                            (any number of rounds)
//! (stands still) Blocks..., Pages..., State..., Complete ──►
//!                                     ◄────       Ready: it holds the whole guest
//! Commit: from here the source never runs by itself  ──►
//!                                     ◄────       Running
//! ```
//!
//! Until `Commit` is sent the source goes on whenever anything breaks. From then on only the target's answer counts:
//! a source that does not get it asks on new connections, by the identity (`Ask`). Whoever answers, even another
//! process, asks the [`Register`], in which the first decision stays: a guest that has been taken over is `Running`,
//! and for any other the question itself is the decision that it never will be (`Aborted`).

mod channel;
#[cfg(test)]
mod fuzz;
mod message;
mod pieces;
mod progress;
mod register;
mod source;
mod target;

use std::error::Error;

pub use channel::{ChannelError, Stream};
pub use message::{Hello, Identity};
pub use pieces::{Area, Areas, PieceError, Place};
pub use progress::{Amount, Progress, Status};
pub use register::{Decision, Register};
pub use source::{Connect, DepartError, Departure, Leaving, Notice, Outcome, Standing, Terms};
pub use target::{Arrival, ArriveError, Arrived, Arriving, House, Knock, Waiting, Waits};

/// An error with its causes, as one sentence.
pub(crate) fn sentence(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", sentence(cause)),
        None => error.to_string(),
    }
}
