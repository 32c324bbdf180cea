//! What can be learnt of a machine from outside, while it runs or when it has ended: which translations
//! there are, how often they were entered, and what the guest calls its addresses. It changes nothing.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use translator::addr::{Pa, Va};
use translator::block::{Block, Key};
use translator::isa::text::Names;
use translator::listing::Facts;
use translator::mode::Mode;

use crate::cache::Cache;
use crate::load::kallsyms;
use crate::load::symbols::Symbols;
use crate::machine::Machine;
use crate::trace::{Trace, Tracing};

/// How much of the low memory may hold a kernel: it is linked at 1 MB and moves up by its own length
/// and 16 MB at most.
const KERNEL_AREA: u64 = 64 << 20;

/// What is to be learnt of a machine beyond what it does.
#[derive(Clone, Debug, Default)]
pub struct Watching {
    /// Whether generated code counts instructions.
    pub counted: bool,
    /// Whether every translation is remembered, with how often it was entered.
    pub profiled: bool,
    /// Which events are written, and where.
    pub trace: Option<Tracing>,
}

impl Watching {
    /// What it adds to the mode of every vCPU.
    pub fn mode(&self) -> Mode {
        let mut mode = Mode::empty();
        mode.set(Mode::COUNTED, self.counted);
        mode.set(Mode::PROFILED, self.profiled);
        mode
    }

    /// The trace of a machine that runs a file with the names `own`, and whose registers are called as `registers` says.
    pub fn trace(&self, own: &Symbols, registers: Names) -> Option<Trace> {
        self.trace.clone().map(|tracing| Trace::new(tracing, own, registers))
    }
}

/// A block that is or was there.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The block, with its sites as they are patched.
    pub block: Arc<Block>,
    /// What its runs have shown.
    pub facts: Facts,
}

/// What makes two blocks the same, though one may have been dropped and translated anew.
type Content = (Key, Va, Vec<u32>);

fn content(block: &Block) -> Content {
    (block.key, block.va, block.steps.iter().map(|step| step.word).collect())
}

/// How often the code of each block was entered, of all translations that are remembered, with the last of them.
fn entered(cache: &Cache) -> HashMap<Content, (Arc<Block>, u64)> {
    let mut sums: HashMap<Content, (Arc<Block>, u64)> = HashMap::new();
    for (placed, entered) in cache.history().into_iter().flat_map(|history| history.iter()) {
        let sum = sums.entry(content(&placed.block)).or_insert((Arc::clone(&placed.block), 0));
        *sum = (Arc::clone(&placed.block), sum.1 + entered);
    }
    sums
}

/// A view of a machine.
#[derive(Clone)]
pub struct Observer {
    machine: Arc<Machine>,
}

impl Observer {
    /// A view of `machine`.
    pub fn new(machine: Arc<Machine>) -> Self {
        Self { machine }
    }

    /// The `count` blocks that were entered most often, the first the hottest, also if they have been
    /// dropped since. There are none if the machine's blocks do not count.
    pub fn hottest(&self, count: usize) -> Vec<Seen> {
        let cache = self.machine.cache();
        let entered = entered(&cache).into_values().filter(|(_, entered)| *entered > 0);
        let mut blocks: Vec<_> = entered.collect();
        blocks.sort_by_key(|(block, entered)| (Reverse(*entered), block.va));
        blocks.truncate(count);
        let owners = cache.link_owners();
        let seen = |(block, entered): (Arc<Block>, u64)| Seen {
            facts: cache.facts(&block.key, entered, &owners),
            block,
        };
        blocks.into_iter().map(seen).collect()
    }

    /// The blocks that there are now and that `wanted` chooses, by address.
    pub fn blocks(&self, wanted: impl Fn(&Block) -> bool) -> Vec<Seen> {
        let cache = self.machine.cache();
        let (entered, owners) = (entered(&cache), cache.link_owners());
        let seen = |block: Block| {
            let executions = entered.get(&content(&block)).map_or(0, |(_, entered)| *entered);
            Seen { facts: cache.facts(&block.key, executions, &owners), block: Arc::new(block) }
        };
        let mut blocks: Vec<Seen> = cache.blocks().filter(wanted).map(seen).collect();
        blocks.sort_by_key(|seen| (seen.block.va, seen.block.key.pa));
        blocks
    }

    /// The symbols that the guest's kernel keeps of itself, where they now are.
    pub fn kernel_symbols(&self) -> Option<Symbols> {
        let low = self.machine.ram.banks().iter().find(|bank| bank.base == Pa(0))?;
        let mut memory = vec![0; usize::try_from(low.size.min(KERNEL_AREA)).ok()?];
        self.machine.ram.read(Pa(0), &mut memory)?;
        kallsyms::find(&memory)
    }

    /// The names for `given` symbols of the kernel, which may have moved itself: they are moved as
    /// `_stext` was. Without any, those that the kernel keeps of itself.
    pub fn symbols(&self, given: Option<Symbols>) -> Symbols {
        let own = self.kernel_symbols();
        let Some(given) = given.filter(|given| !given.is_empty()) else { return own.unwrap_or_default() };
        let start = |symbols: &Symbols| symbols.address("_stext").or_else(|| symbols.address("_text"));
        match (own.as_ref().and_then(start), start(&given)) {
            (Some(now), Some(then)) => given.moved(now.0.wrapping_sub(then.0)),
            _ => given,
        }
    }

    /// The map from host addresses to names that Linux `perf` reads: a line for each translation and
    /// each shared routine.
    pub fn perf_map(&self, symbols: &Symbols) -> String {
        let cache = self.machine.cache();
        let mut map = String::new();
        for (name, address, bytes) in cache.routines() {
            // Writing to a string cannot fail.
            let _ = writeln!(map, "{address:x} {bytes:x} {name}");
        }
        for (placed, _) in cache.history().into_iter().flat_map(|history| history.iter()) {
            let block = &placed.block;
            let name = function(symbols, block.va, block.key.mode);
            let _ = writeln!(map, "{:x} {:x} {name}", placed.address, placed.bytes);
        }
        map
    }
}

/// The name of the kernel's place `va`, or nothing for user code, whose names nobody knows.
pub fn place(symbols: &Symbols, va: Va, mode: Mode) -> Option<String> {
    mode.is_kernel().then(|| symbols.function(va))?.map(|place| place.to_string())
}

/// The name under which a profile adds up what runs at `va`.
fn function(symbols: &Symbols, va: Va, mode: Mode) -> String {
    match mode.is_kernel().then(|| symbols.function(va)).flatten() {
        Some(place) => format!("guest:{}", place.name),
        None if mode.is_kernel() => format!("guest:kernel {va}"),
        None => format!("guest:user {va}"),
    }
}
