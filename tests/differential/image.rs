//! Many programs laid out in one run of memory, the same bytes for QEMU and for our machine. Each
//! program has a slot: room for code, and a block with its initial state, its data and, under QEMU,
//! its results.

use translator::isa::Op;

use crate::assemble::{constant, memory, one, word};
use crate::program::{DATA_DOUBLES, Program};

/// Programs in one image.
pub const SLOTS: usize = 256;
/// Bytes of code in a slot: two pages.
pub const CODE_BYTES: u64 = 0x2000;
/// Bytes of a slot's state block: two pages.
pub const BLOCK_BYTES: u64 = 0x2000;
/// Where the code that loads a program's initial state is.
const LOADER: u64 = 0xf000;
const LOADER_INSTRUCTIONS: usize = 69;
const PROLOGUE_INSTRUCTIONS: usize = 7;
/// The instructions that run before a program's first.
pub const START_INSTRUCTIONS: u64 = (LOADER_INSTRUCTIONS + PROLOGUE_INSTRUCTIONS) as u64;
/// Where slots begin: the space before is for whoever runs them.
pub const CODE: u64 = 0x1_0000;
/// Where the state blocks begin.
pub const BLOCKS: u64 = CODE + SLOTS as u64 * CODE_BYTES;
/// The bytes of an image.
pub const BYTES: u64 = BLOCKS + SLOTS as u64 * BLOCK_BYTES;
/// Where the body of a program begins at the earliest: after the prologue.
const BODY: u64 = 0x20;

/// Offsets in a state block. The layout of a register file is the same for input and result.
pub mod block {
    pub const INPUT: u64 = 0;
    pub const RESULT: u64 = 0x400;
    /// The middle of the data, where base registers point, is where the second page begins.
    pub const DATA: u64 = 0xc00;

    pub const GPR: u64 = 0;
    pub const HI: u64 = 0x100;
    pub const LO: u64 = 0x108;
    pub const FCSR: u64 = 0x110;
    pub const PC: u64 = 0x118;
    pub const FPR: u64 = 0x120;
    /// The first words of `siginfo`; only in results.
    pub const SIGNAL: u64 = 0x220;
}

/// The addresses of one slot.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Where the image is.
    pub base: u64,
    /// Which slot.
    pub slot: usize,
}

impl Place {
    /// The first address of the slot's code, its prologue.
    pub fn code(self) -> u64 {
        self.base + CODE + self.slot as u64 * CODE_BYTES
    }

    /// The address of the slot's state block.
    pub fn block(self) -> u64 {
        self.base + BLOCKS + self.slot as u64 * BLOCK_BYTES
    }

    /// The address in the middle of the slot's data, which base registers hold.
    pub fn middle_of_data(self) -> u64 {
        self.block() + block::DATA + 4 * DATA_DOUBLES as u64
    }

    /// The address of the trap that ends the program.
    pub fn end(self, program: &Program) -> u64 {
        let body = self.body(program);
        body + 4 * (program.code(body).len() as u64 - 1)
    }

    /// The address of the program's first instruction.
    pub fn body(self, program: &Program) -> u64 {
        self.code() + BODY + 4 * program.start as u64
    }
}

/// The image of `programs` at address `base`.
pub fn image(base: u64, programs: &[Program]) -> Vec<u8> {
    assert!(programs.len() <= SLOTS, "an image has {SLOTS} slots");
    let mut bytes = vec![0; BYTES as usize];
    put_words(&mut bytes, LOADER, &loader());
    for (slot, program) in programs.iter().enumerate() {
        let place = Place { base, slot };
        put_words(&mut bytes, place.code() - base, &prologue(place, program));
        let body = place.body(program);
        let code = program.code(body);
        assert!(body + 4 * code.len() as u64 <= place.code() + CODE_BYTES, "the code fits its room");
        put_words(&mut bytes, body - base, &code);
        put_state(&mut bytes, place, program);
    }
    bytes
}

fn put_words(bytes: &mut [u8], at: u64, words: &[u32]) {
    for (index, word) in words.iter().enumerate() {
        let at = at as usize + 4 * index;
        bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
}

fn put_double(bytes: &mut [u8], at: u64, value: u64) {
    bytes[at as usize..at as usize + 8].copy_from_slice(&value.to_le_bytes());
}

fn put_state(bytes: &mut [u8], place: Place, program: &Program) {
    let at = place.block() - place.base;
    let registers = program.registers(place.middle_of_data());
    let input = at + block::INPUT;
    for (number, (gpr, fpr)) in (0..).zip(registers.into_iter().zip(program.fpr)) {
        put_double(bytes, input + block::GPR + 8 * number, gpr);
        put_double(bytes, input + block::FPR + 8 * number, fpr);
    }
    put_double(bytes, input + block::HI, program.hi);
    put_double(bytes, input + block::LO, program.lo);
    put_double(bytes, input + block::FCSR, program.fcsr.into());
    for (index, value) in program.data.iter().enumerate() {
        put_double(bytes, at + block::DATA + 8 * index as u64, *value);
    }
}

/// The register that points to the input while the state is loaded, and one for passing values.
const BASE: u8 = 1;
const SCRATCH: u8 = 2;
const LINK: u8 = 31;

fn load_gpr(number: u8) -> u32 {
    let from = memory((block::GPR + 8 * u64::from(number)) as i64, BASE);
    word(Op::Ld, 0, &[one(number), from])
}

/// Loads the initial state that [`BASE`] points to, but for [`BASE`] and [`LINK`], and returns. It is
/// guest code, so that every engine does it in its own way.
fn loader() -> Vec<u32> {
    let special = |offset: u64| word(Op::Ld, 0, &[one(SCRATCH), memory(offset as i64, BASE)]);
    let mut code = vec![special(block::FCSR), word(Op::Ctc1, 0, &[one(SCRATCH), one(31)])];
    for number in 0..32_u8 {
        let from = memory((block::FPR + 8 * u64::from(number)) as i64, BASE);
        code.push(word(Op::Ldc1, 0, &[one(number), from]));
    }
    code.extend([special(block::HI), word(Op::Mthi, 0, &[one(SCRATCH)])]);
    code.extend([special(block::LO), word(Op::Mtlo, 0, &[one(SCRATCH)])]);
    code.extend((SCRATCH..LINK).map(load_gpr));
    code.extend([word(Op::Jr, 0, &[one(LINK)]), Op::Nop.row().value]);
    assert_eq!(code.len(), LOADER_INSTRUCTIONS, "the loader has no branch");
    code
}

/// Has the initial state loaded and goes to the body.
fn prologue(place: Place, program: &Program) -> Vec<u32> {
    let mut code = constant(BASE, place.block() + block::INPUT).to_vec();
    let call = place.code() + 4 * code.len() as u64;
    code.extend([word(Op::Jal, call, &[one((place.base + LOADER) as i64)]), Op::Nop.row().value]);
    code.push(load_gpr(LINK));
    let jump = place.code() + 4 * code.len() as u64;
    code.extend([word(Op::J, jump, &[one(place.body(program) as i64)]), load_gpr(BASE)]);
    assert_eq!(code.len(), PROLOGUE_INSTRUCTIONS, "the prologue has no branch");
    code
}
