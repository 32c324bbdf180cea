//! Devices: one file each. A device sees offsets into its own window, never its address, and raises
//! interrupts through an [`IrqLine`](crate::bus::irq::IrqLine) that it was given.

use translator::addr::Pa;

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
}

/// A window of physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first address.
    pub base: Pa,
    /// The length in bytes.
    pub size: u64,
}
