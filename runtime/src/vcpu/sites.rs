//! Sites learn what they are: loads and stores that meet devices or RAM in unmapped segments, and jumps
//! with one target. What the interpreter sees before a block is translated is used at once; what
//! generated code shows later makes its block anew, with the site patched or patched back.

use std::sync::Arc;

use translator::addr::{Pa, Va};
use translator::block::{Block, Key};
use translator::exception::Intent;
use translator::machine::Access;
use translator::mode::Mode;
use translator::nature::{Nature, Sites, Window};
use translator::stub::Flow;

use super::{Leave, Stop, Vcpu};
use crate::mmu::segment::{Segment, classify, window};

/// The counters of slow sites; a power of two.
pub(super) const SLOW_COUNTERS: usize = 256;
/// A site that was slow so often is worth a new translation of its block; a power of two.
const WORTH_PATCHING: u8 = 8;
/// The register that calls return by: a return has as many targets as there are calls.
const RETURN_ADDRESS: u8 = 31;

/// What the interpreter sees of the sites of one block.
pub(super) struct Watch {
    start: Va,
    steps: usize,
    sites: Sites,
}

impl Vcpu {
    /// Interprets `limit` instructions from the block with identity `key`, and remembers what its sites
    /// have shown to be.
    pub(super) fn interpret_and_watch(&mut self, key: &Key, limit: u64) -> Option<Leave> {
        let block = self.machine.cache().find(key).map(Arc::clone);
        let steps = block.as_ref().map_or(0, |block| block.steps.len());
        let before = self.cpu.budget;
        self.watch = Some(Watch { start: Va(self.cpu.pc), steps, sites: Sites::default() });
        let left = self.interpret_some(limit);
        let is_whole = before - self.cpu.budget == steps as i64 && left.is_none();
        let Some(mut watch) = self.watch.take() else { return left };
        if let Some(step) = block.as_deref().filter(|_| is_whole).and_then(worth_a_guard)
            && let Segment::Unmapped(_) = classify(Va(self.cpu.pc), self.cpu.mode)
            && let Some(nature) = Nature::of_target(Va(self.cpu.pc))
        {
            watch.sites.observe(step as u8, nature);
        }
        self.machine.cache().observe(key, &watch.sites);
        left
    }

    /// Whether someone wants to know what the sites of the interpreted block show.
    #[inline]
    pub(super) fn is_watching(&self) -> bool {
        self.watch.is_some()
    }

    /// The interpreter loads from `va`.
    pub(super) fn watch_load(&mut self, va: Va) {
        let nature = self.window_at(va).map_or(Nature::Plain, Nature::Window);
        // A device is noticed where it answers.
        if nature != Nature::Plain || matches!(classify(va, self.cpu.mode), Segment::Mapped) {
            self.show(nature);
        }
    }

    /// The part of RAM around `va` that lies in the same unmapped segment.
    fn window_at(&self, va: Va) -> Option<Window> {
        let (start, first, size) = window(va, self.cpu.mode)?;
        let pa = first.0 + (va.0 - start.0);
        let bank = self.machine.ram.banks().iter().find(|b| b.base.0 <= pa && pa < b.base.0 + b.size)?;
        let from = bank.base.0.max(first.0);
        let end = (bank.base.0 + bank.size).min(first.0 + size);
        Window::new(start + (from - first.0), Pa(from), end - from)
    }

    /// The instruction at the current site has shown what it is.
    pub(super) fn show(&mut self, nature: Nature) {
        if let Some(watch) = &mut self.watch {
            let step = self.site.pc.0.wrapping_sub(watch.start.0) / 4;
            if step < watch.steps as u64 {
                watch.sites.observe(step as u8, nature);
            }
        } else if let Some(step) = self.running {
            self.show_step(step, nature);
        }
    }

    /// Step `step` of the block whose generated code runs has shown what it is; the current site is in
    /// that block's page.
    fn show_step(&mut self, step: u32, nature: Nature) {
        let Some(running) = self.running else { return };
        let start = Va(self.site.pc.0.wrapping_sub(4 * u64::from(running)));
        let Some((pa, mapped)) = self.running_place(start) else { return };
        let key = Key::new(start, pa, self.cpu.mode | mapped);
        self.machine.cache().show(&key, step as u8, nature);
    }

    /// The physical address of code that runs at `va`, and its segment as a mode bit. Nothing is fetched
    /// for it: what the TLB has lost meanwhile needs no patch.
    pub(super) fn running_place(&self, va: Va) -> Option<(Pa, Mode)> {
        match classify(va, self.cpu.mode) {
            Segment::Unmapped(pa) => Some((pa, Mode::empty())),
            Segment::Mapped => {
                let entry = self.tlb.read(self.tlb.find(va, self.cpu.asid())?);
                Some((entry.page(va).pa, Mode::MAPPED))
            }
            Segment::Forbidden => None,
        }
    }

    /// A load that missed the soft TLB or, if `guarded`, the window that its site was patched for.
    pub(super) fn load_at_site(&mut self, access: Access, va: Va, guarded: bool) -> Result<u64, Stop> {
        let value = self.load_slow(access, va, Intent::Load)?;
        if guarded {
            self.show(Nature::Plain);
        } else if self.is_often_slow()
            && let Some(window) = self.window_at(va)
        {
            self.show(Nature::Window(window));
        }
        Ok(value)
    }

    /// Whether the current site was slow often enough to be worth a new translation. Sites share
    /// counters: what that costs is a translation too early.
    fn is_often_slow(&mut self) -> bool {
        let counter = &mut self.slow[(self.site.pc.0 >> 2) as usize & (SLOW_COUNTERS - 1)];
        *counter = counter.wrapping_add(1);
        counter.is_multiple_of(WORTH_PATCHING)
    }

    /// A load at a site that met a device: straight to the bus.
    pub(super) fn load_from_device(&mut self, access: Access, va: Va) -> Result<u64, Stop> {
        self.check_alignment(access, va, Intent::Load)?;
        let to = self.translate(va, Intent::Load).map_err(|e| self.raise(e))?;
        if !self.machine.ram.contains(to.pa, access.bytes()) {
            return self.read_device(access, to.pa);
        }
        self.show(Nature::Plain);
        self.load_slow(access, va, Intent::Load)
    }

    /// A store at a site that met a device: straight to the bus.
    pub(super) fn store_to_device(&mut self, access: Access, va: Va, value: u64) -> Result<(), Stop> {
        self.check_alignment(access, va, Intent::Store)?;
        let to = self.translate(va, Intent::Store).map_err(|e| self.raise(e))?;
        if !self.machine.ram.contains(to.pa, access.bytes()) {
            return self.write_device(access, to.pa, value);
        }
        self.show(Nature::Plain);
        self.store_slow(access, va, value)
    }

    /// The code of `block`, made with its sites as `sites` has them, is about to run for the first time. If nobody
    /// has seen where its jump by register goes, the jump is made to ask: with an empty jump cache it has to.
    pub(super) fn await_first_jump(&mut self, block: &Block, sites: &Sites) {
        let step = worth_a_guard(block).filter(|step| self.joined && sites.get(*step).is_none());
        self.first_jump = step.map(|step| (block.key, step as u8));
        if step.is_some() {
            self.soft.flush_jumps();
        }
    }

    /// Generated code asks where to go on. If it came straight from a block that is awaited, that is where its jump
    /// went.
    pub(super) fn note_first_jump(&mut self) {
        let Some((key, step)) = self.first_jump.take() else { return };
        let target = Va(self.cpu.pc);
        if let Segment::Unmapped(_) = classify(target, self.cpu.mode)
            && let Some(nature) = Nature::of_target(target)
        {
            self.machine.cache().show(&key, step, nature);
        }
    }

    /// A jump by register went to `target`, which is not what it was patched for. Generated code goes on
    /// there.
    pub(super) fn retarget(&mut self, target: Va) -> (u64, Flow) {
        let place = self.place_site();
        self.running = Some(place.index);
        // The site is the jump, the place that of its delay slot.
        self.show_step(place.index.saturating_sub(1), Nature::Plain);
        self.running = None;
        self.cpu.pc = target.0;
        self.way_on(None)
    }

    /// Counts and traces what a new translation of `block` has changed.
    pub(super) fn note_changes(&mut self, block: &Block) {
        let changes = self.machine.cache().apply_sites(&block.key);
        for (site, change) in changes {
            self.statistics.count_change(change, site.nature);
            self.trace_change(block, &site, change);
        }
    }
}

/// The jump by register that `block` ends with, if it may have one target.
fn worth_a_guard(block: &Block) -> Option<usize> {
    let index = block.indirect_jump().filter(|_| !block.key.mode.contains(Mode::MAPPED))?;
    block.steps[index].insn.is_some_and(|insn| insn.rs() != RETURN_ADDRESS).then_some(index)
}
