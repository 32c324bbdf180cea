//! What the MIPS floating-point instructions mean, as pure functions over raw bits.
//!
//! Every function takes the control register and the operands and returns the bits of the result:
//! an S or W value is the low 32 bits of a `u64`, and bits above them are ignored on the way in and
//! zero on the way out. An instruction that meets an enabled exception returns [`FloatException`],
//! has set FCSR.Cause, and has no result.
//!
//! Three layers, each in its own files: `ieee` is IEEE 754 without NaNs and knows nothing of MIPS;
//! `operation` and `nan` add what MIPS says of one step (NaNs, tininess, flushing); the rest
//! builds instructions from steps. A paired-single instruction is two S steps in one
//! `operation::run`, so that both lanes share one Cause.
//!
//! Nothing here knows registers, instruction words or the host's floating-point unit.

mod arithmetic;
mod compare;
mod convert;
mod fcsr;
mod format;
mod ieee;
mod nan;
mod operation;
mod root;

pub use arithmetic::{abs, add, div, madd, msub, mul, neg, nmadd, nmsub, recip, rsqrt, sqrt, sub};
pub use compare::{Condition, compare};
pub use convert::{from_integer, narrow, to_integer, widen};
pub use fcsr::{Control, Exceptions, Fcsr, RoundingMode, Rules};
pub use format::{Format, Integer};

/// An instruction raised an exception whose Enable bit is set (or Unimplemented Operation, which
/// has none): FCSR.Cause says which, and the guest takes a Floating Point exception (code 15).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("Floating-point exception")]
pub struct FloatException;
