//! The transport by memory-mapped registers, version 2 (virtio 1.2, section 4.2): one device, its
//! registers and its thread. Registers are answered on the vCPU's thread without waiting for the
//! device, except where the driver changes whether the device runs. It must not know what the device is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

use super::queue::{FEATURE_EVENT_INDEX, FEATURE_INDIRECT, Layout, Position, Queue, RingError};
use super::{DeviceKind, FEATURE_VERSION_1, Interrupt, VirtioDevice};
use crate::backend::events::Events;
use crate::bus::irq::IrqLine;
use crate::device::{Access, SharedDevice, Size, lock, read_words, write_words};
use crate::memory::Dma;
use crate::persist::{DeviceState, StateError};
use crate::wire;

/// "virt".
const MAGIC: u32 = 0x7472_6976;
const VERSION: u32 = 2;
/// "mvmm"; any value will do.
const VENDOR: u32 = 0x6d6d_766d;
/// Where the device's configuration space begins.
const CONFIGURATION: u64 = 0x100;
/// The length of a shared-memory region that is not there (section 4.2.2, `SHMLen`).
const NO_REGION: u32 = u32::MAX;

/// The registers by their offsets (section 4.2.2, table 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Register {
    MagicValue = 0x00,
    Version = 0x04,
    DeviceId = 0x08,
    VendorId = 0x0c,
    DeviceFeatures = 0x10,
    DeviceFeaturesSelect = 0x14,
    DriverFeatures = 0x20,
    DriverFeaturesSelect = 0x24,
    QueueSelect = 0x30,
    QueueSizeMax = 0x34,
    QueueSize = 0x38,
    QueueReady = 0x44,
    QueueNotify = 0x50,
    InterruptStatus = 0x60,
    InterruptAcknowledge = 0x64,
    Status = 0x70,
    DescriptorsLow = 0x80,
    DescriptorsHigh = 0x84,
    AvailableLow = 0x90,
    AvailableHigh = 0x94,
    UsedLow = 0xa0,
    UsedHigh = 0xa4,
    RegionLengthLow = 0xb0,
    RegionLengthHigh = 0xb4,
    RegionBaseLow = 0xb8,
    RegionBaseHigh = 0xbc,
    ConfigurationGeneration = 0xfc,
}

impl Register {
    const ALL: [Self; 27] = [
        Self::MagicValue,
        Self::Version,
        Self::DeviceId,
        Self::VendorId,
        Self::DeviceFeatures,
        Self::DeviceFeaturesSelect,
        Self::DriverFeatures,
        Self::DriverFeaturesSelect,
        Self::QueueSelect,
        Self::QueueSizeMax,
        Self::QueueSize,
        Self::QueueReady,
        Self::QueueNotify,
        Self::InterruptStatus,
        Self::InterruptAcknowledge,
        Self::Status,
        Self::DescriptorsLow,
        Self::DescriptorsHigh,
        Self::AvailableLow,
        Self::AvailableHigh,
        Self::UsedLow,
        Self::UsedHigh,
        Self::RegionLengthLow,
        Self::RegionLengthHigh,
        Self::RegionBaseLow,
        Self::RegionBaseHigh,
        Self::ConfigurationGeneration,
    ];

    fn at(offset: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|register| u64::from(*register as u32) == offset)
    }
}

bitflags! {
    /// The driver's progress (section 2.1).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    struct Status: u32 {
        const ACKNOWLEDGE = 1 << 0;
        const DRIVER = 1 << 1;
        const DRIVER_OK = 1 << 2;
        const FEATURES_OK = 1 << 3;
        const NEEDS_RESET = 1 << 6;
        const FAILED = 1 << 7;
    }
}

/// What the driver has written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Registers {
    status: Status,
    device_features_select: u32,
    driver_features_select: u32,
    driver_features: u64,
    queue_select: u32,
    layouts: Vec<Layout>,
}

/// Everything that a snapshot must keep.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    registers: Registers,
    positions: Vec<Option<Position>>,
    interrupt_reasons: u32,
    needs_reset: bool,
    /// What the device itself wants to be kept.
    device: Vec<u8>,
}

/// The device and its queues; whoever holds the lock uses them.
struct Live {
    device: Box<dyn VirtioDevice>,
    queues: Vec<Option<Queue>>,
    /// The driver is done setting up, and nothing went wrong since.
    running: bool,
    /// The machine is at rest, and the device with it.
    paused: bool,
}

/// What the device's thread shares with the transport.
struct Shared {
    live: Mutex<Live>,
    resumed: Condvar,
    events: Arc<Events>,
    interrupt: Arc<Interrupt>,
    /// The driver must reset the device before it is of use again.
    needs_reset: AtomicBool,
    closed: AtomicBool,
}

/// The registers of one device, and its thread.
pub struct Transport {
    kind: DeviceKind,
    features: u64,
    queue_sizes: &'static [u16],
    dma: Dma,
    registers: Mutex<Registers>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Whether requests are served by the vCPU that makes them.
    at_once: bool,
}

impl Transport {
    /// A transport for `device`, which reaches RAM by `dma`.
    ///
    /// # Errors
    /// Fails if the host starts no thread or gives no descriptors.
    pub fn new(device: Box<dyn VirtioDevice>, dma: Dma) -> std::io::Result<Self> {
        let (kind, queue_sizes) = (device.kind(), device.queue_sizes());
        let features = device.features() | FEATURE_VERSION_1 | FEATURE_INDIRECT | FEATURE_EVENT_INDEX;
        let queues = queue_sizes.iter().map(|_| None).collect();
        let shared = Arc::new(Shared {
            live: Mutex::new(Live { device, queues, running: false, paused: false }),
            resumed: Condvar::new(),
            events: Arc::new(Events::new()?),
            interrupt: Arc::default(),
            needs_reset: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        let worker = Arc::clone(&shared);
        let name = format!("virtio-{kind:?}").to_lowercase();
        let thread = thread::Builder::new().name(name).spawn(move || worker.run())?;
        let registers = Mutex::new(Registers::new(queue_sizes.len()));
        let thread = Some(thread);
        let at_once = false;
        Ok(Self { kind, features, queue_sizes, dma, registers, shared, thread, at_once })
    }

    /// The transport with its requests served by the vCPU that makes them, before it goes on: they are done
    /// at the same instruction in every run. Its thread is left to what comes from the host.
    #[must_use]
    pub fn at_once(mut self) -> Self {
        self.at_once = true;
        self
    }

    /// The transport as it goes onto a bus, interrupting through `line`.
    pub fn wire(self: Arc<Self>, line: IrqLine) -> Arc<Self> {
        // The transport is given away here, so there is no second wire.
        let _ = self.shared.interrupt.line.set(line);
        self
    }

    fn check(&self, state: &State) -> Result<(), StateError> {
        let missing = state.registers.driver_features & !self.features;
        if missing != 0 && state.registers.status.contains(Status::FEATURES_OK) {
            return Err(StateError::Unfit(format!(
                "the guest uses features {missing:#x} of a {:?} device, which this one lacks: \
                 give it the options that it was saved with",
                self.kind
            )));
        }
        if state.registers.layouts.len() != self.queue_sizes.len() {
            return Err(StateError::Unfit(format!("a {:?} device has another number of queues", self.kind)));
        }
        Ok(())
    }

    /// Lets requests in hand come to their end. Until [`Transport::resume`] the device neither touches RAM nor
    /// interrupts of its own accord; the registers still answer.
    pub fn pause(&self) {
        let mut live = lock(&self.shared.live);
        if !live.paused {
            self.shared.quiesce(&mut live);
        }
        live.paused = true;
    }

    /// Ends a pause.
    pub fn resume(&self) {
        let mut live = lock(&self.shared.live);
        if live.paused && live.running {
            live.device.resume();
        }
        live.paused = false;
        drop(live);
        self.shared.wake();
    }

    fn read_register(&self, register: Register) -> u32 {
        let registers = lock(&self.registers);
        match register {
            Register::MagicValue => MAGIC,
            Register::Version => VERSION,
            Register::DeviceId => self.kind as u32,
            Register::VendorId => VENDOR,
            Register::DeviceFeatures => half(self.features, registers.device_features_select),
            Register::QueueSizeMax => registers.selected(self.queue_sizes).map_or(0, |size| size.into()),
            Register::QueueReady => registers.layout().is_some_and(|layout| layout.ready).into(),
            Register::InterruptStatus => self.shared.interrupt.reasons(),
            Register::Status => self.status(&registers).bits(),
            Register::RegionLengthLow
            | Register::RegionLengthHigh
            | Register::RegionBaseLow
            | Register::RegionBaseHigh => NO_REGION,
            // Of the configuration only single bytes ever change, so all reads of it belong together.
            Register::ConfigurationGeneration => 0,
            // The rest is only written.
            _ => 0,
        }
    }

    fn status(&self, registers: &Registers) -> Status {
        let mut status = registers.status;
        status.set(Status::NEEDS_RESET, self.shared.needs_reset.load(Ordering::SeqCst));
        status
    }

    fn write_register(&self, register: Register, value: u32) {
        if register == Register::QueueNotify {
            return self.serve();
        }
        if register == Register::InterruptAcknowledge {
            return self.shared.interrupt.set(|reasons| reasons & !value);
        }
        let mut registers = lock(&self.registers);
        match register {
            Register::DeviceFeaturesSelect => registers.device_features_select = value,
            Register::DriverFeaturesSelect => registers.driver_features_select = value,
            Register::DriverFeatures => registers.write_features(value),
            Register::QueueSelect => registers.queue_select = value,
            Register::QueueReady => self.write_ready(&mut registers, value),
            Register::Status => self.write_status(&mut registers, value),
            _ => registers.write_layout(register, value),
        }
    }

    fn write_ready(&self, registers: &mut Registers, value: u32) {
        let number = registers.queue_select as usize;
        let started = registers.status.contains(Status::DRIVER_OK);
        let Some(layout) = registers.layouts.get_mut(number) else { return };
        if value & 1 == 0 {
            layout.ready = false;
            let mut live = lock(&self.shared.live);
            self.shared.quiesce(&mut live);
            live.queues[number] = None;
        } else if !started {
            layout.ready = true;
        }
    }

    fn write_status(&self, registers: &mut Registers, value: u32) {
        if value == 0 {
            return self.reset_registers(registers);
        }
        let had = registers.status;
        // A driver adds bits; it takes them back by a reset only.
        let mut status = had | (Status::from_bits_truncate(value) - Status::NEEDS_RESET);
        if !had.contains(Status::FEATURES_OK) && !self.accepts(registers.driver_features) {
            status -= Status::FEATURES_OK;
        }
        if !status.contains(Status::FEATURES_OK) {
            status -= Status::DRIVER_OK;
        }
        registers.status = status;
        if (status - had).contains(Status::DRIVER_OK) {
            self.start(registers, &[]);
        }
    }

    fn accepts(&self, features: u64) -> bool {
        features & !self.features == 0 && features & FEATURE_VERSION_1 != 0
    }

    /// Writes to the device's configuration.
    fn configure(&self, start: u64, bytes: &[u8]) {
        let mut live = lock(&self.shared.live);
        for (offset, byte) in (start..).zip(bytes) {
            live.device.configure(offset, *byte);
        }
    }

    fn reset_registers(&self, registers: &mut Registers) {
        self.shared.stop();
        *registers = Registers::new(self.queue_sizes.len());
        self.shared.needs_reset.store(false, Ordering::SeqCst);
        self.shared.interrupt.set(|_| 0);
    }

    /// Lets the device run, its queues from `positions` on.
    fn start(&self, registers: &Registers, positions: &[Option<Position>]) {
        let queues = self.queues(registers, positions);
        let mut live = lock(&self.shared.live);
        match queues {
            Ok(queues) => live.queues = queues,
            Err(_) => return self.shared.ask_for_reset(),
        }
        live.device.activate(registers.driver_features, &self.shared.events);
        live.running = true;
        drop(live);
        // Requests may already be there.
        self.serve();
    }

    /// Sees to it that requests are served.
    fn serve(&self) {
        if !self.at_once {
            return self.shared.events.ring();
        }
        let mut live = lock(&self.shared.live);
        // What comes in a pause is served after it, by the thread.
        if !live.paused {
            self.shared.serve(&mut live, &[]);
        }
    }

    fn queues(
        &self,
        registers: &Registers,
        positions: &[Option<Position>],
    ) -> Result<Vec<Option<Queue>>, RingError> {
        let make = |(number, (layout, largest)): (usize, (&Layout, &u16))| {
            if !layout.ready {
                return Ok(None);
            }
            let features = registers.driver_features;
            let mut queue = Queue::new(&self.dma, &self.shared.interrupt, *layout, *largest, features)?;
            if let Some(Some(position)) = positions.get(number) {
                queue.restore(*position);
            }
            Ok(Some(queue))
        };
        registers.layouts.iter().zip(self.queue_sizes).enumerate().map(make).collect()
    }

    fn read_configuration(&self, at: Access) -> u64 {
        let start = (at.offset - CONFIGURATION) as usize;
        let configuration = lock(&self.shared.live).device.configuration();
        let bytes = configuration.iter().skip(start).take(at.size.bytes() as usize);
        bytes.rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }
}

impl SharedDevice for Transport {
    fn read(&self, at: Access) -> u64 {
        if at.offset >= CONFIGURATION {
            return self.read_configuration(at);
        }
        read_words(at, |offset| Register::at(offset).map_or(0, |register| self.read_register(register)))
    }

    /// Registers are written as words, the configuration as its fields are wide (section 4.2.2.2).
    fn write(&self, at: Access, value: u64) {
        if at.offset >= CONFIGURATION {
            let bytes = &value.to_le_bytes()[..at.size.bytes() as usize];
            return self.configure(at.offset - CONFIGURATION, bytes);
        }
        if at.size != Size::Byte && at.size != Size::Half {
            write_words(at, value, |offset, value| {
                if let Some(register) = Register::at(offset) {
                    self.write_register(register, value);
                }
            });
        }
    }

    fn reset(&self) {
        self.reset_registers(&mut lock(&self.registers));
    }

    fn set_paused(&self, paused: bool) {
        if paused {
            self.pause();
        } else {
            self.resume();
        }
    }
}

impl DeviceState for Transport {
    fn kind(&self) -> &'static str {
        self.kind.name()
    }

    fn version(&self) -> u16 {
        1
    }

    fn save(&self) -> Vec<u8> {
        let registers = lock(&self.registers).clone();
        let mut live = lock(&self.shared.live);
        wire::encode(&State {
            registers,
            positions: live.queues.iter().map(|queue| queue.as_ref().map(Queue::position)).collect(),
            interrupt_reasons: self.shared.interrupt.reasons(),
            needs_reset: self.shared.needs_reset.load(Ordering::SeqCst),
            device: live.device.save(),
        })
    }

    /// A device that is paused stays so.
    fn restore(&self, bytes: &[u8]) -> Result<(), StateError> {
        let state: State = wire::decode(bytes)?;
        self.check(&state)?;
        let mut registers = lock(&self.registers);
        self.shared.stop();
        *registers = state.registers;
        self.shared.interrupt.set(|_| state.interrupt_reasons);
        self.shared.needs_reset.store(state.needs_reset, Ordering::SeqCst);
        if registers.status.contains(Status::DRIVER_OK) && !state.needs_reset {
            self.start(&registers, &state.positions);
        }
        lock(&self.shared.live).device.restore(&state.device)
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // A machine that ends while the device gives notice of a write is dropped by the device's own
        // thread, which holds the device's lock, and then ends by itself.
        let other = self.thread.take().filter(|thread| thread.thread().id() != thread::current().id());
        if other.is_none() {
            self.shared.events.ring();
        }
        if let Some(thread) = other {
            self.shared.wake();
            // The thread has nothing to report, and a panic in it was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl Registers {
    fn new(queues: usize) -> Self {
        Self { layouts: vec![Layout::default(); queues], ..Self::default() }
    }

    fn selected(&self, sizes: &[u16]) -> Option<u16> {
        sizes.get(self.queue_select as usize).copied()
    }

    fn layout(&self) -> Option<&Layout> {
        self.layouts.get(self.queue_select as usize)
    }

    /// What was agreed on stays (section 3.1.1).
    fn write_features(&mut self, value: u32) {
        if !self.status.contains(Status::FEATURES_OK) && self.driver_features_select < 2 {
            set_half(&mut self.driver_features, self.driver_features_select == 1, value);
        }
    }

    /// A queue that is ready stays where it is.
    fn write_layout(&mut self, register: Register, value: u32) {
        let Some(layout) = self.layouts.get_mut(self.queue_select as usize).filter(|layout| !layout.ready)
        else {
            return;
        };
        match register {
            Register::QueueSize => layout.size = u16::try_from(value).unwrap_or(0),
            Register::DescriptorsLow => set_half(&mut layout.descriptors, false, value),
            Register::DescriptorsHigh => set_half(&mut layout.descriptors, true, value),
            Register::AvailableLow => set_half(&mut layout.available, false, value),
            Register::AvailableHigh => set_half(&mut layout.available, true, value),
            Register::UsedLow => set_half(&mut layout.used, false, value),
            Register::UsedHigh => set_half(&mut layout.used, true, value),
            _ => {}
        }
    }
}

/// One of the two words of `value`, or zero.
fn half(value: u64, select: u32) -> u32 {
    match select {
        0 => value as u32,
        1 => (value >> 32) as u32,
        _ => 0,
    }
}

fn set_half(value: &mut u64, high: bool, word: u32) {
    let shift = if high { 32 } else { 0 };
    *value = *value & !(u64::from(u32::MAX) << shift) | u64::from(word) << shift;
}

impl Shared {
    /// The device's thread.
    fn run(&self) {
        loop {
            let mut live = self.wait_for_resume();
            let patience = if live.running { live.device.patience() } else { None };
            drop(live);
            let ready = self.events.wait(patience);
            let mut live = self.wait_for_resume();
            if self.closed.load(Ordering::SeqCst) {
                return;
            }
            self.serve(&mut live, &ready);
        }
    }

    /// Lets the device serve its queues, and the host files behind `ready`.
    fn serve(&self, live: &mut Live, ready: &[u64]) {
        let Live { device, queues, running, .. } = live;
        if *running && device.serve(queues, ready).is_err() {
            *running = false;
            self.ask_for_reset();
        }
    }

    /// The device, when it need not rest.
    fn wait_for_resume(&self) -> MutexGuard<'_, Live> {
        let rests = |live: &mut Live| live.paused && !self.closed.load(Ordering::SeqCst);
        self.resumed.wait_while(lock(&self.live), rests).unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the device's thread look around, wherever it sleeps.
    fn wake(&self) {
        // With the lock, the thread is either before its look at what has changed, or asleep.
        drop(lock(&self.live));
        self.resumed.notify_all();
        self.events.ring();
    }

    /// Has the device finish what it has in hand.
    fn quiesce(&self, live: &mut Live) {
        let Live { device, queues, running, .. } = live;
        if *running && device.quiesce(queues).is_err() {
            *running = false;
            self.ask_for_reset();
        }
    }

    /// Stops the device, once it is done with the request in hand.
    fn stop(&self) {
        let mut live = lock(&self.live);
        live.running = false;
        live.queues.fill_with(|| None);
        live.device.reset();
    }

    /// Says that the driver went wrong and the device waits for its reset (section 2.1.2).
    fn ask_for_reset(&self) {
        self.needs_reset.store(true, Ordering::SeqCst);
        self.interrupt.raise_configuration();
    }
}

#[cfg(test)]
mod tests;
