//! What a program has in memory at the start, where it begins, and what is known of its source: the
//! same for an assembled program, an ELF file and a flat binary. It reads no files.

use std::path::Path;

use serde::{Deserialize, Serialize};
use translator::addr::Va;
use translator::asm::layout::{EXCEPTION_VECTOR, GLOBAL_POINTER, STACK_POINTER, TEXT};
use translator::asm::{Compat, Cpu, Endian, Para, Place, Program, Segment};
use translator::emit::Pins;
use translator::isa::decode;
use translator::isa::text::{Names, hypercall_code, print_word};

use crate::load::LoadError;
use crate::load::elf::{self, Abi};
use crate::load::symbols::Symbols;

/// For which processor a program is, and whose services and habits it expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Options {
    /// The CPU.
    pub cpu: Cpu,
    /// The order of bytes.
    pub endian: Endian,
    /// The dialect, which also says how numbers are printed and read.
    pub compat: Compat,
}

/// Why a file is no program.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The ELF file is damaged or for another machine.
    #[error(transparent)]
    Elf(#[from] LoadError),
    /// The ELF file wants another CPU.
    #[error("{0}: the program is 64-bit; use --cpu mips64r2")]
    Wide(String),
    /// The ELF file wants another FPU than programs of 32 bits have.
    #[error("{0}: the program wants FPU registers of 64 bits; build it with -mfp32 or -mfpxx")]
    WideFloats(String),
    /// Something lies where flat memory has no addresses.
    #[error(
        "{name}: {address} is outside the 32-bit address space; GNU ld places a program lower with \
         -Ttext-segment=0x400000"
    )]
    Outside {
        /// The program.
        name: String,
        /// The first address of the piece.
        address: Va,
    },
    /// There is nothing in it.
    #[error("{0}: the program has no instructions")]
    Empty(String),
}

/// A run of bytes at an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The address of the first byte, 32 bits wide.
    pub address: u64,
    /// The bytes that are not zeros for certain.
    pub bytes: Vec<u8>,
    /// How many bytes there are in memory, with the zeros that follow.
    pub size: u64,
    /// Whether it holds instructions.
    pub is_code: bool,
}

/// A program, ready to be put into memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Image {
    /// The name, for people.
    pub name: String,
    /// What it is for.
    pub options: Options,
    /// Where it starts.
    pub entry: Va,
    /// The stack pointer at the start.
    pub stack: Va,
    /// The pointer to small data at the start.
    pub global: Va,
    /// What `$t9` holds at the start: position-independent procedures expect their own address (MIPS psABI).
    pub procedure: Va,
    /// What is in memory.
    pub pieces: Vec<Piece>,
    /// Its source, if it was assembled.
    program: Option<Program>,
    /// The symbols of an ELF file.
    symbols: Symbols,
}

impl Image {
    /// The registers that generated code keeps in host registers: of a program that was written by hand, as assembly mostly
    /// is, those that it uses most.
    pub fn pins(&self) -> Pins {
        let code = self.pieces.iter().filter(|piece| piece.is_code).max_by_key(|piece| piece.bytes.len());
        code.map_or(Pins::COMPILED, |piece| Pins::of_code(piece.address, &self.words(piece)))
    }

    /// The instructions of `piece`.
    fn words(&self, piece: &Piece) -> Vec<u32> {
        let (words, _) = piece.bytes.as_chunks::<4>();
        let word = match self.options.endian {
            Endian::Little => u32::from_le_bytes,
            Endian::Big => u32::from_be_bytes,
        };
        words.iter().map(|bytes| word(*bytes)).collect()
    }

    /// An assembled program.
    ///
    /// # Errors
    /// Refuses what is empty or outside of flat memory.
    pub fn assembled(name: &str, program: Program, options: Options) -> Result<Self, ImageError> {
        let pieces = program.segments.iter().map(|segment| piece(name, segment));
        let pieces = pieces.collect::<Result<Vec<_>, _>>()?;
        let entry = program.entry;
        let image = Self { pieces, program: Some(program), ..Self::bare(name, options, entry) };
        image.checked()
    }

    /// The program of an ELF file. Its byte order wins over that of `options`, and one of 32 bits runs on the
    /// processor of 32 bits, for it expects pairs of FPU registers.
    ///
    /// # Errors
    /// Refuses what is no program for this machine.
    pub fn elf(name: &str, bytes: &[u8], options: Options) -> Result<Self, ImageError> {
        let elf = elf::Image::parse(Path::new(name), bytes)?;
        let cpu = match elf.target.abi {
            Abi::O32 { wide_floats: true } => return Err(ImageError::WideFloats(name.into())),
            Abi::O32 { .. } => Cpu::Mips32r2,
            Abi::N32 | Abi::N64 if options.cpu == Cpu::Mips32r2 => return Err(ImageError::Wide(name.into())),
            Abi::N32 | Abi::N64 => options.cpu,
        };
        let endian = if elf.target.big_endian { Endian::Big } else { Endian::Little };
        let mut image = Self::bare(name, Options { cpu, endian, ..options }, elf.entry);
        image.stack = Va(STACK_POINTER.0 & !(ABI_STACK_ALIGNMENT - 1));
        image.procedure = elf.entry;
        image.global = elf.symbols.address("_gp").unwrap_or(image.global);
        for segment in &elf.segments {
            let (bytes, size) = (segment.bytes.to_vec(), segment.size);
            let address = flat(name, segment.va, size)?;
            image.pieces.push(Piece { address, bytes, size, is_code: false });
        }
        image.symbols = elf.symbols;
        image.checked()
    }

    /// Bytes without any form: they are put where text starts, and that is where they start.
    ///
    /// # Errors
    /// Refuses what is empty.
    pub fn flat(name: &str, bytes: Vec<u8>, options: Options) -> Result<Self, ImageError> {
        let mut image = Self::bare(name, options, TEXT);
        let size = bytes.len() as u64;
        let address = flat(name, TEXT, size)?;
        image.pieces.push(Piece { address, bytes, size, is_code: true });
        image.checked()
    }

    fn bare(name: &str, options: Options, entry: Va) -> Self {
        Self {
            name: name.into(),
            options,
            entry,
            stack: STACK_POINTER,
            global: GLOBAL_POINTER,
            procedure: Va(0),
            pieces: Vec::new(),
            program: None,
            symbols: Symbols::default(),
        }
    }

    fn checked(mut self) -> Result<Self, ImageError> {
        self.pieces.retain(|piece| piece.size > 0);
        if self.pieces.is_empty() { Err(ImageError::Empty(self.name)) } else { Ok(self) }
    }

    /// The request that `hypcall code` stands for.
    pub fn para(&self, code: u32) -> Option<Para> {
        match &self.program {
            Some(program) => program.para(code).cloned(),
            // A program without a source can only ask for what needs no words.
            None => (code == 1).then_some(Para::DumpProcessorState),
        }
    }

    /// All requests that its source makes.
    pub fn paras(&self) -> &[Para] {
        self.program.as_ref().map_or(&[], |program| &program.hypercalls)
    }

    /// Whether the program handles its exceptions.
    pub fn has_handler(&self) -> bool {
        let vector = u64::from(EXCEPTION_VECTOR.0 as u32);
        self.pieces.iter().any(|piece| piece.contains(vector))
    }

    /// The statement that the instruction at `address` comes from.
    pub fn line(&self, address: Va) -> Option<&Place> {
        self.program.as_ref()?.lines.at(address)
    }

    /// The label at or before `address`, and the distance from it.
    pub fn label(&self, address: Va) -> Option<(&str, u64)> {
        match &self.program {
            Some(program) => program.nearest_label(address),
            None => self.symbols.lookup(address).map(|place| (place.name, place.offset)),
        }
    }

    /// Whether it can be put into memory, for one that was not made here.
    pub(super) fn is_sound(&self) -> bool {
        let fits = |piece: &Piece| {
            let end = piece.address.checked_add(piece.size);
            piece.size > 0 && end.is_some_and(|end| end <= 1 << 32) && piece.bytes.len() as u64 <= piece.size
        };
        let sorted = |program: &Program| program.lines.iter().is_sorted_by_key(|(address, ..)| address);
        !self.pieces.is_empty() && self.pieces.iter().all(fits) && self.program.as_ref().is_none_or(sorted)
    }

    /// The names of its addresses.
    pub fn symbols(&self) -> Symbols {
        match &self.program {
            Some(program) => program.symbols.iter().map(|(name, va)| (*va, name.clone())).collect(),
            None => self.symbols.clone(),
        }
    }

    /// The instruction `word` at `pc` as text: a request to the hypervisor as its source has it.
    pub fn text(&self, word: u32, pc: Va) -> String {
        let code = decode(word).and_then(hypercall_code);
        let request = code.and_then(|code| self.para(code));
        request.map_or_else(|| print_word(word, pc.0, Names::O32), |para| para.to_string())
    }

    /// What tells this program from others: a hash (FNV-1a, 64 bits) of its memory, its start, its
    /// requests and what it is for. Names of files are no part of it.
    pub fn identity(&self) -> u64 {
        let mut hash = Fnv::default();
        hash.add(format!("{:?} {:x}", self.options, self.entry.0).as_bytes());
        for piece in &self.pieces {
            hash.add(&piece.address.to_le_bytes());
            hash.add(&piece.size.to_le_bytes());
            hash.add(&piece.bytes);
        }
        for para in self.program.iter().flat_map(|program| &program.hypercalls) {
            hash.add(format!("{para:?}").as_bytes());
        }
        hash.0
    }
}

impl Piece {
    /// Whether the byte at `address` is in it.
    pub fn contains(&self, address: u64) -> bool {
        address.checked_sub(self.address).is_some_and(|offset| offset < self.size)
    }

    /// The address after its last byte.
    pub fn end(&self) -> u64 {
        self.address + self.size
    }
}

/// What the n32 and n64 conventions want of a stack pointer; o32 wants half of it.
const ABI_STACK_ALIGNMENT: u64 = 16;

fn piece(name: &str, segment: &Segment) -> Result<Piece, ImageError> {
    let size = segment.bytes.len() as u64;
    let address = flat(name, segment.base, size)?;
    Ok(Piece { address, bytes: segment.bytes.clone(), size, is_code: segment.section.is_code() })
}

/// The 32-bit address of `size` bytes at `va`.
fn flat(name: &str, va: Va, size: u64) -> Result<u64, ImageError> {
    let address = u64::from(va.0 as u32);
    let fits = va.0 as i32 as u64 == va.0 && size <= (1 << 32) - address;
    if fits { Ok(address) } else { Err(ImageError::Outside { name: name.into(), address: va }) }
}

/// The hash of Fowler, Noll and Vo, variant 1a (RFC 9923): short, and the same in every version.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    /// Adds bytes and their number, so that the border between two runs counts.
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(&(bytes.len() as u64).to_le_bytes()) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}
