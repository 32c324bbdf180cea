//! MIPS instructions in, x86-64 code out. This crate holds facts and pure functions; it knows no
//! threads, no files and no host addresses.
#![forbid(unsafe_code)]

pub mod addr;
pub mod asm;
pub mod block;
pub mod code;
pub mod cp0;
pub mod cpu;
pub mod emit;
pub mod exception;
pub mod float;
pub mod interp;
pub mod ir;
pub mod isa;
pub mod listing;
pub mod machine;
pub mod mode;
pub mod model;
pub mod nature;
pub mod patch;
pub mod sem;
pub mod stub;
