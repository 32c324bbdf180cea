//! The effects of myvmm: guest memory, vCPUs, devices, the code arena and the one call into
//! generated code. It knows nothing of command lines or terminals.

pub mod backend;
pub mod board;
pub mod bus;
pub mod device;
pub mod memory;
pub mod mmu;
pub mod load;
