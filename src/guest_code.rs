//! Guest code that does not run now: that of an ELF file, of a program's memory or of a machine's, cut into blocks as they
//! are or would be if they ran. It must not know how blocks are shown.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use runtime::load::elf::{Image, Target, unmapped};
use runtime::load::read_file;
use runtime::load::symbols::Symbols;
use runtime::observe::{Observer, Seen};
use runtime::program::ProgramVm;
use runtime::vcpu::Vcpu;
use translator::addr::{PAGE_SIZE, Pa, Va};
use translator::block::{Block, Key, Step};
use translator::cp0::Status;
use translator::listing::{Facts, Listing, targets};
use translator::mode::Mode;
use translator::model::{MIPS64R2, Model};

use crate::exit::Refused;
use crate::naming::Naming;

/// A file of more bytes is no kernel and no program.
const MOST_BYTES: u64 = 1 << 30;

/// What guest code is in.
trait Memory {
    /// The physical address of `va` for code in `mode`, with [`Mode::MAPPED`] if it is mapped, and the word there.
    fn fetch(&self, va: Va, mode: Mode) -> Option<(Pa, Mode, u32)>;
}

/// The segments of an ELF file.
struct Segments {
    segments: Vec<(Va, Vec<u8>)>,
    big_endian: bool,
}

impl Memory for Segments {
    fn fetch(&self, va: Va, _: Mode) -> Option<(Pa, Mode, u32)> {
        let inside = |(base, bytes): &&(Va, Vec<u8>)| va.0.wrapping_sub(base.0) < bytes.len() as u64;
        let (base, bytes) = self.segments.iter().find(inside)?;
        let bytes = *bytes.get((va.0 - base.0) as usize..)?.first_chunk()?;
        let word = if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
        // Where a mapped page is, nobody knows; what is translated does not depend on it.
        let place = unmapped(va).map(|pa| (pa, Mode::empty()));
        let (pa, mapped) = place.unwrap_or((Pa(va.page_offset()), Mode::MAPPED));
        Some((pa, mapped, word))
    }
}

impl Memory for &Vcpu {
    fn fetch(&self, va: Va, mode: Mode) -> Option<(Pa, Mode, u32)> {
        let (pa, mapped) = self.look_up(va, mode)?;
        Some((pa, mapped, self.word_of_ram(pa)?))
    }
}

/// Guest code with names.
pub struct GuestCode<'a> {
    /// What it is the code of, for messages.
    name: String,
    memory: Box<dyn Memory + 'a>,
    extent: Extent,
    naming: Naming,
    /// Where it starts.
    entry: Va,
    model: &'static Model,
    /// The mode in which all of it runs, or that of its kernel.
    mode: Mode,
    /// The mode of its user code.
    user_mode: Mode,
    /// What knows the blocks that there are, if it has run.
    observer: Option<Observer>,
    /// Those that were asked for, by virtual address.
    known: BTreeMap<Va, Vec<Seen>>,
}

/// Where there are instructions.
enum Extent {
    /// Here, and nothing else.
    Code(Vec<Range<Va>>),
    /// Here, among other things.
    Mixed(Vec<Range<Va>>),
    /// Wherever there is memory.
    Memory,
}

impl GuestCode<'static> {
    /// The code of the ELF file `path`, with the names of `symbols` if there are any.
    ///
    /// # Errors
    /// Refuses what is no MIPS ELF file.
    pub fn of_elf(path: &Path, symbols: Option<&Symbols>) -> anyhow::Result<Self> {
        let bytes = read_file(path, MOST_BYTES).map_err(runtime::vm::VmError::from)?;
        let image = Image::parse(path, &bytes).map_err(runtime::vm::VmError::from)?;
        let segments: Vec<_> =
            image.segments.iter().map(|segment| (segment.va, segment.bytes.to_vec())).collect();
        Ok(Self {
            name: path.display().to_string(),
            extent: Extent::Mixed(segments.iter().map(|(va, bytes)| *va..*va + bytes.len() as u64).collect()),
            entry: image.entry,
            model: &MIPS64R2,
            mode: elf_mode(image.target, Status::empty()),
            user_mode: elf_mode(image.target, Status::KSU_USER),
            memory: Box::new(Segments { segments, big_endian: image.target.big_endian }),
            naming: Naming::of_file(image.symbols).or_given(symbols),
            observer: None,
            known: BTreeMap::new(),
        })
    }
}

impl<'a> GuestCode<'a> {
    /// The code of a program as it is now. If it `has_run`, its blocks are as they are.
    pub fn of_program(vm: &'a ProgramVm, symbols: Option<&Symbols>, has_run: bool) -> Self {
        let image = vm.image();
        let (vcpu, options) = (vm.vcpu(), image.options);
        let counting = if has_run { vcpu.machine.fixed_mode } else { Mode::empty() };
        let mode = runtime::program::mode(options) | counting;
        let is_mixed = !image.pieces.iter().any(|piece| piece.is_code);
        let code = image.pieces.iter().filter(|piece| piece.is_code || is_mixed);
        let va = |address: u64| Va(address as u32 as i32 as u64);
        let area =
            |piece: &runtime::program::Piece| va(piece.address)..va(piece.address) + piece.bytes.len() as u64;
        let areas = code.map(area).collect();
        let mut code = Self {
            name: image.name.clone(),
            extent: if is_mixed { Extent::Mixed(areas) } else { Extent::Code(areas) },
            entry: image.entry,
            model: runtime::program::model(options.cpu),
            mode,
            user_mode: (mode - Mode::FLAT).with_status(Status::KSU_USER) | Mode::FLAT,
            memory: Box::new(vcpu),
            naming: Naming::of_program(image).or_given(symbols),
            observer: has_run.then(|| vm.observer()),
            known: BTreeMap::new(),
        };
        code.learn_all(|_| true);
        code
    }

    /// The code of a machine as `vcpu` sees it. If it runs, `observer` knows its blocks.
    pub fn of_machine(name: String, vcpu: &'a Vcpu, naming: Naming, observer: Option<Observer>) -> Self {
        let status = vcpu.cpu.status();
        let all = Status::KSU_USER | Status::KSU_SUPERVISOR | Status::EXL | Status::ERL;
        let mode = |privilege| vcpu.cpu.mode.with_status((status - all) | privilege);
        Self {
            name,
            extent: Extent::Memory,
            entry: Va(vcpu.cpu.pc),
            model: vcpu.machine.model,
            mode: mode(Status::empty()),
            user_mode: mode(Status::KSU_USER),
            memory: Box::new(vcpu),
            naming,
            observer,
            known: BTreeMap::new(),
        }
    }

    /// Learns of the blocks that begin in `range`, if it has run.
    pub fn learn(&mut self, range: &Range<Va>) {
        if let Extent::Memory = self.extent {
            self.learn_all(|block| range.contains(&block.va));
        }
    }

    /// Learns of the blocks that `wanted` chooses. What is mapped belongs here only if it is so in this address space.
    fn learn_all(&mut self, wanted: impl Fn(&Block) -> bool) {
        let Some(observer) = &self.observer else { return };
        let is_here = |seen: &Seen| {
            let Block { va, key, .. } = *seen.block;
            !key.mode.contains(Mode::MAPPED)
                || self.memory.fetch(va, key.mode).is_some_and(|(pa, ..)| pa == key.pa)
        };
        let mut known: BTreeMap<Va, Vec<Seen>> = BTreeMap::new();
        for seen in observer.blocks(wanted).into_iter().filter(is_here) {
            known.entry(seen.block.va).or_default().push(seen);
        }
        self.known = known;
    }

    /// The mode in which the code at `va` runs: as `user` says, or else as the address does.
    pub fn mode(&self, va: Va, user: Option<bool>) -> Mode {
        let is_kernel = self.mode.contains(Mode::FLAT) || unmapped(va).is_some();
        if user.unwrap_or(!is_kernel) { self.user_mode } else { self.mode }
    }

    /// The address that the user means: 32-bit addresses are held sign-extended.
    ///
    /// # Errors
    /// Refuses one that is no instruction of this code.
    pub fn address(&self, number: u64) -> Result<Va, Refused> {
        let extended = Va(number as u32 as i32 as u64);
        let short = number >> 32 == 0 && !self.has(Va(number)) && self.has(extended);
        let va = if short { extended } else { Va(number) };
        if va.0 & 3 != 0 {
            return Err(Refused(format!("Address {va} is no multiple of 4, as every instruction's is")));
        }
        if !self.has(va) {
            return Err(Refused(format!("Address {va} is not in {}, {}", self.name, self.extent.words())));
        }
        Ok(va)
    }

    /// Whether there are instructions at `va`: those of the file, or what has run since.
    fn has(&self, va: Va) -> bool {
        let covers = |seen: &Seen| va.0.wrapping_sub(seen.block.va.0) < seen.block.bytes();
        match &self.extent {
            Extent::Memory => self.memory.fetch(va, self.mode(va, None)).is_some(),
            _ => self.area(va).is_some() || self.known.values().flatten().any(covers),
        }
    }

    /// The addresses of the function or label `name`, up to the next one.
    ///
    /// # Errors
    /// Refuses a name that there is not.
    pub fn function(&self, name: &str) -> Result<Range<Va>, Refused> {
        let symbols = &self.naming.symbols;
        let Some(found) = symbols.address(name) else {
            let why = if symbols.is_empty() { ", which has no symbols; see --symbols" } else { "" };
            return Err(Refused(format!("There is no symbol {name} in {}{why}", self.name)));
        };
        let start = self.address(found.0)?;
        let end = self.area(start).map(|area| area.end);
        let next = symbols.next_after(start).filter(|next| end.is_none_or(|end| *next < end));
        Ok(start..next.or(end).unwrap_or(start + 4))
    }

    fn area(&self, va: Va) -> Option<&Range<Va>> {
        self.extent.areas().iter().find(|area| area.contains(&va))
    }

    /// All that is known to be code: where nobody says what else is there, what has run, or will run first.
    pub fn all(&self) -> Vec<Range<Va>> {
        match &self.extent {
            Extent::Code(areas) => areas.clone(),
            Extent::Mixed(_) if self.observer.is_some() => self.known.keys().map(|va| *va..*va + 4).collect(),
            Extent::Mixed(_) | Extent::Memory => vec![self.entry..self.entry + 4],
        }
    }

    /// The block that would begin at `va`.
    fn decoded(&self, va: Va, mode: Mode) -> Block {
        let (pa, mapped) =
            self.memory.fetch(va, mode).map_or((Pa(va.0), Mode::empty()), |(pa, mapped, _)| (pa, mapped));
        let page = va.page();
        let word =
            |index: usize| self.memory.fetch(page + 4 * index as u64, mode).map_or(0, |(_, _, word)| word);
        let next = self.memory.fetch(page + PAGE_SIZE, mode).map(|(_, _, word)| word);
        let mut block = Block::decode(Key::new(va, pa, mode | mapped), va, self.model, word, next);
        if block.steps.is_empty() {
            // The interpreter runs it: it is shown as the single instruction that it begins with.
            let word = word((va.page_offset() / 4) as usize);
            block.steps.push(Step::decode(word, self.model, mode));
        }
        block
    }

    /// The blocks at `va`: those that there are, or the one that there would be.
    pub fn at(&self, va: Va, mode: Mode) -> Vec<Seen> {
        self.known
            .get(&va)
            .cloned()
            .unwrap_or_else(|| vec![Seen { block: self.decoded(va, mode).into(), facts: Facts::default() }])
    }

    /// The blocks in `range`: one begins at its start, where another ends, and where another goes to.
    pub fn blocks(&self, range: &Range<Va>, mode: Mode) -> Vec<Seen> {
        let known = self.known.range(range.clone());
        let mut starts: BTreeSet<Va> = known.map(|(va, _)| *va).chain([range.start]).collect();
        let mut done: BTreeMap<Va, Vec<Seen>> = BTreeMap::new();
        while let Some(start) = starts.pop_first() {
            if done.contains_key(&start) {
                continue;
            }
            let blocks = self.at(start, mode);
            for seen in &blocks {
                let after = start + seen.block.bytes();
                let next = [after].into_iter().chain(targets(&seen.block));
                starts.extend(next.filter(|va| range.contains(va)));
            }
            done.insert(start, blocks);
        }
        done.into_values().flatten().collect()
    }

    /// The listing of one of its blocks.
    pub fn listing(&self, seen: &Seen) -> Listing {
        self.naming.listing(&seen.block, self.observer.is_some().then(|| seen.facts.clone()))
    }
}

impl Extent {
    fn areas(&self) -> &[Range<Va>] {
        match self {
            Extent::Code(areas) | Extent::Mixed(areas) => areas,
            Extent::Memory => &[],
        }
    }

    fn words(&self) -> String {
        if let Extent::Memory = self {
            return "because nothing is mapped there or there is no RAM".to_owned();
        }
        let ranges = self.areas().iter().map(|area| format!("{}..{}", area.start, area.end));
        format!("which has {}", ranges.collect::<Vec<_>>().join(" and "))
    }
}

/// The mode of code for `target` with `privilege`.
fn elf_mode(target: Target, privilege: Status) -> Mode {
    let wide = Status::KX | Status::SX | Status::UX | Status::FR;
    let mut mode = Mode::empty();
    mode.set(Mode::BIG_ENDIAN, target.big_endian);
    mode.with_status(if target.abi.has_wide_registers() { privilege | wide } else { privilege })
}
