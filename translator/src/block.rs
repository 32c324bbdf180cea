//! Basic blocks: the unit of translation, of chaining and of invalidation. A block lies in one page,
//! never begins in a delay slot, and ends at a branch with its slot, at an instruction after which
//! the mode may be another, at the page's end or at a limit. The one exception is a branch in the last word
//! of a page: it makes a block with its slot on the next page, which is looked at each time.

use crate::addr::{PAGE_SIZE, Pa, Va};
use crate::isa::{Classes, Insn, Op, decode};
use crate::mode::Mode;
use crate::model::Model;
use crate::nature::{Nature, Site, Sites};
use crate::patch::{self, Action, Plan};

/// The most instructions in a block: longer straight code is rare, and a bound keeps fault tables,
/// budgets and translation pauses small.
pub const MAX_INSNS: usize = 64;

/// What identifies a translation. Two virtual pages that the TLB maps to the same physical page share it; the
/// unmapped segments, in which virtual addresses are constants of the block, have each their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The physical address of the first instruction.
    pub pa: Pa,
    /// The mode, with [`Mode::MAPPED`] as the fetch was.
    pub mode: Mode,
    /// The virtual address less the physical one, which tells an unmapped segment; 0 if mapped.
    segment: u64,
}

impl Key {
    /// The key of what is fetched at `va` from `pa`; `mode` has [`Mode::MAPPED`] as the fetch was.
    pub const fn new(va: Va, pa: Pa, mode: Mode) -> Self {
        let segment = if mode.contains(Mode::MAPPED) { 0 } else { va.0.wrapping_sub(pa.0) };
        Self { pa, mode, segment }
    }
}

/// One instruction of a block with what replaces it.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The word as fetched.
    pub word: u32,
    /// The instruction, or `None` for a reserved encoding.
    pub insn: Option<Insn>,
    /// What replaces it.
    pub plan: Plan,
    /// What it has shown to be: other than plain only for what is innocuous in itself.
    pub nature: Nature,
}

/// How a block ends.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// Goes on at the instruction after the last.
    Next,
    /// The last two steps are a branch and its delay slot.
    Branch,
    /// The two steps are a branch and its delay slot, which lies on the next page. Nobody tells when that is
    /// written or mapped elsewhere, so whoever runs the block compares the slot with what is there then.
    FarBranch,
    /// The last step never goes on: it raises an exception or leaves.
    Stop,
    /// The block is empty: the first instruction and what follows must be interpreted one by one,
    /// because a delay slot holds another branch, or lies on a next page that is not known.
    Interpret,
}

/// A basic block, decoded and with its patch plan.
#[derive(Clone, Debug)]
pub struct Block {
    /// What identifies it.
    pub key: Key,
    /// The virtual address of its first instruction when it was decoded: a constant of the block
    /// unless [`Mode::MAPPED`] is set, and then only its page offset is.
    pub va: Va,
    /// The steps in order; a branch comes before its slot.
    pub steps: Vec<Step>,
    /// How it ends.
    pub end: End,
    /// Whether its host code compares its bytes with RAM before it runs.
    pub is_checked: bool,
}

impl Block {
    /// Decodes the block at `va`, whose physical address is in `key`. `page` is the page that holds
    /// it, read as instruction words, and `next` the word after it, if that is known. It is only looked at for
    /// what [`Block::needs_next_page`].
    ///
    /// # Panics
    /// Panics if `va` is not a multiple of 4.
    pub fn decode(key: Key, va: Va, model: &Model, page: impl Fn(usize) -> u32, next: Option<u32>) -> Block {
        assert!(va.0.is_multiple_of(4), "a block begins at a word");
        let first = (key.pa.page_offset() / 4) as usize;
        let last = (PAGE_SIZE / 4) as usize;
        let mut block = Block { key, va, steps: Vec::new(), end: End::Next, is_checked: false };
        let step = |index: usize| Step::decode(page(index), model, key.mode);
        for index in first..last.min(first + MAX_INSNS) {
            let current = step(index);
            if current.has_delay_slot() {
                if index + 1 < last {
                    block.add_branch(current, step(index + 1), End::Branch);
                } else if block.steps.is_empty() {
                    block.end = End::Interpret;
                    if let Some(word) = next {
                        block.add_branch(current, Step::decode(word, model, key.mode), End::FarBranch);
                    }
                }
                return block;
            }
            block.steps.push(current);
            if current.never_goes_on() {
                block.end = End::Stop;
                return block;
            }
        }
        block
    }

    /// Whether a block that begins at `va` with `word` has its delay slot on the next page.
    pub fn needs_next_page(va: Va, word: u32, model: &Model, mode: Mode) -> bool {
        va.page_offset() + 4 == PAGE_SIZE && Step::decode(word, model, mode).has_delay_slot()
    }

    /// Adds a branch and its slot, or ends the block before the branch if the pair cannot be one.
    fn add_branch(&mut self, branch: Step, slot: Step, end: End) {
        if !slot.has_delay_slot() && !slot.ends_block() {
            self.steps.extend([branch, slot]);
            self.end = end;
        } else if self.steps.is_empty() {
            self.end = End::Interpret;
        }
    }

    /// Whether the last two steps are a branch and its slot.
    pub fn ends_in_branch(&self) -> bool {
        matches!(self.end, End::Branch | End::FarBranch)
    }

    /// Whether the slot lies on the next page.
    pub fn has_far_slot(&self) -> bool {
        matches!(self.end, End::FarBranch)
    }

    /// The steps that lie in the block's page.
    pub fn steps_in_page(&self) -> &[Step] {
        &self.steps[..self.steps.len() - usize::from(self.has_far_slot())]
    }

    /// The block with its sites patched to what they have shown to be.
    pub fn patched(&self, sites: &Sites) -> Block {
        let mut block = self.clone();
        for (index, step) in block.steps.iter_mut().enumerate() {
            if let Some(site) = sites.get(index) {
                step.patch(site);
            }
        }
        block
    }

    /// The step whose register says where the block goes, if there is one.
    pub fn indirect_jump(&self) -> Option<usize> {
        let index = self.steps.len().checked_sub(2).filter(|_| self.ends_in_branch())?;
        let insn = self.steps[index].insn?;
        (insn.classes().contains(Classes::JUMP) && !matches!(insn.op, Op::J | Op::Jal)).then_some(index)
    }

    /// The number of bytes of its page that the block was made from.
    pub fn bytes(&self) -> u64 {
        self.steps_in_page().len() as u64 * 4
    }
}

impl Step {
    /// The instruction that `word` is, and what replaces it.
    pub fn decode(word: u32, model: &Model, mode: Mode) -> Step {
        match decode(word) {
            Some(insn) => {
                Step { word, insn: Some(insn), plan: patch::plan(insn, model, mode), nature: Nature::Plain }
            }
            None => Step { word, insn: None, plan: patch::RESERVED, nature: Nature::Plain },
        }
    }

    /// Whether the instruction does what it says, however it is done.
    pub fn is_kept(&self) -> bool {
        self.plan.actions.is_empty() || self.nature != Nature::Plain
    }

    fn patch(&mut self, site: &Site) {
        if let Some(insn) = self.insn.filter(|_| self.is_kept()) {
            self.nature = site.nature;
            self.plan = patch::patched(insn, site);
        }
    }

    fn classes(&self) -> Classes {
        self.insn.map_or(Classes::empty(), |i| i.classes())
    }

    /// Whether this is a branch that the CPU has and the mode allows.
    pub fn has_delay_slot(&self) -> bool {
        self.is_kept() && self.classes().has_delay_slot()
    }

    /// Whether nothing after this step in the block could run.
    fn never_goes_on(&self) -> bool {
        matches!(self.plan.actions, [Action::Raise(_)]) || self.ends_block()
    }

    /// Whether the step is an ERET or its like, which has no place in a delay slot.
    fn ends_block(&self) -> bool {
        self.classes().contains(Classes::END)
    }
}
