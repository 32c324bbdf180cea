//! Memory in snapshots, in one of two ways. As a *RAM image* in front of the parts: all banks in a row from a
//! page boundary on, zero pages being holes, so that a machine maps it and the host reads a page when the guest
//! needs it. Or as parts: groups of neighbouring pages that are not zero, which are compressed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use serde::{Deserialize, Serialize};
use translator::addr::{PAGE_SIZE, Pa};

use super::capture::Capture;
use super::format::{HEAD, Reader, SnapshotError, Writer, damaged};
use crate::device::Window;
use crate::memory::{Ram, pages};
use crate::wire;

const BANKS: &str = "ram banks";
const PAGES: &str = "ram pages";
const IMAGE: &str = "ram image";
const VERSION: u16 = 1;
/// The most pages in a part.
const GROUP: usize = 256;
/// The bytes of a RAM image that have a checksum together.
const CHUNK: u64 = 1 << 20;
/// Where a RAM image begins: at the first page boundary behind the head.
const IMAGE_START: u64 = PAGE_SIZE;
/// A larger image is not checked before it is mapped, which would take longer than all the rest.
const CHECKED_AT_ONCE: u64 = 64 << 20;
const ZERO_PAGE: [u8; PAGE_SIZE as usize] = [0; PAGE_SIZE as usize];

/// A description of the image in front of the parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Base and size of each bank.
    banks: Vec<(u64, u64)>,
    /// The CRC-32 of each chunk of [`CHUNK`] bytes; the last may be shorter.
    sums: Vec<u32>,
}

impl Image {
    /// Bytes of RAM.
    pub fn bytes(&self) -> u64 {
        self.banks.iter().fold(0, |sum, (_, size)| sum.saturating_add(*size))
    }

    /// Compares every byte of the image in `file` with its checksums.
    ///
    /// # Errors
    /// Names the first address that is damaged.
    pub fn verify(&self, file: &File) -> Result<(), SnapshotError> {
        let mut chunk = vec![0; CHUNK as usize];
        for (sum, at) in self.sums.iter().zip((0..self.bytes()).step_by(CHUNK as usize)) {
            let chunk = &mut chunk[..CHUNK.min(self.bytes() - at) as usize];
            file.read_exact_at(chunk, IMAGE_START + at).map_err(SnapshotError::Unreadable)?;
            if crc32fast::hash(chunk) != *sum {
                let reason = format!("a checksum is wrong between bytes {at:#x} and {:#x}", at + CHUNK);
                return Err(damaged(IMAGE, &reason));
            }
        }
        Ok(())
    }

    /// Whether the image lies just between the head and the parts, which begin at `parts`.
    fn check(&self, file: &File, parts: u64) -> Result<(), SnapshotError> {
        let bytes = self.bytes();
        if IMAGE_START.checked_add(bytes) != Some(parts) || self.sums.len() as u64 != bytes.div_ceil(CHUNK) {
            return Err(damaged(IMAGE, "it has another length"));
        }
        let mut gap = [0; (IMAGE_START - HEAD) as usize];
        file.read_exact_at(&mut gap, HEAD).map_err(SnapshotError::Unreadable)?;
        if gap.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(damaged("head", "bytes follow it")) }
    }
}

fn pairs(banks: &[Window]) -> Vec<(u64, u64)> {
    banks.iter().map(|bank| (bank.base.0, bank.size)).collect()
}

/// Writes what `capture` holds of `ram` as the image of an empty file, and adds the part that describes it;
/// gives where the parts begin. Pages that are not `populated` are zero.
///
/// # Errors
/// Fails as the host does, and when the capture is over.
pub fn write_image(
    file: &File,
    writer: &mut Writer,
    (ram, capture): (&Ram, &Capture),
    populated: impl Fn(Pa) -> bool,
) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK as usize];
    let mut sums = Vec::new();
    let mut place = IMAGE_START;
    let all: Vec<Pa> = pages(ram.banks()).collect();
    for group in all.chunks((CHUNK / PAGE_SIZE) as usize) {
        if capture.is_over() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let chunk = &mut buffer[..group.len() * PAGE_SIZE as usize];
        for (pa, page) in group.iter().zip(chunk.chunks_exact_mut(PAGE_SIZE as usize)) {
            if populated(*pa) { capture.take(*pa, page) } else { page.fill(0) }
        }
        sums.push(crc32fast::hash(chunk));
        write_pages(file, place, chunk)?;
        place += chunk.len() as u64;
    }
    file.set_len(place)?;
    writer.add(IMAGE, VERSION, &wire::encode(&Image { banks: pairs(ram.banks()), sums }));
    Ok(place)
}

/// Writes the runs of pages that are not zero.
fn write_pages(file: &File, place: u64, bytes: &[u8]) -> io::Result<()> {
    let mut run = 0..0;
    for (at, page) in (0..).step_by(PAGE_SIZE as usize).zip(bytes.chunks_exact(PAGE_SIZE as usize)) {
        if page == ZERO_PAGE {
            file.write_all_at(&bytes[run.clone()], place + run.start as u64)?;
            run.start = at + page.len();
        }
        run.end = at + page.len();
    }
    file.write_all_at(&bytes[run.clone()], place + run.start as u64)
}

impl Writer {
    /// Adds the banks, and what is in `pages` as `read` gives it; zero pages only if `zeros` says so.
    pub fn save_pages(
        &mut self,
        ram: &Ram,
        pages: impl Iterator<Item = Pa>,
        zeros: bool,
        read: impl Fn(Pa, &mut [u8]),
    ) {
        self.add(BANKS, VERSION, &wire::encode(&pairs(ram.banks())));
        let mut group = Group::default();
        let mut page = ZERO_PAGE;
        for pa in pages {
            read(pa, &mut page);
            if zeros || page != ZERO_PAGE {
                group.add(self, pa, &page);
            }
        }
        group.end(self);
    }

    /// Adds the banks and all that is in them, while nothing writes to them.
    pub fn save_ram(&mut self, ram: &Ram) {
        // The pages are inside the banks.
        let read = |pa: Pa, page: &mut [u8]| ram.read(pa, page).unwrap_or_default();
        self.save_pages(ram, pages(&ram.populated()), false, read);
    }
}

/// Neighbouring pages on the way into a part.
#[derive(Default)]
struct Group {
    start: u64,
    bytes: Vec<u8>,
}

impl Group {
    fn add(&mut self, writer: &mut Writer, pa: Pa, page: &[u8]) {
        let next = self.start + self.bytes.len() as u64;
        if pa.0 != next || self.bytes.len() >= GROUP * PAGE_SIZE as usize {
            self.end(writer);
            self.start = pa.0;
        }
        self.bytes.extend(page);
    }

    fn end(&mut self, writer: &mut Writer) {
        if !self.bytes.is_empty() {
            writer.add(PAGES, VERSION, &[&self.start.to_le_bytes(), &self.bytes[..]].concat());
            self.bytes.clear();
        }
    }
}

impl Reader {
    /// The description of the RAM image in `file`, if there is one: taken out, and found to fit the file.
    ///
    /// # Errors
    /// Refuses one that lies elsewhere, and a file with bytes that belong to none.
    pub fn take_image(&mut self, file: &File) -> Result<Option<Image>, SnapshotError> {
        let Some(plain) = self.take(IMAGE, VERSION)? else {
            let alone = self.start() == HEAD;
            return if alone { Ok(None) } else { Err(damaged("head", "the parts begin elsewhere")) };
        };
        let image: Image = wire::decode(&plain).map_err(|error| damaged(IMAGE, &error.to_string()))?;
        image.check(file, self.start())?;
        Ok(Some(image))
    }

    /// Lets fresh memory go on from the image in `file`, or else from the parts. A large image is mapped as it
    /// is: [`Image::verify`] finds damage in it.
    ///
    /// # Errors
    /// Refuses memory of another shape and what is damaged, and reports a host that does not map the file.
    pub fn restore_memory(&mut self, ram: &Ram, file: &File) -> Result<(), SnapshotError> {
        let Some(image) = self.take_image(file)? else { return self.restore_ram(ram) };
        if image.banks != pairs(ram.banks()) {
            return Err(damaged(IMAGE, "this machine has other memory"));
        }
        if image.bytes() <= CHECKED_AT_ONCE {
            image.verify(file)?;
        }
        ram.map_image(file, IMAGE_START).map_err(SnapshotError::Unreadable)
    }

    /// Fills memory with what the parts hold, after clearing what else is in it.
    ///
    /// # Errors
    /// Refuses memory of another shape.
    pub fn restore_ram(&mut self, ram: &Ram) -> Result<(), SnapshotError> {
        clear(ram);
        self.restore_pages(ram)
    }

    /// Writes the pages that the parts hold.
    ///
    /// # Errors
    /// Refuses memory of another shape.
    pub fn restore_pages(&mut self, ram: &Ram) -> Result<(), SnapshotError> {
        let banks: Vec<(u64, u64)> = self.decode(BANKS, VERSION)?;
        if banks != pairs(ram.banks()) {
            return Err(damaged(BANKS, "this machine has other memory"));
        }
        while let Some(part) = self.take(PAGES, VERSION)? {
            let (start, bytes) =
                part.split_first_chunk().ok_or_else(|| damaged(PAGES, "it has no address"))?;
            let place = Pa(u64::from_le_bytes(*start));
            ram.write(place, bytes).ok_or_else(|| damaged(PAGES, "it lies outside of memory"))?;
        }
        Ok(())
    }
}

fn clear(ram: &Ram) {
    for page in pages(&ram.populated()) {
        // It is inside a bank.
        let _ = ram.write(page, &ZERO_PAGE);
    }
}
