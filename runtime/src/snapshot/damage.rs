//! Snapshots with something wrong in them, for tests of whoever goes on from one. It must not know what is in a part.

use fuzzing::{Corpus, Numbers};

use super::{Reader, Writer, format};

/// A part as it is in a file.
#[derive(Clone)]
struct Part {
    kind: String,
    version: u16,
    plain: Vec<u8>,
}

/// A snapshot that is right.
pub struct Example {
    /// All before the parts.
    front: Vec<u8>,
    parts: Vec<Part>,
    whole: Corpus,
}

impl Example {
    /// The snapshot in `bytes`, which `reader` reads.
    ///
    /// # Panics
    /// Panics if it is not right.
    pub fn new(bytes: Vec<u8>, mut reader: Reader) -> Self {
        let facts = reader.facts().to_vec();
        let front = bytes[..reader.start() as usize].to_vec();
        let parts = facts.into_iter().map(|facts| {
            let plain = reader.take(&facts.kind, facts.version).expect("it is right").expect("it is there");
            Part { kind: facts.kind, version: facts.version, plain }
        });
        Self { front, parts: parts.collect(), whole: Corpus::new([bytes]) }
    }

    /// The snapshot with something wrong in it, mostly behind checksums that are right.
    pub fn damaged(&self, numbers: &mut Numbers) -> Vec<u8> {
        if numbers.once_in(8) {
            return self.whole.bytes(numbers);
        }
        let mut parts = self.parts.clone();
        for _ in 0..=numbers.below(2) {
            damage(&mut parts, numbers);
        }
        let mut writer = Writer::default();
        for part in &parts {
            writer.add(&part.kind, part.version, &part.plain);
        }
        let mut file = self.front.clone();
        file[..format::HEAD as usize].copy_from_slice(&format::head(self.front.len() as u64));
        file.extend(writer.parts());
        file
    }
}

fn damage(parts: &mut Vec<Part>, numbers: &mut Numbers) {
    let place = numbers.index(parts.len());
    match numbers.below(12) {
        0 if parts.len() > 1 => drop(parts.remove(place)),
        1 => parts.insert(place, parts[place].clone()),
        2 => {
            let other = numbers.index(parts.len());
            parts.swap(place, other);
        }
        3 => parts[place].version = numbers.value() as u16,
        4..=6 => parts[place].plain = Corpus::new([&parts[place].plain]).bytes(numbers),
        // All that is behind it means what it meant.
        _ => {
            let plain = &mut parts[place].plain;
            let byte = numbers.index(plain.len().max(1));
            plain.iter_mut().skip(byte).take(1).for_each(|byte| *byte = numbers.value() as u8);
        }
    }
}
