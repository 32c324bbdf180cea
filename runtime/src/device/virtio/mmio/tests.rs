//! The transport with a driver that sets it up by its registers, rightly and wrongly.

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use translator::addr::Pa;

use super::*;
use crate::bus::irq::IrqSink;
use crate::device::virtio::testing::{BUFFERS, Driver, memory, readable, writable};

/// A device that copies what it reads to what it may write.
struct Echo;

impl VirtioDevice for Echo {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Console
    }

    fn features(&self) -> u64 {
        1 << 3
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[8, 4]
    }

    fn configuration(&self) -> Vec<u8> {
        vec![1, 2, 3, 4, 5, 6]
    }

    fn activate(&mut self, _features: u64, _events: &Arc<Events>) {}

    fn serve(&mut self, queues: &mut [Option<Queue>], _ready: &[u64]) -> Result<(), RingError> {
        for queue in queues.iter_mut().flatten() {
            while let Some(chain) = queue.pop()? {
                let mut byte = [0];
                chain.read(0, &mut byte)?;
                chain.write(0, &byte)?;
                queue.push(&chain, 1)?;
                queue.signal()?;
            }
        }
        Ok(())
    }

    fn reset(&mut self) {}
}

/// Remembers the level of its one wire.
#[derive(Default)]
struct Wire(AtomicBool);

impl IrqSink for Wire {
    fn set(&self, _pin: u32, level: bool) {
        self.0.store(level, Ordering::SeqCst);
    }
}

struct Bench {
    transport: Arc<Transport>,
    wire: Arc<Wire>,
    driver: Driver,
}

const SETUP: [u32; 3] = [1, 3, 11];

impl Bench {
    fn new() -> Self {
        let dma = memory();
        let wire = Arc::new(Wire::default());
        let transport = Transport::new(Box::new(Echo), dma.clone()).unwrap();
        let transport = Arc::new(transport).wire(IrqLine::new(wire.clone(), 0));
        Self { transport, wire, driver: Driver::new(&dma, 0, 8) }
    }

    fn read(&self, register: Register) -> u32 {
        self.transport.read(Access { offset: register as u64, size: Size::Word, vcpu: 0 }) as u32
    }

    fn write(&self, register: Register, value: u32) {
        self.transport.write(Access { offset: register as u64, size: Size::Word, vcpu: 0 }, value.into());
    }

    /// Everything up to the driver's last word.
    fn set_up(&self) {
        SETUP[..2].iter().for_each(|status| self.write(Register::Status, *status));
        self.write(Register::DriverFeaturesSelect, 1);
        self.write(Register::DriverFeatures, 1);
        self.write(Register::Status, SETUP[2]);
        let layout = self.driver.layout;
        self.write(Register::QueueSize, layout.size.into());
        self.write(Register::DescriptorsLow, layout.descriptors as u32);
        self.write(Register::AvailableLow, layout.available as u32);
        self.write(Register::UsedLow, layout.used as u32);
        self.write(Register::QueueReady, 1);
    }

    fn wait(&self, done: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < Duration::from_secs(20), "the device did nothing");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn echo(&mut self, byte: u8) {
        self.driver.dma.write(Pa(BUFFERS), &[byte]).unwrap();
        self.driver.offer(&[readable(BUFFERS, 1), writable(BUFFERS + 1, 1)]);
        self.write(Register::QueueNotify, 0);
        self.wait(|bench| bench.wire.0.load(Ordering::SeqCst));
        assert_eq!(self.read(Register::InterruptStatus), 1);
        self.write(Register::InterruptAcknowledge, 1);
        assert!(!self.wire.0.load(Ordering::SeqCst));
        assert_eq!(self.driver.bytes(BUFFERS + 1, 1), [byte]);
        assert!(self.driver.reclaim().is_some());
    }
}

#[test]
fn the_driver_sees_what_the_device_is() {
    let bench = Bench::new();
    assert_eq!(bench.read(Register::MagicValue).to_le_bytes(), *b"virt");
    assert_eq!(bench.read(Register::Version), 2);
    assert_eq!(bench.read(Register::DeviceId), 3);
    assert_eq!(bench.read(Register::DeviceFeatures), 1 << 3 | 1 << 28 | 1 << 29);
    bench.write(Register::DeviceFeaturesSelect, 1);
    assert_eq!(bench.read(Register::DeviceFeatures), 1);
    bench.write(Register::DeviceFeaturesSelect, 2);
    assert_eq!(bench.read(Register::DeviceFeatures), 0);
    for (queue, size) in [(0, 8), (1, 4), (2, 0), (u32::MAX, 0)] {
        bench.write(Register::QueueSelect, queue);
        assert_eq!(bench.read(Register::QueueSizeMax), size);
    }
    assert_eq!(bench.read(Register::RegionLengthLow), u32::MAX);
    let configuration =
        |offset, size| bench.transport.read(Access { offset: CONFIGURATION + offset, size, vcpu: 0 });
    assert_eq!(configuration(0, Size::Word), 0x0403_0201);
    assert_eq!(configuration(4, Size::Word), 0x0605);
    assert_eq!(configuration(5, Size::Byte), 6);
    assert_eq!(configuration(0xef8, Size::Double), 0);
}

#[test]
fn requests_are_served_until_a_reset() {
    let mut bench = Bench::new();
    bench.set_up();
    assert_eq!(bench.read(Register::QueueReady), 1);
    bench.write(Register::Status, 15);
    (1..20).for_each(|byte| bench.echo(byte));
    bench.write(Register::Status, 0);
    assert_eq!((bench.read(Register::Status), bench.read(Register::QueueReady)), (0, 0));
    bench.driver = Driver::new(&memory(), 0, 8);
    bench.driver.dma = bench.transport.dma.clone();
    bench.driver.dma.write(Pa(0), &[0; 0x4000]).unwrap();
    bench.set_up();
    bench.write(Register::Status, 15);
    bench.echo(99);
}

#[test]
fn a_restored_device_goes_on() {
    let mut bench = Bench::new();
    bench.set_up();
    bench.write(Register::Status, 15);
    bench.echo(1);
    let state = bench.transport.save();
    let wire = Arc::new(Wire::default());
    let other = Transport::new(Box::new(Echo), bench.transport.dma.clone()).unwrap();
    bench.transport.reset();
    (bench.transport, bench.wire) = (Arc::new(other).wire(IrqLine::new(wire.clone(), 0)), wire);
    bench.transport.restore(&state).unwrap();
    assert_eq!(bench.transport.save(), state);
    bench.echo(2);
}

#[test]
fn a_paused_device_rests_until_it_goes_on() {
    let mut bench = Bench::new();
    bench.set_up();
    bench.write(Register::Status, 15);
    bench.echo(1);
    bench.transport.pause();
    bench.driver.offer(&[readable(BUFFERS, 1), writable(BUFFERS + 1, 1)]);
    bench.write(Register::QueueNotify, 0);
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(bench.driver.reclaim(), None);
    let state = bench.transport.save();
    bench.transport.restore(&state).unwrap();
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(bench.driver.reclaim(), None);
    bench.transport.resume();
    bench.wait(|bench| bench.wire.0.load(Ordering::SeqCst));
    assert!(bench.driver.reclaim().is_some());
    bench.transport.pause();
}

#[test]
fn a_state_that_does_not_fit_is_refused() {
    let bench = Bench::new();
    bench.set_up();
    let saved = bench.transport.save();
    let refuses = |change: fn(&mut State)| {
        let mut state = wire::decode(&saved).unwrap();
        change(&mut state);
        assert!(bench.transport.restore(&wire::encode(&state)).is_err());
    };
    refuses(|state| state.registers.driver_features |= 1 << 5);
    refuses(|state| state.registers.layouts.truncate(1));
    refuses(|state| state.device.push(1));
    assert!(bench.transport.restore(&saved[1..]).is_err());
    bench.transport.restore(&saved).unwrap();
    assert_eq!(bench.transport.save(), saved);
}

#[test]
fn features_are_agreed_on_once_and_as_offered() {
    let bench = Bench::new();
    bench.write(Register::Status, 3);
    // Without version 1, then with a feature that is not there.
    bench.write(Register::Status, 11);
    assert_eq!(bench.read(Register::Status), 3);
    bench.write(Register::DriverFeatures, 1);
    bench.write(Register::DriverFeaturesSelect, 1);
    bench.write(Register::DriverFeatures, 1);
    bench.write(Register::Status, 11);
    assert_eq!(bench.read(Register::Status), 3);
    bench.write(Register::Status, 15);
    assert_eq!(bench.read(Register::Status), 3);
    bench.write(Register::DriverFeaturesSelect, 0);
    bench.write(Register::DriverFeatures, 1 << 3);
    bench.write(Register::Status, 11);
    assert_eq!(bench.read(Register::Status), 11);
}

#[test]
fn a_driver_that_goes_wrong_must_reset() {
    let mut bench = Bench::new();
    bench.set_up();
    bench.write(Register::Status, 15);
    bench.driver.publish(77);
    bench.write(Register::QueueNotify, 0);
    bench.wait(|bench| bench.read(Register::Status) & 0x40 != 0);
    bench.wait(|bench| bench.read(Register::InterruptStatus) == 2);
    assert!(bench.wire.0.load(Ordering::SeqCst));
    bench.write(Register::Status, 0);
    assert_eq!(bench.read(Register::Status), 0);
    assert!(!bench.wire.0.load(Ordering::SeqCst));
    bench.set_up();
    bench.write(Register::QueueReady, 0);
    bench.write(Register::UsedLow, 0xffff_fff0);
    bench.write(Register::QueueReady, 1);
    bench.write(Register::Status, 15);
    assert_eq!(bench.read(Register::Status), 0x4f);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is written where, the transport answers.
    #[test]
    fn any_writes_are_survived(writes in vec((0u64..0x110, any::<u32>(), any::<bool>()), 0..100)) {
        let bench = Bench::new();
        bench.set_up();
        for (offset, value, small) in writes {
            let value = if small { value % 16 } else { value };
            let at = Access { offset: offset & !3, size: Size::Word, vcpu: 0 };
            bench.transport.write(at, value.into());
            bench.transport.read(at);
        }
        bench.write(Register::Status, 0);
        prop_assert_eq!(bench.read(Register::Status), 0);
    }
}
