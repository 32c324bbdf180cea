//! What an instruction may do: the one interface between the meaning of instructions (`sem`) and the
//! two things that act on it, the interpreter, whose values are numbers, and the translator, whose
//! values are nodes of the intermediate representation.

use crate::exception::Exception;
use crate::isa::Op;
use crate::stub::Stub;

/// The width and extension of a memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Access {
    /// An unsigned byte.
    U8,
    /// A signed byte.
    I8,
    /// An unsigned halfword.
    U16,
    /// A signed halfword.
    I16,
    /// An unsigned word.
    U32,
    /// A signed word.
    I32,
    /// A doubleword.
    U64,
}

impl Access {
    /// Every access, in order of their numbers.
    pub const ALL: [Access; 7] =
        [Access::U8, Access::I8, Access::U16, Access::I16, Access::U32, Access::I32, Access::U64];

    /// The width in bytes.
    #[inline]
    pub const fn bytes(self) -> u64 {
        match self {
            Access::U8 | Access::I8 => 1,
            Access::U16 | Access::I16 => 2,
            Access::U32 | Access::I32 => 4,
            Access::U64 => 8,
        }
    }

    /// The register value of the low bytes of `raw`.
    #[inline]
    pub const fn extend(self, raw: u64) -> u64 {
        match self {
            Access::U8 => raw as u8 as u64,
            Access::I8 => raw as i8 as u64,
            Access::U16 => raw as u16 as u64,
            Access::I16 => raw as i16 as u64,
            Access::U32 => raw as u32 as u64,
            Access::I32 => raw as i32 as u64,
            Access::U64 => raw,
        }
    }
}

/// Operations on one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary {
    /// Sign-extends 8 bits.
    SignExtend8,
    /// Sign-extends 16 bits.
    SignExtend16,
    /// Sign-extends 32 bits.
    SignExtend32,
    /// Zero-extends 32 bits.
    ZeroExtend32,
    /// All bits inverted.
    Not,
    /// Counts leading zeros of the low 32 bits.
    LeadingZeros32,
    /// Counts leading zeros of 64 bits.
    LeadingZeros64,
    /// Swaps the bytes of each halfword.
    SwapBytesInHalves,
    /// Swaps the halfwords of the doubleword.
    SwapHalves,
}

/// Operations on two values. Those with `32` read the low halves and give a sign-extended word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary {
    /// 64-bit sum.
    Add,
    /// 64-bit difference.
    Sub,
    /// Word sum.
    Add32,
    /// Word difference.
    Sub32,
    /// And.
    And,
    /// Or.
    Or,
    /// Exclusive or.
    Xor,
    /// 64-bit left shift by the low 6 bits.
    Shl,
    /// 64-bit logical right shift by the low 6 bits.
    Shr,
    /// 64-bit arithmetic right shift by the low 6 bits.
    Sar,
    /// 64-bit right rotation by the low 6 bits.
    Rotr,
    /// Word left shift by the low 5 bits.
    Shl32,
    /// Word logical right shift by the low 5 bits.
    Shr32,
    /// Word arithmetic right shift by the low 5 bits.
    Sar32,
    /// Word right rotation by the low 5 bits.
    Rotr32,
    /// Low half of the product.
    Mul,
    /// High half of the signed product.
    MulHighSigned,
    /// High half of the unsigned product.
    MulHighUnsigned,
    /// Signed quotient; dividing by 0, or the smallest value by -1, divides by 1.
    DivSigned,
    /// Signed remainder, with the divisor as in [`Binary::DivSigned`].
    RemSigned,
    /// Unsigned quotient; dividing by 0 divides by 1.
    DivUnsigned,
    /// Unsigned remainder, with the divisor as in [`Binary::DivUnsigned`].
    RemUnsigned,
    /// 1 if equal, else 0.
    Equal,
    /// 1 if different, else 0.
    NotEqual,
    /// 1 if less as signed values, else 0.
    LessSigned,
    /// 1 if less as unsigned values, else 0.
    LessUnsigned,
    /// 1 if less or equal as signed values, else 0.
    LessEqualSigned,
}

/// The exceptions that an instruction raises by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Raise {
    /// SYSCALL.
    Syscall,
    /// BREAK.
    Breakpoint,
    /// An encoding that this CPU or mode does not have.
    ReservedInstruction,
    /// Coprocessor 0 is not usable.
    Coprocessor0,
    /// Coprocessor 1 is not usable.
    Coprocessor1,
    /// Coprocessor 2 is not usable.
    Coprocessor2,
    /// Signed arithmetic overflowed.
    Overflow,
    /// A trap instruction's condition held.
    Trap,
}

impl Raise {
    /// Every one, in order of their numbers.
    pub const ALL: [Raise; 8] = [
        Raise::Syscall,
        Raise::Breakpoint,
        Raise::ReservedInstruction,
        Raise::Coprocessor0,
        Raise::Coprocessor1,
        Raise::Coprocessor2,
        Raise::Overflow,
        Raise::Trap,
    ];

    /// The exception.
    pub const fn exception(self) -> Exception {
        match self {
            Raise::Syscall => Exception::Syscall,
            Raise::Breakpoint => Exception::Breakpoint,
            Raise::ReservedInstruction => Exception::ReservedInstruction,
            Raise::Coprocessor0 => Exception::CoprocessorUnusable(0),
            Raise::Coprocessor1 => Exception::CoprocessorUnusable(1),
            Raise::Coprocessor2 => Exception::CoprocessorUnusable(2),
            Raise::Overflow => Exception::Overflow,
            Raise::Trap => Exception::Trap,
        }
    }
}

/// 64-bit state outside the general registers that instructions read and write as plain fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Special {
    /// HI.
    Hi,
    /// LO.
    Lo,
    /// A coprocessor 0 register, by its position in the table.
    Cp0(crate::cp0::Cp0),
    /// A floating-point register, all 64 bits.
    Fpr(u8),
}

/// What an instruction may do.
pub trait Machine {
    /// A 64-bit value.
    type Val: Copy;
    /// Why an instruction stops early.
    type Stop;

    /// The value `value`.
    fn constant(&mut self, value: u64) -> Self::Val;
    /// The virtual address of the current instruction plus `offset`.
    fn pc_relative(&mut self, offset: u64) -> Self::Val;
    /// The start of the 256 MB region of the delay slot, plus `offset`.
    fn region_relative(&mut self, offset: u64) -> Self::Val;
    /// General register `r`.
    fn gpr(&mut self, r: u8) -> Self::Val;
    /// Sets general register `r`; register 0 stays zero.
    fn set_gpr(&mut self, r: u8, value: Self::Val);
    /// A field outside the general registers.
    fn special(&mut self, s: Special) -> Self::Val;
    /// Sets a field outside the general registers.
    fn set_special(&mut self, s: Special, value: Self::Val);
    /// The low word of floating-point register `r`, zero-extended.
    fn fpr_low(&mut self, r: u8) -> Self::Val;
    /// Sets the low word of floating-point register `r` and keeps the high word.
    fn set_fpr_low(&mut self, r: u8, value: Self::Val);
    /// Floating-point condition code `cc`: 0 or 1.
    fn condition(&mut self, cc: u8) -> Self::Val;
    /// An operation on one value.
    fn unary(&mut self, op: Unary, a: Self::Val) -> Self::Val;
    /// An operation on two values.
    fn binary(&mut self, op: Binary, a: Self::Val, b: Self::Val) -> Self::Val;
    /// `a` if `condition` is not zero, else `b`.
    fn select(&mut self, condition: Self::Val, a: Self::Val, b: Self::Val) -> Self::Val;
    /// Reads memory at virtual address `address`.
    fn load(&mut self, access: Access, address: Self::Val) -> Result<Self::Val, Self::Stop>;
    /// Reads memory that is about to be written: faults as a store would.
    fn load_for_store(&mut self, access: Access, address: Self::Val) -> Result<Self::Val, Self::Stop>;
    /// Writes memory at virtual address `address`.
    fn store(&mut self, access: Access, address: Self::Val, value: Self::Val) -> Result<(), Self::Stop>;
    /// Reads memory at virtual address `address` and keeps address and value as the link.
    fn load_linked(&mut self, access: Access, address: Self::Val) -> Result<Self::Val, Self::Stop>;
    /// Writes memory if the link is `address` and memory still has the linked value, as one operation.
    /// Breaks the link and gives 1 if it wrote, else 0.
    fn store_conditional(
        &mut self,
        access: Access,
        address: Self::Val,
        value: Self::Val,
    ) -> Result<Self::Val, Self::Stop>;
    /// Raises an exception if `condition` is not zero.
    fn raise_if(&mut self, condition: Self::Val, what: Raise) -> Result<(), Self::Stop>;
    /// Raises an exception.
    fn raise(&mut self, what: Raise) -> Result<(), Self::Stop>;
    /// Raises "coprocessor 1 unusable" unless Status.CU1 is set.
    fn need_fpu(&mut self) -> Result<(), Self::Stop>;
    /// The floating-point operation `op` on raw operands; a compare gives 0 or 1 and sets nothing.
    fn float(&mut self, op: Op, operands: [Self::Val; 3]) -> Result<Self::Val, Self::Stop>;
    /// Sets floating-point condition code `cc` to `value`, 0 or 1.
    fn set_condition(&mut self, cc: u8, value: Self::Val);
    /// Calls a stub and goes where it says.
    fn stub(&mut self, stub: Stub, args: [Self::Val; 2], immediate: u32) -> Result<Self::Val, Self::Stop>;
    /// Orders all earlier memory accesses before all later ones.
    fn fence(&mut self);
    /// Leaves if an interrupt is pending that Status does not mask.
    fn check_interrupts(&mut self) -> Result<(), Self::Stop>;
}
