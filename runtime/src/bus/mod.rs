//! The physical address space outside RAM: which device answers at which address. It turns an
//! address into a device and an offset and must not know what any device does.

pub mod irq;

use std::sync::Arc;

use thiserror::Error;
use translator::addr::Pa;

use crate::device::{Access, SharedDevice, Size, Window};

/// Why a window cannot be added to the bus.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AddError {
    /// Two devices would answer at one address.
    #[error("Device {name} at {window:x?} overlaps {other}")]
    Overlap {
        /// The device to be added.
        name: String,
        /// Where it was to be.
        window: Window,
        /// The device that is there.
        other: String,
    },
    /// The window has no bytes, or ends beyond the last address.
    #[error("Device {name} has the impossible window {window:x?}")]
    Window {
        /// The device to be added.
        name: String,
        /// Where it was to be.
        window: Window,
    },
}

/// An access that no device takes; the CPU makes a bus-error exception of it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BusError {
    /// No device has this address.
    #[error("No device at {pa}")]
    Unclaimed {
        /// The address of the access.
        pa: Pa,
    },
    /// The address is not a multiple of the width.
    #[error("Unaligned device access of {} bytes at {pa}", .size.bytes())]
    Unaligned {
        /// The address of the access.
        pa: Pa,
        /// Its width.
        size: Size,
    },
    /// The access begins inside a device and ends outside it.
    #[error("Device access of {} bytes at {pa} straddles the end of the device", .size.bytes())]
    Straddles {
        /// The address of the access.
        pa: Pa,
        /// Its width.
        size: Size,
    },
}

struct Slot {
    name: String,
    window: Window,
    device: Arc<dyn SharedDevice>,
}

/// The devices of one machine, by address. Built by one owner, then read by every vCPU thread.
#[derive(Default)]
pub struct Bus {
    /// Sorted by base, without overlaps.
    slots: Vec<Slot>,
}

impl Bus {
    /// A bus without devices.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `device` answer at `window`. `Arc<Mutex<D>>` of any [`Device`](crate::device::Device)
    /// `D` is accepted.
    pub fn add(&mut self, name: &str, window: Window, device: Arc<dyn SharedDevice>) -> Result<(), AddError> {
        let name = name.to_owned();
        if window.end().is_none() {
            return Err(AddError::Window { name, window });
        }
        if let Some(slot) = self.slots.iter().find(|slot| slot.window.overlaps(window)) {
            return Err(AddError::Overlap { name, window, other: slot.name.clone() });
        }
        let place = self.slots.partition_point(|slot| slot.window.base < window.base);
        self.slots.insert(place, Slot { name, window, device });
        Ok(())
    }

    /// Reads `size` bytes at `pa` for vCPU `vcpu`; the result is zero-extended.
    pub fn read(&self, pa: Pa, size: Size, vcpu: usize) -> Result<u64, BusError> {
        let slot = self.find(pa, size)?;
        let offset = pa.0 - slot.window.base.0;
        Ok(slot.device.read(Access { offset, size, vcpu }) & size.mask())
    }

    /// Writes the low `size` bytes of `value` at `pa` for vCPU `vcpu`.
    pub fn write(&self, pa: Pa, size: Size, vcpu: usize, value: u64) -> Result<(), BusError> {
        let slot = self.find(pa, size)?;
        let offset = pa.0 - slot.window.base.0;
        slot.device.write(Access { offset, size, vcpu }, value & size.mask());
        Ok(())
    }

    /// Returns every device to its state after power-on.
    pub fn reset(&self) {
        for slot in &self.slots {
            slot.device.reset();
        }
    }

    /// Makes every device stand still, or lets it go on.
    pub(crate) fn set_paused(&self, paused: bool) {
        for slot in &self.slots {
            slot.device.set_paused(paused);
        }
    }

    /// The name and window of every device, by rising address.
    pub fn windows(&self) -> impl Iterator<Item = (&str, Window)> {
        self.slots.iter().map(|slot| (slot.name.as_str(), slot.window))
    }

    fn find(&self, pa: Pa, size: Size) -> Result<&Slot, BusError> {
        let after = self.slots.partition_point(|slot| slot.window.base <= pa);
        let slot = after.checked_sub(1).map(|index| &self.slots[index]);
        let Some(slot) = slot.filter(|slot| slot.window.holds(pa, 1)) else {
            return Err(BusError::Unclaimed { pa });
        };
        if !pa.0.is_multiple_of(size.bytes()) {
            return Err(BusError::Unaligned { pa, size });
        }
        if !slot.window.holds(pa, size.bytes()) {
            return Err(BusError::Straddles { pa, size });
        }
        Ok(slot)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::device::Device;

    /// Remembers its last write and answers reads with the offset.
    #[derive(Default)]
    struct Echo {
        written: u64,
    }

    impl Device for Echo {
        fn read(&mut self, at: Access) -> u64 {
            u64::MAX << 16 | at.offset
        }

        fn write(&mut self, _at: Access, value: u64) {
            self.written = value;
        }

        fn reset(&mut self) {
            self.written = 0;
        }
    }

    fn window(base: u64, size: u64) -> Window {
        Window { base: Pa(base), size }
    }

    fn echo() -> Arc<Mutex<Echo>> {
        Arc::new(Mutex::new(Echo::default()))
    }

    #[test]
    fn finds_the_device_and_masks_to_the_width() {
        let mut bus = Bus::new();
        let (low, high) = (echo(), echo());
        bus.add("high", window(0x2000, 0x10), high.clone()).unwrap();
        bus.add("low", window(0x1000, 0x10), low.clone()).unwrap();
        assert_eq!(bus.read(Pa(0x2004), Size::Half, 0), Ok(4));
        bus.write(Pa(0x1008), Size::Byte, 0, 0x1234).unwrap();
        assert_eq!(low.lock().unwrap().written, 0x34);
        assert_eq!(high.lock().unwrap().written, 0);
        bus.reset();
        assert_eq!(low.lock().unwrap().written, 0);
    }

    #[test]
    fn refuses_overlaps_and_impossible_windows() {
        let mut bus = Bus::new();
        bus.add("a", window(0x1000, 0x10), echo()).unwrap();
        for (base, size) in [(0x1000, 0x10), (0x100f, 1), (0xff0, 0x11), (0x0, 0x10000)] {
            let error = bus.add("b", window(base, size), echo()).unwrap_err();
            assert!(matches!(error, AddError::Overlap { .. }), "{error}");
        }
        assert!(matches!(bus.add("b", window(5, 0), echo()), Err(AddError::Window { .. })));
        assert!(matches!(bus.add("b", window(u64::MAX, 2), echo()), Err(AddError::Window { .. })));
        bus.add("b", window(0x1010, 0x10), echo()).unwrap();
    }

    #[test]
    fn names_each_kind_of_bad_access() {
        let mut bus = Bus::new();
        bus.add("a", window(0x1000, 0xc), echo()).unwrap();
        assert_eq!(bus.read(Pa(0xfff), Size::Byte, 0), Err(BusError::Unclaimed { pa: Pa(0xfff) }));
        assert_eq!(bus.read(Pa(0x100c), Size::Byte, 0), Err(BusError::Unclaimed { pa: Pa(0x100c) }));
        let unaligned = BusError::Unaligned { pa: Pa(0x1002), size: Size::Word };
        assert_eq!(bus.read(Pa(0x1002), Size::Word, 0), Err(unaligned));
        let straddles = BusError::Straddles { pa: Pa(0x1008), size: Size::Double };
        assert_eq!(bus.write(Pa(0x1008), Size::Double, 0, 0), Err(straddles));
    }
}
