//! Programs as virtual machines: assembly, ELF files or flat binaries on flat memory, with the console
//! services of MARS and SPIM by SYSCALL and para-instructions by HYPCALL. It knows nothing of files
//! that programs come from, of command lines, or of several machines in turns.
//!
//! An [`Image`] says what is in memory at the start, [`ProgramVm`] runs it, `service` answers system
//! calls over a [`Console`], `registers` shows the processor, `fault` says what a program died of.

mod board;
mod console;
mod fault;
#[cfg(test)]
mod fuzz;
mod image;
mod memory;
pub mod moving;
mod persist;
pub mod registers;
mod service;
mod vm;

pub use board::{mode, model};
pub use console::{Console, Until};
pub use fault::Fault;
pub use image::{Image, ImageError, Options, Piece};
pub use persist::RestoreError;
pub use registers::Registers;
pub use vm::{End, Execution, ProgramError, ProgramVm, Turn};
