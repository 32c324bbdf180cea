//! The container: parts with a name, a version, a length and a checksum, in a row.
//!
//! ```text
//! file    magic "MYVMMSNP", format version (u32), parts, the part `end`
//! part    kind (16 bytes, padded with zeros), version (u16), encoding (u16: 0 plain, 1 LZ4 block),
//!         stored length (u64), plain length (u64), CRC-32 (u32) of all these fields and the bytes,
//!         the stored bytes
//! end     holds the number of parts before it (u64)
//! ```
//!
//! All numbers are little-endian. Every byte of the file is under a checksum or compared with a
//! constant, so no flipped byte passes.

use crate::persist::Persist;
use crate::wire::{self, WireError};

const MAGIC: &[u8; 8] = b"MYVMMSNP";
const FORMAT: u32 = 1;
const KIND_BYTES: usize = 16;
const FIELDS_BYTES: usize = KIND_BYTES + 2 + 2 + 8 + 8;
const HEAD_BYTES: usize = FIELDS_BYTES + 4;
const END: &str = "end";
/// The most bytes of a part: larger things are cut into several.
const MAX_PART: u64 = 256 << 20;

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It begins as no snapshot does.
    #[error("this is no snapshot of myvmm")]
    Foreign,
    /// Another version of the program wrote it.
    #[error("the snapshot has format {found}; this myvmm reads format {FORMAT}")]
    Format {
        /// The version found.
        found: u32,
    },
    /// It ends early.
    #[error("the snapshot is truncated {place}")]
    Truncated {
        /// Where.
        place: String,
    },
    /// A checksum is wrong.
    #[error("part `{part}` of the snapshot is damaged: its checksum is wrong")]
    Checksum {
        /// The part.
        part: String,
    },
    /// A part is not what it says.
    #[error("part `{part}` of the snapshot is damaged: {reason}")]
    Damaged {
        /// The part.
        part: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A part has another version.
    #[error("part `{part}` of the snapshot has version {found}; this myvmm reads version {wanted}")]
    Version {
        /// The part.
        part: String,
        /// The version found.
        found: u16,
        /// The version that would do.
        wanted: u16,
    },
    /// A part is not there.
    #[error("the snapshot lacks part `{part}`")]
    Missing {
        /// The part.
        part: String,
    },
    /// A part is there that nothing reads.
    #[error("the snapshot has a part `{part}` that does not belong to this machine")]
    Unknown {
        /// The part.
        part: String,
    },
}

/// How a part's bytes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
enum Encoding {
    Plain = 0,
    Lz4 = 1,
}

/// Makes the bytes of a snapshot.
pub struct Writer {
    bytes: Vec<u8>,
    parts: u64,
}

impl Default for Writer {
    fn default() -> Self {
        Self { bytes: [&MAGIC[..], &FORMAT.to_le_bytes()].concat(), parts: 0 }
    }
}

impl Writer {
    /// Adds a part of a machine.
    pub fn save<P: Persist>(&mut self, part: &mut P) {
        let state = wire::encode(&part.save());
        self.add(P::KIND, P::VERSION, &state);
    }

    /// Adds a part, compressed if that makes it smaller.
    ///
    /// # Panics
    /// Panics if the kind is longer than the format allows; kinds are constants.
    pub fn add(&mut self, kind: &str, version: u16, plain: &[u8]) {
        let packed = lz4_flex::block::compress(plain);
        let (encoding, stored) =
            if packed.len() < plain.len() { (Encoding::Lz4, &packed[..]) } else { (Encoding::Plain, plain) };
        let mut fields = [0; FIELDS_BYTES];
        fields[..kind.len()].copy_from_slice(kind.as_bytes());
        fields[16..18].copy_from_slice(&version.to_le_bytes());
        fields[18..20].copy_from_slice(&(encoding as u16).to_le_bytes());
        fields[20..28].copy_from_slice(&(stored.len() as u64).to_le_bytes());
        fields[28..36].copy_from_slice(&(plain.len() as u64).to_le_bytes());
        self.bytes.extend(fields);
        self.bytes.extend(checksum(&fields, stored).to_le_bytes());
        self.bytes.extend(stored);
        self.parts += 1;
    }

    /// The whole file.
    pub fn finish(mut self) -> Vec<u8> {
        let parts = self.parts;
        self.add(END, 1, &parts.to_le_bytes());
        self.bytes
    }
}

fn checksum(fields: &[u8], stored: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(fields);
    hasher.update(stored);
    hasher.finalize()
}

/// A part as it was found.
struct Part {
    kind: String,
    version: u16,
    plain: Vec<u8>,
}

/// Takes a snapshot apart. All of it is checked before any of it is used.
pub struct Reader {
    parts: Vec<Part>,
}

impl Reader {
    /// Checks the container.
    ///
    /// # Errors
    /// Refuses all but whole, undamaged snapshots of this format.
    pub fn new(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let Some(rest) = bytes.strip_prefix(MAGIC) else { return Err(SnapshotError::Foreign) };
        let truncated = || SnapshotError::Truncated { place: "in its head".into() };
        let (format, mut rest) = rest.split_first_chunk().ok_or_else(truncated)?;
        let found = u32::from_le_bytes(*format);
        if found != FORMAT {
            return Err(SnapshotError::Format { found });
        }
        let mut parts: Vec<Part> = Vec::new();
        loop {
            let (part, after) = read_part(rest, parts.last())?;
            rest = after;
            if part.kind == END {
                check_end(&part, parts.len(), rest)?;
                return Ok(Self { parts });
            }
            parts.push(part);
        }
    }

    /// Restores a part of a machine, and takes it out.
    ///
    /// # Errors
    /// Refuses a part that is missing, has another version or does not fit.
    pub fn restore<P: Persist>(&mut self, part: &mut P) -> Result<(), SnapshotError> {
        let state = self.decode(P::KIND, P::VERSION)?;
        let damaged =
            |error: P::Error| SnapshotError::Damaged { part: P::KIND.into(), reason: error.to_string() };
        part.restore(state).map_err(damaged)
    }

    /// The value that part `kind` holds, which is taken out.
    ///
    /// # Errors
    /// Refuses a part that is missing, has another version or does not decode.
    pub fn decode<T: serde::de::DeserializeOwned>(
        &mut self,
        kind: &str,
        version: u16,
    ) -> Result<T, SnapshotError> {
        let plain = self.take(kind, version)?;
        let missing = || SnapshotError::Missing { part: kind.into() };
        let damaged =
            |error: WireError| SnapshotError::Damaged { part: kind.into(), reason: error.to_string() };
        wire::decode(&plain.ok_or_else(missing)?).map_err(damaged)
    }

    /// Takes out the first part of this kind.
    ///
    /// # Errors
    /// Refuses another version.
    pub fn take(&mut self, kind: &str, wanted: u16) -> Result<Option<Vec<u8>>, SnapshotError> {
        let Some(index) = self.parts.iter().position(|part| part.kind == kind) else { return Ok(None) };
        let part = self.parts.remove(index);
        if part.version != wanted {
            return Err(SnapshotError::Version { part: part.kind, found: part.version, wanted });
        }
        Ok(Some(part.plain))
    }

    /// All parts must have been taken out.
    ///
    /// # Errors
    /// Refuses a snapshot of which something is left.
    pub fn finish(self) -> Result<(), SnapshotError> {
        match self.parts.into_iter().next() {
            Some(part) => Err(SnapshotError::Unknown { part: part.kind }),
            None => Ok(()),
        }
    }
}

fn read_part<'a>(bytes: &'a [u8], before: Option<&Part>) -> Result<(Part, &'a [u8]), SnapshotError> {
    let truncated = || {
        let place = before.map_or("in its first part".into(), |part| format!("after part `{}`", part.kind));
        SnapshotError::Truncated { place }
    };
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or_else(truncated)?;
    let (fields, sum) = head.split_at(FIELDS_BYTES);
    let number = |range: std::ops::Range<usize>| {
        fields[range].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    };
    let kind = String::from_utf8_lossy(&fields[..KIND_BYTES]).trim_end_matches('\0').to_owned();
    let printable = kind.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>();
    let length = usize::try_from(number(20..28)).unwrap_or(usize::MAX);
    let Some((stored, after)) = rest.split_at_checked(length) else {
        return Err(SnapshotError::Truncated { place: format!("in part `{printable}`") });
    };
    if checksum(fields, stored).to_le_bytes() != sum {
        return Err(SnapshotError::Checksum { part: printable });
    }
    let plain = unpack(&printable, number(18..20), stored, number(28..36))?;
    Ok((Part { kind, version: number(16..18) as u16, plain }, after))
}

fn unpack(part: &str, encoding: u64, stored: &[u8], length: u64) -> Result<Vec<u8>, SnapshotError> {
    let damaged = |reason: &str| SnapshotError::Damaged { part: part.into(), reason: reason.into() };
    if length > MAX_PART {
        return Err(damaged("it is too large"));
    }
    let plain = match encoding {
        _ if encoding == Encoding::Plain as u64 => stored.to_vec(),
        _ if encoding == Encoding::Lz4 as u64 => lz4_flex::block::decompress(stored, length as usize)
            .map_err(|_| damaged("it cannot be decompressed"))?,
        _ => return Err(damaged("it is stored in an unknown way")),
    };
    if plain.len() as u64 == length { Ok(plain) } else { Err(damaged("its length is wrong")) }
}

fn check_end(end: &Part, parts: usize, rest: &[u8]) -> Result<(), SnapshotError> {
    let damaged = |reason: &str| SnapshotError::Damaged { part: END.into(), reason: reason.into() };
    if end.plain != (parts as u64).to_le_bytes() {
        return Err(damaged("the number of parts is another"));
    }
    if rest.is_empty() { Ok(()) } else { Err(damaged("bytes follow it")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut writer = Writer::default();
        writer.add("numbers", 3, &[7; 300]);
        writer.add("text", 1, b"abc");
        writer.finish()
    }

    #[test]
    fn parts_come_back() {
        let mut reader = Reader::new(&sample()).unwrap();
        assert_eq!(reader.take("text", 1).unwrap().unwrap(), b"abc");
        assert_eq!(reader.take("numbers", 3).unwrap().unwrap(), [7; 300]);
        assert!(reader.take("numbers", 3).unwrap().is_none());
        assert!(reader.finish().is_ok());
    }

    #[test]
    fn every_truncation_and_every_flipped_byte_is_refused() {
        let good = sample();
        for length in 0..good.len() {
            assert!(Reader::new(&good[..length]).is_err(), "{length} bytes");
        }
        for index in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[index] ^= 1 << bit;
                assert!(Reader::new(&bad).is_err(), "byte {index}, bit {bit}");
            }
        }
        assert!(Reader::new(&[good.clone(), vec![0]].concat()).is_err());
    }

    #[test]
    fn versions_and_strange_parts_are_named() {
        let mut reader = Reader::new(&sample()).unwrap();
        let error = reader.take("numbers", 4).unwrap_err().to_string();
        assert!(error.contains("`numbers`") && error.contains("version 3"), "{error}");
        let error = reader.finish().unwrap_err().to_string();
        assert!(error.contains("`text`"), "{error}");
    }
}
