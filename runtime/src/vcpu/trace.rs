//! What a vCPU writes to the machine's trace. Each place that causes an event calls one function here;
//! without a trace that is one comparison, and none of the places is in generated code.

use translator::addr::Va;
use translator::block::Block;
use translator::code::Code;
use translator::exception::Exception;
use translator::isa::text::{Names, print_word};
use translator::nature::{Change, Site};

use super::Vcpu;
use crate::mmu::tlb::Entry;
use crate::trace::{Kinds, Moment};

impl Vcpu {
    /// The instruction `word` at `pc` as the trace's lines have it.
    fn traced_text(&self, word: u32, pc: Va) -> String {
        let registers = self.machine.trace.as_ref().map_or(Names::default(), |trace| trace.registers);
        print_word(word, pc.0, registers)
    }

    /// Writes `what` happened at `pc`, if the machine's trace wants events of `kind`.
    #[inline]
    pub(super) fn trace(&self, kind: Kinds, pc: Va, what: impl FnOnce() -> String) {
        let Some(trace) = self.machine.trace.as_ref().filter(|trace| trace.wants(kind)) else { return };
        let moment = Moment { vcpu: self.number, instructions: self.retired(), pc };
        trace.write(kind, moment, &what());
    }

    /// A block was decoded: a line for each instruction that something replaces.
    pub(super) fn trace_plans(&self, block: &Block) {
        if self.machine.trace.is_none() {
            return;
        }
        for (index, step) in block.steps.iter().enumerate().filter(|(_, s)| !s.plan.actions.is_empty()) {
            let pc = block.va + 4 * index as u64;
            self.trace(Kinds::PATCH, pc, || {
                let actions: Vec<String> = step.plan.actions.iter().map(ToString::to_string).collect();
                let (text, kind) = (self.traced_text(step.word, pc), step.plan.kind().name());
                format!("{text}: {kind}: {}: {}", actions.join(", "), step.plan.reason)
            });
        }
    }

    /// A new translation of `block` has made `site` something else.
    pub(super) fn trace_change(&self, block: &Block, site: &Site, change: Change) {
        let (pc, word) = (block.va + 4 * u64::from(site.step), block.steps[usize::from(site.step)].word);
        self.trace(Kinds::PATCH, pc, || {
            format!("{}: {}: {}", self.traced_text(word, pc), change.name(), site.nature)
        });
    }

    /// A block was translated and placed at the host address `entry`.
    pub(super) fn trace_block(&self, block: &Block, code: &Code, entry: u64) {
        self.trace(Kinds::BLOCK, block.va, || {
            let (count, bytes) = (block.steps.len(), code.bytes.len());
            format!("{count} instructions at {} to {bytes} bytes at host {entry:#x}", block.key.pa)
        });
    }

    /// An exception is about to be entered.
    pub(super) fn trace_exception(&self, exception: Exception) {
        let kind = if exception == Exception::Interrupt { Kinds::IRQ } else { Kinds::EXCEPTION };
        self.trace(kind, self.site.pc, || {
            let address = exception.bad_address().map(|va| format!(" at {va}")).unwrap_or_default();
            let slot = if self.site.in_slot { ", in a delay slot" } else { "" };
            match kind {
                Kinds::IRQ => format!("pending {:#x}", self.pending_interrupts()),
                _ => format!("{}{address}{slot}", exception.name()),
            }
        });
    }

    /// Entry `index` of the TLB is now `entry`.
    pub(super) fn trace_tlb(&self, index: usize, entry: &Entry) {
        self.trace(Kinds::TLB, self.site.pc, || {
            let (hi, mask, [even, odd]) = (entry.hi, entry.mask, entry.lo);
            format!("entry {index}: hi {hi:#x}, mask {mask:#x}, lo {even:#x} and {odd:#x}")
        });
    }
}
