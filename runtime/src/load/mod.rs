//! Programs and kernels from host files into guest memory. It must not know how memory is kept or
//! what runs in it.

pub mod elf;
#[cfg(test)]
mod fuzz;
pub mod kallsyms;
pub mod kernel;
pub mod symbols;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;
use translator::addr::{Pa, Va};

/// Why a file cannot be loaded. Each message is one sentence that names the file.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The host does not give the file.
    #[error("Cannot read {}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The host's reason.
        source: io::Error,
    },
    /// The file is larger than the memory it should go to.
    #[error("{} is larger than the guest's memory of {limit} bytes", .file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The most that could fit.
        limit: u64,
    },
    /// The file does not begin as ELF files do.
    #[error("{} is not an ELF file", .file.display())]
    NotElf {
        /// The file.
        file: PathBuf,
    },
    /// The file is ELF, but its headers lie or end early.
    #[error("{} is a damaged or truncated ELF file: {reason}", .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The file is for another kind of processor.
    #[error("{} is for another machine: it is {found}, and the guest needs {wanted}", .file.display())]
    WrongMachine {
        /// The file.
        file: PathBuf,
        /// What the file is for.
        found: String,
        /// What would do.
        wanted: String,
    },
    /// The file is not a linked program.
    #[error("{} is not an executable: it is {found}", .file.display())]
    NotExecutable {
        /// The file.
        file: PathBuf,
        /// What it is instead.
        found: String,
    },
    /// Nothing in the file is to be loaded.
    #[error("{} has no loadable segments", .file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// A segment is linked at an address that needs page tables.
    #[error("{} has a segment at {va}, which is not in an unmapped part of the address space", .file.display())]
    Mapped {
        /// The file.
        file: PathBuf,
        /// The link address.
        va: Va,
    },
    /// A segment is linked where the machine has no RAM.
    #[error("{} has a segment of {size:#x} bytes at {pa}, where there is no RAM", .file.display())]
    OutsideRam {
        /// The file.
        file: PathBuf,
        /// The physical address.
        pa: Pa,
        /// The bytes it takes in memory.
        size: u64,
    },
    /// Kernel, initial RAM disk and device tree do not fit side by side.
    #[error("{} and its initial RAM disk need {needed} bytes of low memory, and there are {present}", .file.display())]
    TooLittleMemory {
        /// The kernel.
        file: PathBuf,
        /// Bytes needed in the bank at address 0.
        needed: u64,
        /// Bytes in the bank at address 0.
        present: u64,
    },
    /// The device tree cannot be made.
    #[error("Cannot describe the machine to {}", .file.display())]
    DeviceTree {
        /// The kernel.
        file: PathBuf,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Guest memory refused bytes inside the RAM it was said to have.
    #[error("Cannot place {} in guest memory", .file.display())]
    Refused {
        /// The file.
        file: PathBuf,
        /// Where the bytes should have gone.
        source: WriteError,
    },
}

/// Guest memory that does not take bytes at an address.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("No RAM for {length} bytes at {pa}")]
pub struct WriteError {
    /// The first address.
    pub pa: Pa,
    /// How many bytes.
    pub length: u64,
}

/// Guest memory, as far as a loader needs it.
pub trait RamWriter {
    /// Puts `bytes` at `pa`.
    fn write(&mut self, pa: Pa, bytes: &[u8]) -> Result<(), WriteError>;

    /// Puts `length` zeros at `pa`. Memory that is known to be fresh may do nothing.
    fn clear(&mut self, pa: Pa, length: u64) -> Result<(), WriteError> {
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut done = 0;
        while done < length {
            let chunk = (length - done).min(ZEROS.len() as u64);
            self.write(pa + done, &ZEROS[..chunk as usize])?;
            done += chunk;
        }
        Ok(())
    }
}

/// Reads a host file of at most `limit` bytes. The limit also bounds what an endless device yields.
pub fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, LoadError> {
    let unreadable = |source| LoadError::Unreadable { file: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(LoadError::TooLarge { file: path.to_owned(), limit });
    }
    Ok(bytes)
}
