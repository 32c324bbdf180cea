//! Power-off and reboot: two registers that a guest reaches through the device-tree bindings
//! `syscon-poweroff` and `syscon-reboot`. It must not know how a machine is stopped.
//!
//! Debian's mips64r2el 6.1 kernel has the reboot driver (`CONFIG_POWER_RESET_SYSCON=y`) but not the
//! power-off one (`CONFIG_POWER_RESET_SYSCON_POWEROFF` is not set, nor any other power-off driver).
//! There, power-off ends in `machine_hang` of arch/mips/kernel/reset.c: `wait` with Status.IE and
//! all of Status.IM clear. The vCPU must take that for power-off; kernels with the driver use the
//! register.

use std::sync::Arc;

use super::{Access, Device, read_words, write_words};

/// What the guest can ask of its machine. Called on a vCPU thread in the middle of a store, so it
/// only notes the wish, for the run loop to act on.
pub trait PowerControl: Send + Sync {
    /// The guest turned the machine off.
    fn power_off(&self);

    /// The guest asked for a reset of the whole machine.
    fn reset(&self);
}

/// The registers, by their byte offsets. Both read as zero: the drivers read, merge and write only
/// if the value changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Register {
    /// [`TRIGGER`] turns the machine off.
    PowerOff = 0,
    /// [`TRIGGER`] resets the machine.
    Reboot = 4,
}

impl Register {
    /// The offset in the window, in bytes.
    pub const fn offset(self) -> u32 {
        self as u32
    }

    fn at(offset: u64) -> Option<Self> {
        [Self::PowerOff, Self::Reboot].into_iter().find(|register| u64::from(register.offset()) == offset)
    }
}

/// The value that sets a register off; others are ignored.
pub const TRIGGER: u32 = 1;

/// The power registers of one machine. They hold no state.
pub struct Power {
    control: Arc<dyn PowerControl>,
}

impl Power {
    /// Registers that report to `control`.
    pub fn new(control: Arc<dyn PowerControl>) -> Self {
        Self { control }
    }

    fn write_register(&self, offset: u64, value: u32) {
        match Register::at(offset) {
            Some(Register::PowerOff) if value == TRIGGER => self.control.power_off(),
            Some(Register::Reboot) if value == TRIGGER => self.control.reset(),
            _ => {}
        }
    }
}

impl Device for Power {
    fn read(&mut self, at: Access) -> u64 {
        read_words(at, |_| 0)
    }

    fn write(&mut self, at: Access, value: u64) {
        write_words(at, value, |offset, word| self.write_register(offset, word));
    }

    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::device::Size;

    #[derive(Default)]
    struct Wishes(Mutex<Vec<&'static str>>);

    impl PowerControl for Wishes {
        fn power_off(&self) {
            self.0.lock().unwrap().push("off");
        }

        fn reset(&self) {
            self.0.lock().unwrap().push("reset");
        }
    }

    #[test]
    fn only_the_trigger_value_acts() {
        let wishes = Arc::new(Wishes::default());
        let mut power = Power::new(wishes.clone());
        let at = |offset| Access { offset, size: Size::Word, vcpu: 0 };
        power.write(at(0), 2);
        power.write(at(8), 1);
        assert!(wishes.0.lock().unwrap().is_empty());
        power.write(at(Register::Reboot.offset().into()), TRIGGER.into());
        power.write(at(Register::PowerOff.offset().into()), TRIGGER.into());
        assert_eq!(*wishes.0.lock().unwrap(), ["reset", "off"]);
    }
}
