//! Tests of the serial port: what Linux's 8250 driver asks of it, in the order in which it asks.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::bus::irq::IrqSink;
use crate::device::Size;

#[derive(Default)]
struct Wire(AtomicBool);

impl IrqSink for Wire {
    fn set(&self, _pin: u32, level: bool) {
        self.0.store(level, Ordering::SeqCst);
    }
}

#[derive(Clone, Default)]
struct Tape(Arc<Mutex<Vec<u8>>>);

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Bench {
    uart: Arc<Mutex<Uart>>,
    input: SerialInput,
    wire: Arc<Wire>,
    tape: Tape,
}

impl Bench {
    fn new() -> Self {
        let (wire, tape) = (Arc::new(Wire::default()), Tape::default());
        let (uart, input) = Uart::new(0, IrqLine::new(wire.clone(), 0), Box::new(tape.clone()));
        Self { uart, input, wire, tape }
    }

    /// A bench whose guest has told its peer that it may send.
    fn listening() -> Self {
        let bench = Self::new();
        bench.write(Register::ModemControl, 0x03);
        bench
    }

    fn read(&self, register: Register) -> u8 {
        lock(&self.uart).read(Access { offset: register as u64, size: Size::Byte, vcpu: 0 }) as u8
    }

    fn write(&self, register: Register, value: u8) {
        let at = Access { offset: register as u64, size: Size::Byte, vcpu: 0 };
        lock(&self.uart).write(at, value.into());
    }

    fn raised(&self) -> bool {
        self.wire.0.load(Ordering::SeqCst)
    }

    fn identify(&self) -> u8 {
        self.read(Register::InterruptIdentification)
    }
}

#[test]
fn linux_autoconfig_sees_a_16550a() {
    let bench = Bench::new();
    bench.write(Register::InterruptEnable, 0xff);
    assert_eq!(bench.read(Register::InterruptEnable), 0x0f);
    bench.write(Register::InterruptEnable, 0);
    bench.write(Register::ModemControl, 0x10 | 0x0a);
    assert_eq!(bench.read(Register::ModemStatus) & 0xf0, 0x90);
    bench.write(Register::ModemControl, 0);
    bench.write(Register::InterruptIdentification, 0x01);
    assert_eq!(bench.identify() >> 6, 3);
    // A 16750 would show bit 5 after this.
    bench.write(Register::LineControl, 0x80);
    bench.write(Register::InterruptIdentification, 0x21);
    assert_eq!(bench.identify() & 0x20, 0);
    bench.write(Register::Scratch, 0xa5);
    assert_eq!(bench.read(Register::Scratch), 0xa5);
}

#[test]
fn enabling_the_transmit_interrupt_raises_it_each_time() {
    let bench = Bench::new();
    for _ in 0..2 {
        bench.write(Register::InterruptEnable, 0x02);
        assert!(bench.raised());
        assert_eq!(bench.identify(), Interrupt::TransmitterEmpty as u8);
        assert!(!bench.raised(), "reading the identification takes it back");
        assert_eq!(bench.identify(), Interrupt::None as u8);
        bench.write(Register::InterruptEnable, 0);
    }
}

#[test]
fn a_character_sent_raises_the_transmit_interrupt_again() {
    let bench = Bench::new();
    bench.write(Register::InterruptEnable, 0x02);
    bench.identify();
    bench.write(Register::Data, b'h');
    assert!(bench.raised());
    bench.write(Register::Data, b'i');
    assert_eq!(*bench.tape.0.lock().unwrap(), b"hi");
    assert_eq!(bench.read(Register::LineStatus), 0x60);
}

#[test]
fn the_trigger_level_separates_data_from_timeout() {
    let bench = Bench::listening();
    bench.write(Register::InterruptIdentification, 0x81);
    bench.write(Register::InterruptEnable, 0x01);
    bench.input.push(b"1234567").unwrap();
    assert_eq!(bench.identify() & 0xf, Interrupt::CharacterTimeout as u8);
    bench.input.push(b"8").unwrap();
    assert_eq!(bench.identify() & 0xf, Interrupt::ReceivedData as u8);
    assert_eq!(bench.read(Register::Data), b'1');
    assert_eq!(bench.identify() & 0xf, Interrupt::CharacterTimeout as u8);
    for expected in b"2345678" {
        assert_eq!(bench.read(Register::LineStatus) & 1, 1);
        assert_eq!(bench.read(Register::Data), *expected);
    }
    assert!(!bench.raised());
    assert_eq!(bench.read(Register::LineStatus) & 1, 0);
}

#[test]
fn input_beyond_the_fifo_waits_and_refills_it() {
    let bench = Bench::listening();
    bench.write(Register::InterruptIdentification, 0x01);
    let text: Vec<u8> = (0..=255).collect();
    bench.input.push(&text).unwrap();
    assert_eq!(lock(&bench.uart).state.received.len(), FIFO_DEPTH);
    let read: Vec<u8> = text.iter().map(|_| bench.read(Register::Data)).collect();
    assert_eq!(read, text);
    assert_eq!(bench.read(Register::LineStatus) & 0x03, 0, "no data, no overrun");
}

#[test]
fn input_waits_until_the_guest_requests_it() {
    let bench = Bench::new();
    bench.input.push(b"early").unwrap();
    bench.write(Register::InterruptIdentification, 0x07);
    bench.read(Register::Data);
    assert_eq!(bench.read(Register::LineStatus) & 1, 0);
    bench.write(Register::ModemControl, 0x03);
    let read: Vec<u8> = b"early".iter().map(|_| bench.read(Register::Data)).collect();
    assert_eq!(read, b"early");
}

#[test]
fn a_full_queue_pushes_back_until_the_guest_reads() {
    let bench = Bench::listening();
    let flood = vec![b'x'; 2 * QUEUE_DEPTH];
    let taken = bench.input.try_push(&flood).unwrap();
    assert_eq!(taken, QUEUE_DEPTH);
    assert_eq!(bench.input.try_push(&flood).unwrap(), 1, "one went on into the receive register");
    let input = bench.input.clone();
    let pusher = std::thread::spawn(move || input.push(b"yz"));
    let mut last = Vec::new();
    while last != b"yz" {
        let byte = bench.read(Register::Data);
        last.extend((byte == b'y' || byte == b'z').then_some(byte));
    }
    pusher.join().unwrap().unwrap();
    drop(bench.uart);
    assert_eq!(bench.input.push(b"q"), Err(Closed));
}

#[test]
fn loopback_receives_what_it_sends_and_overruns() {
    let bench = Bench::new();
    bench.write(Register::InterruptEnable, 0x04);
    bench.write(Register::ModemControl, 0x10);
    bench.write(Register::Data, b'a');
    bench.write(Register::Data, b'b');
    assert_eq!(bench.identify(), Interrupt::LineStatus as u8);
    assert_eq!(bench.read(Register::LineStatus) & 0x03, 0x03);
    assert_eq!(bench.read(Register::LineStatus) & 0x03, 0x01);
    assert_eq!(bench.read(Register::Data), b'a');
    assert!(bench.tape.0.lock().unwrap().is_empty());
}

#[test]
fn modem_changes_interrupt_until_read() {
    let bench = Bench::new();
    bench.write(Register::InterruptEnable, 0x08);
    assert!(!bench.raised());
    bench.write(Register::ModemControl, 0x10);
    assert_eq!(bench.identify(), Interrupt::ModemStatus as u8);
    assert_eq!(bench.read(Register::ModemStatus), 0x0b);
    assert!(!bench.raised());
    bench.write(Register::ModemControl, 0x14);
    assert_eq!(bench.read(Register::ModemStatus), 0x40, "a ring that begins is no change");
    bench.write(Register::ModemControl, 0x10);
    assert_eq!(bench.read(Register::ModemStatus), 0x04);
}

#[test]
fn the_divisor_hides_behind_its_latch() {
    let bench = Bench::new();
    bench.write(Register::LineControl, 0x83);
    bench.write(Register::Data, 0x34);
    bench.write(Register::InterruptEnable, 0x12);
    assert_eq!((bench.read(Register::Data), bench.read(Register::InterruptEnable)), (0x34, 0x12));
    bench.write(Register::LineControl, 0x03);
    assert_eq!(bench.read(Register::InterruptEnable), 0);
    assert!(bench.tape.0.lock().unwrap().is_empty());
}

#[test]
fn state_survives_save_and_restore() {
    let bench = Bench::listening();
    bench.write(Register::InterruptIdentification, 0x01);
    bench.write(Register::InterruptEnable, 0x01);
    bench.input.push(b"hello, this is more than sixteen").unwrap();
    let other = Bench::new();
    let mut state = lock(&bench.uart).save();
    lock(&other.uart).restore(state.clone()).unwrap();
    state.received.extend([0; FIFO_DEPTH]);
    assert_eq!(lock(&Bench::new().uart).restore(state), Err(Overfull));
    assert!(other.raised());
    assert_eq!(other.read(Register::Data), b'h');
    lock(&other.uart).reset();
    assert!(!other.raised());
}

#[test]
fn random_pokes_never_panic() {
    let bench = Bench::new();
    let mut seed = 1u64;
    for _ in 0..100_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let at = Access { offset: (seed >> 33) % 12, size: Size::Byte, vcpu: 0 };
        match seed >> 62 {
            0 => drop(lock(&bench.uart).read(at)),
            1 => drop(bench.input.try_push(&[seed as u8])),
            _ => lock(&bench.uart).write(at, seed >> 40),
        }
    }
}
