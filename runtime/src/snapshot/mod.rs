//! Snapshots: the state of a virtual machine in one file. `format` is the container, `ram` says how memory
//! gets into it, `file` how the file is written so that there is never half of one. It knows nothing of what
//! kinds of machines there are.

pub mod file;
pub mod format;
mod ram;

pub use format::{Reader, SnapshotError, Writer};
