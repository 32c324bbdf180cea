//! MIPS instructions in, x86-64 code out. This crate holds facts and pure functions; it knows no
//! threads, no files and no host addresses.
#![forbid(unsafe_code)]

pub mod addr;
pub mod asm;
pub mod isa;
