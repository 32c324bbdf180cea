//! MIPS ELF files, 32 and 64 bits wide, of both byte orders: what is to be placed where. It must not
//! know what the program is or how memory is laid out.

use std::path::Path;

use object::{Architecture, Object, ObjectKind, ObjectSection, ObjectSegment, ObjectSymbol, SymbolKind};
use translator::addr::{Pa, Va};

use super::symbols::Symbols;
use super::{LoadError, RamWriter};
use crate::device::Window;

/// The convention that a program's procedures follow, which says how wide registers and addresses are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abi {
    /// Everything has 32 bits; FPU registers come in pairs, if they are not `wide_floats`.
    O32 {
        /// Whether FPU registers have 64 bits all the same (`-mfp64`).
        wide_floats: bool,
    },
    /// Registers of 64 bits and addresses of 32.
    N32,
    /// Everything has 64 bits.
    N64,
}

impl Abi {
    /// Whether registers have 64 bits.
    pub fn has_wide_registers(self) -> bool {
        matches!(self, Abi::N32 | Abi::N64)
    }
}

/// What a program asks of the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The calling convention.
    pub abi: Abi,
    /// Most significant byte first.
    pub big_endian: bool,
}

/// One piece of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Its link address; sign-extended in 32-bit files.
    pub va: Va,
    /// The bytes in the file. Zeros follow, up to `size`.
    pub bytes: &'a [u8],
    /// The bytes in memory; not less than `bytes` has.
    pub size: u64,
}

/// An ELF file, taken apart and checked as far as that needs no knowledge of the machine.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    /// The file, for messages.
    file: &'a Path,
    /// What it asks of the CPU.
    pub target: Target,
    /// Where it starts.
    pub entry: Va,
    /// What it loads; none is empty.
    pub segments: Vec<Segment<'a>>,
    /// Its functions and objects, if it is not stripped.
    pub symbols: Symbols,
}

/// The first four bytes of every ELF file.
const MAGIC: &[u8] = b"\x7fELF";

impl<'a> Image<'a> {
    /// Takes `bytes` apart; `file` is only named in messages.
    pub fn parse(file: &'a Path, bytes: &'a [u8]) -> Result<Self, LoadError> {
        if !bytes.starts_with(MAGIC) {
            return Err(LoadError::NotElf { file: file.to_owned() });
        }
        let elf = object::File::parse(bytes).map_err(|error| damaged(file, &error))?;
        check_kind(file, &elf)?;
        let target = Target { abi: abi(&elf), big_endian: !elf.is_little_endian() };
        let entry = extend(target, elf.entry());
        let segments = segments(file, &elf, target)?;
        Ok(Self { file, target, entry, segments, symbols: symbols(&elf, target) })
    }

    /// The physical addresses that the segments take, and that all lie in one bank of `ram` each.
    pub fn windows(&self, ram: &[Window]) -> Result<Vec<Window>, LoadError> {
        self.segments.iter().map(|segment| self.window(segment, ram)).collect()
    }

    /// Puts every segment into `memory`, which has `ram`.
    pub fn place(&self, ram: &[Window], memory: &mut dyn RamWriter) -> Result<(), LoadError> {
        let refused = |source| LoadError::Refused { file: self.file.to_owned(), source };
        for segment in &self.segments {
            let pa = self.window(segment, ram)?.base;
            let filled = segment.bytes.len() as u64;
            memory.write(pa, segment.bytes).map_err(refused)?;
            memory.clear(pa + filled, segment.size - filled).map_err(refused)?;
        }
        Ok(())
    }

    fn window(&self, segment: &Segment<'_>, ram: &[Window]) -> Result<Window, LoadError> {
        let file = || self.file.to_owned();
        let Some(pa) = unmapped(segment.va) else {
            return Err(LoadError::Mapped { file: file(), va: segment.va });
        };
        if !ram.iter().any(|bank| bank.holds(pa, segment.size)) {
            return Err(LoadError::OutsideRam { file: file(), pa, size: segment.size });
        }
        Ok(Window { base: pa, size: segment.size })
    }
}

/// The physical address behind an unmapped virtual one: ckseg0, ckseg1 or xkphys (MIPS64
/// Architecture Vol. III, "Virtual Memory", table of address segments).
pub fn unmapped(va: Va) -> Option<Pa> {
    const CKSEG0: u64 = 0xffff_ffff_8000_0000;
    const CKSEG2: u64 = 0xffff_ffff_c000_0000;
    const CKSEG_OFFSET: u64 = 0x1fff_ffff;
    const XKPHYS: u64 = 0b10;
    /// Bits 58 to 0 of an xkphys address are the physical one; 61 to 59 are its cacheability.
    const XKPHYS_OFFSET: u64 = (1 << 59) - 1;
    match va.0 {
        CKSEG0..CKSEG2 => Some(Pa(va.0 & CKSEG_OFFSET)),
        address if address >> 62 == XKPHYS => Some(Pa(address & XKPHYS_OFFSET)),
        _ => None,
    }
}

/// The cached, unmapped address (ckseg0) of a physical one in the low 512 MB.
pub fn ckseg0(pa: Pa) -> Option<Va> {
    (pa.0 < 0x2000_0000).then_some(Va(0xffff_ffff_8000_0000 + pa.0))
}

fn damaged(file: &Path, reason: &dyn ToString) -> LoadError {
    LoadError::Damaged { file: file.to_owned(), reason: reason.to_string() }
}

fn check_kind(file: &Path, elf: &object::File<'_>) -> Result<(), LoadError> {
    if !matches!(elf.architecture(), Architecture::Mips | Architecture::Mips64 | Architecture::Mips64_N32) {
        let found = format!("{:?}", elf.architecture());
        return Err(LoadError::WrongMachine { file: file.to_owned(), found, wanted: "MIPS".to_owned() });
    }
    if !matches!(elf.kind(), ObjectKind::Executable | ObjectKind::Dynamic) {
        return Err(LoadError::NotExecutable { file: file.to_owned(), found: format!("{:?}", elf.kind()) });
    }
    Ok(())
}

fn abi(elf: &object::File<'_>) -> Abi {
    match elf.architecture() {
        Architecture::Mips64_N32 => Abi::N32,
        _ if elf.is_64() => Abi::N64,
        _ => Abi::O32 { wide_floats: has_wide_floats(elf).unwrap_or(false) },
    }
}

/// Whether the program says that FPU registers have 64 bits: byte 7 of `.MIPS.abiflags` is `fp_abi`, with
/// `Val_GNU_MIPS_ABI_FP_64` and `_64A` (GNU binutils, `include/elf/mips.h`).
fn has_wide_floats(elf: &object::File<'_>) -> Option<bool> {
    const FP_ABI: usize = 7;
    const FP_64: u8 = 6;
    const FP_64A: u8 = 7;
    let flags = elf.section_by_name(".MIPS.abiflags")?.data().ok()?;
    Some(matches!(*flags.get(FP_ABI)?, FP_64 | FP_64A))
}

fn extend(target: Target, address: u64) -> Va {
    Va(if target.abi == Abi::N64 { address } else { address as u32 as i32 as u64 })
}

fn segments<'a>(file: &Path, elf: &object::File<'a>, target: Target) -> Result<Vec<Segment<'a>>, LoadError> {
    let mut segments = Vec::new();
    for segment in elf.segments().filter(|segment| segment.size() > 0) {
        let bytes = segment.data().map_err(|error| damaged(file, &error))?;
        if bytes.len() as u64 > segment.size() {
            return Err(damaged(file, &"a segment is larger in the file than in memory"));
        }
        segments.push(Segment { va: extend(target, segment.address()), bytes, size: segment.size() });
    }
    match segments.is_empty() {
        true => Err(LoadError::Empty { file: file.to_owned() }),
        false => Ok(segments),
    }
}

/// Longer names are left out. It bounds what a file can make of few bytes, since any number of
/// symbols can share one string.
const LONGEST_NAME: usize = 512;

/// The names that stand for places in the program. Damaged ones are left out: they only serve
/// traces.
fn symbols(elf: &object::File<'_>, target: Target) -> Symbols {
    elf.symbols()
        .filter(|symbol| symbol.is_definition() || symbol.kind() == SymbolKind::Label)
        .filter_map(|symbol| {
            let name = symbol.name().ok().filter(|name| (1..=LONGEST_NAME).contains(&name.len()))?;
            Some((extend(target, symbol.address()), name.to_owned()))
        })
        .collect()
}
