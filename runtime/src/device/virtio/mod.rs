//! virtio devices (OASIS virtio 1.2): what a device must do to sit behind a transport, and what it has
//! from it. It must not know how a transport looks to the guest.

pub mod block;
pub mod console;
pub mod entropy;
mod mmio;
pub mod net;
pub mod queue;
#[cfg(test)]
pub(in crate::device) mod testing;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

pub use mmio::Transport;

use self::queue::{Queue, RingError};
use super::lock;
use crate::backend::events::Events;
use crate::bus::irq::IrqLine;
use crate::persist::StateError;
use crate::wire::WireError;

/// The device complies with virtio 1.0 or later (section 6); there is no other kind here.
pub const FEATURE_VERSION_1: u64 = 1 << 32;

/// What a device is (section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum DeviceKind {
    /// A network card.
    Network = 1,
    /// A disk.
    Block = 2,
    /// A console.
    Console = 3,
    /// A source of random bytes.
    Entropy = 4,
}

impl DeviceKind {
    /// What a device of this kind is called in snapshots.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Network => "virtio-net",
            Self::Block => "virtio-blk",
            Self::Console => "virtio-console",
            Self::Entropy => "virtio-rng",
        }
    }
}

/// A virtio device. All of it runs on a thread of its own, so it may block.
pub trait VirtioDevice: Send {
    /// What it is.
    fn kind(&self) -> DeviceKind;

    /// What it can do besides what every device here can.
    fn features(&self) -> u64;

    /// The largest size of each of its queues, powers of two.
    fn queue_sizes(&self) -> &'static [u16];

    /// Its configuration space, which only the driver changes.
    fn configuration(&self) -> Vec<u8>;

    /// The driver has written `byte` at `offset` of the configuration space; most of it cannot be changed.
    fn configure(&mut self, _offset: u64, _byte: u8) {}

    /// The driver has agreed on `features` and will use the queues. Host files that the device waits
    /// for are to be added to `events`.
    fn activate(&mut self, features: u64, events: &Arc<Events>);

    /// Does all that can be done without waiting for the guest: there may be requests in any of the
    /// queues, and the host files behind the tokens `ready` are ready. A queue that the driver has not
    /// set up is `None`.
    ///
    /// # Errors
    /// Fails on whatever the driver got wrong; it must then reset the device.
    fn serve(&mut self, queues: &mut [Option<Queue>], ready: &[u64]) -> Result<(), RingError>;

    /// When it wants to be served at the latest, even if nothing happens.
    fn patience(&mut self) -> Option<Duration> {
        None
    }

    /// Ends what was begun of the driver's requests: the machine is about to pause, and a request that is
    /// neither in a queue nor done would be lost. Until the device is served again it touches neither.
    ///
    /// # Errors
    /// As [`VirtioDevice::serve`].
    fn quiesce(&mut self, _queues: &mut [Option<Queue>]) -> Result<(), RingError> {
        Ok(())
    }

    /// What of it a snapshot must keep besides features and queues; for most devices nothing.
    fn save(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// Takes over what was kept, after it was activated if it was then. Nothing of it is believed.
    ///
    /// # Errors
    /// Refuses bytes that this device cannot have saved.
    fn restore(&mut self, state: &[u8]) -> Result<(), StateError> {
        match state.len() {
            0 => Ok(()),
            rest => Err(WireError::Trailing(rest).into()),
        }
    }

    /// The machine goes on after a pause, perhaps on another host.
    fn resume(&mut self) {}

    /// Returns to the state after power-on.
    fn reset(&mut self);
}

/// Why the driver was interrupted (section 4.2.2, `InterruptStatus`).
const USED_BUFFER: u32 = 1 << 0;
const CONFIGURATION_CHANGE: u32 = 1 << 1;

/// The interrupt of one device: a level that stays until the driver has acknowledged each reason.
#[derive(Default)]
pub struct Interrupt {
    /// The lock orders raising and acknowledging, so that no level is lost.
    reasons: Mutex<u32>,
    line: OnceLock<IrqLine>,
}

impl Interrupt {
    /// Tells the driver that requests were given back.
    pub fn raise_used(&self) {
        self.set(|reasons| reasons | USED_BUFFER);
    }

    /// Whether the driver was told and has not acknowledged it yet.
    pub fn is_used_raised(&self) -> bool {
        self.reasons() & USED_BUFFER != 0
    }

    /// Tells the driver to look at the device's status.
    fn raise_configuration(&self) {
        self.set(|reasons| reasons | CONFIGURATION_CHANGE);
    }

    fn reasons(&self) -> u32 {
        *lock(&self.reasons)
    }

    fn set(&self, change: impl FnOnce(u32) -> u32) {
        let mut reasons = lock(&self.reasons);
        *reasons = change(*reasons);
        if let Some(line) = self.line.get() {
            line.set(*reasons != 0);
        }
    }
}
