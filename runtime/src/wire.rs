//! Values as bytes, for snapshots and migration: the one place that knows the encoding. It must not
//! know what the values are.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most bytes of one encoded value; memory is not encoded by this.
const LIMIT: usize = 64 << 20;

/// Why bytes are no value of the wanted kind.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// They do not decode.
    #[error("its contents make no sense")]
    Decode(#[source] bincode::error::DecodeError),
    /// There are more bytes than the value has.
    #[error("{0} bytes too many follow its contents")]
    Trailing(usize),
}

fn configuration() -> impl bincode::config::Config {
    bincode::config::standard().with_fixed_int_encoding().with_limit::<LIMIT>()
}

/// The bytes of `value`.
///
/// # Panics
/// Panics if the value has no encoding, which only types with hand-written serialisation can bring about.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, configuration()).expect("derived types have an encoding")
}

/// The value whose bytes these are.
///
/// # Errors
/// Refuses bytes that are anything but one whole value.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    let (value, used) =
        bincode::serde::decode_from_slice(bytes, configuration()).map_err(WireError::Decode)?;
    match bytes.len() - used {
        0 => Ok(value),
        rest => Err(WireError::Trailing(rest)),
    }
}
