//! Devices: one file each. A device sees offsets into its own window, never its address, and raises
//! interrupts through an [`IrqLine`](crate::bus::irq::IrqLine) that it was given.

use std::sync::{Mutex, MutexGuard, PoisonError};

use translator::addr::Pa;

pub mod cm;
pub mod cpc;
#[cfg(test)]
mod fuzz;
pub mod gic;
pub mod pins;
pub mod power;
pub mod rom;
pub mod rtc;
pub mod uart;
pub mod virtio;

/// The width of one bus access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// One byte.
    Byte = 1,
    /// Two bytes.
    Half = 2,
    /// Four bytes.
    Word = 4,
    /// Eight bytes.
    Double = 8,
}

impl Size {
    /// The width in bytes.
    pub const fn bytes(self) -> u64 {
        self as u64
    }

    /// A value with as many low bits set as an access of this width carries.
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - 8 * self.bytes())
    }
}

/// Where a device is touched, and by whom.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// The offset from the start of the device's window, aligned to `size`.
    pub offset: u64,
    /// The width of the access.
    pub size: Size,
    /// The number of the vCPU that makes the access: banked registers (GIC, CM) depend on it.
    pub vcpu: usize,
}

/// What every device on the bus does.
pub trait Device: Send {
    /// Reads `at.size` bytes; bits above the width are ignored by the bus. An offset without a
    /// register reads as zero.
    fn read(&mut self, at: Access) -> u64;

    /// Writes the low `at.size` bytes of `value`. An offset without a register ignores the write.
    fn write(&mut self, at: Access, value: u64);

    /// Returns to the state after power-on.
    fn reset(&mut self);

    /// While it is paused, a device does nothing of its own accord: it changes neither its state nor
    /// an interrupt line nor memory. Nothing is to be done for one that only answers vCPUs.
    fn set_paused(&mut self, _paused: bool) {}
}

/// A device as the bus holds it: touched by many vCPU threads at once.
///
/// A [`Device`] behind a mutex is one. A device whose reads are on a hot path (the GIC) implements
/// this trait itself, to answer them without a lock.
pub trait SharedDevice: Send + Sync {
    /// See [`Device::read`].
    fn read(&self, at: Access) -> u64;

    /// See [`Device::write`].
    fn write(&self, at: Access, value: u64);

    /// See [`Device::reset`].
    fn reset(&self);

    /// See [`Device::set_paused`].
    fn set_paused(&self, _paused: bool) {}
}

impl<D: Device + ?Sized> SharedDevice for Mutex<D> {
    fn read(&self, at: Access) -> u64 {
        lock(self).read(at)
    }

    fn write(&self, at: Access, value: u64) {
        lock(self).write(at, value);
    }

    fn reset(&self) {
        lock(self).reset();
    }

    fn set_paused(&self, paused: bool) {
        lock(self).set_paused(paused);
    }
}

/// Locks a mutex whose data stays usable after a panic elsewhere: one dead vCPU thread must not
/// take the others down through its device.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads a device that is made of 32-bit registers: a double word is two of them, a narrower access
/// is a part of one.
pub(crate) fn read_words(at: Access, mut word: impl FnMut(u64) -> u32) -> u64 {
    let base = at.offset & !3;
    match at.size {
        Size::Double => u64::from(word(base)) | u64::from(word(base + 4)) << 32,
        _ => (u64::from(word(base)) >> (8 * (at.offset & 3))) & at.size.mask(),
    }
}

/// Writes a device that is made of 32-bit registers: a double word is two of them. A narrower write
/// is ignored, since part of a command register has no meaning.
pub(crate) fn write_words(at: Access, value: u64, mut word: impl FnMut(u64, u32)) {
    match at.size {
        // The high half goes first: where a pair of registers acts on a write (GIC compare, RTC
        // alarm), it acts on the low one.
        Size::Double => {
            word(at.offset + 4, (value >> 32) as u32);
            word(at.offset, value as u32);
        }
        Size::Word => word(at.offset, value as u32),
        Size::Half | Size::Byte => {}
    }
}

/// A window of physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first address.
    pub base: Pa,
    /// The length in bytes.
    pub size: u64,
}

impl Window {
    /// The first address after the window, or `None` when the window is empty or runs past the last
    /// physical address.
    pub fn end(self) -> Option<Pa> {
        if self.size == 0 {
            return None;
        }
        self.base.0.checked_add(self.size).map(Pa)
    }

    /// Whether `length` bytes from `pa` on lie inside.
    pub fn holds(self, pa: Pa, length: u64) -> bool {
        match pa.0.checked_sub(self.base.0) {
            Some(offset) => offset <= self.size && length <= self.size - offset,
            None => false,
        }
    }

    /// Whether any byte lies in both windows.
    pub fn overlaps(self, other: Self) -> bool {
        let starts_in = |a: Self, b: Self| a.base.0 >= b.base.0 && a.base.0 - b.base.0 < b.size;
        self.size > 0 && other.size > 0 && (starts_in(self, other) || starts_in(other, self))
    }
}
