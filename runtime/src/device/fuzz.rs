//! Devices under a guest that does anything: random accesses to every register in every width, and for virtio random
//! rings in RAM. What must hold is that nothing panics, hangs or leaves RAM, and that after a reset a device works as
//! ever.

use std::io::{Error, ErrorKind, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fuzzing::{Numbers, run};
use translator::addr::Pa;

use super::cm::{Cm, L2Sync};
use super::cpc::Cpc;
use super::gic::Gic;
use super::power::Power;
use super::rom::Rom;
use super::rtc::Rtc;
use super::uart::Uart;
use super::virtio::block::Block;
use super::virtio::console::Console;
use super::virtio::entropy::Entropy;
use super::virtio::net::Net;
use super::virtio::testing::{BUFFERS, Driver, RAM, memory, readable, writable};
use super::virtio::{Transport, VirtioDevice};
use super::*;
use crate::backend::disk::{Format, Image, SharedDisk};
use crate::backend::net::stream::{self, Stream};
use crate::backend::net::{Link, Mac};
use crate::backend::terminal::{self, Terminal};
use crate::bus::irq::{IrqLine, IrqSink};
use crate::machine::Control;
use crate::memory::Dma;

/// Accesses in one case.
const STEPS: u64 = 400;
/// A device that does not answer for so long hangs, even on a busy host.
const PATIENCE: Duration = Duration::from_secs(60);
const VCPUS: usize = 3;

/// A number of the kinds that find mistakes, among them addresses in RAM.
fn value(numbers: &mut Numbers) -> u64 {
    if numbers.once_in(5) { numbers.below(RAM) } else { numbers.value() }
}

/// An access to a window of `size` bytes, as the bus would let it through.
fn access(numbers: &mut Numbers, size: u64) -> Access {
    let width = numbers.one_of(&[Size::Byte, Size::Half, Size::Word, Size::Word, Size::Word, Size::Double]);
    // The first registers of a window matter most.
    let reach = size.min(16 << numbers.below(16));
    let offset = numbers.below(reach) & !(width.bytes() - 1);
    Access { offset, size: width, vcpu: numbers.index(VCPUS) }
}

/// Does anything to the registers of `device`, whose window has `size` bytes; in the end it is reset.
fn touch(device: &dyn SharedDevice, size: u64, numbers: &mut Numbers) {
    let start = Instant::now();
    for _ in 0..STEPS {
        let at = access(numbers, size);
        if numbers.below(3) == 0 {
            device.read(at);
        } else {
            device.write(at, value(numbers));
        }
    }
    device.reset();
    assert!(start.elapsed() < PATIENCE, "the device hangs");
}

/// A wire that leads nowhere.
struct Nowhere;

impl IrqSink for Nowhere {
    fn set(&self, _pin: u32, _level: bool) {}
}

fn line() -> IrqLine {
    IrqLine::new(Arc::new(Nowhere), 0)
}

#[test]
fn gic() {
    run(|numbers| touch(&Gic::new(VCPUS, 24, Control::new(VCPUS)), 0x2_0000, numbers));
}

#[test]
fn cm() {
    run(|numbers| {
        let cm = Cm::new(Pa(0x1fbf_8000), VCPUS, Control::new(VCPUS));
        touch(&Mutex::new(cm), 0x8000, numbers);
    });
}

#[test]
fn cpc() {
    run(|numbers| {
        let cm = Arc::new(Mutex::new(Cm::new(Pa(0x1fbf_8000), VCPUS, Control::new(VCPUS))));
        touch(&Mutex::new(Cpc::new(cm.clone())), 0x8000, numbers);
        touch(&*cm, 0x8000, numbers);
    });
}

#[test]
fn l2_sync() {
    run(|numbers| touch(&Mutex::new(L2Sync), 0x1000, numbers));
}

#[test]
fn power() {
    run(|numbers| touch(&Mutex::new(Power::new(Control::new(VCPUS))), 0x1000, numbers));
}

#[test]
fn rom() {
    run(|numbers| {
        let bytes = vec![7; numbers.below(0x1000) as usize];
        touch(&Mutex::new(Rom::new(bytes)), 0x1000, numbers);
    });
}

#[test]
fn rtc() {
    run(|numbers| {
        let now = value(numbers);
        touch(&*Rtc::new(Box::new(move || now), line()), 0x1000, numbers);
    });
}

#[test]
fn uart() {
    run(|numbers| {
        let (uart, _input) = Uart::new(0, line(), Box::new(std::io::sink()));
        touch(&*uart, 0x100, numbers);
    });
}

/// A virtio device that the fuzzer has in hand, and the driver's memory.
struct Bench {
    transport: Arc<Transport>,
    dma: Dma,
    /// The queue that is used; the driver does without the others.
    queue: u64,
}

// The registers that lead a driver to a running device (virtio 1.2, section 4.2.2).
const DRIVER_FEATURES: u64 = 0x20;
const DRIVER_FEATURES_SELECT: u64 = 0x24;
const QUEUE_SELECT: u64 = 0x30;
const QUEUE_SIZE: u64 = 0x38;
const QUEUE_READY: u64 = 0x44;
const QUEUE_NOTIFY: u64 = 0x50;
const STATUS: u64 = 0x70;
const DESCRIPTORS: u64 = 0x80;
const AVAILABLE: u64 = 0x90;
const USED: u64 = 0xa0;

impl Bench {
    fn new(device: Box<dyn VirtioDevice>) -> Self {
        let dma = memory();
        let transport =
            Arc::new(Transport::new(device, dma.clone()).expect("the host has threads")).wire(line());
        Self { transport, dma, queue: 0 }
    }

    /// The same with another queue.
    fn with_queue(self, queue: u64) -> Self {
        Self { queue, ..self }
    }

    fn write(&self, offset: u64, value: u64) {
        self.transport.write(Access { offset, size: Size::Word, vcpu: 0 }, value);
    }

    /// Sets the device up with its queue at `driver`'s rings.
    fn set_up(&self, driver: &Driver, features: u64) {
        for status in [0, 1, 3] {
            self.write(STATUS, status);
        }
        for (select, word) in [(0, features & 0xffff_ffff), (1, 1)] {
            self.write(DRIVER_FEATURES_SELECT, select);
            self.write(DRIVER_FEATURES, word);
        }
        self.write(STATUS, 11);
        self.write(QUEUE_SELECT, self.queue);
        self.write(QUEUE_SIZE, driver.layout.size.into());
        self.write(DESCRIPTORS, driver.layout.descriptors);
        self.write(AVAILABLE, driver.layout.available);
        self.write(USED, driver.layout.used);
        self.write(QUEUE_READY, 1);
        self.write(STATUS, 15);
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

    /// One case: anything, and then, after a reset, a request as it should be, which must be served.
    fn case(&self, numbers: &mut Numbers, request: impl FnOnce(&mut Driver)) {
        let mut driver = Driver::new(&self.dma, 0, 8);
        let features = numbers.one_of(&[0, 1 << 28, 1 << 29, 3 << 28]);
        self.set_up(&driver, features);
        for _ in 0..STEPS {
            match numbers.below(16) {
                0 => self.write(access(numbers, 0x200).offset & !3, value(numbers)),
                1 => _ = self.transport.read(access(numbers, 0x200)),
                2 => self.transport.write(access(numbers, 0x200), value(numbers)),
                3 => self.write(QUEUE_NOTIFY, self.queue),
                4 => {
                    let header = BUFFERS + 16 * numbers.below(64);
                    driver.offer(&[readable(header, 16), writable(BUFFERS + 0x2000, 513)]);
                }
                5 if numbers.below(8) == 0 => self.set_up(&driver, features),
                _ => self.spoil(&driver, numbers),
            }
        }
        let start = Instant::now();
        self.write(STATUS, 0);
        self.dma.write(Pa(0), &[0; BUFFERS as usize]).expect("it is in RAM");
        driver = Driver::new(&self.dma, 0, 8);
        self.set_up(&driver, 0);
        request(&mut driver);
        self.write(QUEUE_NOTIFY, self.queue);
        while driver.reclaim().is_none() {
            assert!(start.elapsed() < PATIENCE, "the device does not serve a request any more");
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

/// A read of a disk's first sector.
fn read_sector(driver: &mut Driver) {
    driver.dma.write(Pa(BUFFERS), &[0; 16]).expect("buffers are in RAM");
    driver.offer(&[readable(BUFFERS, 16), writable(BUFFERS + 0x1000, 512), writable(BUFFERS + 0x800, 1)]);
}

fn fuzz_disk(format: Format, create: &dyn Fn(&Path)) {
    let directory = tempfile::tempdir().expect("there is a temporary directory");
    let file = directory.path().join("disk");
    create(&file);
    let image = Image { file, format: Some(format), read_only: false, snapshot: false };
    let bench = Bench::new(Box::new(Block::new(SharedDisk::open(&image).expect("it is an image"), "fuzz")));
    run(|numbers| bench.case(numbers, read_sector));
}

#[test]
fn block() {
    fuzz_disk(Format::Raw, &|file| {
        let file = std::fs::File::create(file).expect("it can be created");
        file.set_len(1 << 20).expect("there is room");
    });
}

#[test]
fn block_qcow2() {
    fuzz_disk(Format::Qcow2, &|file| {
        let mut command = std::process::Command::new("qemu-img");
        let made = command.args(["create", "-q", "-f", "qcow2"]).arg(file).arg("1M").status();
        assert!(made.expect("qemu-img runs: install qemu-utils").success());
    });
}

/// A request for random bytes.
fn ask_for_bytes(driver: &mut Driver) {
    driver.offer(&[writable(BUFFERS, 64)]);
}

#[test]
fn entropy() {
    let bench = Bench::new(Box::new(Entropy));
    run(|numbers| bench.case(numbers, ask_for_bytes));
}

const RECEIVE: u64 = 0;
const TRANSMIT: u64 = 1;

/// A request to pass on what the driver gives: to print it, or to send it behind a header.
fn pass_on(driver: &mut Driver) {
    driver.offer(&[readable(BUFFERS, 72)]);
}

/// A device whose other end is a socket at which somebody is who says `words`, and knocks anew for each case.
fn fuzz_peer(device: impl FnOnce(&Path) -> Box<dyn VirtioDevice>, words: &[u8]) {
    let directory = tempfile::tempdir().expect("there is a temporary directory");
    let path = directory.path().join("socket");
    let bench = Bench::new(device(&path)).with_queue(RECEIVE);
    let knock = || {
        let mut peer = UnixStream::connect(&path).expect("somebody waits at the socket");
        // One that comes while the device still has the last is turned away, perhaps in the middle of a word.
        let is_hang_up =
            |error: &Error| matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
        if let Err(error) = peer.write_all(words) {
            assert!(is_hang_up(&error), "the socket has no room: {error}");
        }
        peer
    };
    run(|numbers| {
        let first = knock();
        let mut second = None;
        bench.case(numbers, |driver| {
            drop(first);
            second = Some(knock());
            driver.offer(&[writable(BUFFERS, 2048)]);
        });
    });
}

#[test]
fn console_transmit() {
    let file = tempfile::NamedTempFile::new().expect("there is a temporary directory");
    run(|numbers| {
        // Anew each time, since whatever is printed stays in the file.
        file.as_file().set_len(0).expect("it can be emptied");
        let end = terminal::End::File(file.path().to_owned());
        let console = Console::new(Terminal::open(&end).expect("it can be written"));
        Bench::new(Box::new(console)).with_queue(TRANSMIT).case(numbers, pass_on);
    });
}

#[test]
fn console_receive() {
    let console = |path: &Path| -> Box<dyn VirtioDevice> {
        let end = terminal::End::Listen(path.to_owned());
        Box::new(Console::new(Terminal::open(&end).expect("it is a place for a socket")))
    };
    fuzz_peer(console, &[b'x'; 4096]);
}

/// An address for a card.
fn mac() -> Mac {
    Mac::of_card("fuzz", 0)
}

/// Nothing is at the other end, so nothing that the fuzzer sends gets anywhere.
#[test]
fn net_transmit() {
    let nowhere = Link::Stream(stream::End::Connect("/no/such/socket".into()));
    let network = nowhere.open().expect("a peer need not be there");
    let bench = Bench::new(Box::new(Net::new(mac(), network))).with_queue(TRANSMIT);
    run(|numbers| bench.case(numbers, pass_on));
}

#[test]
fn net_receive() {
    let card = |path: &Path| -> Box<dyn VirtioDevice> {
        let end = stream::End::Listen(path.to_owned());
        Box::new(Net::new(mac(), Box::new(Stream::new(&end).expect("it is a place for a socket"))))
    };
    let frame = [&60u32.to_be_bytes()[..], &[7; 60]].concat();
    fuzz_peer(card, &frame.repeat(64));
}
