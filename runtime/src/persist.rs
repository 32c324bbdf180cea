//! What a part of a machine must be able to do to be saved and restored. It must not know what parts
//! there are.

use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::wire::{self, WireError};

/// A part of a machine with state.
pub trait Persist {
    /// The name of the part in a snapshot; at most 16 bytes.
    const KIND: &'static str;
    /// The version of [`Persist::State`]: another one is refused.
    const VERSION: u16;
    /// What is kept.
    type State: Serialize + DeserializeOwned;
    /// Why a state does not fit.
    type Error: Display;

    /// What is to be kept, at a settled point.
    fn save(&mut self) -> Self::State;

    /// Takes over what was kept.
    ///
    /// # Errors
    /// Refuses a state that this part cannot have.
    fn restore(&mut self, state: Self::State) -> Result<(), Self::Error>;
}

/// Why bytes do not fit a device.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// They are no state at all.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// They are the state of another kind or size of device.
    #[error("{0}")]
    Unfit(String),
}

/// A device with state, which other threads use too. The machine saves and restores it while it is paused
/// ([`SharedDevice::set_paused`](crate::device::SharedDevice::set_paused)).
///
/// A [`Persist`] behind a mutex is one.
pub trait DeviceState: Send + Sync {
    /// The name of the part in a snapshot; at most 16 bytes. Devices of one name are told apart by their
    /// order.
    fn kind(&self) -> &'static str;

    /// The version of the bytes: another one is refused.
    fn version(&self) -> u16;

    /// What is to be kept.
    fn save(&self) -> Vec<u8>;

    /// Takes over what was kept, and drives its interrupt line to match. Nothing of it is believed.
    ///
    /// # Errors
    /// Refuses bytes that this device cannot have saved; it must then not be used any more.
    fn restore(&self, bytes: &[u8]) -> Result<(), StateError>;
}

/// One dead thread must not take the others down through its device.
fn lock<P>(part: &Mutex<P>) -> MutexGuard<'_, P> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<P: Persist + Send> DeviceState for Mutex<P> {
    fn kind(&self) -> &'static str {
        P::KIND
    }

    fn version(&self) -> u16 {
        P::VERSION
    }

    fn save(&self) -> Vec<u8> {
        wire::encode(&lock(self).save())
    }

    fn restore(&self, bytes: &[u8]) -> Result<(), StateError> {
        let state = wire::decode(bytes)?;
        lock(self).restore(state).map_err(|error| StateError::Unfit(error.to_string()))
    }
}
