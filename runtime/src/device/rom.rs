//! Read-only memory at the reset vector. It must not know what its contents mean.

use super::{Access, Device};

/// A window of bytes that the guest can read and not change.
pub struct Rom {
    bytes: Vec<u8>,
}

impl Rom {
    /// A ROM that holds `bytes`; its window reads as zero beyond them.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    fn byte(&self, offset: u64) -> u8 {
        usize::try_from(offset).ok().and_then(|offset| self.bytes.get(offset)).copied().unwrap_or(0)
    }
}

impl Device for Rom {
    fn read(&mut self, at: Access) -> u64 {
        (0..at.size.bytes())
            .rev()
            .fold(0, |value, index| value << 8 | u64::from(self.byte(at.offset + index)))
    }

    fn write(&mut self, _at: Access, _value: u64) {}

    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Size;

    #[test]
    fn reads_little_endian_and_ignores_writes() {
        let mut rom = Rom::new(vec![1, 2, 3, 4, 5]);
        let at = |offset, size| Access { offset, size, vcpu: 0 };
        assert_eq!(rom.read(at(0, Size::Word)), 0x0403_0201);
        rom.write(at(0, Size::Word), 0);
        assert_eq!(rom.read(at(0, Size::Double)), 0x05_0403_0201);
        assert_eq!(rom.read(at(u64::MAX - 7, Size::Byte)), 0);
    }
}
