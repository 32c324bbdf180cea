//! Tests of the interrupt controller: the accesses of irq-mips-gic.c, in its order.

use super::*;
use crate::device::Size;

/// The pins as the controller left them, and how often it touched them.
#[derive(Default)]
struct Pins {
    levels: Mutex<std::collections::BTreeMap<(usize, u32), bool>>,
    changes: AtomicU32,
}

impl VcpuPins for Pins {
    fn set(&self, vcpu: usize, pin: u32, level: bool) {
        self.levels.lock().unwrap().insert((vcpu, pin), level);
        self.changes.fetch_add(1, Ordering::SeqCst);
    }
}

impl Pins {
    fn level(&self, vcpu: usize, pin: u32) -> bool {
        self.levels.lock().unwrap().get(&(vcpu, pin)).copied().unwrap_or(false)
    }
}

struct Bench {
    gic: Gic,
    pins: Arc<Pins>,
}

const POLARITY: u64 = 0x100;
const TRIGGER: u64 = 0x180;
const DUAL: u64 = 0x200;
const WEDGE: u64 = 0x280;
const RESET_MASK: u64 = 0x300;
const SET_MASK: u64 = 0x380;
const MASK: u64 = 0x400;
const PENDING: u64 = 0x480;
const MAP_PIN_0: u64 = 0x500;
const MAP_VP_0: u64 = 0x2000;

impl Bench {
    fn new(vcpus: usize) -> Self {
        let pins = Arc::new(Pins::default());
        Self { gic: Gic::new(vcpus, 10, pins.clone()), pins }
    }

    fn read(&self, offset: u64, vcpu: usize) -> u32 {
        self.gic.read(Access { offset, size: Size::Word, vcpu }) as u32
    }

    fn write(&self, offset: u64, vcpu: usize, value: u32) {
        self.gic.write(Access { offset, size: Size::Word, vcpu }, value.into());
    }

    /// What `gic_shared_irq_domain_map` and `gic_unmask_irq` do.
    fn route(&self, interrupt: u32, vcpu: usize) {
        self.write(MAP_PIN_0 + 4 * u64::from(interrupt), 0, 1 << 31);
        self.write(MAP_VP_0 + 0x20 * u64::from(interrupt), 0, 1 << vcpu);
        self.write(SET_MASK + 4 * u64::from(interrupt / 32), 0, 1 << (interrupt % 32));
    }
}

#[test]
fn the_configuration_has_room_for_devices_and_calls_between_cpus() {
    assert_eq!(shared_interrupts(16, 8), Some(32));
    assert_eq!(shared_interrupts(17, 8), Some(64));
    assert_eq!(shared_interrupts(2, 16), Some(64));
    assert_eq!(shared_interrupts(0, 0), Some(32));
    assert_eq!(shared_interrupts(225, 16), None);
    assert_eq!(shared_interrupts(usize::MAX, 16), None);
    assert_eq!(Bench::new(8).read(0, 0), 1 << 28 | 8 << 24 | 3 << 16 | 7);
    assert_eq!(Bench::new(16).read(0, 0), 1 << 28 | 8 << 24 | 7 << 16 | 15);
}

#[test]
fn a_level_interrupt_follows_its_wire_and_mask() {
    let bench = Bench::new(2);
    bench.route(3, 1);
    bench.gic.set(3, true);
    assert!(bench.pins.level(1, 0) && !bench.pins.level(0, 0));
    assert_eq!(bench.read(PENDING, 1), 8);
    bench.write(RESET_MASK, 1, 8);
    assert!(!bench.pins.level(1, 0));
    assert_eq!((bench.read(MASK, 1), bench.read(PENDING, 1)), (0, 8));
    bench.write(SET_MASK, 1, 8);
    assert!(bench.pins.level(1, 0));
    bench.gic.set(3, false);
    assert!(!bench.pins.level(1, 0));
}

#[test]
fn a_call_between_cpus_is_a_wedge() {
    let bench = Bench::new(16);
    for vcpu in 0..16 {
        let interrupt = 32 + vcpu;
        bench.write(TRIGGER + 4, 0, bench.read(TRIGGER + 4, 0) | 1 << vcpu);
        bench.route(interrupt, vcpu as usize);
    }
    bench.write(WEDGE, 0, 1 << 31 | (32 + 9));
    assert!(bench.pins.level(9, 0));
    assert_eq!(bench.read(PENDING + 4, 9), 1 << 9);
    bench.write(WEDGE, 9, 32 + 9);
    assert!(!bench.pins.level(9, 0));
    assert_eq!(bench.pins.changes.load(Ordering::SeqCst), 2);
}

#[test]
fn edges_latch_by_polarity_and_both_if_dual() {
    let bench = Bench::new(1);
    bench.write(TRIGGER, 0, 1);
    bench.gic.set(0, true);
    assert_eq!(bench.read(PENDING, 0), 1);
    bench.write(WEDGE, 0, 0);
    bench.gic.set(0, false);
    assert_eq!(bench.read(PENDING, 0), 0);
    bench.write(POLARITY, 0, !1);
    bench.gic.set(0, true);
    assert_eq!(bench.read(PENDING, 0), 0);
    bench.gic.set(0, false);
    assert_eq!(bench.read(PENDING, 0), 1);
    bench.write(WEDGE, 0, 0);
    bench.write(DUAL, 0, 1);
    bench.gic.set(0, true);
    assert_eq!(bench.read(PENDING, 0), 1);
}

#[test]
fn affinity_moves_a_pending_interrupt() {
    let bench = Bench::new(4);
    bench.route(5, 0);
    bench.gic.set(5, true);
    bench.write(MAP_VP_0 + 0x20 * 5, 0, 1 << 3);
    assert!(!bench.pins.level(0, 0) && bench.pins.level(3, 0));
    bench.write(MAP_PIN_0 + 4 * 5, 0, 1 << 31 | 2);
    assert!(!bench.pins.level(3, 0) && bench.pins.level(3, 2));
}

#[test]
fn local_blocks_are_per_vcpu_and_nothing_local_comes() {
    let bench = Bench::new(3);
    assert_eq!(bench.read(LOCAL_BLOCK, 1), 0, "nothing is routable");
    assert_eq!(bench.read(LOCAL_BLOCK + 0x88, 2), 2);
    bench.write(LOCAL_BLOCK + 0x10, 1, 0x7f);
    assert_eq!(bench.read(LOCAL_BLOCK + 0x08, 1), 0x7f);
    assert_eq!(bench.read(LOCAL_BLOCK + 0x08, 2), 0);
    bench.write(LOCAL_BLOCK + 0x80, 0, 1);
    assert_eq!(bench.read(OTHER_BLOCK + 0x88, 0), 1);
    assert_eq!(bench.read(OTHER_BLOCK + 0x08, 0), 0x7f);
    bench.write(OTHER_BLOCK + 0x0c, 0, !0);
    assert_eq!(bench.read(LOCAL_BLOCK + 0x08, 1), 0);
    assert_eq!(bench.read(LOCAL_BLOCK + 0x04, 1), 0);
    bench.write(LOCAL_BLOCK + 0x80, 0, 40);
    assert_eq!(bench.read(OTHER_BLOCK + 0x88, 0), 0, "no such vCPU");
}

#[test]
fn the_counter_stands_still_and_double_words_are_two_words() {
    let bench = Bench::new(1);
    let counter = Access { offset: 0x10, size: Size::Double, vcpu: 0 };
    bench.gic.write(counter, 0x1234_5678_9abc_def0);
    assert_eq!(bench.gic.read(counter), 0x1234_5678_9abc_def0);
    assert_eq!(bench.read(USER_BLOCK, 0), 0x9abc_def0);
    bench.write(USER_BLOCK, 0, 1);
    assert_eq!(bench.read(USER_BLOCK + 4, 0), 0x1234_5678);
}

#[test]
fn restore_sets_every_pin_and_reset_keeps_the_wires() {
    let bench = Bench::new(2);
    bench.route(3, 1);
    bench.gic.set(3, true);
    let other = Bench::new(2);
    other.gic.restore(&bench.gic.save()).unwrap();
    assert!(other.pins.level(1, 0));
    assert_eq!(other.pins.changes.load(Ordering::SeqCst), 2 * PINS);
    assert!(Bench::new(3).gic.restore(&bench.gic.save()).is_err());
    other.gic.reset();
    assert!(!other.pins.level(1, 0));
    other.route(3, 0);
    assert!(other.pins.level(0, 0));
}

#[test]
fn random_pokes_never_panic() {
    let bench = Bench::new(16);
    let mut seed = 3u64;
    for _ in 0..200_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let size = [Size::Byte, Size::Half, Size::Word, Size::Double][(seed >> 20) as usize % 4];
        let offset = ((seed >> 32) % WINDOW_SIZE) & !(size.bytes() - 1);
        let at = Access { offset, size, vcpu: (seed >> 12) as usize % 17 };
        bench.gic.read(at);
        bench.gic.write(at, seed.rotate_left(17));
        bench.gic.set((seed >> 50) as u32, seed & 1 != 0);
    }
}
