//! The run loop of a vCPU: look up the block at the program counter, run it, handle why it ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use translator::addr::{Pa, Va};
use translator::block::{Block, End, Key, Step};
use translator::cp0::{Cp0, IP_SHIFT, Status};
use translator::exception::{Exception, Intent};
use translator::interp::{self, Site};
use translator::mode::Mode;

use super::check::SELF_CHECK;
use super::jit::Policy;
use super::{Known, Leave, Paid, Recent, Stop, Vcpu, recent_slot};
use crate::device::Size;
use crate::machine::PowerOrder;

/// What runs guest code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The interpreter alone.
    Interpreter,
    /// Every block is translated before it first runs.
    Jit,
    /// Blocks are interpreted until they have shown that they run often.
    Auto,
    /// As `Jit`, but every block comes back to the run loop: what is left of the speed without links
    /// and jump caches. That is 0.6 to 2 times the interpreter's: the shorter the blocks, the less, since the way
    /// into generated code and out of it costs as much as some five interpreted instructions.
    Blocks,
}

/// How often a block is interpreted before it is translated under [`Engine::Auto`]: most blocks of a
/// boot run less often than it takes to pay for their translation.
const WARM: u32 = 2;

/// Why a run ended. The vCPU is at a settled point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The granted instructions have run.
    Budget,
    /// Someone wants the vCPU's attention.
    Attention,
    /// The guest waits for an interrupt.
    Wait,
    /// The guest waits for an interrupt with all of them masked: it has halted for good, which is how
    /// Linux powers off a machine that it has no driver for (`machine_hang`).
    Halted,
    /// The guest called the hypervisor.
    Hypercall(u32),
    /// The guest asks for a service by SYSCALL, and goes on after it.
    SystemCall,
    /// The instruction at the program counter, or in the delay slot of the branch there, raised an
    /// exception that the machine leaves to the host ([`Vcpu::site`]).
    Exception(Exception),
}

impl Vcpu {
    /// Runs at most `grant` instructions, plus the delay slot of a branch that is the last:
    /// [`Vcpu::retired`] tells how many ran, and a caller that wants exact sums grants less next time.
    pub fn run(&mut self, engine: Engine, grant: u64) -> Outcome {
        let end = self.retired().saturating_add(grant);
        loop {
            if let Some(outcome) = self.answer_alarm() {
                return outcome;
            }
            let left = end.saturating_sub(self.retired());
            if left == 0 {
                return Outcome::Budget;
            }
            // The timer is looked at between batches, so a batch ends where the timer is due.
            let batch = self.instructions_to_deadline().unwrap_or(u64::MAX).clamp(1, left);
            match self.run_batch(engine, batch) {
                Some(Leave::Wait) => return self.wait_outcome(),
                Some(Leave::Hypercall(code)) => return Outcome::Hypercall(code),
                Some(Leave::SystemCall) => return Outcome::SystemCall,
                Some(Leave::Exception(exception)) => return Outcome::Exception(exception),
                Some(Leave::Interpret | Leave::Untranslated) | None => {}
            }
        }
    }

    /// Runs at most `batch` instructions, plus a delay slot, and accounts for them.
    fn run_batch(&mut self, engine: Engine, batch: u64) -> Option<Leave> {
        let before = self.retired();
        let batch = batch.min(i64::MAX as u64);
        self.granted += batch;
        self.cpu.budget += batch as i64;
        let left = match engine {
            Engine::Interpreter => self.interpret(batch),
            Engine::Jit => self.run_code(Policy { interpreted: 0, joined: true }),
            Engine::Auto => self.run_code(Policy { interpreted: WARM, joined: true }),
            Engine::Blocks => self.run_code(Policy { interpreted: 0, joined: false }),
        };
        // What was not used is not granted.
        self.granted = self.granted.wrapping_sub(self.cpu.budget as u64);
        self.cpu.budget = 0;
        self.statistics.instructions += self.retired() - before;
        if left.is_some_and(|why| Stop::Leave(why).is_finished()) {
            self.go_on_after_slot();
        }
        left
    }

    /// An instruction in a delay slot has left, so the branch is still to be finished. It is worked
    /// out again, from registers that nothing has changed since.
    fn go_on_after_slot(&mut self) {
        let Site { pc, in_slot: true } = self.site else { return };
        let branch = Va(pc.0.wrapping_sub(4));
        if let Ok(Step { insn: Some(insn), .. }) = self.fetch(branch, false)
            && let Ok((_, target)) = interp::branch_target(self, insn, branch)
        {
            self.cpu.pc = target.0;
        }
    }

    /// What the alarm word asks for: interrupts are taken here, attention is left to the caller.
    fn answer_alarm(&mut self) -> Option<Outcome> {
        use translator::cpu::alarm;
        let reasons = self.doorbell.shared.alarm.swap(0, Ordering::AcqRel);
        self.check_timer();
        self.take_interrupt();
        (reasons & alarm::ATTENTION != 0).then_some(Outcome::Attention)
    }

    fn wait_outcome(&self) -> Outcome {
        let status = self.cpu.status();
        let masked = status.bits() & 0xff << IP_SHIFT == 0 && !status.contains(Status::IE);
        if masked { Outcome::Halted } else { Outcome::Wait }
    }

    /// Whether a waiting vCPU has something to do: an interrupt is pending and enabled by its mask,
    /// even if Status.IE holds it back.
    pub fn is_wakeable(&mut self) -> bool {
        self.check_timer();
        self.pending_interrupts() & self.cpu.status().bits() & 0xff << IP_SHIFT != 0
    }

    /// Whether someone wants the vCPU.
    pub fn has_alarm(&self) -> bool {
        self.doorbell.has_alarm()
    }

    /// Takes back all alarms of a vCPU that does not run. Whoever does that looks afterwards at what they
    /// were for.
    pub fn silence(&self) {
        self.doorbell.shared.alarm.swap(0, Ordering::AcqRel);
    }

    /// Whether it has something to run: the first vCPU always does, the others once they are started.
    pub fn is_started(&self) -> bool {
        self.started
    }

    /// Does what it was told.
    pub fn obey(&mut self, order: PowerOrder) {
        match order {
            PowerOrder::Start(address) => self.start(address),
            PowerOrder::Stop => self.started = false,
        }
    }

    /// Starts the vCPU at `address` with its registers as after reset.
    fn start(&mut self, address: u64) {
        self.started = true;
        let before = std::mem::replace(
            &mut self.cpu,
            translator::cpu::Cpu::new(self.machine.model, self.number as u32),
        );
        self.cpu.mode |= self.machine.fixed_mode;
        self.cpu.ram_base = before.ram_base;
        self.cpu.alarm_address = before.alarm_address;
        // What has run has run.
        self.cpu.budget = before.budget;
        self.cpu.stubs = before.stubs;
        self.cpu.fcsr = self.rules.reset().0;
        self.cpu.set_cp0(Cp0::CMGCRBase, before.cp0(Cp0::CMGCRBase));
        self.cpu.pc = address;
        self.deadline = None;
        self.soft.flush_all();
        self.forget_recent();
        self.select_tables();
    }

    /// What happened how often, with the instructions that ran.
    pub fn take_statistics(&mut self) -> super::Statistics {
        std::mem::take(&mut self.statistics)
    }

    /// Sleeps until something may have changed for a waiting vCPU.
    pub fn sleep(&mut self) {
        let limit = self.time_to_deadline();
        self.doorbell.wait(limit, &mut self.patience);
    }

    /// Interprets until `limit` instructions have run, plus a delay slot, or the alarm is raised, and
    /// pays for them.
    pub(super) fn interpret(&mut self, limit: u64) -> Option<Leave> {
        let mut ran = 0;
        while ran < limit && self.doorbell.shared.alarm.load(Ordering::Relaxed) == 0 {
            let block = match self.block_at_pc() {
                Ok(block) => block,
                Err(Stop::Leave(why)) => return Some(why),
                Err(_) => continue,
            };
            let machine = Arc::clone(&self.machine);
            let others = machine.control.vcpus() > 1;
            let _running = others.then(|| machine.run_code());
            self.refresh_writes();
            if block.is_checked {
                self.wait_until_fresh(&block);
            }
            let room = usize::try_from(limit - ran).unwrap_or(usize::MAX);
            self.paid = Paid::Before(Va(self.cpu.pc));
            let (count, result) = match block.end {
                End::Interpret | End::FarBranch => self.run_pair(),
                _ => interp::run_block(self, &block, room),
            };
            self.paid = Paid::All;
            let finished = result.is_err_and(Stop::is_finished);
            let count = count as u64 + u64::from(finished);
            ran += count;
            self.cpu.budget -= count as i64;
            if let Err(Stop::Leave(why)) = result {
                return Some(why);
            }
        }
        None
    }

    /// The instruction that ran last.
    pub fn site(&self) -> Site {
        self.site
    }

    /// Runs a branch whose delay slot is on the next page or holds another branch.
    fn run_pair(&mut self) -> (usize, Result<(), Stop>) {
        let pc = Va(self.cpu.pc);
        let result = self.fetch(pc, false).and_then(|first| Ok((first, self.fetch(pc + 4, true)?)));
        match result {
            Err(stop) => (0, Err(stop)),
            // A branch in a delay slot is unpredictable; here, as in QEMU, it is reserved.
            Ok((_, slot)) if slot.has_delay_slot() => {
                self.site = Site { pc: pc + 4, in_slot: true };
                (1, Err(self.raise(Exception::ReservedInstruction)))
            }
            Ok((first, slot)) => interp::run_branch(self, &first, &slot, pc),
        }
    }

    /// Generated code comes to a delay slot on the next page that should be `word`. If it is another, the block is
    /// dropped; then, and if the slot cannot be fetched, the pair is interpreted.
    pub(super) fn check_slot(&mut self, word: u32) -> Result<(), Stop> {
        let at = self.site.pc;
        let to = self.translate(at, Intent::Fetch).ok();
        let found = to.and_then(|to| self.fetch_word(to.pa));
        if found == Some(word) {
            self.grant_load(at);
            return Ok(());
        }
        if let Some((branch, _)) = self.running_place(Va(at.0.wrapping_sub(4))).filter(|_| found.is_some()) {
            self.machine.invalidate_code(branch, 4);
        }
        Err(self.interpret_here())
    }

    /// The word after the page of a block at `va` that begins with `first`, if it is the delay slot. It would be
    /// fetched next, so an exception is the guest's.
    fn fetch_far_slot(&mut self, key: &Key, va: Va, first: u32) -> Result<Option<u32>, Stop> {
        if !Block::needs_next_page(va, first, self.machine.model, key.mode) {
            return Ok(None);
        }
        self.fetch(va + 4, true).map(|slot| Some(slot.word))
    }

    /// Fetches and decodes the instruction at `va`.
    fn fetch(&mut self, va: Va, in_slot: bool) -> Result<Step, Stop> {
        self.site = Site { pc: va, in_slot };
        let pa = self.fetch_address(va)?.0;
        let word =
            self.fetch_word(pa).ok_or(Exception::BusError(Intent::Fetch)).map_err(|e| self.raise(e))?;
        Ok(Step::decode(word, self.machine.model, self.cpu.mode))
    }

    /// The physical address of the instruction at `va`, and its segment as a mode bit.
    pub(super) fn fetch_address(&mut self, va: Va) -> Result<(Pa, Mode), Stop> {
        let (pa, mapped, _) = self.fetch_place(va)?;
        Ok((pa, mapped))
    }

    /// As [`Vcpu::fetch_address`], and whether the mapping holds in every address space.
    pub(super) fn fetch_place(&mut self, va: Va) -> Result<(Pa, Mode, bool), Stop> {
        if va.0 & 3 != 0 {
            return Err(self.raise(Exception::AddressError(va, Intent::Fetch)));
        }
        let to = self.translate(va, Intent::Fetch).map_err(|e| self.raise(e))?;
        Ok((to.pa, if to.mapped { Mode::MAPPED } else { Mode::empty() }, to.global))
    }

    fn fetch_word(&self, pa: Pa) -> Option<u32> {
        let raw = match self.machine.ram.load(pa, 4) {
            Some(raw) => raw,
            None => self.machine.bus.read(pa, Size::Word, self.number).ok()?,
        } as u32;
        Some(if self.cpu.mode.contains(Mode::BIG_ENDIAN) { raw.swap_bytes() } else { raw })
    }

    /// The block at the program counter, decoded if it is new. An error has entered an exception.
    fn block_at_pc(&mut self) -> Result<Arc<Block>, Stop> {
        let va = Va(self.cpu.pc);
        self.refresh_recent();
        let slot = recent_slot(va);
        if let Some(recent) = &self.recent[slot]
            && recent.va == va.0
            && recent.mode == self.cpu.mode
        {
            return Ok(Arc::clone(&recent.block));
        }
        self.site = Site { pc: va, in_slot: false };
        let (pa, mapped) = self.fetch_address(va)?;
        let key = Key::new(va, pa, self.cpu.mode | mapped);
        let block = self.find_or_decode(key, va)?;
        self.recent[slot] = Some(Recent { va: va.0, mode: self.cpu.mode, block: Arc::clone(&block) });
        Ok(block)
    }

    /// Empties the table of recent blocks if a mapping has changed or a block was dropped.
    pub(super) fn refresh_recent(&mut self) {
        let epoch = self.machine.code_epoch.load(Ordering::Acquire);
        if self.recent_epoch != epoch {
            self.recent.fill_with(|| None);
            self.known.fill(Known::NONE);
            self.recent_epoch = epoch;
        }
    }

    pub(super) fn find_or_decode(&mut self, key: Key, va: Va) -> Result<Arc<Block>, Stop> {
        if let Some(block) = self.machine.cache().find(&key) {
            return Ok(Arc::clone(block));
        }
        let Some(first) = self.fetch_word(key.pa) else {
            return Err(self.raise(Exception::BusError(Intent::Fetch)));
        };
        let next = self.fetch_far_slot(&key, va, first)?;
        loop {
            // The number comes first: whoever ends the watch later changes it.
            let before = self.machine.cache().invalidations();
            self.machine.watch_code_page(key.pa);
            self.refresh_writes();
            let page = key.pa.page();
            let word = |index: usize| self.fetch_word(page + index as u64 * 4).unwrap_or(0);
            let mut block = Block::decode(key, va, self.machine.model, word, next);
            block.is_checked = SELF_CHECK && self.machine.ram.contains(key.pa, block.bytes());
            let block = Arc::new(block);
            self.trace_plans(&block);
            self.statistics.decoded += 1;
            // If anyone wrote to a code page meanwhile, the bytes may be old or the watch be over.
            let mut cache = self.machine.cache();
            if cache.invalidations() == before {
                return Ok(cache.insert(block));
            }
        }
    }
}
