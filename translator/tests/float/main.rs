//! The floating-point instructions against two oracles: the host's own arithmetic, and QEMU.

mod host;
mod instructions;
mod operands;
mod program;
mod qemu;
