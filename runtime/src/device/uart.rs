//! A 16550A serial port with 16-byte FIFOs, as Linux's `ns16550a` driver expects it. The core knows
//! registers by number; the spacing of the registers on the bus (`reg-shift`) is the attachment's.
//!
//! Facts are from the National Semiconductor PC16550D data sheet (register table, section 8) unless
//! another source is named. Time does not pass between characters: a written character is sent at
//! once, and the character timeout (4 character times on the wire) is over as soon as the host has
//! no more input. The peer honours the modem lines: what it has to say waits until the guest requests
//! it by RTS, and so nothing is lost that comes before a driver is ready, who empties the FIFOs when
//! it starts. It must not know where characters go or come from.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

use super::{Access, Device, lock};
use crate::bus::irq::IrqLine;
use crate::persist::Persist;

/// Characters each FIFO holds.
const FIFO_DEPTH: usize = 16;
/// Characters from the host that wait for room in the receive FIFO; beyond them the host waits.
const QUEUE_DEPTH: usize = 4096;
/// How often a waiting host thread looks whether the serial port still exists.
const PUSH_PATIENCE: Duration = Duration::from_millis(100);

/// The registers by number. What a number means can depend on the direction and on DLAB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Register {
    /// RBR to read, THR to write; DLL under DLAB.
    Data,
    /// IER; DLM under DLAB.
    InterruptEnable,
    /// IIR to read, FCR to write.
    InterruptIdentification,
    /// LCR.
    LineControl,
    /// MCR.
    ModemControl,
    /// LSR, read only.
    LineStatus,
    /// MSR, read only.
    ModemStatus,
    /// SCR.
    Scratch,
}

impl Register {
    const ALL: [Self; 8] = [
        Self::Data,
        Self::InterruptEnable,
        Self::InterruptIdentification,
        Self::LineControl,
        Self::ModemControl,
        Self::LineStatus,
        Self::ModemStatus,
        Self::Scratch,
    ];

    fn at(number: u64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

bitflags! {
    /// IER.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct InterruptEnable: u8 {
        const RECEIVED_DATA = 1 << 0;
        const TRANSMITTER_EMPTY = 1 << 1;
        const LINE_STATUS = 1 << 2;
        const MODEM_STATUS = 1 << 3;
    }
}

bitflags! {
    /// FCR. The two clear bits act when written and are not kept.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct FifoControl: u8 {
        const ENABLE = 1 << 0;
        const CLEAR_RECEIVER = 1 << 1;
        const CLEAR_TRANSMITTER = 1 << 2;
        const DMA_MODE = 1 << 3;
        const TRIGGER = 3 << 6;
    }
}

bitflags! {
    /// LCR; only DLAB has an effect on a line without time or parity.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct LineControl: u8 {
        const DIVISOR_LATCH = 1 << 7;
        const _ = !0;
    }
}

bitflags! {
    /// MCR.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct ModemControl: u8 {
        const DATA_TERMINAL_READY = 1 << 0;
        const REQUEST_TO_SEND = 1 << 1;
        const OUT1 = 1 << 2;
        const OUT2 = 1 << 3;
        const LOOPBACK = 1 << 4;
    }
}

bitflags! {
    /// LSR.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct LineStatus: u8 {
        const DATA_READY = 1 << 0;
        const OVERRUN = 1 << 1;
        const HOLDING_EMPTY = 1 << 5;
        const TRANSMITTER_EMPTY = 1 << 6;
    }
}

bitflags! {
    /// MSR: inputs in the upper half, what changed since the last read in the lower.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct ModemStatus: u8 {
        const CLEAR_TO_SEND_CHANGED = 1 << 0;
        const DATA_SET_READY_CHANGED = 1 << 1;
        const RING_ENDED = 1 << 2;
        const CARRIER_CHANGED = 1 << 3;
        const CLEAR_TO_SEND = 1 << 4;
        const DATA_SET_READY = 1 << 5;
        const RING = 1 << 6;
        const CARRIER = 1 << 7;
    }
}

/// The low four bits of IIR, by falling priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Interrupt {
    LineStatus = 0b0110,
    ReceivedData = 0b0100,
    CharacterTimeout = 0b1100,
    TransmitterEmpty = 0b0010,
    ModemStatus = 0b0000,
    None = 0b0001,
}

/// IIR bits that say that the FIFOs are on.
const FIFOS_ENABLED: u8 = 0b1100_0000;

/// Everything of the port that a snapshot must keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    interrupt_enable: InterruptEnable,
    fifo_control: FifoControl,
    line_control: LineControl,
    modem_control: ModemControl,
    modem_status: ModemStatus,
    scratch: u8,
    divisor: u16,
    received: VecDeque<u8>,
    /// Host input that found no room in `received`.
    queued: VecDeque<u8>,
    overrun: bool,
    transmitter_empty_pending: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            interrupt_enable: InterruptEnable::empty(),
            fifo_control: FifoControl::empty(),
            line_control: LineControl::empty(),
            modem_control: ModemControl::empty(),
            modem_status: modem_inputs(ModemControl::empty()),
            scratch: 0,
            divisor: 0,
            received: VecDeque::new(),
            queued: VecDeque::new(),
            overrun: false,
            transmitter_empty_pending: false,
        }
    }
}

impl State {
    fn capacity(&self) -> usize {
        if self.fifo_control.contains(FifoControl::ENABLE) { FIFO_DEPTH } else { 1 }
    }

    /// Characters at which "received data" replaces "character timeout".
    fn trigger(&self) -> usize {
        if !self.fifo_control.contains(FifoControl::ENABLE) {
            return 1;
        }
        [1, 4, 8, 14][usize::from(self.fifo_control.bits() >> 6)]
    }

    fn interrupt(&self) -> Interrupt {
        let enabled = |source| self.interrupt_enable.contains(source);
        if self.overrun && enabled(InterruptEnable::LINE_STATUS) {
            Interrupt::LineStatus
        } else if self.received.len() >= self.trigger() && enabled(InterruptEnable::RECEIVED_DATA) {
            Interrupt::ReceivedData
        } else if !self.received.is_empty() && enabled(InterruptEnable::RECEIVED_DATA) {
            Interrupt::CharacterTimeout
        } else if self.transmitter_empty_pending && enabled(InterruptEnable::TRANSMITTER_EMPTY) {
            Interrupt::TransmitterEmpty
        } else if self.modem_status.bits() & 0xf != 0 && enabled(InterruptEnable::MODEM_STATUS) {
            Interrupt::ModemStatus
        } else {
            Interrupt::None
        }
    }

    /// Whether the host may send. In loopback its input is cut off and waits.
    fn listens(&self) -> bool {
        let lines = ModemControl::REQUEST_TO_SEND | ModemControl::LOOPBACK;
        self.modem_control & lines == ModemControl::REQUEST_TO_SEND
    }

    fn refill(&mut self) {
        while self.listens() && self.received.len() < self.capacity() {
            let Some(byte) = self.queued.pop_front() else { break };
            self.received.push_back(byte);
        }
    }

    fn read_data(&mut self) -> u8 {
        let byte = self.received.pop_front().unwrap_or(0);
        self.refill();
        byte
    }

    /// Reading the identification takes back a transmitter interrupt, if that is what it names.
    fn read_identification(&mut self) -> u8 {
        let interrupt = self.interrupt();
        if interrupt == Interrupt::TransmitterEmpty {
            self.transmitter_empty_pending = false;
        }
        let fifos = if self.fifo_control.contains(FifoControl::ENABLE) { FIFOS_ENABLED } else { 0 };
        interrupt as u8 | fifos
    }

    fn read_line_status(&mut self) -> u8 {
        let mut status = LineStatus::HOLDING_EMPTY | LineStatus::TRANSMITTER_EMPTY;
        status.set(LineStatus::DATA_READY, !self.received.is_empty());
        status.set(LineStatus::OVERRUN, std::mem::take(&mut self.overrun));
        status.bits()
    }

    fn read_modem_status(&mut self) -> u8 {
        let status = self.modem_status;
        self.modem_status = ModemStatus::from_bits_truncate(status.bits() & 0xf0);
        status.bits()
    }

    fn write_interrupt_enable(&mut self, value: u8) {
        let enable = InterruptEnable::from_bits_truncate(value);
        let newly = enable - self.interrupt_enable;
        // The holding register is always empty here, and enabling the interrupt while it is empty
        // raises it: Linux's `serial8250_do_startup` tests for just this.
        self.transmitter_empty_pending |= newly.contains(InterruptEnable::TRANSMITTER_EMPTY);
        self.interrupt_enable = enable;
    }

    fn write_fifo_control(&mut self, value: u8) {
        let value = FifoControl::from_bits_truncate(value);
        let switched = (value ^ self.fifo_control).contains(FifoControl::ENABLE);
        if switched || value.contains(FifoControl::ENABLE | FifoControl::CLEAR_RECEIVER) {
            self.received.clear();
        }
        // The other bits are only taken together with the enable bit.
        self.fifo_control = match value.contains(FifoControl::ENABLE) {
            true => value - FifoControl::CLEAR_RECEIVER - FifoControl::CLEAR_TRANSMITTER,
            false => FifoControl::empty(),
        };
        self.refill();
    }

    fn write_modem_control(&mut self, value: u8) {
        self.modem_control = ModemControl::from_bits_truncate(value);
        let inputs = modem_inputs(self.modem_control);
        let changes = modem_changes(self.modem_status, inputs);
        let earlier = ModemStatus::from_bits_truncate(self.modem_status.bits() & 0xf);
        self.modem_status = inputs | changes | earlier;
        self.refill();
    }

    fn loop_back(&mut self, byte: u8) {
        if self.received.len() < self.capacity() {
            self.received.push_back(byte);
        } else {
            self.overrun = true;
        }
    }
}

/// The modem inputs: a peer that is always there, or in loopback the port's own outputs.
fn modem_inputs(control: ModemControl) -> ModemStatus {
    if !control.contains(ModemControl::LOOPBACK) {
        return ModemStatus::CLEAR_TO_SEND | ModemStatus::DATA_SET_READY | ModemStatus::CARRIER;
    }
    let mut inputs = ModemStatus::empty();
    inputs.set(ModemStatus::CLEAR_TO_SEND, control.contains(ModemControl::REQUEST_TO_SEND));
    inputs.set(ModemStatus::DATA_SET_READY, control.contains(ModemControl::DATA_TERMINAL_READY));
    inputs.set(ModemStatus::RING, control.contains(ModemControl::OUT1));
    inputs.set(ModemStatus::CARRIER, control.contains(ModemControl::OUT2));
    inputs
}

fn modem_changes(before: ModemStatus, after: ModemStatus) -> ModemStatus {
    let changed = before ^ after;
    let mut changes = ModemStatus::empty();
    changes.set(ModemStatus::CLEAR_TO_SEND_CHANGED, changed.contains(ModemStatus::CLEAR_TO_SEND));
    changes.set(ModemStatus::DATA_SET_READY_CHANGED, changed.contains(ModemStatus::DATA_SET_READY));
    changes.set(ModemStatus::CARRIER_CHANGED, changed.contains(ModemStatus::CARRIER));
    changes.set(ModemStatus::RING_ENDED, (before - after).contains(ModemStatus::RING));
    changes
}

/// The serial port.
pub struct Uart {
    state: State,
    register_shift: u32,
    line: IrqLine,
    output: Box<dyn Write + Send>,
    room: Arc<Condvar>,
    /// The input queue had no room when last looked at, so that somebody may wait for it.
    full: bool,
    /// While it is paused, nothing is received.
    paused: bool,
}

impl Uart {
    /// A port that interrupts through `line`, and the handle for its input.
    ///
    /// Registers are `1 << register_shift` bytes apart. Characters go to `output` one by one on the
    /// vCPU's thread, so it must not block: wrap a terminal or pipe in an
    /// [`OutputQueue`](crate::backend::output::OutputQueue). Errors of `output` lose the character,
    /// as an unplugged cable does.
    pub fn new(
        register_shift: u32,
        line: IrqLine,
        output: Box<dyn Write + Send>,
    ) -> (Arc<Mutex<Self>>, SerialInput) {
        let room = Arc::new(Condvar::new());
        let waker = Arc::clone(&room);
        let uart = Self {
            state: State::default(),
            register_shift,
            line,
            output,
            room: waker,
            full: false,
            paused: false,
        };
        let uart = Arc::new(Mutex::new(uart));
        let input = SerialInput { uart: Arc::downgrade(&uart), room };
        (uart, input)
    }

    /// Takes as much of `bytes` as the queue has room for; returns how many.
    fn receive(&mut self, bytes: &[u8]) -> usize {
        if self.paused {
            return 0;
        }
        let taken = bytes.len().min(QUEUE_DEPTH.saturating_sub(self.state.queued.len()));
        self.state.queued.extend(&bytes[..taken]);
        self.state.refill();
        self.settle();
        taken
    }

    fn transmit(&mut self, byte: u8) {
        if self.state.modem_control.contains(ModemControl::LOOPBACK) {
            self.state.loop_back(byte);
        } else {
            // A host that does not listen loses characters; the guest cannot be told.
            let _ = self.output.write_all(&[byte]);
        }
        self.state.transmitter_empty_pending = true;
    }

    /// Drives the interrupt line, and wakes host threads that wait for room.
    fn settle(&mut self) {
        self.line.set(self.state.interrupt() != Interrupt::None);
        let full = self.state.queued.len() >= QUEUE_DEPTH;
        // Waking costs a system call even when nobody sleeps.
        if std::mem::replace(&mut self.full, full) && !full {
            self.room.notify_all();
        }
    }

    fn read_register(&mut self, register: Register) -> u8 {
        let latch = self.state.line_control.contains(LineControl::DIVISOR_LATCH);
        let [low, high] = self.state.divisor.to_le_bytes();
        match register {
            Register::Data if latch => low,
            Register::InterruptEnable if latch => high,
            Register::Data => self.state.read_data(),
            Register::InterruptEnable => self.state.interrupt_enable.bits(),
            Register::InterruptIdentification => self.state.read_identification(),
            Register::LineControl => self.state.line_control.bits(),
            Register::ModemControl => self.state.modem_control.bits(),
            Register::LineStatus => self.state.read_line_status(),
            Register::ModemStatus => self.state.read_modem_status(),
            Register::Scratch => self.state.scratch,
        }
    }

    fn write_register(&mut self, register: Register, value: u8) {
        let latch = self.state.line_control.contains(LineControl::DIVISOR_LATCH);
        let [low, high] = self.state.divisor.to_le_bytes();
        match register {
            Register::Data if latch => self.state.divisor = u16::from_le_bytes([value, high]),
            Register::InterruptEnable if latch => self.state.divisor = u16::from_le_bytes([low, value]),
            Register::Data => self.transmit(value),
            Register::InterruptEnable => self.state.write_interrupt_enable(value),
            Register::InterruptIdentification => self.state.write_fifo_control(value),
            Register::LineControl => self.state.line_control = LineControl::from_bits_retain(value),
            Register::ModemControl => self.state.write_modem_control(value),
            Register::LineStatus | Register::ModemStatus => {}
            Register::Scratch => self.state.scratch = value,
        }
    }
}

/// More characters than the FIFO or the queue behind it holds.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("it holds more characters than the serial port has room for")]
pub struct Overfull;

impl Persist for Uart {
    const KIND: &'static str = "serial";
    const VERSION: u16 = 1;
    type State = State;
    type Error = Overfull;

    fn save(&mut self) -> State {
        self.state.clone()
    }

    fn restore(&mut self, state: State) -> Result<(), Overfull> {
        if state.received.len() > FIFO_DEPTH || state.queued.len() > QUEUE_DEPTH {
            return Err(Overfull);
        }
        self.state = state;
        self.settle();
        Ok(())
    }
}

impl Device for Uart {
    fn read(&mut self, at: Access) -> u64 {
        let Some(register) = Register::at(at.offset >> self.register_shift) else { return 0 };
        let value = self.read_register(register);
        self.settle();
        value.into()
    }

    fn write(&mut self, at: Access, value: u64) {
        let Some(register) = Register::at(at.offset >> self.register_shift) else { return };
        self.write_register(register, value as u8);
        self.settle();
    }

    fn reset(&mut self) {
        // What the user has typed is not part of the port and survives a reset of it.
        let queued = std::mem::take(&mut self.state.queued);
        self.state = State { queued, ..State::default() };
        self.settle();
    }

    fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
        self.room.notify_all();
    }
}

/// The serial port is gone, and with it whoever would have read the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The serial port is closed")]
pub struct Closed;

/// The host's end of the receive line. Clones feed the same port.
#[derive(Clone)]
pub struct SerialInput {
    uart: Weak<Mutex<Uart>>,
    room: Arc<Condvar>,
}

impl SerialInput {
    /// Gives all of `bytes` to the port, and waits while its queue is full: for a host thread of its
    /// own, never a vCPU's.
    pub fn push(&self, bytes: &[u8]) -> Result<(), Closed> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let uart = self.uart.upgrade().ok_or(Closed)?;
            let mut port = lock(&uart);
            rest = &rest[port.receive(rest)..];
            if !rest.is_empty() {
                // The wait is bounded, because while it lasts this thread keeps the port alive.
                drop(self.room.wait_timeout(port, PUSH_PATIENCE).unwrap_or_else(PoisonError::into_inner));
            }
        }
        Ok(())
    }

    /// Gives as much of `bytes` as there is room for, at once; returns how many.
    pub fn try_push(&self, bytes: &[u8]) -> Result<usize, Closed> {
        let uart = self.uart.upgrade().ok_or(Closed)?;
        let taken = lock(&uart).receive(bytes);
        Ok(taken)
    }
}

#[cfg(test)]
mod tests;
