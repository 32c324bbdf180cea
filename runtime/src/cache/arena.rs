//! The memory that generated code is in: the same pages mapped twice, once to write and once to execute, so
//! that no page is ever both. Its size and addresses never change. It is filled region by region.
#![expect(unsafe_code, reason = "executable memory is mapped and patched here")]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use memmap2::MmapMut;
use rustix::mm::{MapFlags, MprotectFlags, MremapFlags, ProtFlags};
use rustix::mm::{mmap_anonymous, mprotect, mremap_fixed};
use translator::code::{Code, Routine};
use translator::emit::{Pins, Routines, routines};

/// The number of regions: when all are full, the oldest is emptied.
pub const REGIONS: usize = 16;
/// The bytes of a region. The build that checks itself has so little room that each boot of Linux empties some.
pub const REGION_BYTES: usize = if cfg!(feature = "self-check") { 512 << 10 } else { 4 << 20 };
/// The shared routines come before the regions.
const ROUTINE_BYTES: usize = 16 << 10;
const ARENA_BYTES: usize = ROUTINE_BYTES + REGIONS * REGION_BYTES;
/// Blocks begin at cache lines.
const ALIGNMENT: usize = 64;

/// Executable memory.
pub struct Arena {
    /// All pages to write, and then all pages to execute.
    views: MmapMut,
    routines: Routines,
    region: usize,
    /// The next free byte of the current region.
    next: usize,
}

/// Code in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The offset of its first byte in the arena.
    pub offset: usize,
    /// The region that it is in.
    pub region: usize,
}

impl Arena {
    /// Maps an arena with the shared routines for code with `pins` in place.
    ///
    /// # Errors
    /// Fails if the host gives no memory, or none that can be executed.
    pub fn new(pins: &Pins) -> std::io::Result<Self> {
        let mut arena = Self { views: views()?, routines: routines(pins), region: 0, next: ROUTINE_BYTES };
        assert!(arena.routines.bytes.len() <= ROUTINE_BYTES, "the shared routines fit their place");
        let bytes = std::mem::take(&mut arena.routines.bytes);
        arena.views[..bytes.len()].copy_from_slice(&bytes);
        Ok(arena)
    }

    fn executable(&self) -> &[u8] {
        &self.views[ARENA_BYTES..]
    }

    /// The host address of offset `offset`, to execute.
    pub fn address(&self, offset: usize) -> u64 {
        self.executable().as_ptr() as u64 + offset as u64
    }

    /// The offset of host address `address`.
    pub fn offset_of(&self, address: u64) -> usize {
        address.wrapping_sub(self.executable().as_ptr() as u64) as usize
    }

    /// The host address of the way into generated code.
    pub fn way_in(&self) -> u64 {
        self.address(self.routines.enter)
    }

    /// The region that is being filled.
    pub fn region(&self) -> usize {
        self.region
    }

    /// Whether the current region has no room for `bytes` more bytes.
    pub fn is_full(&self, bytes: usize) -> bool {
        let end = ROUTINE_BYTES + (self.region + 1) * REGION_BYTES;
        self.next.next_multiple_of(ALIGNMENT) + bytes > end
    }

    /// Goes on to the next region, whose code is forgotten. Nothing may run in it.
    pub fn advance(&mut self) {
        self.region = (self.region + 1) % REGIONS;
        self.next = ROUTINE_BYTES + self.region * REGION_BYTES;
    }

    /// Puts `code` into the current region.
    ///
    /// # Panics
    /// Panics if it has no room: see [`Arena::is_full`].
    pub fn place(&mut self, code: &Code) -> Placement {
        assert!(!self.is_full(code.bytes.len()), "the caller has looked");
        let offset = self.next.next_multiple_of(ALIGNMENT);
        self.next = offset + code.bytes.len();
        self.views[offset..self.next].copy_from_slice(&code.bytes);
        for (at, routine) in &code.calls {
            let target = self.routine(*routine);
            self.write_displacement(offset + at, target);
        }
        for link in &code.links {
            self.write_displacement(offset + link.displacement, offset + link.stub);
        }
        Placement { offset, region: self.region }
    }

    fn routine(&self, routine: Routine) -> usize {
        self.routines.offsets[&routine]
    }

    fn write_displacement(&mut self, at: usize, target: usize) {
        self.views[at..at + 4].copy_from_slice(&displacement(at, target).to_le_bytes());
    }

    /// Points the jump whose displacement is at `at` to `target`, while vCPUs may run it.
    ///
    /// # Panics
    /// Panics if `at` is no multiple of 4 inside the arena.
    pub fn redirect(&mut self, at: usize, target: usize) {
        assert!(at.is_multiple_of(4) && at + 4 <= ARENA_BYTES);
        // SAFETY: the four bytes are inside the mapping and aligned; while code runs they are only
        // accessed by such stores and by the host's instruction fetch, which sees old or new.
        let word = unsafe { AtomicU32::from_ptr(self.views.as_mut_ptr().add(at).cast()) };
        word.store(displacement(at, target) as u32, Ordering::Release);
    }

    /// Makes the block at `offset` begin with a jump to `target`, while vCPUs may run it. What the jump replaces is
    /// one instruction ([`Code::body`]), so that no vCPU goes on in the middle of the new one.
    ///
    /// # Panics
    /// Panics if `offset` is no multiple of 8 inside the arena.
    pub fn overwrite_entry(&mut self, offset: usize, target: usize) {
        assert!(offset.is_multiple_of(8) && offset + 8 <= ARENA_BYTES);
        // SAFETY: the eight bytes are inside the mapping and aligned. Only who has the arena changes them, and the
        // host fetches them whole, old or new.
        let word = unsafe { AtomicU64::from_ptr(self.views.as_mut_ptr().add(offset).cast()) };
        let mut bytes = word.load(Ordering::Relaxed).to_le_bytes();
        bytes[0] = 0xe9;
        bytes[1..5].copy_from_slice(&displacement(offset + 1, target).to_le_bytes());
        word.store(u64::from_le_bytes(bytes), Ordering::Release);
    }

    /// Writes the constant at `at` of a block that nobody runs yet.
    pub fn write_constant(&mut self, at: usize, value: u64) {
        self.views[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    /// The offset that the jump whose displacement is at `at` goes to.
    pub fn target(&self, at: usize) -> usize {
        let bytes = self.executable()[at..].first_chunk().copied().unwrap_or_default();
        (at + 4).wrapping_add_signed(i32::from_le_bytes(bytes) as isize)
    }

    /// The host addresses and sizes of the shared routines, by name.
    pub fn routines(&self) -> Vec<(String, u64, usize)> {
        let name = |routine: &Routine| match routine {
            Routine::Stub(stub) => format!("stub.{}", stub.name()),
            other => format!("routine.{other:?}").to_lowercase(),
        };
        let mut starts: Vec<(usize, String)> =
            self.routines.offsets.iter().map(|(routine, at)| (*at, name(routine))).collect();
        starts.push((self.routines.enter, "routine.enter".to_owned()));
        starts.sort();
        let ends: Vec<usize> = starts.iter().skip(1).map(|(at, _)| *at).chain([ROUTINE_BYTES]).collect();
        let routine =
            |((start, name), end): ((usize, String), usize)| (name, self.address(start), end - start);
        starts.into_iter().zip(ends).map(routine).collect()
    }

    /// The bytes of `length` bytes of code at `offset`.
    pub fn bytes(&self, offset: usize, length: usize) -> &[u8] {
        &self.executable()[offset..offset + length]
    }
}

/// Maps the pages of an arena. They belong to no file, since Linux's perf looks only for code in such memory up in
/// the map that a process writes for it (tools/perf/util/map.c, `is_anon_memory`).
fn views() -> std::io::Result<MmapMut> {
    let mut views = MmapMut::map_anon(2 * ARENA_BYTES)?;
    let write = views.as_mut_ptr();
    let execute = write.wrapping_add(ARENA_BYTES).cast();
    // SAFETY: both halves are this mapping's own, which nobody knows yet and which ends as a whole. An old length of 0
    // has the host map the same shared pages once more (mremap(2)).
    unsafe {
        let shared = MapFlags::SHARED | MapFlags::FIXED | MapFlags::NORESERVE;
        mmap_anonymous(execute, ARENA_BYTES, ProtFlags::READ | ProtFlags::EXEC, shared)?;
        mremap_fixed(execute, 0, ARENA_BYTES, MremapFlags::MAYMOVE, write.cast())?;
        mprotect(write.cast(), ARENA_BYTES, MprotectFlags::READ | MprotectFlags::WRITE)?;
    }
    Ok(views)
}

/// The displacement at `at` of a jump to `target`: it counts from the byte after itself.
fn displacement(at: usize, target: usize) -> i32 {
    (target as i64 - (at as i64 + 4)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_executed_and_no_page_is_both_in_memory_that_perf_looks_up() {
        let mut arena = Arena::new(&Pins::COMPILED).unwrap();
        arena.views[ROUTINE_BYTES] = 0xc3;
        assert_eq!(arena.bytes(ROUTINE_BYTES, 1), [0xc3]);
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let view = |start: *const u8| {
            let start = format!("{:x}-", start as usize);
            maps.lines().find(|line| line.starts_with(&start)).expect("it is mapped")
        };
        let (write, execute) = (view(arena.views.as_ptr()), view(arena.executable().as_ptr()));
        assert!(write.contains(" rw-s ") && write.contains(" /dev/zero"), "{write}");
        assert!(execute.contains(" r-xs ") && execute.contains(" /dev/zero"), "{execute}");
    }
}
