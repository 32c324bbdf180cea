//! A trace: a readable line for each event of the chosen kinds, with where the guest is. It must not
//! know what the events mean; those who cause them say so.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use bitflags::bitflags;
use translator::addr::Va;
use translator::isa::text::Names;

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

/// A file of lines, which machines share whose lines belong together.
pub type Lines = Arc<Mutex<BufWriter<File>>>;

/// What of a machine is traced, and where to.
#[derive(Clone, Debug)]
pub struct Tracing {
    /// The kinds of events.
    pub kinds: Kinds,
    /// The file that the lines go to.
    pub out: Lines,
    /// Names for addresses, beside those of the file that the machine runs.
    pub symbols: Symbols,
    /// The number that the lines have for the machine's first vCPU.
    pub first: usize,
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
    tracing: Tracing,
    /// How registers are called in its lines.
    pub registers: Names,
}

impl Trace {
    /// A trace as `tracing` says, with the names of `own` if it has none.
    pub fn new(mut tracing: Tracing, own: &Symbols, registers: Names) -> Self {
        if tracing.symbols.is_empty() {
            tracing.symbols = own.clone();
        }
        Self { tracing, registers }
    }

    /// Whether events of `kind` are written.
    #[inline]
    pub fn wants(&self, kind: Kinds) -> bool {
        self.tracing.kinds.contains(kind)
    }

    /// Writes a line. A reader that is gone does not stop the guest.
    pub fn write(&self, kind: Kinds, moment: Moment, what: &str) {
        let Moment { vcpu, instructions, pc } = moment;
        let name = kind.iter_names().next().map_or("", |(name, _)| name).to_lowercase();
        let vcpu = self.tracing.first + vcpu;
        let place = self.tracing.symbols.function(pc).map(|place| format!(" {place}")).unwrap_or_default();
        let line = format!("{vcpu} {instructions:>12} {name:9} {:016x}{place}: {what}\n", pc.0);
        let mut out = self.tracing.out.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = out.write_all(line.as_bytes());
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let mut out = self.tracing.out.lock().unwrap_or_else(PoisonError::into_inner);
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
