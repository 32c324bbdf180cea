//! The primitives that the model checker follows, under the names that the runtime has for the host's.

use std::sync::{LockResult, PoisonError};

pub use loom::sync::atomic::{AtomicBool, Ordering};
pub use loom::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The guard of a lock whose data stays good when its holder panics.
pub fn unpoisoned<G>(result: LockResult<G>) -> G {
    result.unwrap_or_else(PoisonError::into_inner)
}
