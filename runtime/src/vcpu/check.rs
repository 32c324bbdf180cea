//! The build that checks itself: every block compares the bytes that it was made from with memory before
//! it runs. A block that is stale although nobody is about to say so is a fault of this program.

use std::sync::Arc;
use std::time::Duration;

use translator::block::{Block, Key};
use translator::mode::Mode;
use translator::stub::Flow;

use super::Vcpu;

/// Whether this build checks itself.
pub(super) const SELF_CHECK: bool = cfg!(feature = "self-check");

/// How often, a millisecond apart, a stale block is looked at: whoever writes to a page of code first
/// writes and then gives notice.
const PATIENCE: u32 = 1000;

impl Vcpu {
    /// The block whose host code begins here found its bytes changed. Generated code goes on with what is
    /// there now.
    pub(super) fn recheck(&mut self) -> (u64, Flow) {
        self.place_site();
        self.cpu.pc = self.site.pc.0;
        let place = self.running_place(self.site.pc);
        let key = place.map(|(pa, mapped): (_, Mode)| Key::new(self.site.pc, pa, self.cpu.mode | mapped));
        let block = key.and_then(|key| self.machine.cache().find(&key).map(Arc::clone));
        if let Some(block) = block {
            self.wait_until_fresh(&block);
        }
        self.way_on(None)
    }

    /// Waits until `block` is what memory says or has been dropped.
    ///
    /// # Panics
    /// Panics if that does not happen: then a write to code went unnoticed.
    pub(super) fn wait_until_fresh(&self, block: &Block) {
        for _ in 0..PATIENCE {
            // Another vCPU may have dropped it, and already decoded what is there now.
            let is_dropped = self
                .machine
                .cache()
                .find(&block.key)
                .is_none_or(|current| !std::ptr::eq(&raw const **current, block));
            if is_dropped || self.is_fresh(block) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("the block at {} was made from other bytes than are at {}", block.va, block.key.pa);
    }

    fn is_fresh(&self, block: &Block) -> bool {
        let is_big = block.key.mode.contains(Mode::BIG_ENDIAN);
        block.steps_in_page().iter().enumerate().all(|(index, step)| {
            let raw = self.machine.ram.load(block.key.pa + 4 * index as u64, 4);
            let word = raw.map(|raw| if is_big { (raw as u32).swap_bytes() } else { raw as u32 });
            word == Some(step.word)
        })
    }
}
