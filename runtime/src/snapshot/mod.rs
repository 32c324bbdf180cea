//! Snapshots: the state of a virtual machine in one file. `format` is the container, `persist` says how
//! a part of a machine gets into it, `ram` how memory does, `file` how the file is written so that
//! there is never half of one. It knows nothing of what kinds of machines there are.

pub mod file;
pub mod format;
pub mod persist;
mod ram;

pub use format::{Reader, SnapshotError, Writer};
pub use persist::Persist;
