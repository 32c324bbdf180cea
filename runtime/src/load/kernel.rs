//! A Linux kernel, its initial RAM disk and its device tree, placed in low memory as the Unified
//! Hosting Interface wants them: a0 = -2, a1 = the device tree's address (arch/mips/kernel/head.S,
//! `kernel_entry`). It must not know how the device tree is made or how memory is kept.

use std::error::Error;
use std::ops::Range;
use std::path::Path;

use translator::addr::{PAGE_SIZE, Pa, Va};

use super::elf::{Image, Target, ckseg0};
use super::symbols::Symbols;
use super::{LoadError, RamWriter, read_file};
use crate::device::Window;

/// The first argument of a kernel that gets a device tree (UHI reference manual, "Boot protocol").
const UHI_DEVICE_TREE: u64 = -2i64 as u64;
/// The kernel moves itself by less than 16 MB (`CONFIG_RANDOMIZE_BASE_MAX_OFFSET`), and if that would
/// overlap by its own length more, rounded up to 64 KB (arch/mips/kernel/relocate.c
/// `determine_relocation_address`).
const RELOCATION_SPAN: u64 = 0x0100_0000 + 0x1_0000;
/// Kernels are linked at 1 MB at the earliest; below are exception vectors.
const LOWEST_KERNEL: u64 = 0x0010_0000;

/// What to load, and into what.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `vmlinux`, or a `vmlinuz` that is an ELF file around a compressed kernel.
    pub kernel: &'a Path,
    /// The initial RAM disk.
    pub initrd: Option<&'a Path>,
    /// The machine's RAM; one bank begins at address 0.
    pub ram: &'a [Window],
}

/// What the device tree must tell the kernel about where things are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The physical addresses of the initial RAM disk.
    pub initrd: Option<Range<Pa>>,
    /// Whether the kernel may move itself. If not, its command line must say `nokaslr`: it would
    /// move over the initial RAM disk, which it does not look for.
    pub room_to_relocate: bool,
}

/// The state in which the boot CPU starts.
#[derive(Clone, Debug)]
pub struct Boot {
    /// The first instruction.
    pub entry: Va,
    /// General register 4.
    pub a0: u64,
    /// General register 5: the device tree.
    pub a1: Va,
    /// What the kernel asks of the CPU.
    pub target: Target,
    /// Names for traces; empty if the kernel is stripped. A kernel that moves itself is no longer
    /// where they say.
    pub symbols: Symbols,
    /// Where the initial RAM disk is and whether the kernel may move.
    pub placement: Placement,
}

/// Loads a kernel. `device_tree` is called once, when it is known where the initial RAM disk goes.
pub fn load(
    request: Request<'_>,
    memory: &mut dyn RamWriter,
    device_tree: impl FnOnce(&Placement) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>>,
) -> Result<Boot, LoadError> {
    let present: u64 = request.ram.iter().map(|bank| bank.size).sum();
    let bytes = read_file(request.kernel, present)?;
    let initrd = request.initrd.map(|path| read_file(path, present)).transpose()?;
    let image = Image::parse(request.kernel, &bytes)?;
    let layout = Layout::new(&image, request, initrd.as_ref().map_or(0, |bytes| bytes.len() as u64))?;
    let tree = device_tree(&layout.placement())
        .map_err(|source| LoadError::DeviceTree { file: request.kernel.to_owned(), source })?;
    let (tree_at, placement) = layout.with_tree(tree.len() as u64)?;

    image.place(request.ram, memory)?;
    let mut put = |file: &Path, at, bytes: &[u8]| {
        memory.write(at, bytes).map_err(|source| LoadError::Refused { file: file.to_owned(), source })
    };
    if let (Some(path), Some(bytes), Some(at)) = (request.initrd, &initrd, &placement.initrd) {
        put(path, at.start, bytes)?;
    }
    put(request.kernel, tree_at, &tree)?;
    let a1 = ckseg0(tree_at).ok_or_else(|| layout.too_little(0))?;
    Ok(Boot {
        entry: image.entry,
        a0: UHI_DEVICE_TREE,
        a1,
        target: image.target,
        symbols: image.symbols,
        placement,
    })
}

/// Who gets which part of the bank at address 0.
///
/// ```text
/// 0      1 MB        end of the ELF                                    end of the bank
/// | kernel, decompressor, bss | room to relocate | ... | device tree | initial RAM disk |
/// ```
///
/// Everything up to the end of the ELF file's segments is the kernel's, from address 0 on: a
/// `vmlinuz` is linked right above the place that it decompresses the kernel to (its link address is
/// 1 MB plus the size of `vmlinux`, arch/mips/boot/compressed/calc_vmlinuz_load_addr.c), and the
/// kernel's bss then reuses the decompressor's memory. So the other two go to the other end: high in
/// the bank, where no kernel grows to, and in the low bank because a1 is a ckseg0 address.
#[derive(Debug)]
struct Layout<'a> {
    kernel: &'a Path,
    /// The end of the bank at address 0.
    bank_end: u64,
    /// The end of all that the ELF file covers.
    kernel_end: u64,
    /// The end of all that the kernel may cover after it has moved itself.
    relocated_end: u64,
    initrd_size: u64,
    /// Where the initial RAM disk begins; the bank's end if there is none. Page-aligned, or the
    /// kernel refuses it (arch/mips/kernel/setup.c `init_initrd`).
    initrd_start: u64,
}

/// Space kept for the device tree when it is decided whether the kernel may move; the tree itself
/// is made only after that. A tree for 16 CPUs and 32 devices takes less than a quarter of it.
const TREE_ALLOWANCE: u64 = 64 * 1024;

impl<'a> Layout<'a> {
    fn new(image: &Image<'_>, request: Request<'a>, initrd_size: u64) -> Result<Self, LoadError> {
        let windows = image.windows(request.ram)?;
        let bank_end = request.ram.iter().find(|bank| bank.base == Pa(0)).map_or(0, |bank| bank.size);
        // Segments in other banks cannot collide with what is placed in this one.
        let in_bank = windows.iter().filter(|window| window.base.0 < bank_end);
        let kernel_end = in_bank.map(|window| window.base.0 + window.size).max().unwrap_or(0);
        let length = kernel_end.saturating_sub(LOWEST_KERNEL);
        let mut layout = Self {
            kernel: request.kernel,
            bank_end,
            kernel_end,
            relocated_end: kernel_end + length + RELOCATION_SPAN,
            initrd_size,
            initrd_start: 0,
        };
        let start = bank_end.checked_sub(initrd_size).ok_or_else(|| layout.too_little(0))?;
        layout.initrd_start = start / PAGE_SIZE * PAGE_SIZE;
        Ok(layout)
    }

    fn placement(&self) -> Placement {
        let start = Pa(self.initrd_start);
        Placement {
            initrd: (self.initrd_size > 0).then(|| start..start + self.initrd_size),
            room_to_relocate: self.initrd_start.saturating_sub(TREE_ALLOWANCE) >= self.relocated_end,
        }
    }

    /// Puts a device tree of `size` bytes below the initial RAM disk.
    fn with_tree(&self, size: u64) -> Result<(Pa, Placement), LoadError> {
        let placement = self.placement();
        let floor = if placement.room_to_relocate { self.relocated_end } else { self.kernel_end };
        let start = self.initrd_start.checked_sub(size).map(|start| start / PAGE_SIZE * PAGE_SIZE);
        match start.filter(|start| *start >= floor) {
            Some(start) => Ok((Pa(start), placement)),
            None => Err(self.too_little(size)),
        }
    }

    fn too_little(&self, tree: u64) -> LoadError {
        let needed = self.kernel_end.saturating_add(self.initrd_size).saturating_add(tree);
        LoadError::TooLittleMemory { file: self.kernel.to_owned(), needed, present: self.bank_end }
    }
}

#[cfg(test)]
mod tests;
