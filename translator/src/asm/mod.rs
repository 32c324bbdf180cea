//! The assembler: the text of a MIPS program in, its bytes out. It reads the language that MARS, SPIM and
//! GNU as share, and takes every machine instruction from the table in `isa`. It reads no files itself
//! ([`Sources`] does) and knows nothing of how programs run.
//!
//! The way of a line: `reader` gives it (out of files and macros), `lex` cuts it into tokens,
//! `assembler` takes labels off and hands the rest to `directive` or `statement`; `pseudo` and
//! `instruction` make instructions, `layout` gives them addresses. When all lines are read, every label
//! has its address, and `link` computes the values and writes the bytes.
//!
//! Where the dialects differ ([`Compat`]):
//!
//! | | MARS | SPIM | GNU as |
//! |---|---|---|---|
//! | commas between operands | optional | optional | required |
//! | `.word 1 -2` | two words | two words | one |
//! | `010` | 8 | 10 | 8 |
//! | immediates that do not fit | loaded into `$at` | error | loaded into `$at` |
//! | `$at` by name without `.set noat` | fine | error | warning |
//! | pseudo-instruction that needs `$at` under `.set noat` | warning | warning | error |
//! | `abs` of the least number | wraps | overflow | overflow |
//! | `div`, `rem` of three registers break on | zero | zero | zero, and an overflow |
//! | `label: .align 2` | label stays | label moves | label moves |
//! | `.extern name size` | reserves | reserves | declares |

mod assembler;
mod cursor;
mod data;
mod diagnostics;
mod directive;
mod expression;
mod instruction;
pub mod layout;
mod lex;
mod link;
mod macros;
mod operand;
mod program;
mod pseudo;
mod reader;
mod register;
mod source;
mod statement;
mod suggest;
mod symbol;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use layout::Section;
pub use program::{Lines, Para, Program, Segment};
pub use register::Abi;
pub use source::{Cause, Place, Sources, Text, Unreadable};

/// The CPU that a program is for: which instructions there are, and how wide registers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Cpu {
    /// 32 bits.
    #[default]
    Mips32r2,
    /// 64 bits.
    Mips64r2,
}

/// The order of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Endian {
    /// The least significant byte first.
    #[default]
    Little,
    /// The most significant byte first.
    Big,
}

/// Whose rules hold where the dialects differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Compat {
    /// The MARS simulator.
    #[default]
    Mars,
    /// The SPIM simulator.
    Spim,
    /// GNU as.
    Gas,
}

/// What a program is assembled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Options {
    /// The CPU.
    pub cpu: Cpu,
    /// The order of bytes.
    pub endian: Endian,
    /// Whether a program starts under `.set noreorder`, and so sees delay slots.
    pub delayed_branches: bool,
    /// The dialect.
    pub compat: Compat,
    /// The names of registers.
    pub abi: Abi,
}

/// Assembles the program whose first file is called `root`.
///
/// # Errors
/// All errors of the program, and its warnings.
pub fn assemble<S: Sources + ?Sized>(
    root: &str,
    sources: &S,
    options: &Options,
) -> Result<Program, Diagnostics> {
    assembler::Assembler::new(&|path, from| sources.read(path, from), *options).run(root)
}
