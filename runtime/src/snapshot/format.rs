//! The container: parts with a name, a version, a length and a checksum, in a row.
//!
//! ```text
//! file    head, what the part `ram image` describes or nothing, parts, the part `end`
//! head    magic "MYVMMSNP", format version (u32), where the parts begin (u64), CRC-32 (u32) of these fields
//! part    kind (16 bytes, padded with zeros), version (u16), encoding (u16: 0 plain, 1 LZ4 block),
//!         stored length (u64), plain length (u64), CRC-32 (u32) of all these fields and the bytes,
//!         the stored bytes
//! end     holds the number of parts before it (u64)
//! ```
//!
//! All numbers are little-endian. Every byte of the file is under a checksum or compared with a
//! constant, so no flipped byte passes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::persist::{DeviceState, Persist};
use crate::wire;

const MAGIC: &[u8; 8] = b"MYVMMSNP";
/// The version of the format that is written and read.
pub const FORMAT: u32 = 2;
/// Bytes of the head.
pub const HEAD: u64 = 8 + 4 + 8 + 4;
const KIND_BYTES: usize = 16;
const FIELDS_BYTES: usize = KIND_BYTES + 2 + 2 + 8 + 8;
const PART_HEAD_BYTES: usize = FIELDS_BYTES + 4;
const END: &str = "end";
/// The most bytes of a part: larger things are cut into several.
const MAX_PART: u64 = 256 << 20;
/// The most bytes that [`Reader::beginning`] reads.
const LARGEST_BEGINNING: usize = 64 << 10;
/// The most bytes of all parts of a machine, beside its RAM image: more than the largest machine compressed.
const MAX_PARTS: u64 = 64 << 30;

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
    /// The host does not give the file's contents.
    #[error("the snapshot cannot be read")]
    Unreadable(#[source] io::Error),
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

/// The head of a file whose parts begin at `parts`.
pub fn head(parts: u64) -> Vec<u8> {
    let mut head = [&MAGIC[..], &FORMAT.to_le_bytes(), &parts.to_le_bytes()].concat();
    head.extend(crc32fast::hash(&head).to_le_bytes());
    head
}

/// Makes the parts of a snapshot.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
    parts: u64,
}

impl Writer {
    /// Adds a part of a machine.
    pub fn save<P: Persist>(&mut self, part: &mut P) {
        let state = wire::encode(&part.save());
        self.add(P::KIND, P::VERSION, &state);
    }

    /// Adds a device, which is paused.
    pub fn save_device(&mut self, device: &dyn DeviceState) {
        self.add(device.kind(), device.version(), &device.save());
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

    /// All parts, as they follow whatever else is in the file.
    pub fn parts(mut self) -> Vec<u8> {
        let parts = self.parts;
        self.add(END, 1, &parts.to_le_bytes());
        self.bytes
    }

    /// The whole of a file that has only parts.
    pub fn finish(self) -> Vec<u8> {
        [head(HEAD), self.parts()].concat()
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

/// What is known of a part without unpacking its meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartFacts {
    /// Its name.
    pub kind: String,
    /// The version of what it holds.
    pub version: u16,
    /// Bytes in the file.
    pub stored: u64,
    /// Bytes unpacked.
    pub plain: u64,
}

/// Takes a snapshot apart. All parts are checked before any of them is used.
pub struct Reader {
    parts: Vec<Part>,
    /// Where in the file the parts begin.
    start: u64,
    facts: Vec<PartFacts>,
}

impl Reader {
    /// Checks a file that has only parts.
    ///
    /// # Errors
    /// Refuses all but whole, undamaged snapshots of this format.
    pub fn new(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let start = parts_start(bytes)?;
        match bytes.split_at_checked(HEAD as usize) {
            Some((_, parts)) if start == HEAD => Self::of_parts(parts, start),
            _ => Err(damaged("head", "the parts begin elsewhere")),
        }
    }

    /// Checks the parts of a file, which may begin with a RAM image. That is checked by whoever maps it.
    ///
    /// # Errors
    /// Refuses files that the host does not read, and all but whole, undamaged snapshots of this format.
    pub fn open(file: &File) -> Result<Self, SnapshotError> {
        let length = file.metadata().map_err(SnapshotError::Unreadable)?.len();
        let mut head = vec![0; length.min(HEAD) as usize];
        file.read_exact_at(&mut head, 0).map_err(SnapshotError::Unreadable)?;
        let start = parts_start(&head)?;
        let bytes = length
            .checked_sub(start)
            .ok_or_else(|| SnapshotError::Truncated { place: "before its parts".into() })?;
        if start < HEAD || bytes > MAX_PARTS {
            return Err(damaged("head", "the parts begin elsewhere"));
        }
        let mut parts = vec![0; bytes as usize];
        file.read_exact_at(&mut parts, start).map_err(SnapshotError::Unreadable)?;
        Self::of_parts(&parts, start)
    }

    /// Only the first `count` parts of a file, or fewer if they are large; no others are looked at.
    ///
    /// # Errors
    /// As [`Reader::open`], as far as it looks.
    pub fn beginning(file: &File, count: usize) -> Result<Self, SnapshotError> {
        let mut head = [0; HEAD as usize];
        let length = read_some(file, &mut head, 0)?;
        let start = parts_start(&head[..length])?;
        let mut bytes = vec![0; LARGEST_BEGINNING];
        let length = read_some(file, &mut bytes, start)?;
        let mut rest = &bytes[..length];
        let mut parts: Vec<Part> = Vec::new();
        while parts.len() < count
            && let Ok((part, after)) = read_part(rest, parts.last())
        {
            parts.push(part);
            rest = after;
        }
        Ok(Self { parts, start, facts: Vec::new() })
    }

    /// Checks parts without a file around them.
    ///
    /// # Errors
    /// Refuses all but whole, undamaged ones.
    pub fn of_parts(bytes: &[u8], start: u64) -> Result<Self, SnapshotError> {
        let (mut parts, mut facts): (Vec<Part>, Vec<PartFacts>) = Default::default();
        let mut rest = bytes;
        loop {
            let (part, after) = read_part(rest, parts.last())?;
            let stored = (rest.len() - after.len() - PART_HEAD_BYTES) as u64;
            rest = after;
            if part.kind == END {
                check_end(&part, parts.len(), rest)?;
                return Ok(Self { parts, start, facts });
            }
            let (kind, version, plain) = (part.kind.clone(), part.version, part.plain.len() as u64);
            facts.push(PartFacts { kind, version, stored, plain });
            parts.push(part);
        }
    }

    /// Where in the file the parts begin.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The parts that the file has, in order.
    pub fn facts(&self) -> &[PartFacts] {
        &self.facts
    }

    /// Restores a device, which is paused, and takes its part out.
    ///
    /// # Errors
    /// Refuses a part that is missing, has another version or does not fit.
    pub fn restore_device(&mut self, device: &dyn DeviceState) -> Result<(), SnapshotError> {
        let kind = device.kind();
        let plain = self.take(kind, device.version())?;
        let plain = plain.ok_or_else(|| SnapshotError::Missing { part: kind.into() })?;
        device.restore(&plain).map_err(|error| damaged(kind, &error.to_string()))
    }

    /// Restores a part of a machine, and takes it out.
    ///
    /// # Errors
    /// Refuses a part that is missing, has another version or does not fit.
    pub fn restore<P: Persist>(&mut self, part: &mut P) -> Result<(), SnapshotError> {
        let state = self.decode(P::KIND, P::VERSION)?;
        part.restore(state).map_err(|error| damaged(P::KIND, &error.to_string()))
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
        wire::decode(&plain.ok_or_else(missing)?).map_err(|error| damaged(kind, &error.to_string()))
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

/// Why a part is not what it says.
pub(crate) fn damaged(part: &str, reason: &str) -> SnapshotError {
    SnapshotError::Damaged { part: part.into(), reason: reason.into() }
}

/// Fills `bytes` from `place` on as far as the file goes; gives how far.
fn read_some(file: &File, bytes: &mut [u8], place: u64) -> Result<usize, SnapshotError> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], place.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SnapshotError::Unreadable(error)),
        }
    }
    Ok(filled)
}

/// Checks the head of a file; gives where its parts begin.
fn parts_start(bytes: &[u8]) -> Result<u64, SnapshotError> {
    let Some(rest) = bytes.strip_prefix(MAGIC) else { return Err(SnapshotError::Foreign) };
    let truncated = || SnapshotError::Truncated { place: "in its head".into() };
    let (format, rest) = rest.split_first_chunk().ok_or_else(truncated)?;
    let found = u32::from_le_bytes(*format);
    if found != FORMAT {
        return Err(SnapshotError::Format { found });
    }
    let (start, rest) = rest.split_first_chunk().ok_or_else(truncated)?;
    let (sum, _) = rest.split_first_chunk().ok_or_else(truncated)?;
    if crc32fast::hash(&bytes[..(HEAD - 4) as usize]).to_le_bytes() != *sum {
        return Err(SnapshotError::Checksum { part: "head".into() });
    }
    Ok(u64::from_le_bytes(*start))
}

fn read_part<'a>(bytes: &'a [u8], before: Option<&Part>) -> Result<(Part, &'a [u8]), SnapshotError> {
    let truncated = || {
        let place = before.map_or("in its first part".into(), |part| format!("after part `{}`", part.kind));
        SnapshotError::Truncated { place }
    };
    let (head, rest) = bytes.split_first_chunk::<PART_HEAD_BYTES>().ok_or_else(truncated)?;
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
    let damaged = |reason| damaged(part, reason);
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
    let damaged = |reason| damaged(END, reason);
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
