//! Benchmarks: guest programs under each engine, under QEMU and as native code, what was measured, and how it is shown.
//! It must not know the command line.

mod csv;
mod elf;
mod linux;
mod measure;
mod native;
mod qemu;
mod report;
mod results;
mod sample;
mod scaling;
mod table;
mod warm_up;
mod workload;

pub use csv::csv;
pub use measure::{Plan, run};
pub use report::html;
pub use results::Results;
pub use table::table;
pub use workload::WORKLOADS;
