//! Operands: which field of the word each kind takes, in which unit, and how it is written. This is
//! the only place that turns field values into assembly values and back.

use super::{Field, find_field};

/// The most operands that a row has.
pub const MAX_OPERANDS: usize = 4;

/// Whether an instruction reads or writes an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Read only.
    Read,
    /// Written only.
    Write,
    /// Read, then perhaps written.
    ReadWrite,
}

macro_rules! operands {
    ($($(#[$doc:meta])* $kind:ident = $name:literal, $first:literal, $second:literal;)*) => {
        /// The kinds of operand.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Operand {
            $($(#[$doc])* $kind,)*
        }

        impl Operand {
            /// The name that the manual and the rows give the operand.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Operand::$kind => $name,)*
                }
            }
        }

        /// The kind that a row means by `name`, with the letters of its fields.
        const fn kind_of(name: &[u8]) -> (Operand, u8, u8) {
            $(if bytes_equal(name, $name.as_bytes()) {
                return (Operand::$kind, $first, $second);
            })*
            panic!("unknown operand name")
        }
    };
}

operands! {
    /// A general register.
    Gpr = "rs", b's', 0;
    /// A general register.
    GprT = "rt", b't', 0;
    /// A general register.
    GprD = "rd", b'd', 0;
    /// A general register whose number the ignored field `x` repeats, as the manual asks of software.
    GprTwice = "rd2", b'd', b'x';
    /// A general register that may be left out, and is then `$0`.
    GprOptional = "rt?", b't', 0;
    /// A shift amount.
    Shift = "sa", b'a', 0;
    /// A sign-extended immediate.
    Signed = "simm", b'i', 0;
    /// A zero-extended immediate.
    Unsigned = "uimm", b'i', 0;
    /// A branch target, stored as the distance from the delay slot in words.
    Branch = "off", b'i', 0;
    /// A jump target in the 256 MB region of the delay slot, stored in words.
    Target = "target", b'j', 0;
    /// `offset(base)`.
    Memory = "mem", b'i', b's';
    /// `index(base)`.
    Indexed = "memx", b't', b's';
    /// A floating-point register.
    FprD = "fd", b'D', 0;
    /// A floating-point register.
    FprS = "fs", b'S', 0;
    /// A floating-point register.
    FprT = "ft", b'T', 0;
    /// A floating-point register.
    FprR = "fr", b'R', 0;
    /// A floating-point condition code, left out when it is 0.
    Condition = "cc", b'c', 0;
    /// A floating-point control register.
    FloatControl = "fcr", b'S', 0;
    /// A coprocessor 0 register with its select, which is left out when it is 0.
    Cp0 = "c0", b'd', b'l';
    /// A hardware register of `rdhwr`, with its select, which is left out when it is 0.
    Hardware = "hwr", b'd', b'l';
    /// A coprocessor 2 register.
    Cop2Register = "c2", b'T', 0;
    /// The implementation-defined part of a coprocessor 2 move.
    Cop2Immediate = "c2imm", b'i', 0;
    /// A code of 20 bits, left out when it is 0.
    Code20 = "code20", b'c', 0;
    /// A code of 10 bits, left out when it and what follows are 0.
    Code10 = "code10", b'c', 0;
    /// The second code of `break`, left out when it is 0.
    CodeLow = "codelo", b'e', 0;
    /// The code of a trap, left out when it is 0.
    CodeTrap = "code10t", b'c', 0;
    /// The code of `wait`, left out when it is 0.
    Code19 = "code19", b'c', 0;
    /// The code of `hypcall`, left out when it is 0.
    CodeHypcall = "hcode", b'c', 0;
    /// A coprocessor 2 operation.
    Code25 = "code25", b'c', 0;
    /// A cache or prefetch operation.
    Hint = "hint", b'h', 0;
    /// A prefetch hint of `prefx`.
    HintD = "hintd", b'd', 0;
    /// The kind of barrier of `sync`, left out when it is 0.
    SyncType = "stype", b'y', 0;
    /// The lowest bit of a bit field, 0 to 31.
    Position = "pos", b'a', 0;
    /// The lowest bit of a bit field, 32 to 63.
    PositionUpper = "posu", b'a', 0;
    /// The size of an extracted field, 1 to 32.
    ExtractSize = "extsize", b'm', 0;
    /// The size of an extracted field, 33 to 64.
    ExtractSizeUpper = "extsizem", b'm', 0;
    /// The size of an inserted field that ends below bit 32 (or whose position is stored less 32).
    InsertSize = "inssize", b'm', b'a';
    /// The size of an inserted field that ends above bit 31 and begins below.
    InsertSizeMiddle = "inssizem", b'm', b'a';
    /// The size of an inserted field that begins above bit 31.
    InsertSizeUpper = "inssizeu", b'm', b'a';
}

/// How an operand is written in assembly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `$8`: a general register.
    Gpr,
    /// `$f8`: a floating-point register.
    Fpr,
    /// `$fcc1`: a floating-point condition code.
    Condition,
    /// `$12`: a register of a coprocessor, by its number.
    Numbered,
    /// `$12` or `$12, 1`: a register with a select.
    Selected,
    /// `12`: a signed number.
    Decimal,
    /// `0x12`: an unsigned number.
    Hexadecimal,
    /// The address of an instruction.
    Target,
    /// `4($8)`.
    Memory,
    /// `$4($8)`.
    Indexed,
}

impl Operand {
    /// How the operand is written.
    pub const fn form(self) -> Form {
        use Operand as O;
        match self {
            O::Gpr | O::GprT | O::GprD | O::GprTwice | O::GprOptional => Form::Gpr,
            O::FprD | O::FprS | O::FprT | O::FprR => Form::Fpr,
            O::Condition => Form::Condition,
            O::FloatControl | O::Cop2Register => Form::Numbered,
            O::Cp0 | O::Hardware => Form::Selected,
            O::Shift | O::Signed | O::Position | O::PositionUpper => Form::Decimal,
            O::ExtractSize | O::ExtractSizeUpper => Form::Decimal,
            O::InsertSize | O::InsertSizeMiddle | O::InsertSizeUpper => Form::Decimal,
            O::Unsigned | O::Cop2Immediate | O::Hint | O::HintD | O::SyncType => Form::Hexadecimal,
            O::Code20 | O::Code10 | O::CodeLow | O::CodeTrap => Form::Hexadecimal,
            O::Code19 | O::CodeHypcall | O::Code25 => Form::Hexadecimal,
            O::Branch | O::Target => Form::Target,
            O::Memory => Form::Memory,
            O::Indexed => Form::Indexed,
        }
    }

    /// Whether the operand may be left out, and is then 0.
    pub const fn is_optional(self) -> bool {
        use Operand as O;
        let code = matches!(self, O::Code20 | O::Code10 | O::CodeLow | O::CodeTrap);
        code || matches!(self, O::Code19 | O::CodeHypcall | O::SyncType | O::Condition | O::GprOptional)
    }
}

/// An operand of one row: its kind, its role and where its fields are.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// The kind.
    pub kind: Operand,
    /// Whether it is read or written.
    pub role: Role,
    /// The field with the value.
    pub field: Field,
    /// The second field of the kinds that have two (base, select, position).
    pub second: Field,
}

const EMPTY: Slot = Slot {
    kind: Operand::Gpr,
    role: Role::Read,
    field: Field { shift: 0, width: 0 },
    second: Field { shift: 0, width: 0 },
};

/// Reads a row's operand list against its encoding picture.
///
/// # Panics
/// Panics, at compile time, for an unknown operand name or a field that the picture does not have.
pub(super) const fn parse_operands(list: &[u8], encoding: &[u8]) -> ([Slot; MAX_OPERANDS], usize) {
    let mut slots = [EMPTY; MAX_OPERANDS];
    let (mut count, mut start) = (0, 0);
    while start < list.len() {
        let mut end = start;
        while end < list.len() && list[end] != b' ' {
            end += 1;
        }
        slots[count] = parse_operand(list.split_at(end).0.split_at(start).1, encoding);
        count += 1;
        start = end + 1;
    }
    (slots, count)
}

const fn parse_operand(token: &[u8], encoding: &[u8]) -> Slot {
    let (role, name) = match token[0] {
        b'=' => (Role::Write, token.split_at(1).1),
        b'+' => (Role::ReadWrite, token.split_at(1).1),
        _ => (Role::Read, token),
    };
    let (kind, first, second) = kind_of(name);
    let field = find_field(encoding, first);
    assert!(field.width > 0, "an operand names a field of the encoding");
    let second = if second == 0 { Field { shift: 0, width: 0 } } else { find_field(encoding, second) };
    Slot { kind, role, field, second }
}

const fn bytes_equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// The values that an operand has in assembly: one, or two for `offset(base)` and its like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// The register number, immediate, size, position or absolute target.
    pub first: i64,
    /// The base register or select, 0 for the kinds that have none.
    pub second: u32,
}

impl Slot {
    /// The operand's value in `word`, an instruction at address `pc`.
    pub fn get(&self, word: u32, pc: u64) -> Value {
        let raw = self.field.get(word);
        let second = self.second.get(word);
        let first = match self.kind {
            Operand::Signed | Operand::Memory => i64::from(raw as i16),
            Operand::Branch => pc.wrapping_add(4).wrapping_add(((raw as i16 as i64) << 2) as u64) as i64,
            Operand::Target => (pc.wrapping_add(4) & !0x0fff_ffff | u64::from(raw) << 2) as i64,
            _ => i64::from(raw) + self.bias(word),
        };
        let second = if self.has_shared_field() { 0 } else { second };
        Value { first, second }
    }

    /// `word` with the operand set to `value`, or `None` if the value does not fit.
    ///
    /// An insert size is counted from the position that `word` already has.
    pub fn put(&self, word: u32, value: Value, pc: u64) -> Option<u32> {
        let raw = self.raw(word, value.first, pc)?;
        let word = self.field.put(word, raw);
        match self.kind {
            Operand::GprTwice => Some(self.second.put(word, raw)),
            _ if self.has_shared_field() => Some(word),
            _ => (value.second <= self.second.max()).then(|| self.second.put(word, value.second)),
        }
    }

    /// The field's bits for an assembly value.
    fn raw(&self, word: u32, value: i64, pc: u64) -> Option<u32> {
        let raw = match self.kind {
            Operand::Signed | Operand::Memory => i64::from(i16::try_from(value).ok()? as u16),
            Operand::Branch => {
                let distance = (value as u64).wrapping_sub(pc.wrapping_add(4)) as i64;
                let words = i16::try_from(distance >> 2).ok()?;
                (distance & 3 == 0).then_some(i64::from(words as u16))?
            }
            Operand::Target => {
                let reachable = (value as u64 ^ pc.wrapping_add(4)) & !0x0fff_ffff == 0;
                (reachable && value & 3 == 0).then_some(value >> 2 & 0x03ff_ffff)?
            }
            _ if self.is_insert_size() && value < 1 => return None,
            _ => value.checked_sub(self.bias(word))?,
        };
        u32::try_from(raw).ok().filter(|raw| *raw <= self.field.max())
    }

    /// The assembly values that fit, beside targets, which depend on the address. For an insert size
    /// they depend on the position that `word` already has.
    pub fn range(&self, word: u32) -> std::ops::RangeInclusive<i64> {
        match self.kind {
            Operand::Signed | Operand::Memory => i64::from(i16::MIN)..=i64::from(i16::MAX),
            _ => {
                let bias = self.bias(word);
                let least = if self.is_insert_size() { bias.max(1) } else { bias };
                least..=bias + i64::from(self.field.max())
            }
        }
    }

    /// The assembly value that the field stores as 0.
    fn bias(&self, word: u32) -> i64 {
        let position = i64::from(self.second.get(word));
        match self.kind {
            Operand::PositionUpper => 32,
            Operand::ExtractSize => 1,
            Operand::ExtractSizeUpper => 33,
            Operand::InsertSize | Operand::InsertSizeUpper => 1 - position,
            Operand::InsertSizeMiddle => 33 - position,
            _ => 0,
        }
    }

    const fn is_insert_size(&self) -> bool {
        matches!(self.kind, Operand::InsertSize | Operand::InsertSizeMiddle | Operand::InsertSizeUpper)
    }

    /// Whether the second field is no part of the operand's own value.
    const fn has_shared_field(&self) -> bool {
        self.is_insert_size() || matches!(self.kind, Operand::GprTwice)
    }
}
