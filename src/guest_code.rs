//! Guest code that does not run: the instructions of an ELF file or of an assembled program, cut into blocks as they
//! would be if they ran. It must not know how blocks are shown.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use runtime::load::elf::{Image, Target, unmapped};
use runtime::load::read_file;
use runtime::load::symbols::Symbols;
use translator::addr::{Pa, Va};
use translator::asm;
use translator::block::{Block, Key, Step};
use translator::cp0::Status;
use translator::listing::targets;
use translator::mode::Mode;
use translator::model::{MIPS64R2, Model};

use crate::exit::Refused;
use crate::program::load::Files;

/// A file of more bytes is no kernel and no program.
const MOST_BYTES: u64 = 1 << 30;

/// Bytes at addresses, with names.
pub struct GuestCode {
    /// What the file is called, for messages.
    file: String,
    segments: Vec<(Va, Vec<u8>)>,
    /// Names for addresses.
    pub symbols: Symbols,
    /// Where it starts.
    pub entry: Va,
    model: &'static Model,
    /// The mode in which all of it runs, or that of its kernel.
    mode: Mode,
    /// The mode of its user code.
    user_mode: Mode,
}

impl GuestCode {
    /// The code of the ELF file `path`.
    ///
    /// # Errors
    /// Refuses what is no MIPS ELF file.
    pub fn from_elf(path: &Path) -> anyhow::Result<Self> {
        let bytes = read_file(path, MOST_BYTES).map_err(runtime::vm::VmError::from)?;
        let image = Image::parse(path, &bytes).map_err(runtime::vm::VmError::from)?;
        Ok(Self {
            file: path.display().to_string(),
            segments: image.segments.iter().map(|segment| (segment.va, segment.bytes.to_vec())).collect(),
            entry: image.entry,
            model: &MIPS64R2,
            mode: elf_mode(image.target, Status::empty()),
            user_mode: elf_mode(image.target, Status::KSU_USER),
            symbols: image.symbols,
        })
    }

    /// The code of the assembly program `path`.
    ///
    /// # Errors
    /// Refuses what does not assemble, with the assembler's messages.
    pub fn from_program(path: &Path) -> anyhow::Result<Self> {
        let file = path.display().to_string();
        let (options, wanted) = (asm::Options::default(), runtime::program::Options::default());
        let refused = |errors| Refused(format!("{file} cannot be assembled\n{errors}").trim_end().to_owned());
        let program = asm::assemble(&file, &Files, &options).map_err(refused)?;
        let code = program.segments.iter().filter(|segment| segment.section.is_code());
        let mode = runtime::program::mode(wanted);
        Ok(Self {
            segments: code.map(|segment| (segment.base, segment.bytes.clone())).collect(),
            entry: program.entry,
            model: runtime::program::model(wanted.cpu),
            mode,
            user_mode: (mode - Mode::FLAT).with_status(Status::KSU_USER) | Mode::FLAT,
            symbols: program.symbols.iter().map(|(name, va)| (*va, name.clone())).collect(),
            file,
        })
    }

    /// The mode in which the code at `va` runs: as `user` says, or else as the address does.
    pub fn mode(&self, va: Va, user: Option<bool>) -> Mode {
        let is_flat = self.mode.contains(Mode::FLAT);
        let is_unmapped = is_flat || unmapped(va).is_some();
        let mode = if user.unwrap_or(!is_unmapped) { self.user_mode } else { self.mode };
        if is_unmapped { mode } else { mode | Mode::MAPPED }
    }

    /// The address that the user means: 32-bit addresses are held sign-extended.
    ///
    /// # Errors
    /// Refuses one that is no instruction of this code.
    pub fn address(&self, number: u64) -> Result<Va, Refused> {
        let extended = Va(number as u32 as i32 as u64);
        let short = number >> 32 == 0 && self.word(Va(number)).is_none() && self.word(extended).is_some();
        let va = if short { extended } else { Va(number) };
        if va.0 & 3 != 0 {
            return Err(Refused(format!("Address {va} is no multiple of 4, as every instruction's is")));
        }
        if self.word(va).is_none() {
            return Err(Refused(format!(
                "Address {va} is not in {}, which has {}",
                self.file,
                self.extent()
            )));
        }
        Ok(va)
    }

    fn extent(&self) -> String {
        let range = |(va, bytes): &(Va, Vec<u8>)| format!("{va}..{}", *va + bytes.len() as u64);
        self.segments.iter().map(range).collect::<Vec<_>>().join(" and ")
    }

    /// The addresses of the function or label `name`, up to the next one.
    ///
    /// # Errors
    /// Refuses a name that there is not.
    pub fn function(&self, name: &str) -> Result<Range<Va>, Refused> {
        let Some(found) = self.symbols.address(name) else {
            let why = if self.symbols.is_empty() { ", which has no symbols; see --symbols" } else { "" };
            return Err(Refused(format!("There is no symbol {name} in {}{why}", self.file)));
        };
        let start = self.address(found.0)?;
        let next = self.symbols.next_after(start).filter(|next| self.same_segment(start, *next));
        Ok(start..next.unwrap_or_else(|| self.segment_end(start)))
    }

    /// The name of an address of this code.
    pub fn name(&self, va: Va) -> Option<String> {
        let place = self.symbols.lookup(va)?;
        let is_near = self.same_segment(va, Va(va.0 - place.offset));
        is_near.then(|| place.to_string())
    }

    fn segment(&self, va: Va) -> Option<&(Va, Vec<u8>)> {
        let inside = |(base, bytes): &&(Va, Vec<u8>)| va.0.wrapping_sub(base.0) < bytes.len() as u64;
        self.segments.iter().find(inside)
    }

    fn same_segment(&self, one: Va, other: Va) -> bool {
        self.segment(one).is_some_and(|segment| self.segment(other).is_some_and(|s| s.0 == segment.0))
    }

    fn segment_end(&self, va: Va) -> Va {
        self.segment(va).map_or(va, |(base, bytes)| *base + bytes.len() as u64)
    }

    /// All code.
    pub fn all(&self) -> Vec<Range<Va>> {
        self.segments.iter().map(|(base, bytes)| *base..*base + bytes.len() as u64).collect()
    }

    fn word(&self, va: Va) -> Option<u32> {
        let (base, bytes) = self.segment(va)?;
        let at = usize::try_from(va.0 - base.0).ok()?;
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self.mode.contains(Mode::BIG_ENDIAN) {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    }

    /// The block that begins at `va`.
    pub fn block(&self, va: Va, mode: Mode) -> Block {
        // Where a mapped page is, nobody knows; what is translated does not depend on it.
        let pa = unmapped(va).unwrap_or(Pa(va.page_offset()));
        let page = va.page();
        let word = |index: usize| self.word(page + 4 * index as u64).unwrap_or(0);
        Block::decode(Key::new(va, pa, mode), va, self.model, word)
    }

    /// The blocks in `range`: one begins at its start, where another ends, and where another goes to.
    pub fn blocks(&self, range: &Range<Va>, mode: Mode) -> Vec<Block> {
        let mut starts = BTreeSet::from([range.start]);
        let mut done: Vec<Block> = Vec::new();
        while let Some(start) = starts.pop_first() {
            if done.iter().any(|block| block.va == start) {
                continue;
            }
            let mut block = self.block(start, mode);
            if block.steps.is_empty() {
                // The interpreter runs it: it is shown as the single instruction that it begins with.
                block.steps.extend(self.word(start).map(|word| Step::decode(word, self.model, mode)));
            }
            let after = start + block.bytes();
            let next = [after].into_iter().chain(targets(&block)).filter(|va| range.contains(va));
            starts.extend(next);
            done.push(block);
        }
        done.sort_by_key(|block| block.va);
        done
    }
}

/// The mode of code for `target` with `privilege`.
fn elf_mode(target: Target, privilege: Status) -> Mode {
    let wide = Status::KX | Status::SX | Status::UX | Status::FR;
    let mut mode = Mode::empty();
    mode.set(Mode::BIG_ENDIAN, target.big_endian);
    mode.with_status(if target.abi.has_wide_registers() { privilege | wide } else { privilege })
}
