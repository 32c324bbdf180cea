//! Virtio devices under drivers that mostly know what they do: requests as the device wants them, with a few things
//! wrong in them, and now and then anything anywhere in rings, buffers and registers. A driver whose device asks for a
//! reset begins anew.

use std::fs::File;
use std::io::{Error, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use fuzzing::run;

use super::*;
use crate::backend::disk::{Format, Image, SharedDisk};
use crate::backend::events::Events;
use crate::backend::net::header::HEADER_LENGTH;
use crate::backend::net::stream::{self, Stream};
use crate::backend::net::{
    ETHERNET_HEADER, Frame, LONGEST_FRAME, Mac, Network, Offloads, Segment, SegmentKind,
};
use crate::backend::terminal::{self, Terminal};
use crate::device::virtio::block::Block;
use crate::device::virtio::console::Console;
use crate::device::virtio::entropy::Entropy;
use crate::device::virtio::net::Net;
use crate::device::virtio::testing::{BUFFERS, Driver, Part, RAM, memory, readable, writable};
use crate::device::virtio::{FEATURE_VERSION_1, Transport, VirtioDevice};
use crate::memory::Dma;

/// A number of the kinds that find mistakes, among them addresses in RAM.
fn value(numbers: &mut Numbers) -> u64 {
    if numbers.once_in(5) { numbers.below(RAM) } else { numbers.value() }
}

/// Where `length` bytes are put.
fn place(numbers: &mut Numbers, length: u64) -> u64 {
    BUFFERS + numbers.below(RAM - BUFFERS - length)
}

/// Puts `bytes` somewhere, for the device to read them in one piece or in two.
fn put(dma: &Dma, numbers: &mut Numbers, bytes: &[u8]) -> Vec<Part> {
    let length = bytes.len() as u64;
    let start = place(numbers, length);
    dma.write(Pa(start), bytes).expect("it is in RAM");
    if numbers.once_in(4) {
        let first = numbers.below(length + 1);
        return vec![readable(start, first as u32), readable(start + first, (length - first) as u32)];
    }
    vec![readable(start, length as u32)]
}

/// Room for the device to write `length` bytes into, in one piece or in some.
fn room(numbers: &mut Numbers, length: u64) -> Vec<Part> {
    let pieces = if numbers.once_in(4) { 1 + numbers.below(6) } else { 1 };
    let length = length / pieces;
    (0..pieces).map(|_| writable(place(numbers, length), length as u32)).collect()
}

/// A driver's request to a queue, as it should be; what the device is to read is in memory.
type Request = fn(queue: u64, dma: &Dma, numbers: &mut Numbers) -> Vec<Part>;

/// A virtio device that the fuzzer has in hand, and the driver's memory.
struct Bench {
    transport: Arc<Transport>,
    dma: Dma,
    queues: u64,
    request: Request,
}

/// The driver's end of a device.
struct Drivers {
    queues: Vec<Driver>,
    features: u64,
}

// The registers that lead a driver to a running device, and those that it uses then (virtio 1.2, section 4.2.2).
const DEVICE_FEATURES: u64 = 0x10;
const DEVICE_FEATURES_SELECT: u64 = 0x14;
const DRIVER_FEATURES: u64 = 0x20;
const DRIVER_FEATURES_SELECT: u64 = 0x24;
const QUEUE_SELECT: u64 = 0x30;
const QUEUE_SIZE: u64 = 0x38;
const QUEUE_READY: u64 = 0x44;
const QUEUE_NOTIFY: u64 = 0x50;
const INTERRUPT_STATUS: u64 = 0x60;
const INTERRUPT_ACKNOWLEDGE: u64 = 0x64;
const STATUS: u64 = 0x70;
const DESCRIPTORS: u64 = 0x80;
const AVAILABLE: u64 = 0x90;
const USED: u64 = 0xa0;
const CONFIGURATION: u64 = 0x100;

const NEEDS_RESET: u64 = 1 << 6;
const FEATURE_INDIRECT: u64 = 1 << 28;

impl Bench {
    /// A device that is served by a thread of its own or, `at_once`, by who notifies it.
    fn new(device: Box<dyn VirtioDevice>, at_once: bool, request: Request) -> Self {
        let dma = memory();
        let queues = device.queue_sizes().len() as u64;
        let transport = Transport::new(device, dma.clone()).expect("the host has threads");
        let transport = if at_once { transport.at_once() } else { transport };
        Self { transport: Arc::new(transport).wire(line()), dma, queues, request }
    }

    fn read(&self, offset: u64) -> u64 {
        self.transport.read(Access { offset, size: Size::Word, vcpu: 0 })
    }

    fn write(&self, offset: u64, value: u64) {
        self.transport.write(Access { offset, size: Size::Word, vcpu: 0 }, value);
    }

    fn offered(&self) -> u64 {
        let word = |select| {
            self.write(DEVICE_FEATURES_SELECT, select);
            self.read(DEVICE_FEATURES)
        };
        word(0) | word(1) << 32
    }

    /// Sets the device up with `features` and queues of `size`, whatever it did before.
    fn set_up(&self, features: u64, size: u16) -> Drivers {
        self.write(STATUS, 0);
        self.dma.write(Pa(0), &[0; BUFFERS as usize]).expect("it is in RAM");
        for status in [1, 3] {
            self.write(STATUS, status);
        }
        for select in 0..2 {
            self.write(DRIVER_FEATURES_SELECT, select);
            self.write(DRIVER_FEATURES, features >> (32 * select) & 0xffff_ffff);
        }
        self.write(STATUS, 11);
        let queues = (0..self.queues).map(|number| {
            let driver = Driver::new(&self.dma, number, size);
            self.write(QUEUE_SELECT, number);
            self.write(QUEUE_SIZE, size.into());
            self.write(DESCRIPTORS, driver.layout.descriptors);
            self.write(AVAILABLE, driver.layout.available);
            self.write(USED, driver.layout.used);
            self.write(QUEUE_READY, 1);
            driver
        });
        let queues = queues.collect();
        self.write(STATUS, 15);
        Drivers { queues, features }
    }

    /// Sets the device up as some driver would.
    fn set_up_somehow(&self, numbers: &mut Numbers) -> Drivers {
        let wanted = numbers.one_of(&[0, u64::MAX, numbers.clone().next()]);
        self.set_up(self.offered() & wanted | FEATURE_VERSION_1, numbers.one_of(&[2, 8, 8, 64]))
    }

    /// Any bytes where they hurt: descriptors, rings, headers.
    fn spoil(&self, driver: &Driver, numbers: &mut Numbers) {
        let table = driver.layout.descriptors;
        match numbers.below(4) {
            0 => {
                let (index, next) = (numbers.below(20) as u16, numbers.below(20) as u16);
                let address =
                    if numbers.below(4) == 0 { value(numbers) } else { BUFFERS + numbers.below(0x4000) };
                let length = numbers.one_of(&[0, 1, 16, 17, 512, 4096, 0x8000, u32::MAX]);
                driver.describe(table, index, address, length, numbers.below(8) as u16, next);
            }
            1 => driver
                .dma
                .store_u16(Pa(driver.layout.available + 2 * numbers.below(40)), numbers.below(20) as u16)
                .expect("the ring is in RAM"),
            2 => {
                // A header of a disk, as it happens.
                let kind = numbers.one_of(&[0u32, 1, 4, 8, 11, 13, 99]);
                let bytes = [u64::from(kind).to_le_bytes(), numbers.below(40).to_le_bytes()].concat();
                self.dma.write(Pa(BUFFERS + numbers.below(64) * 16), &bytes).expect("buffers are in RAM");
            }
            _ => {
                let bytes = value(numbers).to_le_bytes();
                self.dma.write(Pa(numbers.below(RAM - 8)), &bytes).expect("it is in RAM");
            }
        }
    }

    /// A request to one of the queues, if it has room; now and then with something wrong in it.
    fn offer(&self, drivers: &mut Drivers, numbers: &mut Numbers) {
        let queue = numbers.index(drivers.queues.len());
        let driver = &mut drivers.queues[queue];
        while driver.reclaim().is_some() {}
        if driver.in_flight() >= driver.layout.size / 2 && !numbers.once_in(32) {
            return;
        }
        let mut parts = (self.request)(queue as u64, &self.dma, numbers);
        if numbers.once_in(6) {
            damage(&mut parts, numbers);
        }
        let is_long = parts.len() > usize::from(driver.layout.size / 2);
        if drivers.features & FEATURE_INDIRECT != 0 && (is_long || numbers.once_in(2)) {
            let table = place(numbers, 16 * parts.len() as u64) & !15;
            driver.offer_indirectly(table, &parts);
        } else {
            driver.offer(&parts);
        }
    }

    /// Where the driver wants its next interrupt.
    fn ask_for_interrupt(&self, driver: &Driver, numbers: &mut Numbers) {
        let event = driver.layout.available + 4 + 2 * u64::from(driver.layout.size);
        let (place, value) = match numbers.once_in(2) {
            true => (driver.layout.available, numbers.below(2)),
            false => (event, numbers.below(300)),
        };
        self.dma.store_u16(Pa(place), value as u16).expect("the ring is in RAM");
    }

    fn step(&self, drivers: &mut Drivers, numbers: &mut Numbers) {
        let driver = numbers.index(drivers.queues.len());
        match numbers.below(32) {
            0 => self.write(access(numbers, 0x200).offset & !3, value(numbers)),
            1 => _ = self.transport.read(access(numbers, 0x200)),
            2 => self.transport.write(access(numbers, 0x200), value(numbers)),
            3 => {
                let at = Access { offset: CONFIGURATION + numbers.below(64), size: Size::Byte, vcpu: 0 };
                self.transport.write(at, numbers.below(3));
            }
            4 => self.ask_for_interrupt(&drivers.queues[driver], numbers),
            5 => {
                let reasons = self.read(INTERRUPT_STATUS);
                self.write(INTERRUPT_ACKNOWLEDGE, reasons);
            }
            6 if numbers.once_in(4) => survive_a_move(&*self.transport, numbers),
            7 if numbers.once_in(8) => {
                self.write(QUEUE_SELECT, driver as u64);
                self.write(QUEUE_READY, 0);
            }
            8 if numbers.once_in(16) => *drivers = self.set_up_somehow(numbers),
            9..=11 => self.spoil(&drivers.queues[driver], numbers),
            12..=20 => self.write(QUEUE_NOTIFY, driver as u64),
            _ => self.offer(drivers, numbers),
        }
        // One that does not look goes on in vain for a while.
        if self.read(STATUS) & NEEDS_RESET != 0 && numbers.once_in(4) {
            *drivers = self.set_up_somehow(numbers);
        }
    }

    /// One case: anything, and then, after a reset, a request to `queue` as it should be, which must be served.
    fn case(&self, numbers: &mut Numbers, queue: usize, request: impl FnOnce(&mut Driver)) {
        let mut drivers = self.set_up_somehow(numbers);
        for _ in 0..STEPS {
            self.step(&mut drivers, numbers);
        }
        let start = Instant::now();
        drivers = self.set_up(FEATURE_VERSION_1, 8);
        let driver = &mut drivers.queues[queue];
        request(driver);
        self.write(QUEUE_NOTIFY, queue as u64);
        while driver.reclaim().is_none() {
            assert!(start.elapsed() < PATIENCE, "the device does not serve a request any more");
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

/// Makes something of a request wrong.
fn damage(parts: &mut Vec<Part>, numbers: &mut Numbers) {
    if parts.is_empty() {
        return;
    }
    let index = numbers.index(parts.len());
    match numbers.below(6) {
        0 => parts[index].writable ^= true,
        1 => parts[index].length = value(numbers) as u32,
        2 => parts[index].address = value(numbers),
        3 => drop(parts.remove(index)),
        4 => parts.insert(index, parts[index]),
        _ => {
            let other = numbers.index(parts.len());
            parts.swap(index, other);
        }
    }
}

/// A file without a name, in memory: nothing is fast that waits for a disk at each flush.
fn memory_file(content: &[u8]) -> File {
    let file = rustix::fs::memfd_create("disk", rustix::fs::MemfdFlags::CLOEXEC);
    let mut file = File::from(file.expect("the host has memory"));
    file.write_all(content).expect("the host has memory");
    file
}

/// The bytes of disks in these tests.
const DISK: u64 = 1 << 20;
const SECTORS: u64 = DISK / 512;

/// A request to a disk.
fn disk_request(_queue: u64, dma: &Dma, numbers: &mut Numbers) -> Vec<Part> {
    const READ: u64 = 0;
    const WRITE: u64 = 1;
    const FLUSH: u64 = 4;
    const NAME: u64 = 8;
    const DISCARD: u64 = 11;
    const WRITE_ZEROES: u64 = 13;
    let kind =
        numbers.one_of(&[READ, READ, READ, WRITE, WRITE, WRITE, FLUSH, NAME, DISCARD, WRITE_ZEROES, 99]);
    let sector = if numbers.once_in(16) { numbers.value() } else { numbers.below(SECTORS) };
    let header = [kind.to_le_bytes(), sector.to_le_bytes()].concat();
    let mut parts = put(dma, numbers, &header);
    let length = 512 << numbers.below(6);
    match kind {
        READ => parts.extend(room(numbers, length)),
        NAME => parts.extend(room(numbers, 20)),
        WRITE => parts.push(readable(place(numbers, length), length as u32)),
        DISCARD | WRITE_ZEROES => {
            let ranges: Vec<u8> = (0..numbers.below(18)).flat_map(|_| range(numbers)).collect();
            parts.extend(put(dma, numbers, &ranges));
        }
        _ => {}
    }
    parts.push(writable(place(numbers, 1), 1));
    parts
}

/// A range to discard or to write zeroes to (section 5.2.6, `virtio_blk_discard_write_zeroes`).
fn range(numbers: &mut Numbers) -> Vec<u8> {
    let (start, length) = match numbers.once_in(32) {
        true => (numbers.value(), numbers.value()),
        false => (numbers.below(SECTORS), numbers.below(64)),
    };
    [&start.to_le_bytes()[..], &(length as u32).to_le_bytes(), &(numbers.below(3) as u32).to_le_bytes()]
        .concat()
}

/// A read of a disk's first sector.
fn read_sector(driver: &mut Driver) {
    driver.dma.write(Pa(BUFFERS), &[0; 16]).expect("buffers are in RAM");
    driver.offer(&[readable(BUFFERS, 16), writable(BUFFERS + 0x1000, 512), writable(BUFFERS + 0x800, 1)]);
}

/// Disks with `content` in `format`: one that is changed, with a thread of its own or at once, one that is not, and one
/// whose changes are forgotten.
fn fuzz_disk(format: Format, content: &[u8]) {
    let files = [0; 3].map(|_| memory_file(content));
    let disk = |file: &File, read_only, snapshot| {
        let file = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
        SharedDisk::open(&Image { file, format: Some(format), read_only, snapshot }).expect("it is an image")
    };
    let bench = |disk: &SharedDisk, at_once| {
        Bench::new(Box::new(Block::new(disk.clone(), "fuzz")), at_once, disk_request)
    };
    let changed = disk(&files[0], false, false);
    let benches = [
        bench(&changed, false),
        bench(&changed, true),
        bench(&disk(&files[1], true, false), true),
        bench(&disk(&files[2], false, true), false),
    ];
    run(|numbers| benches[numbers.index(benches.len())].case(numbers, 0, read_sector));
}

#[test]
fn block() {
    fuzz_disk(Format::Raw, &vec![7; DISK as usize]);
}

#[test]
fn block_qcow2() {
    let file = tempfile::NamedTempFile::new().expect("there is a temporary directory");
    let mut command = std::process::Command::new("qemu-img");
    let made = command.args(["create", "-q", "-f", "qcow2"]).arg(file.path()).arg(DISK.to_string()).status();
    assert!(made.expect("qemu-img runs: install qemu-utils").success());
    fuzz_disk(Format::Qcow2, &std::fs::read(file.path()).expect("it was made"));
}

#[test]
fn entropy() {
    let request: Request = |_, _, numbers| {
        let length = numbers.below(3000);
        room(numbers, length)
    };
    let benches = [false, true].map(|at_once| Bench::new(Box::new(Entropy), at_once, request));
    run(|numbers| {
        let ask = |driver: &mut Driver| _ = driver.offer(&[writable(BUFFERS, 64)]);
        benches[numbers.index(2)].case(numbers, 0, ask);
    });
}

const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;

/// A request to pass on what the driver gives: to print it, or to send it behind a header.
fn pass_on(driver: &mut Driver) {
    driver.offer(&[readable(BUFFERS, 72)]);
}

/// Room for what comes, or something to print.
fn console_request(queue: u64, dma: &Dma, numbers: &mut Numbers) -> Vec<Part> {
    let length = numbers.below(9000);
    if queue == RECEIVE as u64 {
        room(numbers, length)
    } else {
        put(dma, numbers, &vec![b'y'; length as usize])
    }
}

#[test]
fn console_transmit() {
    let file = tempfile::NamedTempFile::new().expect("there is a temporary directory");
    let console = || {
        let end = terminal::End::File(file.path().to_owned());
        Box::new(Console::new(Terminal::open(&end).expect("it can be written")))
    };
    let benches = [false, true].map(|at_once| Bench::new(console(), at_once, console_request));
    run(|numbers| {
        // Or whatever is printed stays in the file.
        file.as_file().set_len(0).expect("it can be emptied");
        benches[numbers.index(2)].case(numbers, TRANSMIT, pass_on);
    });
}

/// Somebody at a socket, who hangs up when dropped. To close the socket is not enough: a process that another test is
/// just about to start may have it, too.
struct Peer(UnixStream);

impl Drop for Peer {
    fn drop(&mut self) {
        // The device may have hung up first.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// A device whose other end is a socket at which somebody is who says `words` and takes what is said, and who knocks
/// anew for each case.
fn fuzz_peer(device: impl FnOnce(&Path) -> Box<dyn VirtioDevice>, words: &[u8], request: Request) {
    let directory = tempfile::tempdir().expect("there is a temporary directory");
    let path = directory.path().join("socket");
    let bench = Bench::new(device(&path), false, request);
    let knock = || {
        let mut peer = UnixStream::connect(&path).expect("somebody waits at the socket");
        // One that comes while the device still has the last is turned away, perhaps in the middle of a word.
        let is_hang_up =
            |error: &Error| matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
        if let Err(error) = peer.write_all(words) {
            assert!(is_hang_up(&error), "the socket has no room: {error}");
        }
        Peer(peer)
    };
    run(|numbers| {
        let mut first = knock();
        if numbers.once_in(2) {
            first.0.set_nonblocking(true).expect("it is a socket");
            // There need not be anything.
            let _ = first.0.read(&mut [0; 4096]);
        }
        let mut second = None;
        bench.case(numbers, RECEIVE, |driver| {
            drop(first);
            second = Some(knock());
            driver.offer(&[writable(BUFFERS, 2048)]);
        });
    });
}

#[test]
fn console_receive() {
    let console = |path: &Path| -> Box<dyn VirtioDevice> {
        let end = terminal::End::Listen(path.to_owned());
        Box::new(Console::new(Terminal::open(&end).expect("it is a place for a socket")))
    };
    fuzz_peer(console, &[b'x'; 4096], console_request);
}

/// An address for a card.
fn mac() -> Mac {
    Mac::of_card("fuzz", 0)
}

/// Room for a frame, or one behind its header (section 5.1.6), which mostly fits it.
fn card_request(queue: u64, dma: &Dma, numbers: &mut Numbers) -> Vec<Part> {
    if queue == RECEIVE as u64 {
        let length = numbers.one_of(&[1526, 2048, 2048, 4096, 70_000, 100]);
        return room(numbers, length);
    }
    let length = numbers.one_of(&[13, 14, 60, 60, 1514, 1514, 9000, 65_549, 66_000]);
    let needs_checksum = !numbers.once_in(4);
    let kind = numbers.one_of(&[0, 0, 1, 4, 0x81, 3, 0x84]);
    let half = |value: u16| value.to_le_bytes();
    let (start, offset) = match numbers.once_in(8) {
        true => (numbers.value() as u16, numbers.value() as u16),
        false => (numbers.below(60) as u16, numbers.one_of(&[6, 16])),
    };
    let size = numbers.one_of(&[0, 536, 1448, 1448, 65_535]);
    let mut bytes = vec![u8::from(needs_checksum), kind];
    bytes.extend([half(54), half(size), half(start), half(offset), half(0)].concat());
    bytes.resize(HEADER_LENGTH + length, 0x5a);
    put(dma, numbers, &bytes)
}

/// A network that looks whether the card keeps to its offloads, and has frames of every kind for the guest.
struct Fabric {
    offloads: Offloads,
    /// Those of the guest.
    taken: Offloads,
    next: Frame,
    /// How many frames the guest has had.
    turn: usize,
    /// How many frames it takes until it is served.
    room: u32,
}

impl Fabric {
    fn new(offloads: Offloads) -> Self {
        Self { offloads, taken: Offloads::default(), next: Frame::default(), turn: 0, room: 0 }
    }

    /// Whether `offloads` allow what is left to do in `frame`.
    fn keeps_to(offloads: Offloads, frame: &Frame) -> bool {
        let segments = match frame.segment.map(|segment| segment.kind) {
            None => true,
            Some(SegmentKind::Tcp4) => offloads.tcp4,
            Some(SegmentKind::Tcp6) => offloads.tcp6,
        };
        segments && (frame.checksum.is_none() || offloads.checksum)
    }

    /// The next frame that the guest's offloads allow.
    fn prepare(&mut self) {
        let whole = |length| Frame { bytes: vec![0x69; length], ..Frame::default() };
        let checked = |length| Frame { checksum: Some((34, 16)), ..whole(length) };
        let long = |kind| Frame { segment: Some(Segment { kind, size: 1448 }), ..checked(40_000) };
        let kinds = [
            whole(60),
            whole(1514),
            checked(60),
            long(SegmentKind::Tcp4),
            whole(9000),
            long(SegmentKind::Tcp6),
            checked(46),
        ];
        let allowed: Vec<Frame> =
            kinds.into_iter().filter(|frame| Self::keeps_to(self.taken, frame)).collect();
        self.next = allowed[self.turn % allowed.len()].clone();
    }
}

impl Network for Fabric {
    fn offloads(&self) -> Offloads {
        self.offloads
    }

    fn start(&mut self, _guest: Mac, offloads: Offloads, _events: &Arc<Events>) {
        *self = Self { taken: offloads, room: 8, ..Self::new(self.offloads) };
        self.prepare();
    }

    fn send(&mut self, frame: &Frame) {
        assert!(Self::keeps_to(self.offloads, frame));
        assert!((ETHERNET_HEADER..=LONGEST_FRAME).contains(&frame.bytes.len()));
        assert!(frame.segment.is_none_or(|segment| segment.size > 0 && frame.checksum.is_some()));
        let end = frame.checksum.map_or(0, |(start, offset)| usize::from(start) + usize::from(offset) + 2);
        assert!(end <= frame.bytes.len());
        self.room = self.room.saturating_sub(1);
    }

    fn has_room(&self) -> bool {
        self.room > 0
    }

    fn serve(&mut self, _ready: &[u64], _drained: bool) {
        self.room = 8;
    }

    fn peek(&self) -> Option<&Frame> {
        Some(&self.next)
    }

    fn advance(&mut self) {
        self.turn += 1;
        self.prepare();
    }

    fn patience(&mut self) -> Option<Duration> {
        (self.room == 0).then_some(Duration::from_millis(1))
    }

    fn stop(&mut self) {}
}

/// Cards in networks with all offloads and without any.
#[test]
fn net_transmit() {
    let all = Offloads { checksum: true, tcp4: true, tcp6: true };
    let kinds = [(all, false), (all, true), (Offloads::default(), true)];
    let benches = kinds.map(|(offloads, at_once)| {
        Bench::new(Box::new(Net::new(mac(), Box::new(Fabric::new(offloads)))), at_once, card_request)
    });
    run(|numbers| benches[numbers.index(benches.len())].case(numbers, TRANSMIT, pass_on));
}

#[test]
fn net_receive() {
    let card = |path: &Path| -> Box<dyn VirtioDevice> {
        let end = stream::End::Listen(path.to_owned());
        Box::new(Net::new(mac(), Box::new(Stream::new(&end).expect("it is a place for a socket"))))
    };
    let frame = [&60u32.to_be_bytes()[..], &[7; 60]].concat();
    fuzz_peer(card, &frame.repeat(64), card_request);
}
