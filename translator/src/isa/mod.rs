//! Instructions as data. [`Op`] and its rows are made from the table in `table.rs`; the decoder, the
//! disassembler and the encoder are loops over the rows. This module knows what an instruction looks
//! like, never what it does.

pub mod decode;
pub mod operand;
mod table;
pub mod text;

use bitflags::bitflags;

pub use decode::decode;
pub use operand::{Form, Operand, Role, Slot};
pub use table::Op;
use table::ROWS;

/// The instruction set in which an instruction first appeared. A CPU of some level has the
/// instructions of all lower ones; [`Classes::WIDE`] further says which need 64-bit operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// MIPS I.
    I,
    /// MIPS II.
    II,
    /// MIPS III.
    III,
    /// MIPS IV.
    IV,
    /// MIPS V.
    V,
    /// MIPS32 release 1.
    M32,
    /// MIPS64 release 1.
    M64,
    /// MIPS32 and MIPS64 release 2.
    R2,
}

bitflags! {
    /// What kind of instruction a row is: the facts that blocks, patching and CPU models ask for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Classes: u32 {
        /// Branches to a target that the word and the PC give; has a delay slot.
        const BRANCH = 1 << 0;
        /// Nullifies its delay slot when it is not taken.
        const LIKELY = 1 << 1;
        /// Jumps to the address in a register; has a delay slot.
        const JUMP = 1 << 2;
        /// Writes a return address.
        const LINK = 1 << 3;
        /// Reads memory.
        const LOAD = 1 << 4;
        /// Writes memory.
        const STORE = 1 << 5;
        /// Needs coprocessor 1 to be usable.
        const FPU = 1 << 6;
        /// Works on paired singles.
        const PAIRED = 1 << 7;
        /// Sets a floating-point condition code.
        const COMPARE = 1 << 8;
        /// Raises an exception, always or by a condition on registers.
        const TRAP = 1 << 9;
        /// Raises an exception when signed arithmetic overflows.
        const OVERFLOW = 1 << 10;
        /// Needs 64-bit operations to be enabled.
        const WIDE = 1 << 11;
        /// Needs coprocessor 0 to be usable.
        const PRIVILEGED = 1 << 12;
        /// Cannot run unchanged in generated code: the patch plan says what replaces it.
        const SENSITIVE = 1 << 13;
        /// Belongs to coprocessor 2.
        const COP2 = 1 << 14;
        /// Belongs to the virtualisation module; here a call of this hypervisor.
        const HYPERCALL = 1 << 15;
        /// Ends a block without a delay slot.
        const END = 1 << 16;
    }
}

impl Classes {
    /// Whether the instruction has a delay slot.
    pub const fn has_delay_slot(self) -> bool {
        self.intersects(Self::BRANCH.union(Self::JUMP))
    }
}

/// A run of bits in an instruction word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Field {
    /// The number of the lowest bit.
    pub shift: u8,
    /// The number of bits; 0 means that there is no such field.
    pub width: u8,
}

impl Field {
    /// The value of the field in `word`.
    #[inline]
    pub const fn get(self, word: u32) -> u32 {
        word >> self.shift & self.max()
    }

    /// `word` with the field set to the low bits of `value`.
    pub const fn put(self, word: u32, value: u32) -> u32 {
        word & !(self.max() << self.shift) | (value & self.max()) << self.shift
    }

    /// The largest value that the field holds.
    pub const fn max(self) -> u32 {
        ((1u64 << self.width) - 1) as u32
    }
}

/// One row of the instruction table.
#[derive(Debug)]
pub struct Row {
    /// The mnemonic, in lower case.
    pub name: &'static str,
    /// One line that says what the instruction does.
    pub doc: &'static str,
    /// The operands in assembly order; the first [`Row::operand_count`] are real.
    slots: [Slot; operand::MAX_OPERANDS],
    operand_count: usize,
    /// The bits that the encoding fixes.
    pub mask: u32,
    /// The values of the bits in `mask`.
    pub value: u32,
    /// The instruction set in which the instruction appeared.
    pub level: Level,
    /// What kind of instruction it is.
    pub classes: Classes,
}

impl Row {
    const fn new(
        (name, doc): (&'static str, &'static str),
        operands: &str,
        encoding: &str,
        level: Level,
        classes: Classes,
    ) -> Self {
        let (mask, value) = parse_fixed_bits(encoding.as_bytes());
        let (slots, operand_count) = operand::parse_operands(operands.as_bytes(), encoding.as_bytes());
        assert_fields_named(encoding.as_bytes(), mask, &slots, operand_count);
        Self { name, doc, slots, operand_count, mask, value, level, classes }
    }

    /// The operands in assembly order.
    pub fn operands(&self) -> &[Slot] {
        &self.slots[..self.operand_count]
    }
}

/// Cuts the fixed bits out of an encoding picture.
///
/// # Panics
/// Panics, at compile time, unless the picture has 32 bits.
const fn parse_fixed_bits(encoding: &[u8]) -> (u32, u32) {
    let (mut mask, mut value, mut count, mut i) = (0u32, 0u32, 0, 0);
    while i < encoding.len() {
        let c = encoding[i];
        i += 1;
        if c == b' ' {
            continue;
        }
        mask = mask << 1 | (c == b'0' || c == b'1') as u32;
        value = value << 1 | (c == b'1') as u32;
        count += 1;
    }
    assert!(count == 32, "an encoding has 32 bits");
    (mask, value)
}

/// The field that `letter` marks in an encoding picture, of width 0 if there is none.
const fn find_field(encoding: &[u8], letter: u8) -> Field {
    let (mut bit, mut i) = (32u8, 0);
    let mut field = Field { shift: 0, width: 0 };
    while i < encoding.len() {
        let c = encoding[i];
        i += 1;
        if c == b' ' {
            continue;
        }
        bit -= 1;
        if c == letter {
            field.width += 1;
            field.shift = bit;
        }
    }
    field
}

/// Refuses, at compile time, an encoding with a field that no operand names.
const fn assert_fields_named(encoding: &[u8], mask: u32, slots: &[Slot], count: usize) {
    let mut named = mask;
    let mut i = 0;
    while i < count {
        named |= slots[i].field.max() << slots[i].field.shift;
        named |= slots[i].second.max() << slots[i].second.shift;
        i += 1;
    }
    let ignored = find_field(encoding, b'x');
    named |= ignored.max() << ignored.shift;
    assert!(named == u32::MAX, "every field of an encoding belongs to an operand");
}

/// Makes the enum and the rows; see `table.rs` for the grammar.
macro_rules! instructions {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal, $operands:literal, $encoding:literal,
        $level:ident, [$($class:ident)|*];)*) => {
        /// An instruction of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Op {
            $($(#[doc = $doc])* $variant,)*
        }

        pub(super) static ROWS: &[super::Row] = &[$(super::Row::new(
            ($name, concat!($($doc),*)),
            $operands,
            $encoding,
            super::Level::$level,
            super::Classes::empty()$(.union(super::Classes::$class))*,
        ),)*];

        impl Op {
            /// Every instruction, in table order.
            pub const ALL: &'static [Op] = &[$(Op::$variant,)*];
        }
    };
}
use instructions;

impl Op {
    /// The instruction's row.
    #[inline]
    pub fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// The instruction's classes.
    #[inline]
    pub fn classes(self) -> Classes {
        self.row().classes
    }

    /// The instruction with this mnemonic, in lower case.
    pub fn from_name(name: &str) -> Option<Op> {
        decode::by_name(name)
    }
}

/// A decoded instruction: which row, and the word that holds its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    /// The row.
    pub op: Op,
    /// The instruction word.
    pub word: u32,
}

/// The operand fields by the names that the manual gives them; each is at one place in every format.
impl Insn {
    /// The general register in bits 25..21.
    #[inline]
    pub const fn rs(self) -> u8 {
        (self.word >> 21 & 31) as u8
    }
    /// The general register in bits 20..16.
    #[inline]
    pub const fn rt(self) -> u8 {
        (self.word >> 16 & 31) as u8
    }
    /// The general register in bits 15..11.
    #[inline]
    pub const fn rd(self) -> u8 {
        (self.word >> 11 & 31) as u8
    }
    /// The shift amount or bit position in bits 10..6.
    #[inline]
    pub const fn sa(self) -> u8 {
        (self.word >> 6 & 31) as u8
    }
    /// The floating-point register in bits 10..6.
    #[inline]
    pub const fn fd(self) -> u8 {
        self.sa()
    }
    /// The floating-point register in bits 15..11.
    #[inline]
    pub const fn fs(self) -> u8 {
        self.rd()
    }
    /// The floating-point register in bits 20..16.
    #[inline]
    pub const fn ft(self) -> u8 {
        self.rt()
    }
    /// The floating-point register in bits 25..21.
    #[inline]
    pub const fn fr(self) -> u8 {
        self.rs()
    }
    /// The 16-bit immediate, sign-extended.
    #[inline]
    pub const fn simm(self) -> u64 {
        self.word as i16 as i64 as u64
    }
    /// The 16-bit immediate, zero-extended.
    #[inline]
    pub const fn uimm(self) -> u64 {
        self.word as u16 as u64
    }
    /// The select field of a coprocessor 0 register, bits 2..0.
    #[inline]
    pub const fn sel(self) -> u8 {
        (self.word & 7) as u8
    }
    /// The condition code of a branch or conditional move, bits 20..18.
    #[inline]
    pub const fn cc(self) -> u8 {
        (self.word >> 18 & 7) as u8
    }
    /// The condition code that a compare sets, bits 10..8.
    #[inline]
    pub const fn compare_cc(self) -> u8 {
        (self.word >> 8 & 7) as u8
    }
    /// The offset of a branch from its delay slot, in bytes.
    #[inline]
    pub const fn branch_offset(self) -> u64 {
        ((self.word as i16 as i64) << 2) as u64
    }
    /// The target of a jump in its 256 MB region, in bytes.
    #[inline]
    pub const fn jump_offset(self) -> u64 {
        ((self.word & 0x03ff_ffff) as u64) << 2
    }
    /// The instruction's classes.
    #[inline]
    pub fn classes(self) -> Classes {
        self.op.classes()
    }
}
