//! Names for code addresses, for traces and messages. It must not know where the names come from.

use std::fmt;

use serde::{Deserialize, Serialize};
use translator::addr::Va;

/// One named address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Symbol {
    address: u64,
    name: String,
}

/// A table from addresses to names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symbols {
    /// Sorted by address, and those of one address by name.
    symbols: Vec<Symbol>,
}

/// An address as people read it: the nearest name before it, and how far beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The nearest symbol at or before the address.
    pub name: &'a str,
    /// Bytes from the symbol to the address.
    pub offset: u64,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            0 => f.write_str(self.name),
            offset => write!(f, "{}+{offset:#x}", self.name),
        }
    }
}

impl FromIterator<(Va, String)> for Symbols {
    /// The table does not depend on the order of the file.
    fn from_iter<I: IntoIterator<Item = (Va, String)>>(names: I) -> Self {
        let mut symbols: Vec<Symbol> =
            names.into_iter().map(|(va, name)| Symbol { address: va.0, name }).collect();
        symbols.sort_by(|a, b| (a.address, &a.name).cmp(&(b.address, &b.name)));
        symbols.dedup();
        Self { symbols }
    }
}

impl Symbols {
    /// The number of names.
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    /// Whether there are no names, as in a stripped file.
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// The place of `va`, or `None` when every symbol lies beyond it. Of several names for one address
    /// the first in alphabetical order is given.
    pub fn lookup(&self, va: Va) -> Option<Place<'_>> {
        let after = self.symbols.partition_point(|symbol| symbol.address <= va.0);
        let last = &self.symbols[after.checked_sub(1)?];
        let first = self.symbols.partition_point(|symbol| symbol.address < last.address);
        let symbol = &self.symbols[first];
        Some(Place { name: &symbol.name, offset: va.0 - symbol.address })
    }

    /// As [`Symbols::lookup`], but not for an address that is too far from the symbol to be in the same
    /// function: nobody knows what is there.
    pub fn function(&self, va: Va) -> Option<Place<'_>> {
        const LARGEST: u64 = 64 << 10;
        self.lookup(va).filter(|place| place.offset < LARGEST)
    }

    /// The first address after `va` that has a name.
    pub fn next_after(&self, va: Va) -> Option<Va> {
        let after = self.symbols.partition_point(|symbol| symbol.address <= va.0);
        self.symbols.get(after).map(|symbol| Va(symbol.address))
    }

    /// The same addresses with `word` in front of their names.
    pub fn prefixed(mut self, word: &str) -> Self {
        for symbol in &mut self.symbols {
            symbol.name.insert_str(0, word);
        }
        self
    }

    /// The same names `distance` bytes higher.
    pub fn moved(mut self, distance: u64) -> Self {
        for symbol in &mut self.symbols {
            symbol.address = symbol.address.wrapping_add(distance);
        }
        self.symbols.sort_by(|a, b| (a.address, &a.name).cmp(&(b.address, &b.name)));
        self
    }

    /// The symbols of a `System.map` or of `/proc/kallsyms`: lines of an address, a type and a name.
    /// Other lines are passed over.
    pub fn from_map(text: &str) -> Self {
        let line = |line: &str| {
            let mut words = line.split_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok().filter(|address| *address != 0)?;
            let kind = words.next().filter(|kind| kind.len() == 1)?;
            // Absolute numbers are no addresses.
            let name = words.next().filter(|_| !matches!(kind, "a" | "A"))?;
            Some((Va(address), name.to_owned()))
        };
        text.lines().filter_map(line).collect()
    }

    /// The address of the symbol called `name`.
    pub fn address(&self, name: &str) -> Option<Va> {
        self.symbols.iter().find(|symbol| symbol.name == name).map(|symbol| Va(symbol.address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_nearest_name_before() {
        let names = [(0x2000, "b"), (0x1000, "a"), (0x2000, "alias")];
        let table: Symbols = names.into_iter().map(|(va, name)| (Va(va), name.to_owned())).collect();
        assert_eq!(table.len(), 3);
        assert_eq!(table.lookup(Va(0xfff)), None);
        assert_eq!(table.lookup(Va(0x1000)).unwrap().to_string(), "a");
        assert_eq!(table.lookup(Va(0x1ffc)).unwrap().to_string(), "a+0xffc");
        assert_eq!(table.lookup(Va(u64::MAX)).unwrap().name, "alias");
        assert_eq!(table.address("a"), Some(Va(0x1000)));
        assert_eq!(table.address("b"), Some(Va(0x2000)));
        assert_eq!(table.next_after(Va(0x1000)), Some(Va(0x2000)));
        assert_eq!(table.moved(0x10).address("b"), Some(Va(0x2010)));
    }

    #[test]
    fn maps_are_lines() {
        let map = "ffffffff80100000 T _text\n0000000000000000 t hidden\nffffffff80100010 t f\t[module]\nx\n";
        let table = Symbols::from_map(map);
        assert_eq!(table.len(), 2);
        assert_eq!(table.address("f"), Some(Va(0xffff_ffff_8010_0010)));
    }
}
