//! The loop around generated code: translate what is missing, join links, and handle every way out.
#![expect(unsafe_code, reason = "entries from the cache are run")]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use translator::addr::Va;
use translator::block::{Block, End, Key};
use translator::code::ExitReason;
use translator::emit::emit;
use translator::interp::Site;
use translator::ir;
use translator::mode::Mode;
use translator::stub::Flow;

use super::{Leave, Stop, Vcpu};
use crate::trace::Kinds;

/// How blocks become code, and how they meet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// How often a block is interpreted before it is translated.
    pub interpreted: u32,
    /// Whether blocks go on to each other by links and jump caches.
    pub joined: bool,
}

/// What the program counter leads to.
enum Next {
    /// Host code.
    Code { key: Key, entry: u64, bound: bool },
    /// This many instructions that the interpreter runs.
    Interpret { key: Key, count: u64 },
}

impl Vcpu {
    /// Runs generated code until the budget is used up, the alarm is raised or the guest leaves. If
    /// blocks do not count, the budget pays only for what is interpreted.
    pub(super) fn run_code(&mut self, policy: Policy) -> Option<Leave> {
        let counted = self.machine.fixed_mode.contains(Mode::COUNTED);
        self.joined = policy.joined;
        let left = self.run_until_left(counted, policy);
        self.settle_float();
        left
    }

    fn run_until_left(&mut self, counted: bool, policy: Policy) -> Option<Leave> {
        loop {
            if self.has_alarm() || counted && self.cpu.budget <= 0 {
                return None;
            }
            let next = match self.next_code(policy.interpreted) {
                Ok(next) => next,
                Err(Stop::Leave(why)) => return Some(why),
                Err(_) => continue,
            };
            let (key, entry, bound) = match next {
                Next::Code { key, entry, bound } => (key, entry, bound),
                Next::Interpret { key, count } => {
                    let room = if counted { self.cpu.budget as u64 } else { u64::MAX };
                    if let Some(why) = self.interpret_and_watch(&key, count.min(room)) {
                        return Some(why);
                    }
                    continue;
                }
            };
            match self.open_link.take() {
                _ if !policy.joined => {}
                Some(link) => self.machine.cache().join_open(link, &key),
                None => self.soft.add_jump(Va(self.cpu.pc), entry, bound),
            }
            let Some(reason) = self.run_entry(&key, entry) else { continue };
            match reason {
                ExitReason::Alarm => {
                    self.count_exit("alarm");
                    return None;
                }
                ExitReason::Budget => {
                    self.count_exit("budget");
                    // Nothing is left if the block before used up the budget to the last.
                    return self.interpret_some(self.cpu.budget.max(0) as u64);
                }
                ExitReason::Leave => match self.left.take() {
                    Some(why @ Leave::Untranslated) => self.count_exit(why.name()),
                    Some(why @ Leave::Interpret) => {
                        self.count_exit(why.name());
                        if let Some(why) = self.interpret_some(1) {
                            return Some(why);
                        }
                    }
                    why => {
                        self.count_exit(why.map_or("leave", Leave::name));
                        return why;
                    }
                },
            }
        }
    }

    fn count_exit(&mut self, reason: &'static str) {
        *self.statistics.exits.entry(reason).or_default() += 1;
        self.trace(Kinds::EXIT, Va(self.cpu.pc), || reason.to_owned());
    }

    /// Interprets `limit` instructions, plus a delay slot.
    pub(super) fn interpret_some(&mut self, limit: u64) -> Option<Leave> {
        self.settle_float();
        self.interpret(limit)
    }

    /// Where generated code goes on that has come to the end of a block and does not know: by `link`, if
    /// it came by one. A block without host code is left to the run loop.
    pub(super) fn way_on(&mut self, link: Option<u64>) -> (u64, Flow) {
        self.note_first_jump();
        if self.has_alarm() || !self.joined {
            return self.leave_untranslated();
        }
        let va = Va(self.cpu.pc);
        self.site = Site { pc: va, in_slot: false };
        let (pa, mapped, global) = match self.fetch_place(va) {
            Ok(place) => place,
            Err(Stop::Leave(why)) => {
                self.left = Some(why);
                return (0, Flow::Leave);
            }
            Err(_) => return (0, Flow::Redispatch),
        };
        let key = Key::new(va, pa, self.cpu.mode | mapped);
        let machine = Arc::clone(&self.machine);
        let mut cache = machine.cache();
        let Some(entry) = cache.entry(&key) else {
            self.open_link = link.map(|link| cache.open(link, key));
            return self.leave_untranslated();
        };
        match link {
            Some(link) => cache.join(link, &key),
            None => self.soft.add_jump(va, entry, !global),
        }
        (entry, Flow::Enter)
    }

    fn leave_untranslated(&mut self) -> (u64, Flow) {
        self.left = Some(Leave::Untranslated);
        (0, Flow::Leave)
    }

    /// Runs the block at `entry`, unless it has been dropped since it was found.
    fn run_entry(&mut self, key: &Key, entry: u64) -> Option<ExitReason> {
        let machine = Arc::clone(&self.machine);
        let _running = machine.run_code();
        self.refresh_jumps();
        self.refresh_writes();
        let way_in = {
            let cache = machine.cache();
            if cache.entry(key) != Some(entry) {
                return None;
            }
            cache.way_in()
        };
        let begin = Instant::now();
        // SAFETY: the cache has just said that the entry is the block's, and `_running` keeps its
        // region as it is; the key has the vCPU's mode because `next_code` made it from that.
        let reason = unsafe { self.enter(entry, way_in) };
        self.statistics.code_time += begin.elapsed();
        Some(reason)
    }

    /// Forgets jumps into regions of the arena that have been emptied.
    fn refresh_jumps(&mut self) {
        let epoch = self.machine.arena_epoch.load(Ordering::Acquire);
        if self.arena_epoch != epoch {
            self.soft.flush_jumps();
            self.arena_epoch = epoch;
        }
    }

    /// Whether `block` has been interpreted `threshold` times; if not, it is to be once more.
    fn is_warm(&self, block: &Block, threshold: u32) -> bool {
        threshold == 0 || !self.machine.cache().may_interpret(&block.key, threshold)
    }

    /// The host code at the program counter, translated if it is new and warm. An error has entered an
    /// exception.
    fn next_code(&mut self, threshold: u32) -> Result<Next, Stop> {
        let va = Va(self.cpu.pc);
        self.site = Site { pc: va, in_slot: false };
        self.first_jump = None;
        let (pa, mapped, global) = self.fetch_place(va)?;
        let key = Key::new(va, pa, self.cpu.mode | mapped);
        let bound = !global;
        if let Some(entry) = self.machine.cache().entry(&key) {
            return Ok(Next::Code { key, entry, bound });
        }
        let block = self.find_or_decode(key, va)?;
        if matches!(block.end, End::Interpret) {
            return Ok(Next::Interpret { key, count: 1 });
        }
        if !self.is_warm(&block, threshold) {
            return Ok(Next::Interpret { key, count: block.steps.len() as u64 });
        }
        let begin = Instant::now();
        let sites = self.machine.cache().sites(&key);
        let patched = block.patched(&sites);
        let code = emit(&patched, &ir::build(&patched));
        self.statistics.count_translation(&patched, &code, begin.elapsed());
        if self.machine.cache().is_full(&code) {
            self.machine.make_room();
        }
        let placed = self.machine.cache().place(&block, &sites, &code);
        match placed {
            Some(entry) => {
                self.trace_block(&block, &code, entry);
                self.note_changes(&block);
                self.await_first_jump(&block, &sites);
                Ok(Next::Code { key, entry, bound })
            }
            None => self.next_code(threshold),
        }
    }
}

impl crate::machine::Machine {
    /// Empties the oldest region of the arena, once every vCPU has left generated code.
    fn make_room(&self) {
        let _alone = self.stop_code();
        self.cache().empty_next_region();
        self.arena_epoch.fetch_add(1, Ordering::AcqRel);
    }
}
