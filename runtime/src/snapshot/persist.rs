//! What a part of a machine must be able to do to be saved and restored.

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

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
