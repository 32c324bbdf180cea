//! Memory in snapshots: pages that are not zero, in groups of neighbours, one part a group.

use translator::addr::{PAGE_SIZE, Pa};

use super::format::{Reader, SnapshotError, Writer};
use crate::device::Window;
use crate::memory::Ram;
use crate::wire;

const BANKS: &str = "ram banks";
const PAGES: &str = "ram pages";
const VERSION: u16 = 1;
/// The most pages in a part.
const GROUP: usize = 256;

impl Writer {
    /// Adds the banks and what is in them.
    pub fn save_ram(&mut self, ram: &Ram) {
        let banks: Vec<(u64, u64)> = ram.banks().iter().map(|bank| (bank.base.0, bank.size)).collect();
        self.add(BANKS, VERSION, &wire::encode(&banks));
        let mut group = Group::default();
        for window in ram.populated() {
            let mut page = vec![0; PAGE_SIZE as usize];
            for offset in (0..window.size).step_by(PAGE_SIZE as usize) {
                let pa = window.base + offset;
                if ram.read(pa, &mut page).is_some() && page.iter().any(|byte| *byte != 0) {
                    group.add(self, pa, &page);
                }
            }
        }
        group.end(self);
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
    /// Fills fresh memory with what was saved, after clearing what else is in it.
    ///
    /// # Errors
    /// Refuses memory of another shape.
    pub fn restore_ram(&mut self, ram: &Ram) -> Result<(), SnapshotError> {
        let damaged =
            |part: &str, reason: &str| SnapshotError::Damaged { part: part.into(), reason: reason.into() };
        let banks: Vec<(u64, u64)> = self.decode(BANKS, VERSION)?;
        let banks: Vec<Window> =
            banks.into_iter().map(|(base, size)| Window { base: Pa(base), size }).collect();
        if banks != ram.banks() {
            return Err(damaged(BANKS, "this machine has other memory"));
        }
        clear(ram);
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
    let zeros = vec![0; PAGE_SIZE as usize];
    for window in ram.populated() {
        for offset in (0..window.size).step_by(PAGE_SIZE as usize) {
            // It is inside a bank.
            let _ = ram.write(window.base + offset, &zeros);
        }
    }
}
