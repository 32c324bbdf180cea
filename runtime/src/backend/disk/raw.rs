//! Images that hold a disk byte by byte: files, sparse or not, and block devices. It must not know who
//! uses them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{FallocateFlags, SeekFrom as Sought, fallocate, seek};
use rustix::io::Errno;

use super::{Disk, length, write_plain_zeroes};

/// A raw image.
pub struct Raw {
    file: File,
    size: u64,
    read_only: bool,
}

impl Raw {
    /// The image in `file`.
    ///
    /// # Errors
    /// Fails if the host does not tell its size.
    pub fn new(file: File, read_only: bool) -> io::Result<Self> {
        let size = length(&file)?;
        Ok(Self { file, size, read_only })
    }

    /// Asks the file system to change a range; `false` if it cannot.
    fn allocate(&self, mode: FallocateFlags, place: u64, length: u64) -> io::Result<bool> {
        if length == 0 {
            return Ok(true);
        }
        match fallocate(&self.file, mode | FallocateFlags::KEEP_SIZE, place, length) {
            Ok(()) => Ok(true),
            Err(Errno::OPNOTSUPP | Errno::NODEV | Errno::NOSYS | Errno::INVAL) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Disk for Raw {
    fn size(&self) -> u64 {
        self.size
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn plain_file(&self) -> Option<&File> {
        Some(&self.file)
    }

    /// Holes of a file are zero; where the host knows of none, as in block devices, all is data.
    fn next_data(&self, place: u64) -> io::Result<Option<Range<u64>>> {
        match seek(&self.file, Sought::Data(place)) {
            Ok(start) if start < self.size => {
                let end = seek(&self.file, Sought::Hole(start))?;
                Ok(Some(start..end.min(self.size)))
            }
            Ok(_) | Err(Errno::NXIO) => Ok(None),
            Err(Errno::INVAL) => Ok(Some(place..self.size)),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&self, place: u64, to: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(to, place)
    }

    fn write(&self, place: u64, from: &[u8]) -> io::Result<()> {
        self.file.write_all_at(from, place)
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// What the host cannot give back stays as it is, which discarding allows.
    fn discard(&self, place: u64, length: u64) -> io::Result<()> {
        self.allocate(FallocateFlags::PUNCH_HOLE, place, length).map(drop)
    }

    fn write_zeroes(&self, place: u64, length: u64, unmap: bool) -> io::Result<()> {
        if unmap && self.allocate(FallocateFlags::PUNCH_HOLE, place, length)?
            || self.allocate(FallocateFlags::ZERO_RANGE, place, length)?
        {
            return Ok(());
        }
        write_plain_zeroes(self, place, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_zeroes_are_zero() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        let disk = Raw::new(file, false).unwrap();
        assert_eq!(disk.size(), 1 << 20);
        disk.write(4096, &[7; 200_000]).unwrap();
        disk.write_zeroes(8192, 100_000, true).unwrap();
        disk.write_zeroes(150_000, 10, false).unwrap();
        disk.discard(0, 4096).unwrap();
        disk.flush().unwrap();
        let mut bytes = vec![0; 1 << 20];
        disk.read(0, &mut bytes).unwrap();
        let expected = |at: usize| {
            let written = (4096..204_096).contains(&at);
            let zeroed = (8192..108_192).contains(&at) || (150_000..150_010).contains(&at);
            if written && !zeroed { 7 } else { 0 }
        };
        assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == expected(at)));
        assert!(disk.read(1 << 20, &mut [0]).is_err());
    }

    #[test]
    fn what_is_no_data_is_zero() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8 << 20).unwrap();
        let disk = Raw::new(file, false).unwrap();
        assert_eq!(disk.next_data(0).unwrap(), None);
        disk.write(3 << 20, &[7; 5000]).unwrap();
        disk.write((8 << 20) - 100, &[7; 100]).unwrap();
        let (mut at, mut data) = (0, Vec::new());
        while let Some(range) = disk.next_data(at).unwrap() {
            assert!(at <= range.start && range.start < range.end);
            at = range.end;
            data.push(range);
        }
        let is_data = |place: u64| data.iter().any(|range| range.contains(&place));
        assert!(is_data(3 << 20) && is_data((3 << 20) + 4999) && is_data((8 << 20) - 1));
        assert_eq!(at, 8 << 20);
    }
}
