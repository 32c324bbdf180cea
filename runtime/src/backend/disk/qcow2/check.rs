//! Whether the metadata of a qcow2 image is consistent, as far as whoever writes to the image relies on it: each cluster
//! that is in use exists, is counted, and has no second use that its count does not tell of. The crate imago takes that
//! for granted, and an image where it is not so makes it recurse or seek for ever. It must not know imago.
//!
//! The format is that of docs/interop/qcow2.txt in QEMU. What is no qcow2 image, or of a kind that imago refuses anyway,
//! is left to that.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;

use super::super::length;

/// Bytes that QEMU allows the first table of clusters and the first of counts (block/qcow2.h, `QCOW_MAX_L1_SIZE` and
/// `QCOW_MAX_REFTABLE_SIZE`).
const MOST_L1_BYTES: u64 = 32 << 20;
const MOST_COUNT_TABLE_BYTES: u64 = 8 << 20;
/// The offset in an entry of any of the tables.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// In an entry: the cluster has no other use, so it is changed in place.
const COPIED: u64 = 1 << 63;
/// In an entry of a second table: the cluster is compressed.
const COMPRESSED: u64 = 1 << 62;
const ENTRY: u64 = 8;
/// The unit of the length of compressed clusters.
const SECTOR: u64 = 512;
/// Uses of a cluster that is part of the metadata: only snapshots, whose tables are not looked at, share those. An image
/// in which they were shared otherwise could be far larger to whoever goes through them than its file is.
const ONE: u64 = 1;

/// What of the header matters here.
struct Header {
    cluster_bits: u32,
    l1_table: u64,
    l1_entries: u64,
    count_table: u64,
    count_clusters: u64,
    /// Bits of a count, as a power of two.
    count_order: u32,
}

impl Header {
    /// `None` for what is left to others. An image without all of its header is refused.
    fn read(file: &File) -> io::Result<Option<Self>> {
        let mut bytes = [0; 104];
        let length = read_up_to(file, &mut bytes)?;
        let word = |at: usize| u32::from_be_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        let double = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
        let version = word(4);
        let least = if version == 2 { 72 } else { 104 };
        let (cluster_bits, count_order) = (word(20), if version == 2 { 4 } else { word(96) });
        let known = bytes[..4] == *b"QFI\xfb" && matches!(version, 2 | 3);
        if known && length < least {
            // imago takes what is missing for zeros.
            return Err(damaged());
        }
        if !known || !(9..=21).contains(&cluster_bits) || count_order > 6 {
            return Ok(None);
        }
        Ok(Some(Self {
            cluster_bits,
            l1_table: double(40),
            l1_entries: word(36).into(),
            count_table: double(48),
            count_clusters: word(56).into(),
            count_order,
        }))
    }

    fn count_bytes(&self) -> u64 {
        self.count_clusters << self.cluster_bits
    }

    fn l1_bytes(&self) -> u64 {
        self.l1_entries * ENTRY
    }
}

/// Clusters whose counts are in one cluster.
struct Block {
    counts: Vec<u8>,
    /// How often each was met.
    uses: Vec<u8>,
}

struct Check<'a> {
    file: &'a File,
    length: u64,
    header: Header,
    /// Where the counts are, by the number of their cluster.
    count_table: Vec<u64>,
    l1_table: Vec<u64>,
    blocks: HashMap<u64, Block>,
}

/// Refuses an image in `file` that does not hold the first tables, from which all others are found, or whose first tables
/// are larger than they can be.
pub fn tables(file: &File) -> io::Result<()> {
    check(file, |_| Ok(true))
}

/// Refuses an image in `file` whose metadata contradicts itself; nobody may change it meanwhile.
pub fn uses(file: &File) -> io::Result<()> {
    check(file, |check| check.meet_all())
}

fn check(file: &File, holds: impl FnOnce(&mut Check<'_>) -> io::Result<bool>) -> io::Result<()> {
    let Some(header) = Header::read(file)? else { return Ok(()) };
    let length = length(file)?;
    let mut check =
        Check { file, length, header, count_table: Vec::new(), l1_table: Vec::new(), blocks: HashMap::new() };
    if check.read_tables()? && holds(&mut check)? {
        return Ok(());
    }
    Err(damaged())
}

fn damaged() -> io::Error {
    io::Error::new(
        ErrorKind::InvalidData,
        "the image is cut or damaged: `qemu-img check -r all` repairs what can be",
    )
}

impl Check<'_> {
    /// Reads the first tables; whether they are there.
    fn read_tables(&mut self) -> io::Result<bool> {
        let Header { l1_table, count_table, .. } = self.header;
        let (count_bytes, l1_bytes) = (self.header.count_bytes(), self.header.l1_bytes());
        if count_bytes > MOST_COUNT_TABLE_BYTES || l1_bytes > MOST_L1_BYTES {
            return Ok(false);
        }
        let (counts, tables) = (self.table(count_table, count_bytes)?, self.table(l1_table, l1_bytes)?);
        let (Some(counts), Some(tables)) = (counts, tables) else { return Ok(false) };
        (self.count_table, self.l1_table) = (counts, tables);
        Ok(true)
    }

    /// Whether all that is in use is so by its counts.
    fn meet_all(&mut self) -> io::Result<bool> {
        let Header { l1_table, count_table, .. } = self.header;
        let (count_bytes, l1_bytes) = (self.header.count_bytes(), self.header.l1_bytes());
        let blocks: Vec<u64> = self.count_table.iter().copied().filter(|block| *block != 0).collect();
        let tables = std::mem::take(&mut self.l1_table);
        Ok(self.meet(0, 1, ONE)?
            && self.meet(count_table, count_bytes, ONE)?
            && self.meet(l1_table, l1_bytes, ONE)?
            && self.all(&blocks, |check, block| check.meet_whole(block, ONE))?
            && self.all(&tables, Self::meet_table)?)
    }

    fn all(
        &mut self,
        entries: &[u64],
        mut holds: impl FnMut(&mut Self, u64) -> io::Result<bool>,
    ) -> io::Result<bool> {
        for entry in entries {
            if !holds(self, *entry)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The entries of the table of `bytes` bytes at `start`, if it is at the start of a cluster and in the file.
    fn table(&self, start: u64, bytes: u64) -> io::Result<Option<Vec<u64>>> {
        let end = start.checked_add(bytes).filter(|end| *end <= self.length);
        if end.is_none() || !start.is_multiple_of(self.cluster()) {
            return Ok(None);
        }
        let mut content = vec![0; bytes as usize];
        self.file.read_exact_at(&mut content, start)?;
        let entry = |entry: &[u8]| u64::from_be_bytes(std::array::from_fn(|byte| entry[byte]));
        Ok(Some(content.chunks_exact(ENTRY as usize).map(entry).collect()))
    }

    fn cluster(&self) -> u64 {
        1 << self.header.cluster_bits
    }

    /// A table of clusters that an entry of the first table names, and all that it names.
    fn meet_table(&mut self, entry: u64) -> io::Result<bool> {
        let start = entry & OFFSET;
        if start == 0 {
            return Ok(true);
        }
        if !self.meet_entry(entry, ONE)? {
            return Ok(false);
        }
        match self.table(start, self.cluster())? {
            Some(entries) => self.all(&entries, Self::meet_data),
            None => Ok(false),
        }
    }

    /// The data that an entry of a second table names.
    fn meet_data(&mut self, entry: u64) -> io::Result<bool> {
        if entry & COMPRESSED != 0 {
            let offset_bits = 62 - (self.header.cluster_bits - 8);
            let start = entry & ((1 << offset_bits) - 1);
            let sectors = (entry & !COPIED & !COMPRESSED) >> offset_bits;
            return self.meet(start, (sectors + 1) * SECTOR - start % SECTOR, u64::MAX);
        }
        if entry & OFFSET == 0 { Ok(true) } else { self.meet_entry(entry, u64::MAX) }
    }

    /// The cluster that `entry` names, which has `most` uses at most.
    fn meet_entry(&mut self, entry: u64, most: u64) -> io::Result<bool> {
        let start = entry & OFFSET;
        let is_alone = entry & COPIED == 0 || self.count(start >> self.header.cluster_bits)? == 1;
        Ok(is_alone && self.meet_whole(start, most)?)
    }

    fn meet_whole(&mut self, start: u64, most: u64) -> io::Result<bool> {
        Ok(start.is_multiple_of(self.cluster()) && self.meet(start, self.cluster(), most)?)
    }

    /// The clusters of `bytes` bytes from `start` on have one use more; says whether they are there, and whether their
    /// counts, and `most`, allow that. The last cluster of a file need not be whole.
    fn meet(&mut self, start: u64, bytes: u64, most: u64) -> io::Result<bool> {
        let bits = self.header.cluster_bits;
        let Some(end) = start.checked_add(bytes) else { return Ok(false) };
        if end.div_ceil(self.cluster()) > self.length.div_ceil(self.cluster()) {
            return Ok(false);
        }
        for cluster in start >> bits..end.div_ceil(self.cluster()) {
            let count = self.count(cluster)?;
            let (block, index) = self.place(cluster);
            let Some(block) = self.blocks.get_mut(&block) else { return Ok(false) };
            block.uses[index] = block.uses[index].saturating_add(1);
            // No more uses than a byte holds are told apart, which only lets more pass.
            if u64::from(block.uses[index]) > count.min(most) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Which block has the count of `cluster`, and where in it.
    fn place(&self, cluster: u64) -> (u64, usize) {
        let per_block = (self.cluster() * 8) >> self.header.count_order;
        (cluster / per_block, (cluster % per_block) as usize)
    }

    /// How often `cluster` is used by its count; 0 if it has none.
    fn count(&mut self, cluster: u64) -> io::Result<u64> {
        let (number, index) = self.place(cluster);
        if !self.blocks.contains_key(&number) {
            let Some(block) = self.read_block(number)? else { return Ok(0) };
            self.blocks.insert(number, block);
        }
        let counts = &self.blocks[&number].counts;
        let bits = 1usize << self.header.count_order;
        if bits < 8 {
            let shift = index * bits % 8;
            return Ok(u64::from(counts[index * bits / 8] >> shift) & ((1 << bits) - 1));
        }
        let bytes = &counts[index * bits / 8..][..bits / 8];
        Ok(bytes.iter().fold(0, |count, byte| count << 8 | u64::from(*byte)))
    }

    fn read_block(&self, number: u64) -> io::Result<Option<Block>> {
        let start = usize::try_from(number).ok().and_then(|number| self.count_table.get(number)).copied();
        let start = start.filter(|start| *start != 0 && start.is_multiple_of(self.cluster()));
        let end = start.and_then(|start| start.checked_add(self.cluster()));
        let (Some(start), Some(_)) = (start, end.filter(|end| *end <= self.length)) else { return Ok(None) };
        let mut counts = vec![0; self.cluster() as usize];
        self.file.read_exact_at(&mut counts, start)?;
        let uses = vec![0; (counts.len() * 8) >> self.header.count_order];
        Ok(Some(Block { counts, uses }))
    }
}

/// Reads from the start of `file`; gives how much there was.
fn read_up_to(file: &File, to: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < to.len() {
        match file.read_at(&mut to[done..], done as u64) {
            Ok(0) => break,
            Ok(length) => done += length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
