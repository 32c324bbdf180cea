//! Snapshots: the state of a virtual machine in one file. `format` is the container, `ram` says how memory
//! gets into it, `capture` how it holds still meanwhile, `file` how the file is written so that there is never half of one. It knows nothing of what
//! kinds of machines there are.

mod capture;
#[cfg(test)]
pub mod damage;
pub mod file;
pub mod format;
mod ram;

pub use capture::Capture;
pub use format::{PartFacts, Reader, SnapshotError, Writer};
pub use ram::{Image, write_image};
