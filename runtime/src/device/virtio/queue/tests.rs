//! Queues with a driver that is as good, or as bad, as one can be.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::device::virtio::testing::{BUFFERS, Driver, RAM, memory, readable, writable};

fn queue(driver: &Driver, features: u64) -> Queue {
    Queue::new(&driver.dma, &Arc::default(), driver.layout, 256, features).unwrap()
}

#[test]
fn requests_go_around_the_ring() {
    let mut driver = Driver::new(&memory(), 0, 4);
    let mut queue = queue(&driver, FEATURE_EVENT_INDEX);
    for turn in 0..70_000u32 {
        let parts = [readable(BUFFERS, 3), readable(BUFFERS + 100, 2), writable(BUFFERS + 200, 4)];
        driver.dma.write(Pa(BUFFERS), b"abc").unwrap();
        driver.dma.write(Pa(BUFFERS + 100), b"de").unwrap();
        let head = driver.offer(&parts);
        let chain = queue.pop().unwrap().unwrap();
        assert_eq!((chain.readable(), chain.writable()), (5, 4));
        let mut bytes = [0; 4];
        chain.read(1, &mut bytes).unwrap();
        assert_eq!(&bytes, b"bcde");
        assert_eq!(chain.read(2, &mut bytes), Err(RingError::Short));
        assert_eq!(chain.write(2, b"xyz"), Err(RingError::Short));
        chain.write(1, b"xyz").unwrap();
        queue.push(&chain, turn).unwrap();
        assert_eq!(driver.reclaim(), Some((head.into(), turn)));
        assert!(queue.pop().unwrap().is_none());
    }
    assert_eq!(driver.bytes(BUFFERS + 201, 3), b"xyz");
}

#[test]
fn the_driver_is_interrupted_as_it_wishes() {
    for features in [0, FEATURE_EVENT_INDEX] {
        let mut driver = Driver::new(&memory(), 0, 8);
        let mut queue = queue(&driver, features);
        let (dma, available) = (driver.dma.clone(), driver.layout.available);
        let mut complete = || {
            driver.offer(&[readable(BUFFERS, 1)]);
            let chain = queue.pop().unwrap().unwrap();
            queue.push(&chain, 0).unwrap();
            queue.signal().unwrap();
            let reasons = queue.interrupt.reasons();
            queue.interrupt.set(|_| 0);
            reasons
        };
        assert_eq!(complete(), 1);
        let (flags, event) = (available, available + 4 + 16);
        if features == 0 {
            dma.store_u16(Pa(flags), NO_INTERRUPT).unwrap();
            assert_eq!(complete(), 0);
        } else {
            dma.store_u16(Pa(event), 2).unwrap();
            assert_eq!([complete(), complete(), complete()], [0, 1, 0]);
        }
    }
}

#[test]
fn a_table_of_its_own_is_followed_once() {
    let mut driver = Driver::new(&memory(), 0, 4);
    let mut queue = queue(&driver, FEATURE_INDIRECT);
    let table = BUFFERS + 0x1000;
    driver.describe(table, 0, BUFFERS, 10, FLAG_NEXT, 2);
    driver.describe(table, 2, BUFFERS + 10, 20, FLAG_WRITE, 0);
    driver.describe(driver.layout.descriptors, 0, table, 48, FLAG_INDIRECT, 0);
    driver.publish(0);
    let chain = queue.pop().unwrap().unwrap();
    assert_eq!((chain.readable(), chain.writable()), (10, 20));
    let bad = [
        (table, 47, FLAG_INDIRECT, RingError::Indirect),
        (table, 0, FLAG_INDIRECT, RingError::Indirect),
        (table, 48, FLAG_INDIRECT | FLAG_NEXT, RingError::Indirect),
        (u64::MAX - 15, 48, FLAG_INDIRECT, RingError::Indirect),
        (table, 32, FLAG_INDIRECT, RingError::Index(2)),
        (RAM - 16, 48, FLAG_INDIRECT, RingError::Index(0)),
    ];
    for (address, length, flags, error) in bad {
        driver.describe(driver.layout.descriptors, 1, address, length, flags, 0);
        driver.describe(RAM - 16, 0, BUFFERS, 1, 0, 0);
        let result = queue.follow(1).map(|_| ());
        if address == RAM - 16 {
            assert_eq!(result, Ok(()), "what is outside of RAM is not reached");
        } else {
            assert_eq!(result, Err(error));
        }
    }
    driver.describe(table, 0, table, 16, FLAG_INDIRECT, 0);
    driver.describe(driver.layout.descriptors, 1, table, 16, FLAG_INDIRECT, 0);
    assert_eq!(queue.follow(1).map(|_| ()), Err(RingError::Indirect));
}

#[test]
fn what_a_driver_must_not_do_is_an_error() {
    let driver = Driver::new(&memory(), 0, 4);
    let mut queue = queue(&driver, 0);
    let table = driver.layout.descriptors;
    let follow = |queue: &Queue, head| queue.follow(head).map(|_| ());
    assert_eq!(follow(&queue, 4), Err(RingError::Index(4)));
    driver.describe(table, 0, BUFFERS, 1, FLAG_NEXT, 1);
    driver.describe(table, 1, BUFFERS, 1, FLAG_NEXT, 0);
    assert_eq!(follow(&queue, 0), Err(RingError::Loop));
    driver.describe(table, 1, BUFFERS, 1, FLAG_NEXT, 9);
    assert_eq!(follow(&queue, 0), Err(RingError::Index(9)));
    driver.describe(table, 0, BUFFERS, 1, FLAG_NEXT | FLAG_WRITE, 1);
    driver.describe(table, 1, BUFFERS, 1, 0, 0);
    assert_eq!(follow(&queue, 0), Err(RingError::Order));
    for (address, length) in [(RAM, 1), (RAM - 1, 2), (u64::MAX, 1), (u64::MAX - 1, u32::MAX), (0, u32::MAX)]
    {
        driver.describe(table, 0, address, length, 0, 0);
        assert!(matches!(follow(&queue, 0), Err(RingError::Memory(_))));
    }
    driver.dma.store_u16(Pa(driver.layout.available + 2), 5).unwrap();
    assert!(matches!(queue.pop(), Err(RingError::Overrun(5))));
}

#[test]
fn layouts_are_checked() {
    let dma = memory();
    let good = Driver::new(&dma, 0, 256).layout;
    let make = |layout| Queue::new(&dma, &Arc::default(), layout, 256, 0).map(|_| ());
    assert_eq!(make(good), Ok(()));
    for size in [0, 3, 512, 0x8000, u16::MAX] {
        assert_eq!(make(Layout { size, ..good }), Err(RingError::Layout));
    }
    assert_eq!(make(Layout { descriptors: 8, ..good }), Err(RingError::Layout));
    assert_eq!(make(Layout { available: 1, ..good }), Err(RingError::Layout));
    assert_eq!(make(Layout { used: 2, ..good }), Err(RingError::Layout));
    for place in [RAM, RAM - 16, !15] {
        assert!(matches!(make(Layout { descriptors: place, ..good }), Err(RingError::Memory(_))));
        assert!(matches!(make(Layout { available: place, ..good }), Err(RingError::Memory(_))));
        assert!(matches!(make(Layout { used: place, ..good }), Err(RingError::Memory(_))));
    }
}

proptest! {
    /// Whatever is in memory, a queue gives chains within RAM or an error, and always an answer.
    #[test]
    fn any_bytes_make_chains_in_ram_or_an_error(
        descriptors in vec((any::<u64>(), any::<u32>(), 0u16..8, 0u16..10), 8),
        near in any::<bool>(),
        heads in vec(0u16..9, 8),
        index in 0u16..12,
    ) {
        let driver = Driver::new(&memory(), 0, 8);
        for (at, (address, length, flags, next)) in (0..).zip(descriptors) {
            let (address, length) = if near { (address % RAM, length % 4096) } else { (address, length) };
            driver.describe(driver.layout.descriptors, at, address, length, flags, next);
        }
        for (slot, head) in (0..).zip(heads) {
            driver.dma.store_u16(Pa(driver.layout.available + 4 + 2 * slot), head).unwrap();
        }
        driver.dma.store_u16(Pa(driver.layout.available + 2), index).unwrap();
        let mut queue = queue(&driver, FEATURE_INDIRECT);
        for _ in 0..12 {
            let Ok(Some(chain)) = queue.pop() else { break };
            let room = chain.writable().min(1 << 16);
            prop_assert_eq!(chain.write(0, &vec![0; room as usize]), Ok(()));
            let given = chain.readable().min(1 << 16);
            prop_assert_eq!(chain.read(0, &mut vec![0; given as usize]), Ok(()));
            queue.push(&chain, 0).unwrap();
            queue.signal().unwrap();
        }
    }
}

#[test]
fn requests_that_belong_together_are_given_back_at_once() {
    const TURNS: u16 = 20_000;
    let mut driver = Driver::new(&memory(), 0, 4);
    let mut queue = queue(&driver, 0);
    let (dma, index) = (driver.dma.clone(), Pa(driver.layout.used + 2));
    let watcher = std::thread::spawn(move || {
        let mut seen = 0;
        while seen < 2 * TURNS {
            seen = dma.load_u16(index).unwrap();
            assert!(seen.is_multiple_of(2), "one of two is there");
        }
    });
    for _ in 0..TURNS {
        let chains = [0, 1].map(|number| {
            driver.offer(&[writable(BUFFERS + 16 * number, 16)]);
            queue.pop().unwrap().unwrap()
        });
        queue.push_together(&[(&chains[0], 3), (&chains[1], 4)]).unwrap();
        let lengths = [driver.reclaim().unwrap().1, driver.reclaim().unwrap().1];
        assert_eq!((lengths, driver.reclaim()), ([3, 4], None));
    }
    watcher.join().unwrap();
}
