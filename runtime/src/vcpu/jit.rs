//! The loop around generated code: translate what is missing, join links, and handle every way out.
#![expect(unsafe_code, reason = "entries from the cache are run")]

use std::sync::atomic::Ordering;
use std::time::Instant;

use translator::addr::Va;
use translator::block::{Block, End, Key};
use translator::code::ExitReason;
use translator::emit::emit;
use translator::interp::Site;
use translator::ir;
use translator::mode::Mode;

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
    Interpret(u64),
}

impl Vcpu {
    /// Runs generated code until the budget is used up, the alarm is raised or the guest leaves. If
    /// blocks do not count, the budget pays only for what is interpreted.
    pub(super) fn run_code(&mut self, policy: Policy) -> Option<Leave> {
        let counted = self.machine.fixed_mode.contains(Mode::COUNTED);
        let left = self.run_until_left(counted, policy);
        self.settle_float();
        left
    }

    fn run_until_left(&mut self, counted: bool, policy: Policy) -> Option<Leave> {
        let mut link = None;
        loop {
            if self.has_alarm() || counted && self.cpu.budget <= 0 {
                return None;
            }
            let next = match self.next_code(policy.interpreted) {
                Ok(next) => next,
                Err(Stop::Leave(why)) => return Some(why),
                Err(_) => {
                    link = None;
                    continue;
                }
            };
            let (key, entry, bound) = match next {
                Next::Code { key, entry, bound } => (key, entry, bound),
                Next::Interpret(count) => {
                    link = None;
                    let room = if counted { self.cpu.budget as u64 } else { u64::MAX };
                    if let Some(why) = self.interpret_some(count.min(room)) {
                        return Some(why);
                    }
                    continue;
                }
            };
            match link.take() {
                _ if !policy.joined => {}
                Some(link) => self.machine.cache().join(link, &key),
                None => self.soft.add_jump(Va(self.cpu.pc), entry, bound),
            }
            let reason = self.run_entry(&key, entry);
            match reason {
                ExitReason::Miss => self.count_exit("miss"),
                ExitReason::Link => {
                    self.count_exit("link");
                    link = Some(self.cpu.exit_link);
                }
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
    fn interpret_some(&mut self, limit: u64) -> Option<Leave> {
        self.settle_float();
        self.interpret(limit)
    }

    /// Runs the block at `entry`, unless it has been dropped since it was found.
    fn run_entry(&mut self, key: &Key, entry: u64) -> ExitReason {
        let machine = std::sync::Arc::clone(&self.machine);
        let _running = machine.run_code();
        self.refresh_jumps();
        self.refresh_writes();
        let way_in = {
            let cache = machine.cache();
            if cache.entry(key) != Some(entry) {
                return ExitReason::Miss;
            }
            cache.way_in()
        };
        // SAFETY: the cache has just said that the entry is the block's, and `_running` keeps its
        // region as it is; the key has the vCPU's mode because `next_code` made it from that.
        unsafe { self.enter(entry, way_in) }
    }

    /// Forgets jumps into regions of the arena that have been emptied.
    fn refresh_jumps(&mut self) {
        let epoch = self.machine.arena_epoch.load(Ordering::Acquire);
        if self.arena_epoch != epoch {
            self.soft.flush_jumps();
            self.arena_epoch = epoch;
        }
    }

    /// Whether `block` has been reached more than `threshold` times.
    fn is_warm(&self, block: &Block, threshold: u32) -> bool {
        threshold == 0 || self.machine.cache().count_run(&block.key) > threshold
    }

    /// The host code at the program counter, translated if it is new and warm. An error has entered an
    /// exception.
    fn next_code(&mut self, threshold: u32) -> Result<Next, Stop> {
        let va = Va(self.cpu.pc);
        self.site = Site { pc: va, in_slot: false };
        let (pa, mapped, global) = self.fetch_place(va)?;
        let key = Key { pa, mode: self.cpu.mode | mapped };
        let bound = !global;
        if let Some(entry) = self.machine.cache().entry(&key) {
            return Ok(Next::Code { key, entry, bound });
        }
        let block = self.find_or_decode(key, va)?;
        if matches!(block.end, End::Interpret) {
            return Ok(Next::Interpret(1));
        }
        if !self.is_warm(&block, threshold) {
            return Ok(Next::Interpret(block.steps.len() as u64));
        }
        let begin = Instant::now();
        let code = emit(&block, &ir::build(&block));
        self.statistics.count_translation(&block, &code, begin.elapsed());
        if self.machine.cache().is_full(&code) {
            self.machine.make_room();
        }
        let placed = self.machine.cache().place(&block, &code);
        match placed {
            Some(entry) => {
                self.trace_block(&block, &code, entry);
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
