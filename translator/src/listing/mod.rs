//! A translation as data to be read by people and programs: for each instruction of a block its
//! class, its patch plan, its nodes and its host code, with names instead of numbers. `host` decodes
//! host code; `text`, `html` and JSON show a listing. It must not know where blocks come from, and it
//! never decides anything that translation depends on.

mod graph;
mod hexadecimal;
mod host;
mod html;
mod text;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::addr::Va;
use crate::block::{Block, End, Step};
use crate::code::{Code, Part};
use crate::emit::{Pins, emit};
use crate::ir::{self, Exit, Ir, Node, Terminal};
use crate::isa::text::{Names, hypercall_code, print_word};
use crate::mode::Mode;
use crate::nature::{Change, Site};

use host::Host;
pub use host::HostLine;
pub use html::html;
pub use text::text;

/// What a reader wants names for.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// How guest registers are called.
    pub registers: Names,
    /// The name of a guest address in a mode, if it has one.
    pub symbol: &'a dyn Fn(Va, Mode) -> Option<String>,
    /// The guest registers that have host registers.
    pub pins: Pins,
    /// What `hypcall` with a code asks for, if the program's source says it in words.
    pub hypercall: &'a dyn Fn(u32) -> Option<String>,
}

impl<'a> Context<'a> {
    /// The names of `registers` and of addresses, for compiled code whose hypercalls have no names.
    pub fn new(registers: Names, symbol: &'a dyn Fn(Va, Mode) -> Option<String>) -> Self {
        Self { registers, symbol, pins: Pins::COMPILED, hypercall: &|_| None }
    }
}

/// What is known of a block beyond its translation, because it has run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// How often it has run.
    pub runs: Runs,
    /// The virtual addresses of the blocks whose links are joined to it.
    pub incoming: Vec<Va>,
    /// Whether each of its own links is joined, in the order of [`Code::links`].
    pub joined: Vec<bool>,
    /// What its translations have changed at its sites, in order.
    pub changes: Vec<(Site, Change)>,
}

/// How often a block has run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    /// How often its host code was entered, if that was counted.
    pub executions: u64,
    /// How often the interpreter began it because it had no host code.
    pub interpreted: u32,
    /// Whether it has host code now.
    pub translated: bool,
}

/// Words of the translator's own, or those that a listing from elsewhere has.
pub type Text = Cow<'static, str>;

/// A stage of translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The instructions.
    Decode,
    /// What replaces them.
    Plan,
    /// The intermediate representation.
    Ir,
    /// The host code.
    Host,
    /// All of these.
    All,
}

impl Stage {
    /// Whether what belongs to `stage` is shown.
    pub fn shows(self, stage: Stage) -> bool {
        self == Stage::All || self == stage
    }
}

/// The translation of one block.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listing {
    /// The virtual address of the first instruction.
    #[serde(with = "hexadecimal")]
    pub address: u64,
    /// Its name.
    pub name: Option<String>,
    /// The physical address of the first instruction.
    #[serde(with = "hexadecimal")]
    pub physical: u64,
    /// The mode, by the names of its bits.
    pub mode: String,
    /// How the block ends.
    pub end: Text,
    /// Its instructions.
    pub lines: Vec<Line>,
    /// The host code that every run begins with.
    pub entry: Vec<HostLine>,
    /// The way on after the last instruction.
    pub last: LastLines,
    /// The blocks that jump directly to this one.
    pub ways_in: Vec<WayIn>,
    /// Where the block can go by itself.
    pub ways_out: Vec<WayOut>,
    /// The host code for a block that is longer than the budget.
    pub over_budget: Vec<HostLine>,
    /// The host code for whoever comes to the block after it was dropped.
    pub stale: Vec<HostLine>,
    /// Sizes.
    pub sizes: Sizes,
    /// How often it has run, if anybody knows.
    pub runs: Option<Runs>,
}

/// One instruction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Its virtual address.
    #[serde(with = "hexadecimal")]
    pub address: u64,
    /// Its word.
    #[serde(with = "hexadecimal")]
    pub word: u32,
    /// Its assembly text.
    pub text: String,
    /// Whether it is in a delay slot.
    pub in_slot: bool,
    /// Its classes in the instruction table.
    pub classes: Vec<Text>,
    /// What replaces it.
    pub plan: PlanLine,
    /// What it has been patched to as it ran, in order.
    pub changes: Vec<String>,
    /// Its nodes.
    pub ir: Vec<String>,
    /// Its host code on the straight path.
    pub host: Vec<HostLine>,
    /// Its host code off the straight path.
    pub slow: Vec<HostLine>,
}

/// What replaces an instruction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlanLine {
    /// How many actions replace it.
    pub kind: Text,
    /// The actions.
    pub actions: Vec<String>,
    /// Why.
    pub reason: Text,
}

/// The way on after the last instruction.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LastLines {
    /// As the intermediate representation has it.
    pub ir: String,
    /// The host code.
    pub host: Vec<HostLine>,
}

/// A block with a direct jump to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WayIn {
    /// The virtual address of its first instruction.
    #[serde(with = "hexadecimal")]
    pub address: u64,
    /// Its name.
    pub name: Option<String>,
}

/// A place that a block goes to by itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WayOut {
    /// Its virtual address; `None` if a register says it.
    #[serde(with = "hexadecimal::optional")]
    pub address: Option<u64>,
    /// Its name.
    pub name: Option<String>,
    /// Whether a jump can lead there directly.
    pub is_link: bool,
    /// Whether it does; `None` for a block that has not run.
    pub joined: Option<bool>,
    /// What the jump leads to while it is not joined.
    pub host: Vec<HostLine>,
}

/// How large a block is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sizes {
    /// Guest instructions.
    pub guest_instructions: usize,
    /// Guest bytes.
    pub guest_bytes: usize,
    /// Host instructions on the straight path: what runs when nothing is out of the ordinary.
    pub straight_instructions: usize,
    /// Host instructions in all.
    pub host_instructions: usize,
    /// Host bytes in all.
    pub host_bytes: usize,
    /// Host bytes for each guest byte.
    pub expansion: f64,
}

impl Listing {
    /// Translates `block` again and lists every stage.
    pub fn new(block: &Block, facts: Option<Facts>, context: Context<'_>) -> Self {
        let ir = ir::build(block);
        let code = match block.end {
            End::Interpret => Code::default(),
            _ => emit(block, &ir, &context.pins),
        };
        let host = Host::new(block, &code, context);
        Lister { block, ir: &ir, code: &code, host: &host, context }.list(facts)
    }

    /// The listings as one JSON array.
    ///
    /// # Panics
    /// Never: a listing has no part that JSON cannot have.
    pub fn json(listings: &[Listing]) -> String {
        let text = serde_json::to_string_pretty(listings);
        text.expect("a listing is strings, numbers and lists") + "\n"
    }

    /// The address of the block and its name.
    pub fn title(&self) -> String {
        let name = self.name.as_ref().map(|name| format!("  {name}")).unwrap_or_default();
        format!("{:016x}{name}", self.address)
    }

    /// What there is to say of the whole block, in parts.
    pub fn summary(&self) -> Vec<String> {
        let sizes = self.sizes;
        let mut parts = vec![
            self.mode.clone(),
            format!("physical {:#x}", self.physical),
            format!("{} guest instructions", sizes.guest_instructions),
            format!(
                "{} host instructions, {} of them on the straight path",
                sizes.host_instructions, sizes.straight_instructions
            ),
            format!("{} bytes for {} ({:.1})", sizes.host_bytes, sizes.guest_bytes, sizes.expansion),
            format!("ends: {}", self.end),
        ];
        parts.extend(self.runs.iter().flat_map(Runs::words));
        parts
    }
}

impl Runs {
    /// What there is to say, in parts.
    fn words(&self) -> Vec<String> {
        let times = |count: u64| if count == 1 { "once".to_owned() } else { format!("{count} times") };
        let mut words = Vec::new();
        if self.interpreted > 0 {
            words.push(format!("interpreted {}", times(self.interpreted.into())));
        }
        if self.translated || self.executions > 0 {
            words.push(format!("entered {}", times(self.executions)));
        }
        if !self.translated {
            words.push("without host code now: this is what it would be".to_owned());
        }
        words
    }
}

/// What a listing is made from.
struct Lister<'a> {
    block: &'a Block,
    ir: &'a Ir,
    code: &'a Code,
    host: &'a Host,
    context: Context<'a>,
}

impl Lister<'_> {
    fn list(&self, facts: Option<Facts>) -> Listing {
        let block = self.block;
        let straight = |part| matches!(part, Part::Entry | Part::Step(_) | Part::End);
        Listing {
            address: block.va.0,
            name: self.name(block.va),
            physical: block.key.pa.0,
            mode: mode_name(block.key.mode),
            end: end_name(block.end).into(),
            lines: (0..block.steps.len()).map(|index| self.line(index, facts.as_ref())).collect(),
            entry: self.host.of(|part| part == Part::Entry),
            last: LastLines {
                ir: self.ir.terminal.to_string(),
                host: self.host.of(|part| part == Part::End),
            },
            ways_in: facts.iter().flat_map(|facts| &facts.incoming).map(|va| self.way_in(*va)).collect(),
            ways_out: self.ways_out(facts.as_ref()),
            over_budget: self.host.of(|part| part == Part::Budget),
            stale: self.host.of(|part| part == Part::Stale),
            sizes: Sizes {
                guest_instructions: block.steps.len(),
                guest_bytes: block.bytes() as usize,
                straight_instructions: self.host.of(straight).len(),
                host_instructions: self.host.of(|_| true).len(),
                host_bytes: self.code.bytes.len(),
                expansion: self.code.bytes.len() as f64 / block.bytes().max(1) as f64,
            },
            runs: facts.map(|facts| facts.runs),
        }
    }

    fn line(&self, index: usize, facts: Option<&Facts>) -> Line {
        let step = &self.block.steps[index];
        let address = self.block.va + 4 * index as u64;
        let slow = |part| matches!(part, Part::Slow(step) if step == index);
        let (in_slot, ir) = self.nodes(index);
        Line {
            address: address.0,
            word: step.word,
            text: self.text(step, address),
            in_slot,
            classes: step
                .insn
                .map_or(Vec::new(), |i| i.classes().iter_names().map(|(name, _)| name.into()).collect()),
            plan: PlanLine {
                kind: step.plan.kind().name().into(),
                actions: step.plan.actions.iter().map(ToString::to_string).collect(),
                reason: step.plan.reason.into(),
            },
            changes: facts.map(|facts| changes(facts, index)).unwrap_or_default(),
            ir,
            host: self.host.of(|part| part == Part::Step(index)),
            slow: self.host.of(slow),
        }
    }

    /// The instruction as text: a hypercall by what it asks for.
    fn text(&self, step: &Step, address: Va) -> String {
        let request = step.insn.and_then(hypercall_code).and_then(self.context.hypercall);
        request.unwrap_or_else(|| print_word(step.word, address.0, self.context.registers))
    }

    /// Whether step `index` is in a delay slot, and its nodes.
    fn nodes(&self, index: usize) -> (bool, Vec<String>) {
        let is_begin = |node: &Node| matches!(node, Node::Begin(step, _) if *step as usize == index);
        let Some(begin) = self.ir.nodes.iter().position(is_begin) else { return (false, Vec::new()) };
        let rest = begin + 1..self.ir.nodes.len();
        let own = rest.take_while(|at| !matches!(self.ir.nodes[*at], Node::Begin(..)));
        let lines = own.filter_map(|at| self.ir.line(at, self.context.registers)).collect();
        (matches!(self.ir.nodes[begin], Node::Begin(_, true)), lines)
    }

    /// The places that the block goes to: those by links, and then those that are not linked.
    fn ways_out(&self, facts: Option<&Facts>) -> Vec<WayOut> {
        let mut ways: Vec<WayOut> = Vec::new();
        let links = self.code.parts.iter().filter_map(|(at, part)| match part {
            Part::Link(exit) => Some((*at, *exit)),
            _ => None,
        });
        for (index, (at, exit)) in links.enumerate() {
            let joined = facts.map(|facts| facts.joined.get(index).copied().unwrap_or(false));
            ways.push(WayOut { is_link: true, joined, host: self.host.at(at), ..self.way_out(exit) });
        }
        for exit in exits(self.ir.terminal) {
            let way = self.way_out(exit);
            if !ways.iter().any(|known| known.is_link && known.address == way.address) {
                ways.push(way);
            }
        }
        ways
    }

    fn way_in(&self, va: Va) -> WayIn {
        WayIn { address: va.0, name: self.name(va) }
    }

    fn way_out(&self, exit: Exit) -> WayOut {
        let address = target(self.block, exit);
        let name = address.and_then(|va| self.name(va));
        WayOut { address: address.map(|va| va.0), name, is_link: false, joined: None, host: Vec::new() }
    }

    fn name(&self, va: Va) -> Option<String> {
        (self.context.symbol)(va, self.block.key.mode)
    }
}

/// What step `index` has been patched to.
fn changes(facts: &Facts, index: usize) -> Vec<String> {
    let own = facts.changes.iter().filter(|(site, _)| usize::from(site.step) == index);
    own.map(|(site, change)| format!("{}: {}", change.name(), site.nature)).collect()
}

/// Where `exit` of `block` leads, if the block says it.
fn target(block: &Block, exit: Exit) -> Option<Va> {
    const REGION_MASK: u64 = (1 << 28) - 1;
    let last = block.va + 4 * (block.steps.len() as u64).saturating_sub(1);
    match exit {
        Exit::Direct(offset) => Some(Va(block.va.page().0.wrapping_add(offset as u64))),
        Exit::Region(offset) => Some(Va(last.0 & !REGION_MASK | offset)),
        Exit::Indirect(_) => None,
    }
}

fn exits(terminal: Terminal) -> Vec<Exit> {
    match terminal {
        Terminal::Jump(exit) => vec![exit],
        Terminal::Branch { taken, otherwise, .. } => vec![taken, otherwise],
        Terminal::Stop => Vec::new(),
    }
}

/// The places that the block goes to by itself, as far as it says them.
pub fn targets(block: &Block) -> Vec<Va> {
    exits(ir::build(block).terminal).into_iter().filter_map(|exit| target(block, exit)).collect()
}

fn mode_name(mode: Mode) -> String {
    let privilege = if mode.is_kernel() { "kernel" } else { "" };
    let bits = mode.iter_names().map(|(name, _)| name.to_lowercase());
    let words = [privilege.to_owned()].into_iter().chain(bits).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

fn end_name(end: End) -> &'static str {
    match end {
        End::Next => "goes on",
        End::Branch => "branch",
        End::FarBranch => "branch with its slot on the next page",
        End::Stop => "stop",
        End::Interpret => "interpreted, for the delay slot is elsewhere",
    }
}

#[cfg(test)]
mod tests;
