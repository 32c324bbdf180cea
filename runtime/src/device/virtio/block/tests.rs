//! The disk with requests as a driver writes them, on an image in a file or on one that fails.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Barrier, Mutex, Weak};
use std::{fs, io};

use tempfile::NamedTempFile;
use translator::addr::Pa;

use super::request::UNMAP;
use super::*;
use crate::backend::disk::{Disk, Format, Image};
use crate::device::virtio::testing::{BUFFERS, Driver, Part, memory, readable, writable};
use crate::memory::WriteNotice;

const SECTORS: u64 = 2048;
const DATA: u64 = BUFFERS + 0x1000;
const STATUS: u64 = BUFFERS + 0x800;

struct Bench {
    block: Block,
    queue: [Option<Queue>; 1],
    driver: Driver,
}

impl Bench {
    fn new(disk: SharedDisk) -> Self {
        let driver = Driver::new(&memory(), 0, 256);
        let queue = Queue::new(&driver.dma, &Arc::default(), driver.layout, 256, 0).unwrap();
        let mut block = Block::new(disk, "a name that is longer than that");
        block.activate(FEATURE_FLUSH, &Arc::new(Events::new().unwrap()));
        Self { block, queue: [Some(queue)], driver }
    }

    /// Does a request with these data; gives its status, and how much was written.
    fn request(&mut self, kind: u32, sector: u64, data: &[Part]) -> Result<(u8, u32), RingError> {
        let mut header = kind.to_le_bytes().to_vec();
        header.extend([0; 4]);
        header.extend(sector.to_le_bytes());
        self.driver.dma.write(Pa(BUFFERS), &header).unwrap();
        self.driver.dma.write(Pa(STATUS), &[0xff]).unwrap();
        self.driver.offer(&[&[readable(BUFFERS, 16)], data, &[writable(STATUS, 1)]].concat());
        self.block.serve(&mut self.queue, &[])?;
        self.block.quiesce(&mut self.queue)?;
        let (_, written) = self.driver.reclaim().unwrap();
        Ok((self.driver.bytes(STATUS, 1)[0], written))
    }

    fn ranges(&mut self, kind: u32, ranges: &[(u64, u32, u32)]) -> u8 {
        let mut bytes = Vec::new();
        for (sector, sectors, flags) in ranges {
            bytes.extend(sector.to_le_bytes());
            bytes.extend(sectors.to_le_bytes());
            bytes.extend(flags.to_le_bytes());
        }
        self.driver.dma.write(Pa(DATA), &bytes).unwrap();
        self.request(kind, 0, &[readable(DATA, bytes.len() as u32)]).unwrap().0
    }
}

fn file() -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    file.as_file().set_len(SECTORS * SECTOR + 100).unwrap();
    file
}

fn open(file: &NamedTempFile, read_only: bool) -> SharedDisk {
    SharedDisk::open(&Image {
        file: file.path().into(),
        format: Some(Format::Raw),
        read_only,
        snapshot: false,
    })
    .unwrap()
}

#[test]
fn what_is_written_is_in_the_file_and_read_again() {
    let file = file();
    let mut bench = Bench::new(open(&file, false));
    let pattern: Vec<u8> = (0..2048u32).map(|at| (at % 251) as u8).collect();
    bench.driver.dma.write(Pa(DATA), &pattern).unwrap();
    let parts = [readable(DATA, 100), readable(DATA + 100, 1948)];
    assert_eq!(bench.request(1, 3, &parts), Ok((0, 1)));
    assert_eq!(bench.request(4, 0, &[]), Ok((0, 1)));
    assert_eq!(fs::read(file.path()).unwrap()[3 * 512..7 * 512], pattern);
    let parts = [writable(DATA + 0x4000, 1000), writable(DATA + 0x5000, 24)];
    assert_eq!(bench.request(0, 4, &parts), Ok((0, 1025)));
    assert_eq!(bench.driver.bytes(DATA + 0x4000, 1000), pattern[512..1512]);
    assert_eq!(bench.driver.bytes(DATA + 0x5000, 24), pattern[1512..1536]);
    assert_eq!(bench.request(8, 0, &[writable(DATA, 20)]), Ok((0, 21)));
    assert_eq!(bench.driver.bytes(DATA, 20), b"a name that is longe");
}

#[test]
fn ranges_become_zero() {
    let file = file();
    let mut bench = Bench::new(open(&file, false));
    bench.driver.dma.write(Pa(DATA), &[9; 0x4000]).unwrap();
    assert_eq!(bench.request(1, 0, &[readable(DATA, 0x4000)]), Ok((0, 1)));
    assert_eq!(bench.ranges(13, &[(1, 2, 0), (5, 1, UNMAP)]), 0);
    assert_eq!(bench.ranges(11, &[(16, 16, 0)]), 0);
    assert_eq!(bench.ranges(13, &[(SECTORS - 1, 2, 0)]), 1);
    assert_eq!(bench.ranges(13, &[(u64::MAX, 2, 0)]), 1);
    assert_eq!(bench.ranges(13, &[(0, 0, 0); 17]), 1);
    let bytes = fs::read(file.path()).unwrap();
    for sector in 0..16 {
        let expected = if [1, 2, 5].contains(&sector) { 0 } else { 9 };
        assert!(bytes[sector * 512..(sector + 1) * 512].iter().all(|byte| *byte == expected), "{sector}");
    }
}

#[test]
fn whoever_watches_learns_of_all_that_the_guest_changes() {
    const BLOCK: u64 = crate::backend::disk::BLOCK / SECTOR;
    let file = file();
    let disk = open(&file, false);
    let mut bench = Bench::new(disk.clone());
    let mut watch = disk.watch();
    assert!(watch.changed().unwrap().is_empty());
    assert_eq!(bench.request(1, BLOCK - 1, &[readable(DATA, 1024)]).unwrap().0, 0);
    // Written through, it waits for the host, and another thread writes.
    bench.block.activate(0, &Arc::new(Events::new().unwrap()));
    assert_eq!(bench.request(1, 5 * BLOCK, &[readable(DATA, 512)]).unwrap().0, 0);
    assert_eq!(bench.ranges(13, &[(7 * BLOCK, 1, 0), (8 * BLOCK, 1, UNMAP)]), 0);
    assert_eq!(bench.ranges(11, &[(10 * BLOCK, 8, 0)]), 0);
    assert_eq!(bench.request(0, 12 * BLOCK, &[writable(DATA, 512)]).unwrap().0, 0);
    let blocks: Vec<_> = watch.changed().unwrap().into_iter().map(|at| at / SECTOR / BLOCK).collect();
    assert_eq!(blocks, [0, 1, 5, 7, 8, 10]);
}

#[test]
fn what_the_disk_does_not_have_is_an_error() {
    let file = file();
    let mut bench = Bench::new(open(&file, false));
    for (sector, bytes) in [(SECTORS, 512), (SECTORS - 1, 1024), (u64::MAX, 512), (0, 511)] {
        assert_eq!(bench.request(0, sector, &[writable(DATA, bytes)]).unwrap().0, 1);
        assert_eq!(bench.request(1, sector, &[readable(DATA, bytes)]).unwrap().0, 1);
    }
    assert_eq!(bench.request(99, 0, &[]), Ok((2, 1)));
    assert_eq!(bench.block.features() & FEATURE_CACHE_SWITCH, FEATURE_CACHE_SWITCH);
    assert_eq!(u64::from_le_bytes(bench.block.configuration()[..8].try_into().unwrap()), SECTORS);
    assert_eq!(bench.block.configuration().len(), 60);
}

#[test]
fn a_read_only_disk_is_not_changed() {
    let file = file();
    let mut bench = Bench::new(open(&file, true));
    assert_eq!(bench.request(1, 0, &[readable(DATA, 512)]).unwrap().0, 1);
    assert_eq!(bench.ranges(13, &[(0, 1, 0)]), 1);
    assert_eq!(bench.request(0, 0, &[writable(DATA, 512)]).unwrap().0, 0);
    assert_eq!(bench.block.features() & (FEATURE_READ_ONLY | FEATURE_DISCARD), FEATURE_READ_ONLY);
}

#[test]
fn a_request_without_room_is_the_drivers_fault() {
    let file = file();
    let mut bench = Bench::new(open(&file, false));
    bench.driver.offer(&[readable(BUFFERS, 15), writable(STATUS, 1)]);
    assert_eq!(bench.block.serve(&mut bench.queue, &[]), Err(RingError::Short));
    drop(bench);
    let mut bench = Bench::new(open(&file, true));
    bench.driver.offer(&[readable(BUFFERS, 16)]);
    assert_eq!(bench.block.serve(&mut bench.queue, &[]), Err(RingError::Short));
}

/// A disk whose host fails, and that counts how often it is flushed.
#[derive(Default)]
struct Broken {
    flushes: Arc<AtomicU32>,
}

impl Disk for Broken {
    fn size(&self) -> u64 {
        SECTORS * SECTOR
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn read(&self, _place: u64, _to: &mut [u8]) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(5))
    }

    fn write(&self, _place: u64, _from: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let before = self.flushes.fetch_add(1, Ordering::SeqCst);
        if before > 0 { Err(io::Error::from_raw_os_error(28)) } else { Ok(()) }
    }

    fn discard(&self, _place: u64, _length: u64) -> io::Result<()> {
        Ok(())
    }

    fn write_zeroes(&self, _place: u64, _length: u64, _unmap: bool) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn failures_of_the_host_are_failures_in_the_guest() {
    let mut bench = Bench::new(SharedDisk::new(Box::new(Broken::default())));
    assert_eq!(bench.request(0, 0, &[writable(DATA, 512)]).unwrap().0, 1);
    assert_eq!(bench.request(1, 0, &[readable(DATA, 512)]).unwrap().0, 0);
    // A driver that does not flush has each write flushed for it.
    bench.block.activate(0, &Arc::new(Events::new().unwrap()));
    assert_eq!(bench.request(1, 0, &[readable(DATA, 512)]).unwrap().0, 0);
    assert_eq!(bench.request(1, 0, &[readable(DATA, 512)]).unwrap().0, 1);
}

#[test]
fn a_file_that_became_shorter_is_a_failure_in_the_guest() {
    let file = file();
    let mut bench = Bench::new(open(&file, false));
    file.as_file().set_len(0).unwrap();
    assert_eq!(bench.request(0, 4, &[writable(DATA, 512)]).unwrap().0, 1);
}

#[test]
fn the_driver_switches_the_cache_off_and_on() {
    let flushes = Arc::new(AtomicU32::new(0));
    let disk = Broken { flushes: Arc::clone(&flushes) };
    let mut bench = Bench::new(SharedDisk::new(Box::new(disk)));
    bench.block.activate(FEATURE_FLUSH | FEATURE_CACHE_SWITCH, &Arc::new(Events::new().unwrap()));
    let flushes_after = |bench: &mut Bench, switch: Option<u8>| {
        switch.into_iter().for_each(|byte| bench.block.configure(CACHE_SWITCH, byte));
        bench.request(1, 0, &[readable(DATA, 512)]).unwrap();
        (bench.block.configuration()[CACHE_SWITCH as usize], flushes.load(Ordering::SeqCst))
    };
    assert_eq!(flushes_after(&mut bench, None), (1, 0));
    assert_eq!(flushes_after(&mut bench, Some(0)), (0, 1));
    assert_eq!(flushes_after(&mut bench, Some(1)), (1, 1));
    bench.block.configure(0, 77);
    assert_eq!(bench.block.configuration()[0], 0);
    bench.block.configure(CACHE_SWITCH, 0);
    let state = bench.block.save();
    bench.block.reset();
    assert_eq!(bench.block.configuration()[CACHE_SWITCH as usize], 1);
    bench.block.restore(&state).unwrap();
    assert_eq!(bench.block.configuration()[CACHE_SWITCH as usize], 0);
    assert!(bench.block.restore(&[2]).is_err());
    bench.block.reset();
    assert_eq!(bench.block.configuration()[CACHE_SWITCH as usize], 1);
}

/// How many requests a driver may expect to be in flight.
const DEPTH: usize = 16;

/// A disk that answers only when [`DEPTH`] reads wait for an answer.
struct Patient(Barrier);

impl Disk for Patient {
    fn size(&self) -> u64 {
        SECTORS * SECTOR
    }

    fn is_read_only(&self) -> bool {
        true
    }

    fn read(&self, place: u64, to: &mut [u8]) -> io::Result<()> {
        self.0.wait();
        to.fill((place / SECTOR) as u8);
        Ok(())
    }

    fn write(&self, _place: u64, _from: &[u8]) -> io::Result<()> {
        unreachable!("the disk is read-only")
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, _place: u64, _length: u64) -> io::Result<()> {
        unreachable!("the disk is read-only")
    }

    fn write_zeroes(&self, _place: u64, _length: u64, _unmap: bool) -> io::Result<()> {
        unreachable!("the disk is read-only")
    }
}

impl Bench {
    /// Makes reads of the first sectors available, each to a place of its own.
    fn offer_reads(&mut self, count: usize) {
        for number in 0..count as u64 {
            let (header, data) = (BUFFERS + 0x4000 + 32 * number, DATA + 0x8000 + SECTOR * number);
            let bytes = [&[0; 8], &number.to_le_bytes()[..]].concat();
            self.driver.dma.write(Pa(header), &bytes).unwrap();
            self.driver.offer(&[
                readable(header, 16),
                writable(data, SECTOR as u32),
                writable(header + 16, 1),
            ]);
        }
    }
}

#[test]
fn many_requests_are_in_flight_and_come_back_when_all_is_quiet() {
    let mut bench = Bench::new(SharedDisk::new(Box::new(Patient(Barrier::new(DEPTH)))));
    bench.offer_reads(DEPTH);
    bench.block.serve(&mut bench.queue, &[]).unwrap();
    bench.block.quiesce(&mut bench.queue).unwrap();
    let mut back = 0;
    while bench.driver.reclaim().is_some() {
        back += 1;
    }
    assert_eq!(back, DEPTH);
    for number in 0..DEPTH as u64 {
        assert_eq!(bench.driver.bytes(DATA + 0x8000 + SECTOR * number, 2), [number as u8; 2]);
    }
    // A reset waits for what is in flight, too: afterwards nothing touches the driver's memory.
    bench.offer_reads(DEPTH);
    bench.block.serve(&mut bench.queue, &[]).unwrap();
    bench.block.reset();
    assert_eq!(bench.block.workers.in_flight(), 0);
    assert_eq!(bench.driver.reclaim(), None);
}

/// Remembers of which pages notice was given.
#[derive(Default)]
struct Heard(Mutex<BTreeSet<u64>>);

impl WriteNotice for Heard {
    fn writing(&self, _pa: Pa, _bytes: u64) {}

    fn written(&self, pa: Pa, bytes: u64) {
        self.0.lock().unwrap().extend(pa.0 >> 12..=(pa.0 + bytes - 1) >> 12);
    }
}

#[test]
fn whatever_reaches_ram_is_noticed() {
    let file = file();
    for disk in [open(&file, true), SharedDisk::new(Box::new(Broken::default()))] {
        let mut bench = Bench::new(disk);
        let heard: Arc<Heard> = Arc::default();
        let weak: Weak<Heard> = Arc::downgrade(&heard);
        bench.driver.dma.connect(weak);
        let parts = [writable(DATA + 0x4100, 0x1f00), writable(DATA + 0x9000, 0x100)];
        bench.request(0, 0, &parts).unwrap();
        let pages = [0x4000, 0x5000, 0x9000].map(|page| (DATA + page) >> 12);
        let heard = heard.0.lock().unwrap();
        assert!(pages.iter().all(|page| heard.contains(page)), "{heard:x?}");
        assert!(!heard.contains(&((DATA + 0x6000) >> 12)));
    }
}
