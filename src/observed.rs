//! A machine as it is shown: its blocks as listings, with the names that its guest has. It must not know who looks.

use runtime::load::symbols::Symbols;
use runtime::observe::Observer;
use runtime::program::ProgramVm;
use translator::listing::Listing;

use crate::naming::Naming;

/// A machine that runs or has ended.
pub struct Observed {
    observer: Observer,
    naming: Naming,
}

impl Observed {
    /// A machine with a kernel. `given` are names that its user has for it.
    pub fn machine(observer: Observer, given: Option<Symbols>) -> Self {
        let naming = Naming::of_kernel(observer.symbols(given));
        Self { observer, naming }
    }

    /// A program.
    pub fn program(vm: &ProgramVm, given: Option<&Symbols>) -> Self {
        Self { observer: vm.observer(), naming: Naming::of_program(vm.image()).or_given(given) }
    }

    /// The same with `word` in front of all names, to tell it from others.
    pub fn called(mut self, word: &str) -> Self {
        self.naming.symbols = std::mem::take(&mut self.naming.symbols).prefixed(word);
        self
    }

    /// The `count` blocks that ran most often, of all that were counted.
    pub fn hottest(&self, count: usize) -> Vec<Listing> {
        let hottest = self.observer.hottest(count).into_iter();
        hottest.map(|seen| self.naming.listing(&seen.block, Some(seen.facts))).collect()
    }

    /// The map for Linux `perf`.
    pub fn perf_map(&self) -> String {
        self.observer.perf_map(&self.naming.symbols)
    }
}

/// The `count` hottest blocks of all `machines`, the first the hottest.
pub fn hottest(machines: &[Observed], count: usize) -> Vec<Listing> {
    let mut listings: Vec<Listing> = machines.iter().flat_map(|machine| machine.hottest(count)).collect();
    let executions = |listing: &Listing| listing.runs.map_or(0, |runs| runs.executions);
    listings.sort_by_key(|listing| std::cmp::Reverse(executions(listing)));
    listings.truncate(count);
    listings
}
