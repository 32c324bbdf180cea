//! The symbols of a running Linux kernel, from the tables that it keeps of itself in guest memory:
//! so they are right wherever the kernel has moved itself, and for a stripped file too. It must not
//! know how guest memory is kept.
//!
//! The tables, as `scripts/kallsyms.c` of Linux 6.1 writes them, little-endian, each at a multiple of 8:
//!
//! ```text
//! offsets      u32 a symbol, from the base
//! base         u64
//! count        u32
//! names        a symbol: length (one byte, or two if the first has bit 7), that many token numbers
//! markers      u32 for every 256th symbol: where its name is in `names`
//! (order       3 bytes a symbol, in kernels with a quick search by name)
//! tokens       256 strings that end with a zero; the first letter of a name is the symbol's type
//! token index  u16 for each token: where it is in `tokens`
//! ```

use translator::addr::Va;

use super::symbols::Symbols;

const TOKENS: usize = 256;
/// Tokens are single characters where names have them: digits always.
const DIGITS: &[u8] = b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00";
const FIRST_DIGIT: usize = b'0' as usize;
const MARKER_STEP: usize = 256;
/// No kernel has more symbols, or more bytes between the count and the tokens.
const MOST_SYMBOLS: u64 = 1 << 20;
const MOST_NAMES: usize = 16 << 20;

/// The symbols of the kernel in `memory`. A kernel that moved itself has left its old tables behind, so of
/// several the one with the highest addresses counts: kernels only move up.
pub fn find(memory: &[u8]) -> Option<Symbols> {
    let digits = memory.windows(DIGITS.len()).enumerate().filter(|(_, window)| *window == DIGITS);
    let tables = digits.filter_map(|(at, _)| Tables::around(memory, at));
    let newest = tables.max_by_key(|tables| tables.base)?;
    Some(newest.symbols().collect())
}

struct Tables<'a> {
    memory: &'a [u8],
    base: u64,
    offsets: usize,
    count: usize,
    names: usize,
    tokens: usize,
    /// Where each token is in the table of tokens.
    index: Vec<usize>,
}

impl<'a> Tables<'a> {
    /// The tables whose token "0" is at `digits`. The count is found going back from the tokens: it is the
    /// number with as many names behind it, which are followed by the markers that say so.
    fn around(memory: &'a [u8], digits: usize) -> Option<Self> {
        let (tokens, index) = token_index(memory, digits)?;
        let mut tables = Self { memory, base: 0, offsets: 0, count: 0, names: 0, tokens, index };
        let nearest = (tokens - tokens % 8).checked_sub(8)?;
        let farthest = tokens.saturating_sub(MOST_NAMES).max(16);
        for at in (farthest / 8..=nearest / 8).rev().map(|unit| unit * 8) {
            // Four zeros fill the gap after the count.
            let count = double(memory, at)?;
            if !(1..=MOST_SYMBOLS).contains(&count) {
                continue;
            }
            (tables.count, tables.names) = (count as usize, at + 8);
            if tables.names_agree_with_markers() {
                tables.base = double(memory, at - 8)?;
                tables.offsets = (at - 8).checked_sub(4 * tables.count)? & !7;
                return Some(tables);
            }
        }
        None
    }

    /// Whether there are as many names as there should be, and behind them where they are.
    fn names_agree_with_markers(&self) -> bool {
        let (mut at, mut expected) = (self.names, Vec::new());
        for symbol in 0..self.count {
            if symbol % MARKER_STEP == 0 {
                expected.push((at - self.names) as u32);
            }
            match self.name_at(at) {
                Some((numbers, next)) if !numbers.is_empty() && next <= self.tokens => at = next,
                _ => return false,
            }
        }
        let markers = at.next_multiple_of(8);
        expected
            .iter()
            .enumerate()
            .all(|(index, marker)| word(self.memory, markers + 4 * index) == Some(*marker))
    }

    /// The token numbers of the name at `at`, and where the next is.
    fn name_at(&self, at: usize) -> Option<(&'a [u8], usize)> {
        let first = usize::from(*self.memory.get(at)?);
        let (length, start) = match first & 0x80 {
            0 => (first, at + 1),
            _ => (first & 0x7f | usize::from(*self.memory.get(at + 1)?) << 7, at + 2),
        };
        Some((self.memory.get(start..start + length)?, start + length))
    }

    fn token(&self, number: u8) -> &'a [u8] {
        let start = self.tokens + self.index[usize::from(number)];
        let rest = &self.memory[start..];
        &rest[..rest.iter().position(|byte| *byte == 0).unwrap_or(0)]
    }

    fn symbols(&self) -> impl Iterator<Item = (Va, String)> {
        let mut at = self.names;
        (0..self.count).map_while(move |symbol| {
            let (numbers, next) = self.name_at(at)?;
            at = next;
            let text: Vec<u8> = numbers.iter().flat_map(|number| self.token(*number)).copied().collect();
            let offset = word(self.memory, self.offsets + 4 * symbol)?;
            let name = String::from_utf8_lossy(text.get(1..)?).into_owned();
            Some((Va(self.base.wrapping_add(u64::from(offset))), name))
        })
    }
}

/// Where the table of tokens is whose token "0" is at `digits`, and where each token is in it. What comes
/// before the table need not end with a zero, so the first token may seem longer than it is.
fn token_index(memory: &[u8], digits: usize) -> Option<(usize, Vec<usize>)> {
    let (mut earliest, mut second) = (digits, digits);
    for _ in 0..FIRST_DIGIT {
        second = earliest;
        let end = earliest.checked_sub(1)?;
        earliest = memory[..end].iter().rposition(|byte| *byte == 0)? + 1;
    }
    let starts = (earliest.next_multiple_of(8)..second).step_by(8);
    starts.into_iter().find_map(|start| Some((start, agreed_index(memory, start)?)))
}

/// Where each token is in the table at `start`, if the table behind it says the same.
fn agreed_index(memory: &[u8], start: usize) -> Option<Vec<usize>> {
    let mut index = Vec::with_capacity(TOKENS);
    let mut at = start;
    for _ in 0..TOKENS {
        index.push(at - start);
        at += memory[at..].iter().position(|byte| *byte == 0)? + 1;
    }
    let table = at.next_multiple_of(8);
    let written = |number: usize| {
        let bytes = memory.get(table + 2 * number..)?.first_chunk()?;
        Some(usize::from(u16::from_le_bytes(*bytes)))
    };
    (0..TOKENS).all(|number| written(number) == Some(index[number])).then_some(index)
}

fn word(memory: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*memory.get(at..)?.first_chunk()?))
}

fn double(memory: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*memory.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pad(memory: &mut Vec<u8>) {
        memory.resize(memory.len().next_multiple_of(8), 0);
    }

    /// Tables of `count` symbols whose names are one token a letter.
    fn tables(base: u64, count: usize) -> Vec<u8> {
        let mut memory = vec![0xaa; 64];
        let names: Vec<String> = (0..count).map(|symbol| format!("Tname{symbol}")).collect();
        memory.extend((0..count as u32).flat_map(|symbol| (symbol * 16).to_le_bytes()));
        pad(&mut memory);
        memory.extend(base.to_le_bytes());
        memory.extend((count as u32).to_le_bytes());
        pad(&mut memory);
        let (start, mut markers) = (memory.len(), Vec::new());
        for (symbol, name) in names.iter().enumerate() {
            if symbol % MARKER_STEP == 0 {
                markers.push((memory.len() - start) as u32);
            }
            memory.push(name.len() as u8);
            memory.extend(name.bytes());
        }
        pad(&mut memory);
        memory.extend(markers.into_iter().flat_map(u32::to_le_bytes));
        pad(&mut memory);
        // A table in between that does not end with a zero.
        memory.extend([7; 24]);
        let (start, mut index) = (memory.len(), Vec::new());
        for token in 0..TOKENS {
            index.push((memory.len() - start) as u16);
            let letter = if (0x21..0x7f).contains(&token) { token as u8 } else { b'~' };
            memory.extend([letter, 0]);
        }
        pad(&mut memory);
        memory.extend(index.into_iter().flat_map(u16::to_le_bytes));
        memory
    }

    #[test]
    fn the_tables_of_the_kernel_that_moved_up_count() {
        let mut memory = tables(0xffff_ffff_8010_0000, 700);
        pad(&mut memory);
        memory.extend(tables(0xffff_ffff_8050_0000, 700));
        let symbols = find(&memory).expect("there are tables");
        assert_eq!(symbols.len(), 700);
        assert_eq!(symbols.address("name699"), Some(Va(0xffff_ffff_8050_0000 + 699 * 16)));
    }

    #[test]
    fn cut_tables_are_none() {
        let good = tables(0x1000, 300);
        assert!(find(&good[..good.len() - 2]).is_none());
        assert!(find(DIGITS).is_none());
    }

    /// A guest's memory may say anything.
    #[test]
    fn fuzz_tables() {
        let corpus = fuzzing::Corpus::new([tables(0x1000, 300), tables(0xffff_ffff_8010_0000, 3)]);
        let corpus = corpus.with_words([DIGITS]);
        fuzzing::run(|numbers| {
            let memory = corpus.bytes(numbers);
            assert!(find(&memory).is_none_or(|symbols| symbols.len() as u64 <= MOST_SYMBOLS));
        });
    }
}
