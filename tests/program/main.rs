//! Programs in assembly as a whole: files with their expectations, turns, snapshots, and SPIM as the oracle.

mod binaries;
mod cli;
mod far_slot;
mod files;
mod fuzz;
mod harness;
mod moving;
mod players;
mod snapshot;
mod spim;
mod stale;
mod turns;
