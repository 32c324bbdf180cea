//! The loop around generated code: translate what is missing, join links, and handle every way out.
#![expect(unsafe_code, reason = "entries from the cache are run")]

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use translator::addr::Va;
use translator::block::{Block, End, Key};
use translator::code::{Code, ExitReason};
use translator::emit::emit;
use translator::interp::Site;
use translator::ir;
use translator::mode::Mode;
use translator::stub::Flow;

use super::{Known, Leave, Stop, Vcpu, recent_slot};
use crate::cache::Placing;
use crate::machine::Clock;
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
            let known = if policy.joined { None } else { self.run_known() };
            if let Some(reason) = known {
                if let ControlFlow::Break(left) = self.answer_exit(reason) {
                    return left;
                }
                continue;
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
                _ if !policy.joined => self.know(entry),
                Some(link) => self.machine.cache().join_open(link, &key),
                None => self.soft.add_jump(Va(self.cpu.pc), entry, bound),
            }
            let Some(reason) = self.run_entry(&key, entry) else { continue };
            if let ControlFlow::Break(left) = self.answer_exit(reason) {
                return left;
            }
        }
    }

    /// Generated code was left for `reason`: breaks with what the run loop gives, or goes on.
    fn answer_exit(&mut self, reason: ExitReason) -> ControlFlow<Option<Leave>> {
        let left = match reason {
            ExitReason::Alarm => {
                self.count_exit("alarm");
                return ControlFlow::Break(None);
            }
            ExitReason::Budget => {
                self.count_exit("budget");
                // Nothing is left if the block before used up the budget to the last.
                return ControlFlow::Break(self.interpret_some(self.cpu.budget.max(0) as u64));
            }
            ExitReason::Polled => {
                self.count_exit("polled");
                self.let_others_run();
                return ControlFlow::Continue(());
            }
            ExitReason::Leave => self.left.take(),
        };
        self.count_exit(left.map_or("leave", Leave::name));
        let left = match left {
            Some(Leave::Untranslated) => None,
            Some(Leave::Interpret) => self.interpret_some(1),
            why => return ControlFlow::Break(why),
        };
        left.map_or(ControlFlow::Continue(()), |why| ControlFlow::Break(Some(why)))
    }

    /// Code waits for what another vCPU is to do, which may be one that the host has not let run, so this
    /// thread makes room. Where all vCPUs share one thread, turns have their length.
    fn let_others_run(&mut self) {
        /// About as long as a vCPU looks at its bell before it sleeps: a look takes some 40 ns.
        const LOOKS: i64 = 1024;
        self.cpu.polls = LOOKS;
        if self.machine.clock == Clock::Host {
            thread::yield_now();
        }
    }

    /// Remembers that the program counter leads to the host code at `entry`.
    fn know(&mut self, entry: u64) {
        self.refresh_recent();
        let va = self.cpu.pc;
        self.known[recent_slot(Va(va))] = Known { va, mode: self.cpu.mode, entry };
    }

    /// The host code at the program counter, if it is known.
    fn known_entry(&mut self) -> Option<u64> {
        self.refresh_recent();
        let known = &self.known[recent_slot(Va(self.cpu.pc))];
        (known.va == self.cpu.pc && known.mode == self.cpu.mode).then_some(known.entry)
    }

    /// Runs one block after the other as long as they are known, each by a look-up here. Says why the last
    /// one left, if it was for more than the next block.
    fn run_known(&mut self) -> Option<ExitReason> {
        /// The entry of a block that was dropped leads back to the same address. So many blocks that are
        /// their own successors are believed in a row.
        const MOST_REPEATS: u32 = 64;
        self.known_entry()?;
        let machine = Arc::clone(&self.machine);
        let _running = machine.run_code();
        self.refresh_jumps();
        self.refresh_writes();
        let way_in = machine.cache().way_in();
        let begin = Instant::now();
        let (mut went_on, mut repeats) = (0, 0);
        let reason = loop {
            let Some(entry) = self.known_entry() else { break None };
            let va = self.cpu.pc;
            // SAFETY: the cache said that the entry is the block's, which has the vCPU's mode. If the block
            // has been dropped since, its entry leads out of it: entries in regions that were emptied
            // before `_running` have just been forgotten, and none is emptied now.
            let reason = unsafe { self.enter(entry, way_in) };
            let goes_on = self.left == Some(Leave::Untranslated) && matches!(reason, ExitReason::Leave);
            if !goes_on || self.has_alarm() {
                break Some(reason);
            }
            self.left = None;
            self.trace(Kinds::EXIT, Va(self.cpu.pc), || Leave::Untranslated.name().to_owned());
            went_on += 1;
            repeats = if self.cpu.pc == va { repeats + 1 } else { 0 };
            if repeats == MOST_REPEATS {
                self.forget_recent();
                break None;
            }
        };
        self.statistics.code_time += begin.elapsed();
        *self.statistics.exits.entry(Leave::Untranslated.name()).or_default() += went_on;
        reason
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
            self.forget_recent();
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
        let code = emit(&patched, &ir::build(&patched), &self.machine.pins);
        self.statistics.count_translation(&patched, &code, begin.elapsed());
        loop {
            let placing = self.machine.cache().place(&block, &sites, &code);
            match placing {
                Placing::At(entry) => {
                    self.trace_block(&block, &code, entry);
                    self.note_changes(&block);
                    self.await_first_jump(&block, &sites);
                    return Ok(Next::Code { key, entry, bound });
                }
                Placing::Full => self.machine.make_room(&code),
                Placing::Outdated => return self.next_code(threshold),
            }
        }
    }
}

impl crate::machine::Machine {
    /// Empties the oldest region of the arena for `code`, once every vCPU has left generated code, unless another vCPU
    /// has done so meanwhile. Others may fill it before the caller does.
    fn make_room(&self, code: &Code) {
        let _alone = self.stop_code();
        let mut cache = self.cache();
        if cache.is_full(code) {
            cache.empty_next_region();
            self.arena_epoch.fetch_add(1, Ordering::AcqRel);
        }
    }
}
