//! What the vCPUs of one machine share: memory, bus, code cache, clock, and how to wake each other.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use translator::addr::Pa;
use translator::cp0::IP_SHIFT;
use translator::cpu::{Shared, alarm};
use translator::mode::Mode;
use translator::model::Model;

use crate::alarm_clock::AlarmClock;
use crate::board::virt::COUNT_HZ;
use crate::bus::Bus;
use crate::cache::Cache;
use crate::device::pins::{VcpuPins, VcpuStart};
use crate::device::power::PowerControl;
use crate::memory::{PageFlags, Ram, WriteWatch};
use crate::trace::Trace;

/// What keeps the time of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The host's monotonic clock.
    Host,
    /// The number of guest instructions that ran: repeatable.
    Instructions,
}

/// Who answers the guest's exceptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceptions {
    /// The guest's own handlers, at the vectors of the architecture.
    Guest,
    /// System calls leave to whoever runs the vCPU; the guest's handlers answer the rest.
    HostCalls,
    /// All but interrupts leave to whoever runs the vCPU: the guest has no handlers.
    Host,
}

/// What other threads know of a vCPU: its alarm, its interrupt lines, and how to wake it.
#[derive(Default)]
pub struct Doorbell {
    /// The atomics that generated code reads.
    pub shared: Shared,
    sleeping: Mutex<()>,
    woken: Condvar,
}

impl Doorbell {
    /// Raises a reason to leave generated code, and wakes the vCPU if it sleeps.
    pub fn ring(&self, reason: u32) {
        self.shared.raise(reason);
        // Taking the lock orders this against the sleeper's last look at the alarm.
        drop(self.sleeping.lock());
        self.woken.notify_all();
    }

    /// Sleeps until the bell rings, the alarm is already raised, or `limit` has passed.
    pub fn sleep(&self, limit: Option<Duration>) {
        let Ok(guard) = self.sleeping.lock() else { return };
        let quiet = |_: &mut ()| self.shared.alarm.load(Ordering::Acquire) == 0;
        match limit {
            Some(limit) => drop(self.woken.wait_timeout_while(guard, limit, quiet)),
            None => drop(self.woken.wait_while(guard, quiet)),
        }
    }
}

/// Why a machine stopped for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Ending {
    /// The guest turned the power off.
    PowerOff = 1,
    /// The guest asked for a reset.
    Reset = 2,
    /// The person at the console asked for the end.
    Quit = 3,
}

/// The switches of a machine that any thread may throw, and the vCPUs' doorbells.
pub struct Control {
    doorbells: Vec<Arc<Doorbell>>,
    /// Where each stopped vCPU starts: 0 while it is not to start.
    starts: Vec<AtomicU64>,
    ending: AtomicU32,
    paused: AtomicBool,
    /// Whether someone wants the vCPUs to stand still, as in `stillness`.
    held: AtomicBool,
    stillness: Mutex<Stillness>,
    stillness_changed: Condvar,
}

/// Which vCPUs stand still, and for how many.
struct Stillness {
    holds: u32,
    standing: Vec<bool>,
}

impl Control {
    /// Switches for `vcpus` vCPUs.
    pub fn new(vcpus: usize) -> Arc<Self> {
        Arc::new(Self {
            doorbells: (0..vcpus).map(|_| Arc::default()).collect(),
            starts: (0..vcpus).map(|_| AtomicU64::new(0)).collect(),
            ending: AtomicU32::new(0),
            paused: AtomicBool::new(false),
            held: AtomicBool::new(false),
            stillness: Mutex::new(Stillness { holds: 0, standing: vec![false; vcpus] }),
            stillness_changed: Condvar::new(),
        })
    }

    /// The doorbell of a vCPU.
    ///
    /// # Panics
    /// Panics if the machine has no such vCPU.
    pub fn doorbell(&self, vcpu: usize) -> &Arc<Doorbell> {
        &self.doorbells[vcpu]
    }

    /// The number of vCPUs.
    pub fn vcpus(&self) -> usize {
        self.doorbells.len()
    }

    /// Stops the machine for good; the first reason stays.
    pub fn end(&self, why: Ending) {
        let _ = self.ending.compare_exchange(0, why as u32, Ordering::AcqRel, Ordering::Acquire);
        self.ring_all();
        drop(self.stillness());
        self.stillness_changed.notify_all();
    }

    fn stillness(&self) -> MutexGuard<'_, Stillness> {
        self.stillness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has every vCPU stand still at its next settled point, and waits until all do. They go on when
    /// [`Control::release`] was called as often as this. Says whether they stand; if not, the machine has
    /// ended, and there is nothing to release.
    #[must_use]
    pub fn hold(&self) -> bool {
        let mut stillness = self.stillness();
        stillness.holds += 1;
        self.held.store(true, Ordering::Release);
        drop(stillness);
        self.ring_all();
        let moves =
            |stillness: &mut Stillness| self.ending().is_none() && stillness.standing.contains(&false);
        let wait = self.stillness_changed.wait_while(self.stillness(), moves);
        drop(wait.unwrap_or_else(PoisonError::into_inner));
        let stands = self.ending().is_none();
        if !stands {
            self.release();
        }
        stands
    }

    /// Takes back one [`Control::hold`].
    pub fn release(&self) {
        let mut stillness = self.stillness();
        stillness.holds -= 1;
        self.held.store(stillness.holds > 0, Ordering::Release);
        drop(stillness);
        self.stillness_changed.notify_all();
    }

    /// Whether the vCPUs are to stand still.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// Lets vCPU `vcpu`, whose thread calls this at a settled point, stand still as long as anyone wants that.
    pub(crate) fn stand_still(&self, vcpu: usize) {
        let mut stillness = self.stillness();
        stillness.standing[vcpu] = true;
        self.stillness_changed.notify_all();
        let held = |stillness: &mut Stillness| stillness.holds > 0 && self.ending().is_none();
        let wait = self.stillness_changed.wait_while(stillness, held);
        wait.unwrap_or_else(PoisonError::into_inner).standing[vcpu] = false;
    }

    /// Asks vCPU `vcpu` to start at `address`; 0 asks for nothing.
    pub(crate) fn ask_start(&self, vcpu: usize, address: u64) {
        self.starts[vcpu].store(address, Ordering::Release);
    }

    /// The address at which vCPU `vcpu` is to start, if that was asked for and not done yet; else 0.
    pub(crate) fn asked_start(&self, vcpu: usize) -> u64 {
        self.starts[vcpu].load(Ordering::Acquire)
    }

    /// Why the machine stopped, if it has.
    pub fn ending(&self) -> Option<Ending> {
        match self.ending.load(Ordering::Acquire) {
            1 => Some(Ending::PowerOff),
            2 => Some(Ending::Reset),
            3 => Some(Ending::Quit),
            _ => None,
        }
    }

    /// Calls every vCPU to a settled point.
    pub fn ring_all(&self) {
        for doorbell in &self.doorbells {
            doorbell.ring(alarm::ATTENTION);
        }
    }

    /// Pauses or resumes the machine.
    pub fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
        self.ring_all();
    }

    /// Whether the machine is paused.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Takes the address at which vCPU `vcpu` is to start, if another vCPU asked for that.
    pub fn take_start(&self, vcpu: usize) -> Option<u64> {
        match self.starts[vcpu].swap(0, Ordering::AcqRel) {
            0 => None,
            address => Some(address),
        }
    }
}

impl VcpuPins for Control {
    fn set(&self, vcpu: usize, pin: u32, level: bool) {
        let Some(doorbell) = self.doorbells.get(vcpu) else { return };
        // Pin 0 is IP2: below are the software interrupts.
        let bit = 1u64 << (IP_SHIFT + 2 + pin);
        let lines = &doorbell.shared.interrupt_lines;
        if level {
            if lines.fetch_or(bit, Ordering::AcqRel) & bit == 0 {
                doorbell.ring(alarm::INTERRUPT);
            }
        } else {
            lines.fetch_and(!bit, Ordering::AcqRel);
        }
    }
}

impl VcpuStart for Control {
    fn start(&self, vcpu: usize, reset_base: u64) {
        if let Some(start) = self.starts.get(vcpu) {
            start.store(reset_base, Ordering::Release);
            self.doorbells[vcpu].ring(alarm::ATTENTION);
        }
    }
}

impl PowerControl for Control {
    fn power_off(&self) {
        self.end(Ending::PowerOff);
    }

    fn reset(&self) {
        self.end(Ending::Reset);
    }
}

/// What the vCPUs of one machine share.
pub struct Machine {
    /// The CPU model.
    pub model: &'static Model,
    /// The bits of every vCPU's mode that never change: endianness, counting.
    pub fixed_mode: Mode,
    /// RAM.
    pub ram: Arc<Ram>,
    /// What is known of RAM's pages.
    pub pages: PageFlags,
    /// Who sees pages of RAM before they change.
    pub(crate) write_watch: WriteWatch,
    /// The devices.
    pub bus: Bus,
    /// Switches and doorbells.
    pub control: Arc<Control>,
    /// Decoded and translated blocks.
    cache: Mutex<Cache>,
    /// Held for reading by every vCPU that is in generated code, and for writing while a region of
    /// the arena is emptied. It is taken before the cache's lock.
    running_code: RwLock<()>,
    /// How many threads want every vCPU out of generated code. It outlasts the alarm, which a vCPU may
    /// take back just before it enters.
    wanted_alone: AtomicU32,
    /// Changes whenever a region of the arena is emptied: jump caches may then point into it.
    pub arena_epoch: AtomicU64,
    /// The pages that code was made from since the machine started, in order: every vCPU takes its
    /// write entries for them back before it runs guest code again.
    code_pages: Mutex<Vec<Pa>>,
    /// The length of `code_pages`.
    pub code_page_count: AtomicUsize,
    /// Changes whenever a block is dropped.
    pub code_epoch: AtomicU64,
    /// What keeps the time.
    pub clock: Clock,
    /// Where events are written, if anywhere.
    pub trace: Option<Trace>,
    /// Who answers exceptions.
    pub exceptions: Exceptions,
    /// Wakes vCPUs when their timers are due, by the host's clock.
    pub alarm_clock: Option<AlarmClock>,
    started: Instant,
    /// Nanoseconds that the clock showed when the machine started, modulo 2^64.
    elapsed_before: AtomicU64,
}

impl Machine {
    /// A machine whose clock starts now.
    ///
    /// # Errors
    /// Fails if the host starts no thread for the timers or gives no executable memory.
    pub fn new(
        model: &'static Model,
        fixed_mode: Mode,
        ram: Arc<Ram>,
        bus: Bus,
        control: Arc<Control>,
        clock: Clock,
    ) -> std::io::Result<Arc<Self>> {
        Self::with_exceptions(model, fixed_mode, ram, bus, control, clock, Exceptions::Guest).map(Arc::new)
    }

    /// As [`Machine::new`], with the choice of who answers exceptions.
    ///
    /// # Errors
    /// As [`Machine::new`].
    pub fn with_exceptions(
        model: &'static Model,
        fixed_mode: Mode,
        ram: Arc<Ram>,
        bus: Bus,
        control: Arc<Control>,
        clock: Clock,
        exceptions: Exceptions,
    ) -> std::io::Result<Self> {
        // The clock of instructions is looked at by the run loop alone.
        let alarm_clock = match clock {
            Clock::Host => Some(AlarmClock::new(Arc::clone(&control))?),
            Clock::Instructions => None,
        };
        let mut cache = Cache::new()?;
        if fixed_mode.contains(Mode::PROFILED) {
            cache.keep_history();
        }
        Ok(Self {
            model,
            fixed_mode,
            pages: PageFlags::new(ram.top()),
            write_watch: WriteWatch::default(),
            ram,
            bus,
            exceptions,
            alarm_clock,
            control,
            cache: Mutex::new(cache),
            running_code: RwLock::new(()),
            wanted_alone: AtomicU32::new(0),
            arena_epoch: AtomicU64::new(0),
            code_pages: Mutex::default(),
            code_page_count: AtomicUsize::new(0),
            code_epoch: AtomicU64::new(0),
            clock,
            trace: None,
            started: Instant::now(),
            elapsed_before: AtomicU64::new(0),
        })
    }

    /// The machine with its events written to `trace`.
    #[must_use]
    pub fn traced(self, trace: Option<Trace>) -> Self {
        Self { trace, ..self }
    }

    /// The code cache, locked. No other lock is taken while it is held.
    pub fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a vCPU run guest code as long as the guard lives.
    pub(crate) fn run_code(&self) -> RwLockReadGuard<'_, ()> {
        loop {
            let guard = self.running_code.read().unwrap_or_else(PoisonError::into_inner);
            if self.wanted_alone.load(Ordering::SeqCst) == 0 {
                return guard;
            }
            drop(guard);
            std::thread::yield_now();
        }
    }

    /// Waits until no vCPU runs guest code, and keeps it so as long as the guard lives.
    pub(crate) fn stop_code(&self) -> RwLockWriteGuard<'_, ()> {
        self.wanted_alone.fetch_add(1, Ordering::SeqCst);
        self.control.ring_all();
        let guard = self.running_code.write().unwrap_or_else(PoisonError::into_inner);
        self.wanted_alone.fetch_sub(1, Ordering::SeqCst);
        guard
    }

    /// Marks the page of `pa` as one that code is made from. When this returns, every later store to
    /// it by any vCPU or device is noticed, so its bytes can be read.
    pub(crate) fn watch_code_page(&self, pa: Pa) {
        if self.pages.get(pa) & PageFlags::CODE != 0 {
            return;
        }
        // Another vCPU may be in generated code with a write entry for the page, so all of them are
        // called out of it first.
        let _alone = (self.control.vcpus() > 1).then(|| self.stop_code());
        if self.pages.set(pa, PageFlags::CODE) {
            let mut pages = self.code_pages.lock().unwrap_or_else(PoisonError::into_inner);
            pages.push(pa.page());
            self.code_page_count.store(pages.len(), Ordering::Release);
        }
    }

    /// The pages that became code pages after the first `seen`.
    pub(crate) fn code_pages_after(&self, seen: usize) -> Vec<Pa> {
        let pages = self.code_pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.get(seen..).map(<[Pa]>::to_vec).unwrap_or_default()
    }

    /// Nanoseconds for which the guest has lived, by the host's clock.
    pub fn elapsed(&self) -> u64 {
        let before = self.elapsed_before.load(Ordering::Relaxed);
        before.wrapping_add(self.started.elapsed().as_nanos() as u64)
    }

    /// Lets the clock go on from `nanoseconds`, while no vCPU runs.
    pub(crate) fn set_elapsed(&self, nanoseconds: u64) {
        let before = nanoseconds.wrapping_sub(self.started.elapsed().as_nanos() as u64);
        self.elapsed_before.store(before, Ordering::Relaxed);
    }

    /// CP0 Count steps for which the guest has lived, by the host's clock.
    pub fn host_ticks(&self) -> u64 {
        const NANOSECONDS_PER_TICK: u64 = 1_000_000_000 / COUNT_HZ as u64;
        self.elapsed() / NANOSECONDS_PER_TICK
    }
}
