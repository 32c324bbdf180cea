//! A trace: a readable line for each event of the chosen kinds, with where the guest is. It must not
//! know what the events mean; those who cause them say so.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use bitflags::bitflags;
use translator::addr::Va;

use crate::load::symbols::Symbols;

bitflags! {
    /// Kinds of events.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Kinds: u32 {
        /// A sensitive instruction was decoded and has a plan.
        const PATCH = 1 << 0;
        /// A block was translated.
        const BLOCK = 1 << 1;
        /// Generated code came back to the run loop.
        const EXIT = 1 << 2;
        /// An interrupt was taken.
        const IRQ = 1 << 3;
        /// The TLB changed.
        const TLB = 1 << 4;
        /// An exception other than an interrupt was raised.
        const EXCEPTION = 1 << 5;
    }
}

impl Kinds {
    /// The kinds that `words`, separated by commas, name.
    ///
    /// # Errors
    /// Gives the first word that names none.
    pub fn from_words(words: &str) -> Result<Kinds, &str> {
        let kind = |word: &str| Kinds::from_name(&word.to_uppercase());
        words.split(',').try_fold(Kinds::empty(), |kinds, word| Ok(kinds | kind(word).ok_or(word)?))
    }

    /// The names of all kinds.
    pub fn words() -> Vec<String> {
        Kinds::all().iter_names().map(|(name, _)| name.to_lowercase()).collect()
    }
}

/// Where a vCPU is when something happens.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The number of the vCPU.
    pub vcpu: usize,
    /// How many instructions it has run. Generated code counts whole blocks ahead.
    pub instructions: u64,
    /// The guest's instruction.
    pub pc: Va,
}

/// A trace that is being written.
pub struct Trace {
    kinds: Kinds,
    symbols: Symbols,
    out: Mutex<Box<dyn Write + Send>>,
}

impl Trace {
    /// A trace of `kinds` to `out`, with the names of `symbols`.
    pub fn new(kinds: Kinds, symbols: Symbols, out: Box<dyn Write + Send>) -> Self {
        Self { kinds, symbols, out: Mutex::new(out) }
    }

    /// Whether events of `kind` are written.
    #[inline]
    pub fn wants(&self, kind: Kinds) -> bool {
        self.kinds.contains(kind)
    }

    /// Writes a line. A reader that is gone does not stop the guest.
    pub fn write(&self, kind: Kinds, moment: Moment, what: &str) {
        let Moment { vcpu, instructions, pc } = moment;
        let name = kind.iter_names().next().map_or("", |(name, _)| name).to_lowercase();
        let place = self.symbols.function(pc).map(|place| format!(" {place}")).unwrap_or_default();
        let line = format!("{vcpu} {instructions:>12} {name:9} {:016x}{place}: {what}\n", pc.0);
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = out.write_all(line.as_bytes());
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let out = self.out.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = out.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_kinds() {
        assert_eq!(Kinds::from_words("patch,tlb"), Ok(Kinds::PATCH | Kinds::TLB));
        assert_eq!(Kinds::from_words("patch,fish"), Err("fish"));
        assert_eq!(Kinds::from_words(""), Err(""));
        assert!(Kinds::words().contains(&"exception".to_owned()));
    }
}
