//! Who may run guest code when: any number of vCPUs at once, or nobody while one thread changes what they all
//! rely on. It must not know what that is, nor how vCPUs are called. The model checker runs this very file with
//! primitives of its own (`tools/model`), so it takes them from `crate::sync`.

use crate::sync::{
    AtomicBool, Mutex, MutexGuard, Ordering, RwLock, RwLockReadGuard, RwLockWriteGuard, unpoisoned,
};

/// The gate that every vCPU passes before it runs guest code.
#[derive(Default)]
pub struct CodeGate {
    /// Held for reading by those who run guest code.
    running: RwLock<()>,
    /// Held by the one who is alone or wants to be: the others sleep here until it is done.
    turn: Mutex<()>,
    /// Whether someone wants to be alone. It outlasts the alarm by which vCPUs are called, which one of
    /// them may take back just before it enters.
    wanted: AtomicBool,
}

/// Leave to run guest code.
pub struct Running<'a> {
    _running: RwLockReadGuard<'a, ()>,
}

/// The certainty that nobody runs guest code.
pub struct Alone<'a> {
    _running: RwLockWriteGuard<'a, ()>,
    _turn: MutexGuard<'a, ()>,
}

impl CodeGate {
    /// Lets the caller run guest code as long as the guard lives. It must give the guard back soon after
    /// it was called.
    pub fn enter(&self) -> Running<'_> {
        loop {
            let running = unpoisoned(self.running.read());
            if !self.wanted.load(Ordering::SeqCst) {
                return Running { _running: running };
            }
            drop(running);
            drop(unpoisoned(self.turn.lock()));
        }
    }

    /// Waits until nobody runs guest code, and keeps it so as long as the guard lives. `call` must reach
    /// all who run it.
    pub fn close(&self, call: impl FnOnce()) -> Alone<'_> {
        let turn = unpoisoned(self.turn.lock());
        self.wanted.store(true, Ordering::SeqCst);
        call();
        let running = unpoisoned(self.running.write());
        self.wanted.store(false, Ordering::SeqCst);
        Alone { _running: running, _turn: turn }
    }
}
