//! What the vCPUs of one machine share: memory, bus, code cache, clock, and how to wake each other.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use translator::addr::Pa;
use translator::cp0::IP_SHIFT;
use translator::cpu::alarm;
use translator::emit::Pins;
use translator::mode::Mode;
use translator::model::Model;

use crate::alarm_clock::AlarmClock;
use crate::board::virt::COUNT_HZ;
use crate::bus::Bus;
use crate::cache::Cache;
use crate::code_gate::{Alone, CodeGate, Running};
use crate::device::lock;
use crate::device::pins::{VcpuPins, VcpuPower};
use crate::device::power::PowerControl;
use crate::doorbell::{Doorbell, Sleeper};
use crate::memory::{Notices, PageFlags, Ram, WriteWatch};
use crate::stopwatch::Stopwatch;
use crate::trace::Trace;

/// How long a step of CP0 Count is.
pub const NANOSECONDS_PER_TICK: u64 = 1_000_000_000 / COUNT_HZ as u64;

/// What keeps the time of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The host's monotonic clock.
    Host,
    /// The number of guest instructions that ran: repeatable.
    Instructions,
}

/// What the guest is like, for a machine that is to run it well.
#[derive(Clone, Copy, Debug)]
pub struct Guest {
    /// Who answers its exceptions.
    pub exceptions: Exceptions,
    /// Which of its registers live in host registers.
    pub pins: Pins,
}

impl Guest {
    /// A kernel with its programs, which compilers made.
    pub const KERNEL: Guest = Guest { exceptions: Exceptions::Guest, pins: Pins::COMPILED };
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

/// Why a machine stopped for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Ending {
    /// The guest turned the power off.
    PowerOff = 1,
    /// The guest asked for a reset.
    Reset = 2,
    /// Someone outside asked for the end.
    Quit = 3,
    /// Someone outside asked for a reset.
    HostReset = 4,
    /// The guest runs elsewhere now.
    Moved = 5,
}

/// What a vCPU is told, by itself or by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PowerOrder {
    /// To start at an address, with its registers as after reset.
    Start(u64),
    /// To stop until it is told to start.
    Stop,
}

/// The switches of a machine that any thread may throw, and the vCPUs' doorbells.
pub struct Control {
    doorbells: Vec<Arc<Doorbell>>,
    /// The thread that runs all vCPUs, if one does.
    sleeper: Arc<Sleeper>,
    /// What each vCPU has been told and not done yet.
    orders: Vec<Mutex<Option<PowerOrder>>>,
    ending: AtomicU32,
    paused: AtomicBool,
}

impl Control {
    /// Switches for `vcpus` vCPUs, each with a thread of its own.
    pub fn new(vcpus: usize) -> Arc<Self> {
        Self::with_doorbells((0..vcpus).map(|_| Doorbell::default()), Arc::default())
    }

    /// Switches for `vcpus` vCPUs that one thread runs.
    pub fn with_one_thread(vcpus: usize) -> Arc<Self> {
        let sleeper = Arc::<Sleeper>::default();
        Self::with_doorbells((0..vcpus).map(|_| Doorbell::of(Arc::clone(&sleeper))), Arc::clone(&sleeper))
    }

    fn with_doorbells(doorbells: impl Iterator<Item = Doorbell>, sleeper: Arc<Sleeper>) -> Arc<Self> {
        let doorbells: Vec<_> = doorbells.map(Arc::new).collect();
        let vcpus = doorbells.len();
        Arc::new(Self {
            doorbells,
            sleeper,
            orders: (0..vcpus).map(|_| Mutex::default()).collect(),
            ending: AtomicU32::new(0),
            paused: AtomicBool::new(false),
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
    }

    /// Tells vCPU `vcpu` what to do, instead of what it was told before and has not done.
    pub(crate) fn set_order(&self, vcpu: usize, order: Option<PowerOrder>) {
        *lock(&self.orders[vcpu]) = order;
    }

    /// What vCPU `vcpu` has been told and not done yet.
    pub(crate) fn order(&self, vcpu: usize) -> Option<PowerOrder> {
        *lock(&self.orders[vcpu])
    }

    /// Why the machine stopped, if it has.
    pub fn ending(&self) -> Option<Ending> {
        match self.ending.load(Ordering::Acquire) {
            1 => Some(Ending::PowerOff),
            2 => Some(Ending::Reset),
            3 => Some(Ending::Quit),
            4 => Some(Ending::HostReset),
            5 => Some(Ending::Moved),
            _ => None,
        }
    }

    /// Calls every vCPU to a settled point.
    pub fn ring_all(&self) {
        for doorbell in &self.doorbells {
            doorbell.ring(alarm::ATTENTION);
        }
    }

    /// Lets the one thread that runs all vCPUs sleep until someone rings for any of them, or `limit` has
    /// passed. Says whether someone did.
    pub fn sleep(&self, limit: Option<Duration>) -> bool {
        let rung = || self.doorbells.iter().any(|doorbell| doorbell.has_alarm());
        self.sleeper.sleep(limit, rung);
        rung()
    }

    /// Calls the vCPUs to stand still, or lets them go on; see [`Pausable`](crate::pause::Pausable).
    pub(crate) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
        self.ring_all();
    }

    /// Whether the vCPUs are to stand still.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Tells a vCPU, if there is it, what to do, and calls it to a settled point.
    fn give_order(&self, vcpu: usize, order: PowerOrder) {
        if let Some(doorbell) = self.doorbells.get(vcpu) {
            self.set_order(vcpu, Some(order));
            doorbell.ring(alarm::ATTENTION);
        }
    }

    /// Takes what vCPU `vcpu` has been told.
    pub fn take_order(&self, vcpu: usize) -> Option<PowerOrder> {
        lock(&self.orders[vcpu]).take()
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

impl VcpuPower for Control {
    fn start(&self, vcpu: usize, reset_base: u64) {
        self.give_order(vcpu, PowerOrder::Start(reset_base));
    }

    fn stop(&self, vcpu: usize) {
        self.give_order(vcpu, PowerOrder::Stop);
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
    /// Passed by every vCPU that runs guest code, and closed while a region of the arena is emptied or
    /// a page becomes one of code. It is taken before the cache's lock.
    gate: CodeGate,
    /// Changes whenever a region of the arena is emptied: jump caches may then point into it.
    pub arena_epoch: AtomicU64,
    /// The pages that code was made from: every vCPU takes its write entries for them back before it
    /// runs guest code again.
    pub code_pages: Notices,
    /// Changes whenever a block is dropped.
    pub code_epoch: AtomicU64,
    /// What keeps the time.
    pub clock: Clock,
    /// Where events are written, if anywhere.
    pub trace: Option<Trace>,
    /// Who answers exceptions.
    pub exceptions: Exceptions,
    /// The guest registers that live in host registers.
    pub pins: Pins,
    /// Wakes vCPUs when their timers are due, by the host's clock.
    pub alarm_clock: Option<AlarmClock>,
    /// Stands still while the machine does.
    watch: Stopwatch,
    /// What Count is ahead of the clock on the vCPUs that agree about it.
    count_offset: AtomicU32,
    first_turn: OnceLock<Instant>,
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
        Self::for_guest(model, fixed_mode, ram, bus, control, clock, Guest::KERNEL).map(Arc::new)
    }

    /// As [`Machine::new`], for a guest that need not be a kernel.
    ///
    /// # Errors
    /// As [`Machine::new`].
    pub fn for_guest(
        model: &'static Model,
        fixed_mode: Mode,
        ram: Arc<Ram>,
        bus: Bus,
        control: Arc<Control>,
        clock: Clock,
        guest: Guest,
    ) -> std::io::Result<Self> {
        // The clock of instructions is looked at by the run loop alone.
        let alarm_clock = match clock {
            Clock::Host => Some(AlarmClock::new(Arc::clone(&control))?),
            Clock::Instructions => None,
        };
        let Guest { exceptions, pins } = guest;
        let mut cache = Cache::new(&pins)?;
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
            pins,
            alarm_clock,
            control,
            cache: Mutex::new(cache),
            gate: CodeGate::default(),
            arena_epoch: AtomicU64::new(0),
            code_pages: Notices::default(),
            code_epoch: AtomicU64::new(0),
            clock,
            trace: None,
            watch: Stopwatch::start(),
            count_offset: AtomicU32::new(0),
            first_turn: OnceLock::new(),
        })
    }

    /// Notes that a vCPU is about to run guest code.
    pub(crate) fn note_turn(&self) {
        self.first_turn.get_or_init(Instant::now);
    }

    /// When a vCPU first ran guest code, if one has.
    pub(crate) fn first_turn(&self) -> Option<Instant> {
        self.first_turn.get().copied()
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
    pub(crate) fn run_code(&self) -> Running<'_> {
        self.gate.enter()
    }

    /// Waits until no vCPU runs guest code, and keeps it so as long as the guard lives.
    pub(crate) fn stop_code(&self) -> Alone<'_> {
        self.gate.close(|| self.control.ring_all())
    }

    /// Marks the page of `pa` as one that code is made from. When this returns, every later store to
    /// it by any vCPU or device is noticed, so its bytes can be read.
    pub(crate) fn watch_code_page(&self, pa: Pa) {
        if self.pages.get(pa) & PageFlags::CODE == 0 {
            // Another vCPU may be in generated code with a write entry for the page, so all of them are
            // called out of it first.
            let _alone = (self.control.vcpus() > 1).then(|| self.stop_code());
            if self.pages.set(pa, PageFlags::CODE) {
                self.code_pages.add(pa.page());
            }
        }
        // A device that does not see the flag has written before the bytes are read, whoever has set it: see
        // `WriteNotice::written`.
        fence(Ordering::SeqCst);
    }

    /// How far Count is to be ahead of the clock on a vCPU whose guest has asked for `asked`.
    ///
    /// Where there are several vCPUs, a kernel writes Count to make them agree, each at the same moment as
    /// well as it can (arch/mips/kernel/sync-r4k.c). A host that runs one of them later makes
    /// milliseconds of that moment, and Linux takes a counter that is behind another for one that has
    /// gone all the way round. So a value near to that of the others is taken for an attempt to be like
    /// them, as KVM takes it with the time-stamp counter (`kvm_synchronize_tsc`).
    pub(crate) fn agree_on_count(&self, asked: u32) -> u32 {
        const NEAR: u32 = 10 * COUNT_HZ;
        let agreed = self.count_offset.load(Ordering::Relaxed);
        let distance = (asked.wrapping_sub(agreed) as i32).unsigned_abs();
        if self.control.vcpus() > 1 && distance < NEAR {
            return agreed;
        }
        self.set_count_offset(asked);
        asked
    }

    /// From now on Count is this far ahead of the clock on the vCPUs that agree about it.
    pub(crate) fn set_count_offset(&self, offset: u32) {
        self.count_offset.store(offset, Ordering::Relaxed);
    }

    /// CP0 Count steps since the machine started, by the host's clock, without those while the machine
    /// stood still.
    pub fn host_ticks(&self) -> u64 {
        self.watch.nanoseconds() / NANOSECONDS_PER_TICK
    }

    /// Lets the clock, which stands still, go on from `nanoseconds` of running.
    pub(crate) fn set_run_time(&self, nanoseconds: u64) {
        self.watch.set(nanoseconds);
    }

    /// How long the machine has run.
    pub fn run_time(&self) -> Duration {
        self.watch.elapsed()
    }

    /// Makes devices and clock stand still, or lets them go on. Meanwhile no vCPU runs.
    pub(crate) fn set_standing(&self, still: bool) {
        if still {
            self.bus.set_paused(true);
            self.watch.stop();
        } else {
            self.watch.go_on();
            self.bus.set_paused(false);
        }
    }
}
