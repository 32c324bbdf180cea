//! The memory that generated code is in: the same pages mapped twice, once to write and once to execute,
//! so that no mapping is ever both. Its size and addresses never change. It is filled region by region.
//! The pages are anonymous and not those of a file, because Linux `perf` asks for the names of generated
//! code only where no file is mapped.
#![expect(unsafe_code, reason = "executable memory is mapped and patched here")]

use std::ops::{Deref, DerefMut};
use std::ptr::null_mut;
use std::slice;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::mm::{MapFlags, MprotectFlags, MremapFlags, ProtFlags, mmap_anonymous, mprotect, mremap, munmap};
use translator::code::{Code, Routine};
use translator::emit::{Routines, routines};

/// The number of regions: when all are full, the oldest is emptied.
pub const REGIONS: usize = 16;
const REGION_BYTES: usize = 4 << 20;
/// The shared routines come before the regions.
const ROUTINE_BYTES: usize = 16 << 10;
const ARENA_BYTES: usize = ROUTINE_BYTES + REGIONS * REGION_BYTES;
/// Blocks begin at cache lines.
const ALIGNMENT: usize = 64;

/// A mapping of [`ARENA_BYTES`] bytes.
struct Mapping(*mut u8);

// SAFETY: the mapping belongs to the value, wherever that goes.
unsafe impl Send for Mapping {}
// SAFETY: through a shared reference the bytes are only read, but for the atomic stores of `Arena`.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// New memory that can be written.
    fn new() -> std::io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the host chooses an address at which there is nothing.
        let start = unsafe { mmap_anonymous(null_mut(), ARENA_BYTES, protection, MapFlags::SHARED)? };
        Ok(Self(start.cast()))
    }

    /// The same memory again, to execute.
    fn executable(&self) -> std::io::Result<Self> {
        // SAFETY: with an old length of 0, mremap leaves a shared mapping alone and makes another one.
        let start = unsafe { mremap(self.0.cast(), 0, ARENA_BYTES, MremapFlags::MAYMOVE)? };
        let again = Self(start.cast());
        // SAFETY: nobody else knows the new mapping.
        unsafe { mprotect(start, ARENA_BYTES, MprotectFlags::READ | MprotectFlags::EXEC)? };
        Ok(again)
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping is that long, can be read, and lasts as long as the value.
        unsafe { slice::from_raw_parts(self.0, ARENA_BYTES) }
    }
}

impl DerefMut for Mapping {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and only the writable mapping is ever borrowed so.
        unsafe { slice::from_raw_parts_mut(self.0, ARENA_BYTES) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is the value's own. A host that cannot unmap it keeps it.
        let _ = unsafe { munmap(self.0.cast(), ARENA_BYTES) };
    }
}

/// Executable memory.
pub struct Arena {
    write: Mapping,
    execute: Mapping,
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
    /// Maps an arena with the shared routines in place.
    ///
    /// # Errors
    /// Fails if the host gives no memory, or none that can be executed.
    pub fn new() -> std::io::Result<Self> {
        let write = Mapping::new()?;
        let execute = write.executable()?;
        let mut arena = Self { write, execute, routines: routines(), region: 0, next: ROUTINE_BYTES };
        assert!(arena.routines.bytes.len() <= ROUTINE_BYTES, "the shared routines fit their place");
        let bytes = std::mem::take(&mut arena.routines.bytes);
        arena.write[..bytes.len()].copy_from_slice(&bytes);
        Ok(arena)
    }

    /// The host address of offset `offset`, to execute.
    pub fn address(&self, offset: usize) -> u64 {
        self.execute.as_ptr() as u64 + offset as u64
    }

    /// The offset of host address `address`.
    pub fn offset_of(&self, address: u64) -> usize {
        address.wrapping_sub(self.execute.as_ptr() as u64) as usize
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
        assert!(!self.is_full(code.bytes.len()), "the caller made room");
        let offset = self.next.next_multiple_of(ALIGNMENT);
        self.next = offset + code.bytes.len();
        self.write[offset..self.next].copy_from_slice(&code.bytes);
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
        self.write[at..at + 4].copy_from_slice(&displacement(at, target).to_le_bytes());
    }

    /// Points the jump whose displacement is at `at` to `target`, while vCPUs may run it.
    ///
    /// # Panics
    /// Panics if `at` is no multiple of 4 inside the arena.
    pub fn redirect(&self, at: usize, target: usize) {
        assert!(at.is_multiple_of(4) && at + 4 <= self.write.len());
        // SAFETY: the four bytes are inside the mapping and aligned; while code runs they are only
        // accessed by such stores and by the host's instruction fetch, which sees old or new.
        let word = unsafe { AtomicU32::from_ptr(self.write.as_ptr().add(at).cast_mut().cast()) };
        word.store(displacement(at, target) as u32, Ordering::Release);
    }

    /// Makes the block at `offset` begin with a jump to `target`, while vCPUs may run it.
    ///
    /// # Panics
    /// Panics if `offset` is no multiple of 8 inside the arena.
    pub fn overwrite_entry(&self, offset: usize, target: usize) {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.write.len());
        let mut bytes = [0x90; 8];
        bytes[0] = 0xe9;
        bytes[1..5].copy_from_slice(&displacement(offset + 1, target).to_le_bytes());
        // SAFETY: the eight bytes are inside the mapping and aligned, and belong to the block: the
        // emitter makes no block shorter. The host fetches them whole, old or new.
        let word = unsafe { AtomicU64::from_ptr(self.write.as_ptr().add(offset).cast_mut().cast()) };
        word.store(u64::from_le_bytes(bytes), Ordering::Release);
    }

    /// Writes the constant at `at` of a block that nobody runs yet.
    pub fn write_constant(&mut self, at: usize, value: u64) {
        self.write[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    /// The offset that the jump whose displacement is at `at` goes to.
    pub fn target(&self, at: usize) -> usize {
        let bytes = self.execute[at..].first_chunk().copied().unwrap_or_default();
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
        &self.execute[offset..offset + length]
    }
}

/// The displacement at `at` of a jump to `target`: it counts from the byte after itself.
fn displacement(at: usize, target: usize) -> i32 {
    (target as i64 - (at as i64 + 4)) as i32
}
