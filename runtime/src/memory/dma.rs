//! How devices reach guest RAM: bounds-checked copies, and the one notice that a device's write gives.
//! It must not know any device, nor what is made from the pages that it writes.

use std::fs::File;
use std::sync::{Arc, OnceLock, Weak};

use rustix::io::Errno;
use thiserror::Error;
use translator::addr::Pa;

use super::{Direction, Ram};

/// Who is told that a device wrote to RAM, because it keeps something made from the bytes.
pub trait WriteNotice: Send + Sync {
    /// The `bytes` bytes at `pa`, all of them RAM, are about to be written.
    fn writing(&self, pa: Pa, bytes: u64);

    /// The `bytes` bytes at `pa` have been written.
    fn written(&self, pa: Pa, bytes: u64);
}

/// A device wanted memory that is not RAM.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{bytes} bytes at {pa} are not RAM")]
pub struct OutsideRam {
    /// Where.
    pub pa: Pa,
    /// How many bytes.
    pub bytes: u64,
}

/// A device's way to RAM. Clones are the same way.
#[derive(Clone)]
pub struct Dma {
    inner: Arc<Inner>,
}

struct Inner {
    ram: Arc<Ram>,
    /// Weak, because the machine that is told owns the devices that tell.
    notice: OnceLock<Weak<dyn WriteNotice>>,
}

impl Dma {
    /// A way to `ram`.
    pub fn new(ram: Arc<Ram>) -> Self {
        Self { inner: Arc::new(Inner { ram, notice: OnceLock::new() }) }
    }

    /// From now on `notice` is told of every write. The first one stays.
    pub fn connect(&self, notice: Weak<dyn WriteNotice>) {
        // A second call would come from a second machine around the same RAM, which there is not.
        let _ = self.inner.notice.set(notice);
    }

    /// Whether `bytes` bytes at `pa` are all RAM, in one bank.
    pub fn contains(&self, pa: Pa, bytes: u64) -> bool {
        self.inner.ram.contains(pa, bytes)
    }

    /// Copies from RAM.
    ///
    /// # Errors
    /// Copies nothing unless all of it is in one bank of RAM.
    pub fn read(&self, pa: Pa, to: &mut [u8]) -> Result<(), OutsideRam> {
        self.inner.ram.read(pa, to).ok_or(OutsideRam { pa, bytes: to.len() as u64 })
    }

    /// Copies to RAM.
    ///
    /// # Errors
    /// Copies nothing unless all of it fits in one bank of RAM.
    pub fn write(&self, pa: Pa, from: &[u8]) -> Result<(), OutsideRam> {
        self.write_unnoticed(pa, from)?;
        self.give_notice(pa, from.len() as u64);
        Ok(())
    }

    /// Copies to RAM, as a part of a change of which [`Dma::give_notice`] is called when it is done.
    ///
    /// # Errors
    /// Copies nothing unless all of it fits in one bank of RAM.
    pub fn write_unnoticed(&self, pa: Pa, from: &[u8]) -> Result<(), OutsideRam> {
        let bytes = from.len() as u64;
        self.give_warning(pa, bytes);
        self.inner.ram.write(pa, from).ok_or(OutsideRam { pa, bytes })
    }

    /// Moves bytes between a file and RAM, as [`Ram::transfer`] says. Of what comes to RAM no notice is
    /// given: [`Dma::give_notice`] must be called when it is there.
    ///
    /// # Errors
    /// As [`Ram::transfer`].
    pub fn transfer_unnoticed(
        &self,
        file: &File,
        place: u64,
        runs: &[(Pa, usize)],
        direction: Direction,
        wait: bool,
    ) -> Result<usize, Errno> {
        if direction == Direction::ToRam {
            runs.iter().for_each(|(pa, bytes)| self.give_warning(*pa, *bytes as u64));
        }
        self.inner.ram.transfer(file, place, runs, direction, wait)
    }

    /// Reads a little-endian half word at an aligned address, in one access.
    ///
    /// # Errors
    /// Refuses what is no aligned half word of RAM.
    pub fn load_u16(&self, pa: Pa) -> Result<u16, OutsideRam> {
        let value = self.inner.ram.load(pa, 2).ok_or(OutsideRam { pa, bytes: 2 })?;
        Ok(value as u16)
    }

    /// Writes a little-endian half word at an aligned address, in one access.
    ///
    /// # Errors
    /// Refuses what is no aligned half word of RAM.
    pub fn store_u16(&self, pa: Pa, value: u16) -> Result<(), OutsideRam> {
        self.give_warning(pa, 2);
        self.inner.ram.store(pa, 2, value.into()).ok_or(OutsideRam { pa, bytes: 2 })?;
        self.give_notice(pa, 2);
        Ok(())
    }

    /// Tells that `bytes` bytes at `pa` are about to be written, if they are RAM.
    fn give_warning(&self, pa: Pa, bytes: u64) {
        if let Some(notice) = self.inner.notice.get().and_then(Weak::upgrade)
            && self.contains(pa, bytes)
        {
            notice.writing(pa, bytes);
        }
    }

    /// Tells that `bytes` bytes at `pa` have been written. Whoever calls it may be the last to use the
    /// machine, and so end it.
    pub fn give_notice(&self, pa: Pa, bytes: u64) {
        if let Some(notice) = self.inner.notice.get().and_then(Weak::upgrade) {
            notice.written(pa, bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::device::{Window, lock};

    #[derive(Default)]
    struct Heard(Mutex<Vec<(Pa, u64)>>);

    impl WriteNotice for Heard {
        fn writing(&self, _pa: Pa, _bytes: u64) {}

        fn written(&self, pa: Pa, bytes: u64) {
            lock(&self.0).push((pa, bytes));
        }
    }

    #[test]
    fn writes_are_noticed_and_what_is_no_ram_is_refused() {
        let ram = Ram::new(&[Window { base: Pa(0x1000), size: 0x1000 }]).unwrap();
        let dma = Dma::new(Arc::new(ram));
        let heard = Arc::new(Heard::default());
        let weak: Weak<Heard> = Arc::downgrade(&heard);
        dma.connect(weak);
        dma.write(Pa(0x1ffe), &[1, 2]).unwrap();
        dma.store_u16(Pa(0x1000), 7).unwrap();
        assert_eq!(dma.load_u16(Pa(0x1ffe)), Ok(0x0201));
        for (pa, bytes) in [(0xfff, 2), (0x1fff, 2), (u64::MAX, 1), (0x1000, 0x1001)] {
            assert_eq!(
                dma.write(Pa(pa), &vec![0; bytes]),
                Err(OutsideRam { pa: Pa(pa), bytes: bytes as u64 })
            );
        }
        assert!(dma.load_u16(Pa(0x1001)).is_err());
        assert_eq!(*lock(&heard.0), [(Pa(0x1ffe), 2), (Pa(0x1000), 2)]);
    }
}
