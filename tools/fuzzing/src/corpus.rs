//! What is right, and made wrong in one or a few places: most of it is still right, and so gets far into what reads it.

use std::path::Path;

use crate::Numbers;

/// Examples to begin with.
#[derive(Clone, Debug)]
pub struct Corpus {
    examples: Vec<Vec<u8>>,
    /// What means something where the examples are read.
    words: Vec<Vec<u8>>,
}

/// The most changes to one example.
const MOST_CHANGES: u64 = 8;

impl Corpus {
    /// These examples, of which there is one at least.
    pub fn new<E: AsRef<[u8]>>(examples: impl IntoIterator<Item = E>) -> Self {
        let examples: Vec<_> = examples.into_iter().map(|example| example.as_ref().to_vec()).collect();
        assert!(!examples.is_empty(), "a corpus has an example");
        Self { examples, words: Vec::new() }
    }

    /// The files in `directory` whose names end in `suffix`.
    ///
    /// # Panics
    /// Panics if the files cannot be read, or if there are none.
    pub fn read(directory: &Path, suffix: &str) -> Self {
        let entries = directory.read_dir().unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let paths = entries.map(|entry| entry.expect("a directory can be read to its end").path());
        let mut paths: Vec<_> = paths.filter(|path| path.to_string_lossy().ends_with(suffix)).collect();
        paths.sort();
        Self::new(
            paths.iter().map(|path| {
                std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            }),
        )
    }

    /// The same, with words that are put in here and there.
    #[must_use]
    pub fn with_words<W: AsRef<[u8]>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.words.extend(words.into_iter().map(|word| word.as_ref().to_vec()));
        self
    }

    /// An example with a few changes of its bytes: for what is binary.
    pub fn bytes(&self, numbers: &mut Numbers) -> Vec<u8> {
        let mut bytes = self.example(numbers).to_vec();
        for _ in 0..=numbers.below(MOST_CHANGES) {
            self.change_bytes(&mut bytes, numbers);
        }
        bytes
    }

    /// An example with a few changes of its words and signs: for what is text. Bytes that are no UTF-8 are replaced.
    pub fn text(&self, numbers: &mut Numbers) -> String {
        let mut pieces = pieces(self.example(numbers));
        let other = crate::corpus::pieces(self.example(numbers));
        for _ in 0..=numbers.below(MOST_CHANGES) {
            self.change_pieces(&mut pieces, &other, numbers);
        }
        let mut bytes = pieces.concat();
        if numbers.once_in(4) {
            self.change_bytes(&mut bytes, numbers);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn example(&self, numbers: &mut Numbers) -> &[u8] {
        &self.examples[numbers.index(self.examples.len())]
    }

    /// What may be put in: a word, or what an example has somewhere.
    fn insertion(&self, numbers: &mut Numbers) -> Vec<u8> {
        match numbers.below(3) {
            0 if !self.words.is_empty() => self.words[numbers.index(self.words.len())].clone(),
            1 => numbers.bytes(9),
            _ => {
                let other = self.example(numbers);
                other[numbers.part(other.len())].to_vec()
            }
        }
    }

    fn change_bytes(&self, bytes: &mut Vec<u8>, numbers: &mut Numbers) {
        let part = numbers.part(bytes.len());
        match numbers.below(8) {
            0 if !bytes.is_empty() => {
                let place = numbers.index(bytes.len());
                bytes[place] ^= 1 << numbers.below(8);
            }
            1 => bytes.truncate(part.start),
            2 => drop(bytes.drain(part)),
            3 => {
                let again = bytes[part.clone()].to_vec();
                bytes.splice(part.start..part.start, again);
            }
            4 => drop(bytes.splice(part, self.insertion(numbers))),
            5 => {
                let new = self.insertion(numbers);
                bytes.splice(part.start..part.start, new);
            }
            _ => overwrite_number(bytes, numbers),
        }
    }

    fn change_pieces(&self, pieces: &mut Vec<Vec<u8>>, other: &[Vec<u8>], numbers: &mut Numbers) {
        let place = numbers.index(pieces.len() + 1);
        let there = place < pieces.len();
        match numbers.below(6) {
            0 if there => drop(pieces.remove(place)),
            1 if there => pieces.insert(place, pieces[place].clone()),
            2 if there && !other.is_empty() => pieces[place].clone_from(&other[numbers.index(other.len())]),
            3 if there => {
                let exchanged = numbers.index(pieces.len());
                pieces.swap(place, exchanged);
            }
            4 if numbers.once_in(4) => pieces.truncate(place.max(1)),
            _ => pieces.insert(place, self.insertion(numbers)),
        }
    }
}

/// Puts a number of one of the usual widths, in one of the byte orders, where such a number may be.
fn overwrite_number(bytes: &mut [u8], numbers: &mut Numbers) {
    let width = numbers.one_of(&[1, 2, 4, 4, 8]);
    if bytes.len() < width {
        return;
    }
    let start = numbers.index(bytes.len() - width + 1) / width * width;
    let value = numbers.value();
    if numbers.once_in(2) {
        bytes[start..start + width].copy_from_slice(&value.to_le_bytes()[..width]);
    } else {
        bytes[start..start + width].copy_from_slice(&value.to_be_bytes()[8 - width..]);
    }
}

/// Words, each with the sign behind it.
fn pieces(text: &[u8]) -> Vec<Vec<u8>> {
    let is_sign = |byte: &u8| !byte.is_ascii_alphanumeric() && !b"._$".contains(byte) && byte.is_ascii();
    text.split_inclusive(is_sign).map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const TEXT: &str = "first=1\nsecond = two # three\n";

    #[test]
    fn examples_are_changed_in_many_ways_and_keep_most() {
        let corpus = Corpus::new([TEXT, "other 5"]).with_words(["WORD"]);
        let texts: HashSet<_> = (0..1000).map(|seed| corpus.text(&mut Numbers::new(seed))).collect();
        assert!(texts.len() > 800, "{}", texts.len());
        let having = |word: &str| texts.iter().filter(|text| text.contains(word)).count();
        assert!(having("WORD") > 50 && having("second") > 200 && having("other") > 200, "{texts:?}");
    }

    #[test]
    fn nothing_is_too_small_to_be_changed() {
        let corpus = Corpus::new([""]);
        for seed in 0..1000 {
            corpus.bytes(&mut Numbers::new(seed));
            corpus.text(&mut Numbers::new(seed));
        }
    }

    #[test]
    fn numbers_are_overwritten_in_place() {
        let corpus = Corpus::new([[0u8; 64]]);
        let same =
            (0..1000).map(|seed| corpus.bytes(&mut Numbers::new(seed))).filter(|bytes| bytes.len() == 64);
        assert!(same.filter(|bytes| bytes.iter().any(|byte| *byte != 0)).count() > 100);
    }
}
