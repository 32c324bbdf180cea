//! Addresses and words in JSON: strings like "0x80001000", because many readers keep numbers in 53 bits.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

/// Writes `value` as a hexadecimal string.
pub fn serialize<S: Serializer>(value: &(impl Copy + Into<u64>), serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{:#x}", (*value).into()))
}

/// Reads what [`serialize`] writes.
pub fn deserialize<'a, T: TryFrom<u64>, D: Deserializer<'a>>(deserializer: D) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digits = text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let value = digits.and_then(|value| T::try_from(value).ok());
    value.ok_or_else(|| D::Error::custom(format_args!("{text} is no hexadecimal number that fits")))
}

/// The same for what need not be there.
pub mod optional {
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes a hexadecimal string or null.
    pub fn serialize<S: Serializer>(value: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads what [`serialize`] writes.
    pub fn deserialize<'a, D: Deserializer<'a>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        #[derive(Deserialize)]
        struct Number(#[serde(with = "super")] u64);
        Ok(Option::<Number>::deserialize(deserializer)?.map(|Number(value)| value))
    }
}
