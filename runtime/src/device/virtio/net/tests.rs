//! The card with a network that keeps what it is sent and gives what it is told to.

use std::collections::VecDeque;
use std::sync::Mutex;

use translator::addr::Pa;

use super::*;
use crate::device::lock;
use crate::device::virtio::testing::{BUFFERS, Driver, memory, readable, writable};

/// What a test sees of the network.
#[derive(Default)]
struct Cable {
    sent: Mutex<Vec<Vec<u8>>>,
}

struct Fake {
    cable: Arc<Cable>,
    frames: VecDeque<Frame>,
}

impl Network for Fake {
    fn offloads(&self) -> Offloads {
        Offloads { checksum: true, tcp4: false, tcp6: true }
    }

    fn start(&mut self, _guest: Mac, _offloads: Offloads, _events: &Arc<Events>) {}

    fn send(&mut self, frame: &Frame) {
        lock(&self.cable.sent).push(frame.bytes.clone());
    }

    fn has_room(&self) -> bool {
        lock(&self.cable.sent).len() < 3
    }

    fn serve(&mut self, _ready: &[u64], _drained: bool) {}

    fn peek(&self) -> Option<&Frame> {
        self.frames.front()
    }

    fn advance(&mut self) {
        self.frames.pop_front();
    }

    fn patience(&mut self) -> Option<Duration> {
        None
    }

    fn stop(&mut self) {}
}

struct Bench {
    net: Net,
    cable: Arc<Cable>,
    queues: [Option<Queue>; 2],
    receive: Driver,
    transmit: Driver,
}

impl Bench {
    fn new(frames: impl IntoIterator<Item = Frame>) -> Self {
        let dma = memory();
        let [receive, transmit] = [0, 1].map(|number| Driver::new(&dma, number, 8));
        let queue = |driver: &Driver| Queue::new(&dma, &Arc::default(), driver.layout, 256, 0).unwrap();
        let queues = [Some(queue(&receive)), Some(queue(&transmit))];
        let cable = Arc::new(Cable::default());
        let fake = Fake { cable: cable.clone(), frames: frames.into_iter().collect() };
        let mut net = Net::new(Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]), Box::new(fake));
        net.activate(FEATURE_MERGED_BUFFERS, &Arc::new(Events::new().unwrap()));
        Self { net, cable, queues, receive, transmit }
    }

    fn serve(&mut self) -> Result<(), RingError> {
        self.net.serve(&mut self.queues, &[])
    }
}

fn frame(length: usize) -> Frame {
    Frame { bytes: (0..length).map(|at| at as u8).collect(), ..Frame::default() }
}

#[test]
fn frames_are_sent_without_their_header() {
    let mut bench = Bench::new([]);
    bench.transmit.dma.write(Pa(BUFFERS + 12), b"a short frame.").unwrap();
    bench.transmit.offer(&[readable(BUFFERS, 10), readable(BUFFERS + 10, 16)]);
    // There is nothing that is so long, or so short.
    bench.transmit.offer(&[readable(BUFFERS, 12), readable(BUFFERS, 65_550)]);
    bench.transmit.offer(&[readable(BUFFERS, 25)]);
    bench.serve().unwrap();
    assert_eq!(*lock(&bench.cable.sent), [b"a short frame."]);
    assert_eq!(std::iter::from_fn(|| bench.transmit.reclaim()).count(), 3);
    bench.transmit.offer(&[readable(BUFFERS, 11)]);
    assert_eq!(bench.serve(), Err(RingError::Short));
}

#[test]
fn a_long_frame_fills_several_buffers_when_there_are_enough() {
    let mut bench = Bench::new([frame(200), frame(20)]);
    bench.receive.offer(&[writable(BUFFERS, 100)]);
    bench.serve().unwrap();
    assert_eq!(bench.receive.reclaim(), None);
    bench.receive.offer(&[writable(BUFFERS + 100, 50), writable(BUFFERS + 150, 50)]);
    bench.serve().unwrap();
    assert_eq!(bench.receive.reclaim(), None);
    for number in 2..5 {
        bench.receive.offer(&[writable(BUFFERS + number * 100, 100)]);
    }
    bench.serve().unwrap();
    let lengths: Vec<u32> =
        std::iter::from_fn(|| bench.receive.reclaim()).map(|(_, length)| length).collect();
    assert_eq!(lengths, [100, 100, 12, 32]);
    let bytes = bench.receive.bytes(BUFFERS, 332);
    assert_eq!(bytes[10..12], [3, 0]);
    assert_eq!(bytes[12..212], frame(200).bytes);
    assert_eq!(bytes[312..332], frame(20).bytes);
}

#[test]
fn frames_wait_while_the_network_has_no_room() {
    let mut bench = Bench::new([]);
    for _ in 0..5 {
        bench.transmit.offer(&[readable(BUFFERS, 72)]);
    }
    bench.serve().unwrap();
    assert_eq!(std::iter::from_fn(|| bench.transmit.reclaim()).count(), 3);
    lock(&bench.cable.sent).clear();
    bench.serve().unwrap();
    assert_eq!(std::iter::from_fn(|| bench.transmit.reclaim()).count(), 2);
}

#[test]
fn frames_that_rely_on_what_was_not_offered_are_dropped() {
    let mut bench = Bench::new([]);
    let headers = [[1, 1, 66, 0, 0xa8, 5, 34, 0, 16, 0, 0, 0], [1, 4, 66, 0, 0xa8, 5, 34, 0, 16, 0, 0, 0]];
    for (number, header) in (0..).zip(&headers) {
        bench.transmit.dma.write(Pa(BUFFERS + number * 100), header).unwrap();
        bench.transmit.offer(&[readable(BUFFERS + number * 100, 90)]);
    }
    bench.serve().unwrap();
    assert_eq!(lock(&bench.cable.sent).len(), 1);
    assert_eq!(std::iter::from_fn(|| bench.transmit.reclaim()).count(), 2);
}

#[test]
fn a_buffer_without_room_is_the_drivers_fault() {
    let mut bench = Bench::new([frame(200)]);
    bench.net.merged_buffers = false;
    bench.receive.offer(&[writable(BUFFERS, 100)]);
    assert_eq!(bench.serve(), Err(RingError::Short));
    assert_eq!(bench.net.configuration(), [0x52, 0x54, 0, 0x12, 0x34, 0x56, 1, 0]);
    let offloads = FEATURE_CHECKSUM | FEATURE_HOST_TCP4 | FEATURE_HOST_TCP6;
    assert_eq!(bench.net.features() & offloads, FEATURE_CHECKSUM | FEATURE_HOST_TCP6);
}

#[test]
fn a_frame_that_is_longer_than_ethernet_allows_is_lost_where_there_is_no_room() {
    let mut bench = Bench::new([frame(1515), frame(20)]);
    bench.net.merged_buffers = false;
    bench.receive.offer(&[writable(BUFFERS, 1526)]);
    bench.serve().unwrap();
    assert_eq!(bench.receive.reclaim(), Some((0, 32)));
}

#[test]
fn a_card_that_goes_on_elsewhere_says_so() {
    let mut bench = Bench::new([]);
    bench.net.resume();
    let sent = lock(&bench.cable.sent).remove(0);
    assert_eq!(sent[..14], [255, 255, 255, 255, 255, 255, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 0x80, 0x35]);
    assert_eq!((sent.len(), &sent[22..28]), (60, &sent[32..38]));
}
