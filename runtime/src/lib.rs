//! The effects of myvmm: guest memory, vCPUs, devices, the code arena and the one call into
//! generated code. It knows nothing of command lines or terminals.

mod alarm_clock;
pub mod backend;
pub mod board;
pub mod bus;
pub mod cache;
mod code_gate;
pub mod device;
pub mod doorbell;
pub mod drive;
pub mod load;
pub mod machine;
pub mod memory;
pub mod migrate;
pub mod mmu;
pub mod observe;
pub mod pause;
pub mod persist;
pub mod program;
pub mod schedule;
pub mod sliced_time;
pub mod snapshot;
mod stopwatch;
mod sync;
pub mod trace;
pub mod vcpu;
pub mod vm;
pub mod wire;
