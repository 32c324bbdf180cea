//! The serial line from the host's end: what is read from standard input goes to whatever machine is plugged in. A
//! machine that reboots is unplugged and another takes its place. It must not know what the bytes are.

use std::sync::mpsc::Receiver;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use runtime::device::uart::SerialInput;

#[derive(Default)]
struct Plug {
    input: Option<SerialInput>,
    /// How many machines there have been.
    machines: u64,
}

/// The line.
#[derive(Default)]
pub struct Line {
    plug: Mutex<Plug>,
    plugged: Condvar,
}

impl Line {
    /// Plugs the next machine in.
    pub fn connect(&self, input: SerialInput) {
        let mut plug = self.lock();
        plug.input = Some(input);
        plug.machines += 1;
        self.plugged.notify_all();
    }

    /// Passes on what comes from `bytes`, until nothing can come any more. While there is no machine, or it has no
    /// room, the bytes wait; those on their way to a machine that is unplugged are lost.
    pub fn feed(&self, bytes: &Receiver<Vec<u8>>) {
        let mut gone = 0;
        for chunk in bytes {
            let (input, machine) = self.machine_after(gone);
            if input.push(&chunk).is_err() {
                gone = machine;
            }
        }
    }

    /// The machine that is plugged in, which is a later one than number `gone`.
    fn machine_after(&self, gone: u64) -> (SerialInput, u64) {
        let mut plug = self.lock();
        loop {
            if let Some(input) = plug.input.as_ref().filter(|_| plug.machines > gone) {
                return (input.clone(), plug.machines);
            }
            plug = self.plugged.wait(plug).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Plug> {
        self.plug.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
