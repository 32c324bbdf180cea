//! Guest RAM: one memfd, mapped so that host address = base + physical address, with inaccessible
//! guard pages around and between the banks. Every access goes through atomics, because vCPUs and
//! devices race as the guest pleases.
#![expect(unsafe_code, reason = "RAM is mapped and accessed by address; every access is bounds-checked here")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, SeekFrom, ftruncate, memfd_create, seek};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use translator::addr::{PAGE_SIZE, Pa};

use crate::device::Window;

/// The inaccessible space on either side of RAM: more than any displacement in generated code.
const GUARD: u64 = 1 << 20;

/// Why RAM could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RamError {
    /// A bank is empty, not whole pages, not after the one before, or too high.
    #[error("RAM bank of {size:#x} bytes at {base} is not a run of pages above the bank before it")]
    Bank {
        /// Where the bank begins.
        base: Pa,
        /// Its length in bytes.
        size: u64,
    },
    /// The host gave no memory.
    #[error("cannot map {bytes} bytes of guest memory")]
    Host {
        /// How much was asked for.
        bytes: u64,
        /// Why not.
        #[source]
        source: rustix::io::Errno,
    },
}

/// Which way bytes are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From a file to RAM.
    ToRam,
    /// From RAM to a file.
    ToFile,
}

/// Guest RAM.
#[derive(Debug)]
pub struct Ram {
    /// The start of the reservation, [`GUARD`] bytes below physical address 0.
    reservation: NonNull<u8>,
    reserved: u64,
    banks: Vec<Window>,
    /// Says which pages were touched.
    file: OwnedFd,
    /// What is mapped in its place, from which byte on: then it says which pages were not zero at first.
    image: OnceLock<(File, u64)>,
}

// SAFETY: the mapping lives as long as the value and is only reached through atomics or by generated
// code, so it may be used from any thread.
unsafe impl Send for Ram {}
// SAFETY: as above; no method hands out a reference into the mapping, but to atomics.
unsafe impl Sync for Ram {}

impl Ram {
    /// Maps zeroed RAM with the given banks, in ascending order.
    ///
    /// # Errors
    /// Refuses banks that are no runs of pages or overlap, and reports a host without memory.
    pub fn new(banks: &[Window]) -> Result<Self, RamError> {
        let top = check_banks(banks)?;
        let reserved = top + 2 * GUARD;
        let bytes: u64 = banks.iter().map(|b| b.size).sum();
        let host = |source| RamError::Host { bytes, source };
        let file = memfd_create("guest-ram", MemfdFlags::CLOEXEC).map_err(host)?;
        ftruncate(&file, bytes).map_err(host)?;
        // SAFETY: a fresh reservation at an address of the kernel's choice replaces no mapping.
        let reservation = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                reserved as usize,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }
        .map_err(host)?;
        let reservation = NonNull::new(reservation.cast()).ok_or(host(rustix::io::Errno::NOMEM))?;
        let ram = Self { reservation, reserved, banks: banks.to_vec(), file, image: OnceLock::new() };
        ram.map_banks().map_err(host)?;
        Ok(ram)
    }

    fn map_banks(&self) -> rustix::io::Result<()> {
        let mut offset = 0;
        for bank in &self.banks {
            // SAFETY: `check_banks` put the bank between the guards, inside this value's own
            // reservation, so the fixed mapping replaces only inaccessible pages.
            unsafe {
                mmap(
                    self.host(bank.base).cast(),
                    bank.size as usize,
                    ProtFlags::READ | ProtFlags::WRITE,
                    MapFlags::SHARED | MapFlags::FIXED | MapFlags::NORESERVE,
                    &self.file,
                    offset,
                )?;
            }
            offset += bank.size;
        }
        Ok(())
    }

    /// Takes the contents of all banks, in a row, from `image` on byte `start`, a page boundary. A page is read
    /// when it is first touched and copied when it is first written; the file is never written. It must stay
    /// as it is meanwhile.
    ///
    /// # Errors
    /// Fails as the host does, if RAM has an image already, or if the file is too short.
    pub fn map_image(&self, image: &File, start: u64) -> std::io::Result<()> {
        let bytes: u64 = self.banks.iter().map(|bank| bank.size).sum();
        let enough =
            start.checked_add(bytes).is_some_and(|end| image.metadata().is_ok_and(|m| end <= m.len()));
        let kept = image.try_clone()?;
        if !enough || !start.is_multiple_of(PAGE_SIZE) || self.image.set((kept, start)).is_err() {
            return Err(std::io::ErrorKind::InvalidInput.into());
        }
        let mut offset = start;
        for bank in &self.banks {
            // SAFETY: the bank is a mapping of this value's own inside its reservation, and is replaced by
            // one of the same place, length and access, whose bytes are in the file.
            unsafe {
                mmap(
                    self.host(bank.base).cast(),
                    bank.size as usize,
                    ProtFlags::READ | ProtFlags::WRITE,
                    MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE,
                    image,
                    offset,
                )?;
            }
            offset += bank.size;
        }
        Ok(())
    }

    /// Whether RAM began as a mapped image.
    pub fn has_image(&self) -> bool {
        self.image.get().is_some()
    }

    /// The host address of `pa`, which may be in no bank.
    fn host(&self, pa: Pa) -> *mut u8 {
        self.reservation.as_ptr().wrapping_add((GUARD + pa.0) as usize)
    }

    /// The host address of physical address 0, for generated code. Only what lies in a bank may be
    /// accessed through it.
    pub fn host_base(&self) -> u64 {
        self.host(Pa(0)) as u64
    }

    /// The banks in ascending order.
    pub fn banks(&self) -> &[Window] {
        &self.banks
    }

    /// The first physical address above RAM.
    pub fn top(&self) -> u64 {
        self.banks.last().map_or(0, |b| b.base.0 + b.size)
    }

    /// The runs of pages that have ever been touched, in ascending order: the others are zero, and
    /// need not be looked at. A host that does not know names everything. Of RAM that began as an image, the
    /// pages that were not zero then.
    pub fn populated(&self) -> Vec<Window> {
        match self.image.get() {
            Some((image, start)) => self.data_of(image, *start),
            None => self.data_of(&self.file, 0),
        }
    }

    /// The runs of pages for which `file`, which holds the banks from byte `start` on, has data.
    fn data_of(&self, file: impl AsFd, start: u64) -> Vec<Window> {
        let mut runs = Vec::new();
        let mut offset = start;
        for bank in &self.banks {
            let end = offset + bank.size;
            let mut at = offset;
            while at < end {
                let data = match seek(file.as_fd(), SeekFrom::Data(at)) {
                    Ok(data) if data < end => data,
                    Ok(_) | Err(rustix::io::Errno::NXIO) => break,
                    Err(_) => at,
                };
                let hole = seek(file.as_fd(), SeekFrom::Hole(data)).map_or(end, |hole| hole.min(end));
                runs.push(Window { base: bank.base + (data - offset), size: hole - data });
                at = hole;
            }
            offset = end;
        }
        runs
    }

    /// Whether `bytes` bytes at `pa` are all in one bank.
    #[inline]
    pub fn contains(&self, pa: Pa, bytes: u64) -> bool {
        self.banks.iter().any(|b| pa.0 >= b.base.0 && bytes <= b.size && pa.0 - b.base.0 <= b.size - bytes)
    }

    /// Reads `bytes` (1, 2, 4 or 8) bytes at `pa`, zero-extended; `None` outside RAM or misaligned.
    #[inline]
    pub fn load(&self, pa: Pa, bytes: u64) -> Option<u64> {
        let host = self.checked(pa, bytes)?;
        // SAFETY: `checked` found `bytes` bytes at `host` inside a mapped bank, and aligned.
        Some(unsafe {
            match bytes {
                1 => u64::from(AtomicU8::from_ptr(host).load(Ordering::Relaxed)),
                2 => u64::from(AtomicU16::from_ptr(host.cast()).load(Ordering::Relaxed)),
                4 => u64::from(AtomicU32::from_ptr(host.cast()).load(Ordering::Relaxed)),
                _ => AtomicU64::from_ptr(host.cast()).load(Ordering::Relaxed),
            }
        })
    }

    /// Writes the low `bytes` (1, 2, 4 or 8) bytes of `value` at `pa`; `None` outside RAM or misaligned.
    #[inline]
    pub fn store(&self, pa: Pa, bytes: u64, value: u64) -> Option<()> {
        let host = self.checked(pa, bytes)?;
        // SAFETY: `checked` found `bytes` bytes at `host` inside a mapped bank, and aligned.
        unsafe {
            match bytes {
                1 => AtomicU8::from_ptr(host).store(value as u8, Ordering::Relaxed),
                2 => AtomicU16::from_ptr(host.cast()).store(value as u16, Ordering::Relaxed),
                4 => AtomicU32::from_ptr(host.cast()).store(value as u32, Ordering::Relaxed),
                _ => AtomicU64::from_ptr(host.cast()).store(value, Ordering::Relaxed),
            }
        }
        Some(())
    }

    /// Replaces `old` by `new` in the 4 or 8 bytes at `pa` and tells whether it was there; `None`
    /// outside RAM or misaligned.
    pub fn compare_exchange(&self, pa: Pa, bytes: u64, old: u64, new: u64) -> Option<bool> {
        let host = self.checked(pa, bytes)?;
        // SAFETY: `checked` found `bytes` bytes at `host` inside a mapped bank, and aligned.
        Some(unsafe {
            if bytes == 4 {
                let word = AtomicU32::from_ptr(host.cast());
                word.compare_exchange(old as u32, new as u32, Ordering::SeqCst, Ordering::SeqCst).is_ok()
            } else {
                let word = AtomicU64::from_ptr(host.cast());
                word.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
            }
        })
    }

    #[inline]
    fn checked(&self, pa: Pa, bytes: u64) -> Option<*mut u8> {
        let good = matches!(bytes, 1 | 2 | 4 | 8) && pa.0 & (bytes - 1) == 0 && self.contains(pa, bytes);
        good.then(|| self.host(pa))
    }

    /// The `bytes` bytes at `pa`, most of them as aligned double words; `None` unless all of it is in one bank.
    fn atomics(&self, pa: Pa, bytes: usize) -> Option<(&[AtomicU8], &[AtomicU64], &[AtomicU8])> {
        if !self.contains(pa, bytes as u64) {
            return None;
        }
        // SAFETY: the bytes are inside a mapped bank, which lives as long as this value, and are only reached
        // through atomics, for which any bits are good.
        unsafe {
            let bytes = std::slice::from_raw_parts(self.host(pa).cast::<AtomicU8>(), bytes);
            Some(bytes.align_to())
        }
    }

    /// Copies from `pa` to `to`; `None`, with nothing copied, unless all of it is in one bank.
    pub fn read(&self, pa: Pa, to: &mut [u8]) -> Option<()> {
        let (head, words, tail) = self.atomics(pa, to.len())?;
        let (to_head, rest) = to.split_at_mut(head.len());
        let (to_words, to_tail) = rest.split_at_mut(size_of_val(words));
        for (to, word) in to_words.as_chunks_mut().0.iter_mut().zip(words) {
            *to = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        for (to, byte) in to_head.iter_mut().chain(to_tail).zip(head.iter().chain(tail)) {
            *to = byte.load(Ordering::Relaxed);
        }
        Some(())
    }

    /// Copies `from` to `pa`; `None`, with nothing copied, unless all of it fits in one bank.
    pub fn write(&self, pa: Pa, from: &[u8]) -> Option<()> {
        let (head, words, tail) = self.atomics(pa, from.len())?;
        let (from_head, rest) = from.split_at(head.len());
        let (from_words, from_tail) = rest.split_at(size_of_val(words));
        for (from, word) in from_words.as_chunks().0.iter().zip(words) {
            word.store(u64::from_ne_bytes(*from), Ordering::Relaxed);
        }
        for (from, byte) in from_head.iter().chain(from_tail).zip(head.iter().chain(tail)) {
            byte.store(*from, Ordering::Relaxed);
        }
        Some(())
    }

    /// Moves bytes between `file`, from `place` on, and the runs of RAM, one after the other, without a
    /// copy in between; gives how many were moved, which may be fewer. If it must not `wait`, it fails
    /// with [`Errno::AGAIN`] or [`Errno::OPNOTSUPP`] where it would have to.
    ///
    /// # Errors
    /// [`Errno::FAULT`] if a run is not RAM of one bank, or whatever the host says of the file.
    pub fn transfer(
        &self,
        file: &File,
        place: u64,
        runs: &[(Pa, usize)],
        direction: Direction,
        wait: bool,
    ) -> Result<usize, Errno> {
        if !runs.iter().all(|(pa, bytes)| self.contains(*pa, *bytes as u64)) {
            return Err(Errno::FAULT);
        }
        let vectors: Vec<libc::iovec> = runs
            .iter()
            .take(libc::UIO_MAXIOV as usize)
            .map(|(pa, bytes)| libc::iovec { iov_base: self.host(*pa).cast(), iov_len: *bytes })
            .collect();
        let place = place.try_into().map_err(|_| Errno::INVAL)?;
        let flags = if wait { 0 } else { libc::RWF_NOWAIT };
        let (file, count) = (file.as_raw_fd(), vectors.len() as i32);
        // SAFETY: `vectors` lives through the call and names only bytes of mapped banks, of which there
        // are no Rust references; the host's kernel may race for them with vCPUs, as devices do.
        let moved = unsafe {
            match direction {
                Direction::ToRam => libc::preadv2(file, vectors.as_ptr(), count, place, flags),
                Direction::ToFile => libc::pwritev2(file, vectors.as_ptr(), count, place, flags),
            }
        };
        usize::try_from(moved)
            .map_err(|_| Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO))
    }

    /// Reads through a host address that a soft TLB gave for a virtual address in RAM.
    ///
    /// # Safety
    /// `host` must be the sum of a virtual address and the addend of a soft-TLB entry whose tag equals
    /// the address's page, and aligned to `bytes`.
    #[inline]
    pub unsafe fn load_host(host: u64, bytes: u64) -> u64 {
        // SAFETY: the caller's entry was made from a page inside a bank, so the aligned access is in it.
        unsafe {
            match bytes {
                1 => u64::from(AtomicU8::from_ptr(host as *mut u8).load(Ordering::Relaxed)),
                2 => u64::from(AtomicU16::from_ptr(host as *mut u16).load(Ordering::Relaxed)),
                4 => u64::from(AtomicU32::from_ptr(host as *mut u32).load(Ordering::Relaxed)),
                _ => AtomicU64::from_ptr(host as *mut u64).load(Ordering::Relaxed),
            }
        }
    }

    /// Writes through a host address that a soft TLB gave for a virtual address in RAM.
    ///
    /// # Safety
    /// As for [`Ram::load_host`], with an entry for stores.
    #[inline]
    pub unsafe fn store_host(host: u64, bytes: u64, value: u64) {
        // SAFETY: the caller's entry was made from a page inside a bank, so the aligned access is in it.
        unsafe {
            match bytes {
                1 => AtomicU8::from_ptr(host as *mut u8).store(value as u8, Ordering::Relaxed),
                2 => AtomicU16::from_ptr(host as *mut u16).store(value as u16, Ordering::Relaxed),
                4 => AtomicU32::from_ptr(host as *mut u32).store(value as u32, Ordering::Relaxed),
                _ => AtomicU64::from_ptr(host as *mut u64).store(value, Ordering::Relaxed),
            }
        }
    }
}

impl Drop for Ram {
    fn drop(&mut self) {
        // SAFETY: the whole reservation belongs to this value, and nothing uses it any more. A failure
        // would only leak address space.
        let _ = unsafe { munmap(self.reservation.as_ptr().cast(), self.reserved as usize) };
    }
}

/// Checks that banks are runs of pages in ascending order; gives the first address above them.
fn check_banks(banks: &[Window]) -> Result<u64, RamError> {
    const HIGHEST: u64 = 1 << 40;
    let mut top = 0;
    for bank in banks {
        let whole_pages = bank.size > 0 && (bank.base.0 | bank.size).is_multiple_of(PAGE_SIZE);
        let end = bank.base.0.checked_add(bank.size).filter(|end| *end <= HIGHEST);
        match end {
            Some(end) if whole_pages && bank.base.0 >= top => top = end,
            _ => return Err(RamError::Bank { base: bank.base, size: bank.size }),
        }
    }
    Ok(top)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_banks() -> Ram {
        let banks =
            [Window { base: Pa(0), size: 0x10000 }, Window { base: Pa(0x2000_0000), size: PAGE_SIZE }];
        Ram::new(&banks).expect("the host has memory")
    }

    #[test]
    fn reads_what_was_written_and_refuses_the_rest() {
        let ram = two_banks();
        assert_eq!(ram.store(Pa(0x2000_0ff8), 8, 0x1122_3344_5566_7788), Some(()));
        assert_eq!(ram.load(Pa(0x2000_0ff8), 4), Some(0x5566_7788));
        assert_eq!(ram.load(Pa(0x2000_1000), 1), None);
        assert_eq!(ram.load(Pa(0x1_0000), 1), None);
        assert_eq!(ram.load(Pa(2), 4), None);
        assert_eq!(ram.read(Pa(0xffff), &mut [0; 2]), None);
        assert_eq!(ram.load(Pa(u64::MAX - 7), 8), None);
    }

    #[test]
    fn copies_begin_and_end_anywhere() {
        let ram = two_banks();
        let bytes: Vec<u8> = (1..=40).collect();
        for start in 0..9 {
            for length in 0..32 {
                let (pa, from) = (Pa(0x100 + start), &bytes[..length]);
                assert_eq!(ram.write(Pa(0xf8), &[0; 64]), Some(()));
                assert_eq!(ram.write(pa, from), Some(()));
                let mut all = [9; 64];
                assert_eq!(ram.read(Pa(0xf8), &mut all), Some(()));
                let at = 8 + start as usize;
                assert_eq!(all[at..at + length], *from);
                assert!(all[..at].iter().chain(&all[at + length..]).all(|byte| *byte == 0));
                let mut back = vec![9; length];
                assert_eq!(ram.read(pa, &mut back), Some(()));
                assert_eq!(back, from);
            }
        }
    }

    #[test]
    fn refuses_bad_banks() {
        let bad = [(1, PAGE_SIZE), (0, 5), (0, 0), (1 << 40, PAGE_SIZE)];
        for (base, size) in bad {
            assert!(matches!(Ram::new(&[Window { base: Pa(base), size }]), Err(RamError::Bank { .. })));
        }
    }
}
