//! The loop around generated code: translate what is missing, join links, and handle every way out.
#![expect(unsafe_code, reason = "entries from the cache are run")]

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use translator::addr::Va;
use translator::block::{End, Key};
use translator::code::ExitReason;
use translator::emit::emit;
use translator::interp::Site;
use translator::ir;
use translator::mode::Mode;

use super::{Leave, Stop, Vcpu};
use crate::trace::Kinds;

/// What the program counter leads to.
enum Next {
    /// Host code.
    Code { key: Key, entry: u64, bound: bool },
    /// A pair of instructions that only the interpreter runs.
    Interpret,
}

impl Vcpu {
    /// Runs generated code until about `limit` instructions have run, the alarm is raised or the guest
    /// leaves. What ran is counted only if blocks count.
    pub(super) fn run_code(&mut self, limit: u64) -> (u64, Option<Leave>) {
        let counted = self.machine.fixed_mode.contains(Mode::COUNTED);
        let budget = i64::try_from(limit).unwrap_or(i64::MAX);
        self.granted += budget as u64;
        self.cpu.budget += budget;
        let before = self.cpu.budget;
        let left = self.run_until_left(counted);
        self.settle_float();
        let ran = (before - self.cpu.budget) as u64;
        // What was not used is not granted.
        self.granted -= self.cpu.budget as u64;
        self.cpu.budget = 0;
        self.statistics.instructions += ran;
        (ran, left)
    }

    fn run_until_left(&mut self, counted: bool) -> Option<Leave> {
        let mut link = None;
        loop {
            if self.has_alarm() || counted && self.cpu.budget <= 0 {
                return None;
            }
            let Ok(next) = self.next_code() else {
                link = None;
                continue;
            };
            let Next::Code { key, entry, bound } = next else {
                link = None;
                if let Some(why) = self.interpret_some(1) {
                    return Some(why);
                }
                continue;
            };
            match link.take() {
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
                    match u64::try_from(self.cpu.budget) {
                        Ok(0) | Err(_) => return None,
                        Ok(rest) => return self.interpret_some(rest),
                    }
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

    /// Interprets at least `limit` instructions and pays for them.
    fn interpret_some(&mut self, limit: u64) -> Option<Leave> {
        self.settle_float();
        let counted = self.statistics.instructions;
        let (ran, left) = self.interpret(limit);
        self.statistics.instructions = counted;
        self.cpu.budget -= ran as i64;
        left
    }

    /// Runs the block at `entry`, unless it has been dropped since it was found.
    fn run_entry(&mut self, key: &Key, entry: u64) -> ExitReason {
        let machine = std::sync::Arc::clone(&self.machine);
        let _running = machine.running_code.read().unwrap_or_else(PoisonError::into_inner);
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

    /// The host code at the program counter, translated if it is new. An error has entered an
    /// exception.
    fn next_code(&mut self) -> Result<Next, Stop> {
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
            return Ok(Next::Interpret);
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
            None => self.next_code(),
        }
    }
}

impl crate::machine::Machine {
    /// Empties the oldest region of the arena, once every vCPU has left generated code.
    fn make_room(&self) {
        self.control.ring_all();
        let _alone = self.running_code.write().unwrap_or_else(PoisonError::into_inner);
        self.cache().empty_next_region();
        self.arena_epoch.fetch_add(1, Ordering::AcqRel);
    }
}
