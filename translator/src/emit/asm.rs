//! One small function a shape of host instruction. Only this file knows dynasm: each template is
//! expanded once and never inlined, because thousands of expanded templates take minutes to compile.

use dynasmrt::x64::X64Relocation;
use dynasmrt::{DynamicLabel, DynasmApi, DynasmLabelApi, VecAssembler, dynasm};

/// A host general register by its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reg(pub u8);

/// Host general registers.
pub mod reg {
    use super::Reg;
    pub const RAX: Reg = Reg(0);
    pub const RCX: Reg = Reg(1);
    pub const RDX: Reg = Reg(2);
    pub const RBX: Reg = Reg(3);
    pub const RSP: Reg = Reg(4);
    pub const RBP: Reg = Reg(5);
    pub const RSI: Reg = Reg(6);
    pub const RDI: Reg = Reg(7);
    pub const R8: Reg = Reg(8);
    pub const R9: Reg = Reg(9);
    pub const R10: Reg = Reg(10);
    pub const R11: Reg = Reg(11);
    pub const R12: Reg = Reg(12);
    pub const R13: Reg = Reg(13);
    pub const R14: Reg = Reg(14);
    pub const R15: Reg = Reg(15);
}

/// A host vector register by its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xmm(pub u8);

/// Two-operand arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alu {
    Add,
    Sub,
    And,
    Or,
    Xor,
    Cmp,
}

/// Shifts and rotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    Left,
    Right,
    ArithmeticRight,
    RotateRight,
}

/// Conditions of jumps, moves and sets, named as after a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cond {
    Equal,
    NotEqual,
    Less,
    GreaterEqual,
    LessEqual,
    Greater,
    Below,
    AboveEqual,
    BelowEqual,
    Above,
    Parity,
    NoParity,
}

impl Cond {
    /// The opposite condition.
    pub const fn negate(self) -> Cond {
        match self {
            Cond::Equal => Cond::NotEqual,
            Cond::NotEqual => Cond::Equal,
            Cond::Less => Cond::GreaterEqual,
            Cond::GreaterEqual => Cond::Less,
            Cond::LessEqual => Cond::Greater,
            Cond::Greater => Cond::LessEqual,
            Cond::Below => Cond::AboveEqual,
            Cond::AboveEqual => Cond::Below,
            Cond::BelowEqual => Cond::Above,
            Cond::Above => Cond::BelowEqual,
            Cond::Parity => Cond::NoParity,
            Cond::NoParity => Cond::Parity,
        }
    }

    /// The condition's number in an opcode.
    const fn code(self) -> u8 {
        match self {
            Cond::Below => 2,
            Cond::AboveEqual => 3,
            Cond::Equal => 4,
            Cond::NotEqual => 5,
            Cond::BelowEqual => 6,
            Cond::Above => 7,
            Cond::Parity => 10,
            Cond::NoParity => 11,
            Cond::Less => 12,
            Cond::GreaterEqual => 13,
            Cond::LessEqual => 14,
            Cond::Greater => 15,
        }
    }
}

/// Scalar floating-point arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sse {
    Add,
    Sub,
    Mul,
    Div,
    Sqrt,
}

/// A place inside the code being assembled that jumps can name before it is known.
pub type Label = DynamicLabel;

/// An assembler of host code.
pub struct Asm {
    code: VecAssembler<X64Relocation>,
    /// The field of the vCPU whose value rax holds, by its offset: the result that was just written is
    /// often the next operand, and need not go through memory.
    held: Option<i32>,
}

/// Wraps a template in a function that is not inlined. Memory at a register plus an offset stands between
/// two parts of a template, because a near offset has a shorter form.
macro_rules! template {
    ($(
        $(#[$doc:meta])*
        $name:ident($($arg:ident: $type:ty),*) $body:tt $(($base:ident + $offset:ident) $after:tt)?
    )*) => {
        $($(#[$doc])*
        #[inline(never)]
        pub fn $name(&mut self, $($arg: $type),*) {
            $($arg.touch(&mut self.held);)*
            let ops = &mut self.code;
            template!(@body ops $body $(($base + $offset) $after)?);
        })*
    };
    (@body $ops:ident [$($t:tt)*]) => { dynasm!($ops ; .arch x64 ; $($t)*) };
    (@body $ops:ident [$($before:tt)*] ($base:ident + $offset:ident) [$($after:tt)*]) => {
        match i8::try_from($offset) {
            Ok(near) => dynasm!($ops ; .arch x64 ; $($before)* [BYTE Rq($base) + near] $($after)*),
            Err(_) => dynasm!($ops ; .arch x64 ; $($before)* [Rq($base) + $offset] $($after)*),
        }
    };
    (@imm $ops:ident [$($before:tt)*] $value:ident) => {
        match i8::try_from($value) {
            Ok(short) => dynasm!($ops ; .arch x64 ; $($before)*, BYTE short),
            Err(_) => dynasm!($ops ; .arch x64 ; $($before)*, $value),
        }
    };
}

/// Memory at one register plus another times 1, 2, 4 or 8, plus an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indexed {
    pub base: Reg,
    pub index: Reg,
    pub scale: u64,
    pub offset: i32,
}

impl Indexed {
    /// The sum of two registers.
    pub const fn sum(base: Reg, index: Reg) -> Indexed {
        Indexed { base, index, scale: 1, offset: 0 }
    }
}

/// As [`template`], with [`Indexed`] memory between the parts.
///
/// # Panics
/// The functions panic if the scale is none that the host has.
macro_rules! indexed_template {
    ($(
        $(#[$doc:meta])*
        $name:ident($at:ident $(, $arg:ident: $type:ty)*) [$($before:tt)*] [$($after:tt)*]
    )*) => {
        $($(#[$doc])*
        #[inline(never)]
        pub fn $name(&mut self, $at: Indexed $(, $arg: $type)*) {
            let Indexed { base, index, scale, offset } = $at;
            base.touch(&mut self.held);
            index.touch(&mut self.held);
            $($arg.touch(&mut self.held);)*
            let ops = &mut self.code;
            match (scale, offset) {
                (1, 0) => dynasm!(ops ; .arch x64 ; $($before)* [Rq(base) + Rq(index)] $($after)*),
                (2, 0) => dynasm!(ops ; .arch x64 ; $($before)* [Rq(base) + Rq(index) * 2] $($after)*),
                (4, 0) => dynasm!(ops ; .arch x64 ; $($before)* [Rq(base) + Rq(index) * 4] $($after)*),
                (8, 0) => dynasm!(ops ; .arch x64 ; $($before)* [Rq(base) + Rq(index) * 8] $($after)*),
                (1, _) => dynasm!(ops ; .arch x64 ; $($before)* [Rq(base) + Rq(index) + offset] $($after)*),
                (2, _) => dynasm!(ops ; .arch x64 ; $($before)* [Rq(base) + Rq(index) * 2 + offset] $($after)*),
                (4, _) => dynasm!(ops ; .arch x64 ; $($before)* [Rq(base) + Rq(index) * 4 + offset] $($after)*),
                (8, _) => dynasm!(ops ; .arch x64 ; $($before)* [Rq(base) + Rq(index) * 8 + offset] $($after)*),
                other => unreachable!("the host has no scale and offset {other:?}"),
            }
        })*
    };
}

impl From<Reg> for u8 {
    fn from(register: Reg) -> u8 {
        register.0
    }
}

impl From<Xmm> for u8 {
    fn from(register: Xmm) -> u8 {
        register.0
    }
}

/// What an argument of a template does to the held value.
trait Touch {
    /// An instruction names this.
    fn touch(&self, held: &mut Option<i32>);
}

impl Touch for Reg {
    /// Whether it is read or written: after a read the value has usually served its purpose.
    #[inline]
    fn touch(&self, held: &mut Option<i32>) {
        if *self == reg::RAX {
            *held = None;
        }
    }
}

macro_rules! untouching {
    ($($type:ty),*) => {
        $(impl Touch for $type {
            #[inline]
            fn touch(&self, _: &mut Option<i32>) {}
        })*
    };
}

untouching!(Xmm, i8, i32, i64, Label);

impl Asm {
    /// The field whose value rax holds.
    pub fn held(&self) -> Option<i32> {
        self.held
    }

    /// Notes that rax holds the value of the field at `offset`.
    pub fn hold(&mut self, offset: i32) {
        self.held = Some(offset);
    }

    /// Notes that rax may have any value.
    pub fn release(&mut self) {
        self.held = None;
    }

    /// An empty assembler.
    pub fn new() -> Self {
        Self { code: VecAssembler::new(0), held: None }
    }

    /// The offset of the next byte.
    pub fn offset(&self) -> usize {
        self.code.offset().0
    }

    /// A label that is yet to be bound.
    pub fn label(&mut self) -> Label {
        self.code.new_dynamic_label()
    }

    /// Binds `label` here.
    pub fn bind(&mut self, label: Label) {
        self.held = None;
        dynasm!(self.code ; =>label);
    }

    /// The finished code.
    ///
    /// # Panics
    /// Panics if a label was used and not bound.
    pub fn finish(self) -> Vec<u8> {
        self.code.finalize().unwrap_or_else(|e| panic!("the emitter used a label that it did not bind: {e}"))
    }

    /// Pads with no-operations until the offset plus `ahead` is a multiple of `alignment`.
    pub fn align(&mut self, alignment: usize, ahead: usize) {
        while !(self.offset() + ahead).is_multiple_of(alignment) {
            self.code.push(0x90);
        }
    }

    template! {
        /// 64-bit move.
        mov(to: Reg, from: Reg) [mov Rq(to), Rq(from)]
        /// 32-bit move, which clears the upper half.
        mov32(to: Reg, from: Reg) [mov Rd(to), Rd(from)]
        /// 32-bit constant, zero-extended.
        mov_imm32(to: Reg, value: i32) [mov Rd(to), value]
        /// 32-bit constant, sign-extended.
        mov_imm_signed(to: Reg, value: i32) [mov Rq(to), DWORD value]
        /// 64-bit constant.
        mov_imm64(to: Reg, value: i64) [mov Rq(to), QWORD value]
        /// 64-bit load.
        load(to: Reg, base: Reg, offset: i32) [mov Rq(to), ] (base + offset) []
        /// 32-bit load, zero-extended.
        load32(to: Reg, base: Reg, offset: i32) [mov Rd(to), ] (base + offset) []
        /// 32-bit load, sign-extended.
        load32_signed(to: Reg, base: Reg, offset: i32) [movsxd Rq(to), DWORD ] (base + offset) []
        /// 64-bit store.
        store(base: Reg, offset: i32, from: Reg) [mov ] (base + offset) [, Rq(from)]
        /// 32-bit store.
        store32(base: Reg, offset: i32, from: Reg) [mov ] (base + offset) [, Rd(from)]
        /// 64-bit store of a sign-extended constant.
        store_imm(base: Reg, offset: i32, value: i32) [mov QWORD ] (base + offset) [, value]
        /// 32-bit store of a constant.
        store32_imm(base: Reg, offset: i32, value: i32) [mov DWORD ] (base + offset) [, value]
        /// Address of base plus offset.
        lea(to: Reg, base: Reg, offset: i32) [lea Rq(to), ] (base + offset) []
        /// 32-bit address of base plus offset.
        lea32(to: Reg, base: Reg, offset: i32) [lea Rd(to), ] (base + offset) []
        /// Address of the sum of two registers.
        lea_sum(to: Reg, base: Reg, index: Reg) [lea Rq(to), [Rq(base) + Rq(index)]]
        /// 32-bit sum of two registers.
        lea32_sum(to: Reg, base: Reg, index: Reg) [lea Rd(to), [Rq(base) + Rq(index)]]
        /// Sign-extends 32 bits.
        movsxd(to: Reg, from: Reg) [movsxd Rq(to), Rd(from)]
        /// Sign-extends 16 bits.
        movsx16(to: Reg, from: Reg) [movsx Rq(to), Rw(from)]
        /// Sign-extends 8 bits.
        movsx8(to: Reg, from: Reg) [movsx Rq(to), Rb(from)]
        /// Zero-extends 8 bits.
        movzx8(to: Reg, from: Reg) [movzx Rd(to), Rb(from)]
        /// 64-bit test.
        test(a: Reg, b: Reg) [test Rq(a), Rq(b)]
        /// 32-bit test.
        test32(a: Reg, b: Reg) [test Rd(a), Rd(b)]
        /// 32-bit test with a constant.
        test32_imm(a: Reg, value: i32) [test Rd(a), value]
        /// 32-bit test of memory with a constant.
        test32_memory_imm(base: Reg, offset: i32, value: i32) [test DWORD ] (base + offset) [, value]
        /// 32-bit comparison of memory with a constant.
        cmp32_memory_imm(base: Reg, offset: i32, value: i32) [cmp DWORD ] (base + offset) [, value]
        /// 32-bit comparison with memory.
        cmp32_memory(a: Reg, base: Reg, offset: i32) [cmp Rd(a), ] (base + offset) []
        /// 64-bit comparison of memory with a constant.
        cmp_memory_imm(base: Reg, offset: i32, value: i32) [cmp QWORD ] (base + offset) [, value]
        /// 64-bit comparison with indexed memory.
        cmp_indexed(a: Reg, base: Reg, index: Reg, offset: i32) [cmp Rq(a), [Rq(base) + Rq(index) + offset]]
        /// Subtracts a constant from 64 bits of memory.
        sub_memory_imm(base: Reg, offset: i32, value: i32) [sub QWORD ] (base + offset) [, value]
        /// Adds a constant to 64 bits of memory.
        add_memory_imm(base: Reg, offset: i32, value: i32) [add QWORD ] (base + offset) [, value]
        /// 32-bit or with memory.
        or32_memory(base: Reg, offset: i32, from: Reg) [or ] (base + offset) [, Rd(from)]
        /// 32-bit and with a constant in memory.
        and32_memory_imm(base: Reg, offset: i32, value: i32) [and DWORD ] (base + offset) [, value]
        /// 32-bit comparison with a constant.
        cmp32_imm(a: Reg, value: i32) [cmp Rd(a), value]
        /// 32-bit and with a constant.
        and32_imm(a: Reg, value: i32) [and Rd(a), value]
        /// All bits inverted.
        not(a: Reg) [not Rq(a)]
        /// Two's complement.
        neg(a: Reg) [neg Rq(a)]
        /// Low half of the product.
        imul(a: Reg, b: Reg) [imul Rq(a), Rq(b)]
        /// Low half of the product with memory.
        imul_memory(a: Reg, base: Reg, offset: i32) [imul Rq(a), ] (base + offset) []
        /// rdx:rax = rax times register, signed.
        imul_wide(a: Reg) [imul Rq(a)]
        /// rdx:rax = rax times register, unsigned.
        mul_wide(a: Reg) [mul Rq(a)]
        /// rax, rdx = quotient and remainder of rdx:rax, signed.
        idiv(a: Reg) [idiv Rq(a)]
        /// rax, rdx = quotient and remainder of rdx:rax, unsigned.
        div(a: Reg) [div Rq(a)]
        /// rdx = the sign of rax.
        cqo() [cqo]
        /// Leading zeros of 64 bits.
        lzcnt(to: Reg, from: Reg) [lzcnt Rq(to), Rq(from)]
        /// Leading zeros of 32 bits.
        lzcnt32(to: Reg, from: Reg) [lzcnt Rd(to), Rd(from)]
        /// Reverses the bytes of 64 bits.
        bswap(a: Reg) [bswap Rq(a)]
        /// Reverses the bytes of 32 bits.
        bswap32(a: Reg) [bswap Rd(a)]
        /// Rotates 16 bits by 8: swaps their bytes.
        swap16(a: Reg) [ror Rw(a), 8]
        /// Jumps to a label.
        jump(to: Label) [jmp =>to]
        /// Jumps to the address in memory.
        jump_memory(base: Reg, offset: i32) [jmp QWORD ] (base + offset) []
        /// Jumps to the address in a register.
        jump_register(to: Reg) [jmp Rq(to)]
        /// Calls a label.
        call(to: Label) [call =>to]
        /// Calls the address in memory.
        call_memory(base: Reg, offset: i32) [call QWORD ] (base + offset) []
        /// Pushes a register.
        push(a: Reg) [push Rq(a)]
        /// Pops a register.
        pop(a: Reg) [pop Rq(a)]
        /// Returns.
        ret() [ret]
        /// Stops a run into nowhere.
        trap() [ud2]
        /// A locked no-operation on the stack: a full barrier, cheaper than mfence.
        barrier() [lock or DWORD [rsp - 64], BYTE 0]
        /// If 64 bits of memory equal rax, stores `from` there, else loads them into rax; atomic, and
        /// the flags are those of the comparison.
        compare_exchange(base: Reg, from: Reg) [lock cmpxchg [Rq(base)], Rq(from)]
        /// As [`Asm::compare_exchange`], for 32 bits and eax.
        compare_exchange32(base: Reg, from: Reg) [lock cmpxchg [Rq(base)], Rd(from)]
        /// Tells the host core that a loop waits.
        pause() [pause]
        /// Loads MXCSR.
        ldmxcsr(base: Reg, offset: i32) [ldmxcsr ] (base + offset) []
        /// Stores MXCSR.
        stmxcsr(base: Reg, offset: i32) [stmxcsr ] (base + offset) []
        /// Loads a double.
        movsd_load(to: Xmm, base: Reg, offset: i32) [movsd Rx(to), ] (base + offset) []
        /// Stores a double.
        movsd_store(base: Reg, offset: i32, from: Xmm) [movsd ] (base + offset) [, Rx(from)]
        /// Loads a single.
        movss_load(to: Xmm, base: Reg, offset: i32) [movss Rx(to), ] (base + offset) []
        /// Stores a single.
        movss_store(base: Reg, offset: i32, from: Xmm) [movss ] (base + offset) [, Rx(from)]
        /// Compares doubles without signalling.
        ucomisd(a: Xmm, b: Xmm) [ucomisd Rx(a), Rx(b)]
        /// Compares singles without signalling.
        ucomiss(a: Xmm, b: Xmm) [ucomiss Rx(a), Rx(b)]
        /// Single to double.
        cvtss2sd(to: Xmm, from: Xmm) [cvtss2sd Rx(to), Rx(from)]
        /// Double to single.
        cvtsd2ss(to: Xmm, from: Xmm) [cvtsd2ss Rx(to), Rx(from)]
        /// 32-bit integer in memory to double.
        cvtsi2sd32(to: Xmm, base: Reg, offset: i32) [cvtsi2sd Rx(to), DWORD ] (base + offset) []
        /// 64-bit integer in memory to double.
        cvtsi2sd64(to: Xmm, base: Reg, offset: i32) [cvtsi2sd Rx(to), QWORD ] (base + offset) []
        /// 32-bit integer in memory to single.
        cvtsi2ss32(to: Xmm, base: Reg, offset: i32) [cvtsi2ss Rx(to), DWORD ] (base + offset) []
        /// 64-bit integer in memory to single.
        cvtsi2ss64(to: Xmm, base: Reg, offset: i32) [cvtsi2ss Rx(to), QWORD ] (base + offset) []
        /// Double to 64-bit integer by the current rounding.
        cvtsd2si(to: Reg, from: Xmm) [cvtsd2si Rq(to), Rx(from)]
        /// Double to 64-bit integer towards zero.
        cvttsd2si(to: Reg, from: Xmm) [cvttsd2si Rq(to), Rx(from)]
        /// Double to 32-bit integer by the current rounding.
        cvtsd2si32(to: Reg, from: Xmm) [cvtsd2si Rd(to), Rx(from)]
        /// Double to 32-bit integer towards zero.
        cvttsd2si32(to: Reg, from: Xmm) [cvttsd2si Rd(to), Rx(from)]
        /// Single to 64-bit integer by the current rounding.
        cvtss2si(to: Reg, from: Xmm) [cvtss2si Rq(to), Rx(from)]
        /// Single to 64-bit integer towards zero.
        cvttss2si(to: Reg, from: Xmm) [cvttss2si Rq(to), Rx(from)]
        /// Single to 32-bit integer by the current rounding.
        cvtss2si32(to: Reg, from: Xmm) [cvtss2si Rd(to), Rx(from)]
        /// Single to 32-bit integer towards zero.
        cvttss2si32(to: Reg, from: Xmm) [cvttss2si Rd(to), Rx(from)]
        /// Clears a vector register.
        xorps(a: Xmm, b: Xmm) [xorps Rx(a), Rx(b)]
        /// 32-bit rotation right by a constant, which changes no flags.
        rotate32_into(to: Reg, from: Reg, amount: i8) [rorx Rd(to), Rd(from), amount]
        /// Sets `to` to `from`, all of it, rotated right by a constant, which changes no flags.
        rotate_into(to: Reg, from: Reg, amount: i8) [rorx Rq(to), Rq(from), amount]
        /// 32-bit shift left by a constant.
        shl32_imm(a: Reg, amount: i8) [shl Rd(a), amount]
        /// 32-bit logical shift right by a constant.
        shr32_imm(a: Reg, amount: i8) [shr Rd(a), amount]
    }

    /// 64-bit arithmetic on registers.
    #[inline(never)]
    pub fn alu(&mut self, op: Alu, to: Reg, from: Reg) {
        to.touch(&mut self.held);
        from.touch(&mut self.held);
        let ops = &mut self.code;
        match op {
            Alu::Add => dynasm!(ops ; .arch x64 ; add Rq(to), Rq(from)),
            Alu::Sub => dynasm!(ops ; .arch x64 ; sub Rq(to), Rq(from)),
            Alu::And => dynasm!(ops ; .arch x64 ; and Rq(to), Rq(from)),
            Alu::Or => dynasm!(ops ; .arch x64 ; or Rq(to), Rq(from)),
            Alu::Xor => dynasm!(ops ; .arch x64 ; xor Rq(to), Rq(from)),
            Alu::Cmp => dynasm!(ops ; .arch x64 ; cmp Rq(to), Rq(from)),
        }
    }

    /// 64-bit arithmetic on a register and memory.
    #[inline(never)]
    pub fn alu_memory(&mut self, op: Alu, to: Reg, base: Reg, offset: i32) {
        to.touch(&mut self.held);
        base.touch(&mut self.held);
        let ops = &mut self.code;
        match op {
            Alu::Add => template!(@body ops [add Rq(to),] (base + offset) []),
            Alu::Sub => template!(@body ops [sub Rq(to),] (base + offset) []),
            Alu::And => template!(@body ops [and Rq(to),] (base + offset) []),
            Alu::Or => template!(@body ops [or Rq(to),] (base + offset) []),
            Alu::Xor => template!(@body ops [xor Rq(to),] (base + offset) []),
            Alu::Cmp => template!(@body ops [cmp Rq(to),] (base + offset) []),
        }
    }

    /// 64-bit arithmetic on a register and a sign-extended constant.
    #[inline(never)]
    pub fn alu_imm(&mut self, op: Alu, to: Reg, value: i32) {
        to.touch(&mut self.held);
        let ops = &mut self.code;
        match op {
            Alu::Add => template!(@imm ops [add Rq(to)] value),
            Alu::Sub => template!(@imm ops [sub Rq(to)] value),
            Alu::And => template!(@imm ops [and Rq(to)] value),
            Alu::Or => template!(@imm ops [or Rq(to)] value),
            Alu::Xor => template!(@imm ops [xor Rq(to)] value),
            // The assembler library knows no short form of this one.
            Alu::Cmp => dynasm!(ops ; .arch x64 ; cmp Rq(to), value),
        }
    }

    /// Shifts by a constant, 64 or 32 bits wide.
    #[inline(never)]
    pub fn shift_imm(&mut self, op: Shift, wide: bool, a: Reg, amount: i8) {
        a.touch(&mut self.held);
        let ops = &mut self.code;
        match (op, wide) {
            (Shift::Left, true) => dynasm!(ops ; .arch x64 ; shl Rq(a), amount),
            (Shift::Left, false) => dynasm!(ops ; .arch x64 ; shl Rd(a), amount),
            (Shift::Right, true) => dynasm!(ops ; .arch x64 ; shr Rq(a), amount),
            (Shift::Right, false) => dynasm!(ops ; .arch x64 ; shr Rd(a), amount),
            (Shift::ArithmeticRight, true) => dynasm!(ops ; .arch x64 ; sar Rq(a), amount),
            (Shift::ArithmeticRight, false) => dynasm!(ops ; .arch x64 ; sar Rd(a), amount),
            (Shift::RotateRight, true) => dynasm!(ops ; .arch x64 ; ror Rq(a), amount),
            (Shift::RotateRight, false) => dynasm!(ops ; .arch x64 ; ror Rd(a), amount),
        }
    }

    /// Shifts by the low bits of rcx, 64 or 32 bits wide.
    #[inline(never)]
    pub fn shift_cl(&mut self, op: Shift, wide: bool, a: Reg) {
        a.touch(&mut self.held);
        let ops = &mut self.code;
        match (op, wide) {
            (Shift::Left, true) => dynasm!(ops ; .arch x64 ; shl Rq(a), cl),
            (Shift::Left, false) => dynasm!(ops ; .arch x64 ; shl Rd(a), cl),
            (Shift::Right, true) => dynasm!(ops ; .arch x64 ; shr Rq(a), cl),
            (Shift::Right, false) => dynasm!(ops ; .arch x64 ; shr Rd(a), cl),
            (Shift::ArithmeticRight, true) => dynasm!(ops ; .arch x64 ; sar Rq(a), cl),
            (Shift::ArithmeticRight, false) => dynasm!(ops ; .arch x64 ; sar Rd(a), cl),
            (Shift::RotateRight, true) => dynasm!(ops ; .arch x64 ; ror Rq(a), cl),
            (Shift::RotateRight, false) => dynasm!(ops ; .arch x64 ; ror Rd(a), cl),
        }
    }

    /// Shifts `from` by a register into `to`, 64 or 32 bits wide, and changes no flags.
    ///
    /// # Panics
    /// Panics for a rotation, which the host cannot do so.
    #[inline(never)]
    pub fn shift_by(&mut self, op: Shift, wide: bool, to: Reg, from: Reg, by: Reg) {
        to.touch(&mut self.held);
        from.touch(&mut self.held);
        by.touch(&mut self.held);
        let ops = &mut self.code;
        match (op, wide) {
            (Shift::Left, true) => dynasm!(ops ; .arch x64 ; shlx Rq(to), Rq(from), Rq(by)),
            (Shift::Left, false) => dynasm!(ops ; .arch x64 ; shlx Rd(to), Rd(from), Rd(by)),
            (Shift::Right, true) => dynasm!(ops ; .arch x64 ; shrx Rq(to), Rq(from), Rq(by)),
            (Shift::Right, false) => dynasm!(ops ; .arch x64 ; shrx Rd(to), Rd(from), Rd(by)),
            (Shift::ArithmeticRight, true) => dynasm!(ops ; .arch x64 ; sarx Rq(to), Rq(from), Rq(by)),
            (Shift::ArithmeticRight, false) => dynasm!(ops ; .arch x64 ; sarx Rd(to), Rd(from), Rd(by)),
            (Shift::RotateRight, _) => unreachable!("rotations go by rcx"),
        }
    }

    indexed_template! {
        /// Address.
        lea_indexed(at, to: Reg) [lea Rq(to),] []
        /// 8-bit read, zero-extended.
        read8(at, to: Reg) [movzx Rd(to), BYTE] []
        /// 8-bit read, sign-extended.
        read8_signed(at, to: Reg) [movsx Rq(to), BYTE] []
        /// 16-bit read, zero-extended.
        read16(at, to: Reg) [movzx Rd(to), WORD] []
        /// 16-bit read, sign-extended.
        read16_signed(at, to: Reg) [movsx Rq(to), WORD] []
        /// 32-bit read, zero-extended.
        read32(at, to: Reg) [mov Rd(to),] []
        /// 32-bit read, sign-extended.
        read32_signed(at, to: Reg) [movsxd Rq(to), DWORD] []
        /// 32-bit big-endian read, zero-extended.
        read32_swapped(at, to: Reg) [movbe Rd(to),] []
        /// 64-bit read.
        read64(at, to: Reg) [mov Rq(to),] []
        /// 64-bit big-endian read.
        read64_swapped(at, to: Reg) [movbe Rq(to),] []
        /// 8-bit write.
        write8(at, from: Reg) [mov] [, Rb(from)]
        /// 16-bit write.
        write16(at, from: Reg) [mov] [, Rw(from)]
        /// 32-bit write.
        write32(at, from: Reg) [mov] [, Rd(from)]
        /// 64-bit write.
        write64(at, from: Reg) [mov] [, Rq(from)]
    }

    /// Scalar arithmetic on a vector register and memory.
    #[inline(never)]
    pub fn sse(&mut self, op: Sse, double: bool, a: Xmm, base: Reg, offset: i32) {
        let ops = &mut self.code;
        match (op, double) {
            (Sse::Add, true) => template!(@body ops [addsd Rx(a),] (base + offset) []),
            (Sse::Add, false) => template!(@body ops [addss Rx(a),] (base + offset) []),
            (Sse::Sub, true) => template!(@body ops [subsd Rx(a),] (base + offset) []),
            (Sse::Sub, false) => template!(@body ops [subss Rx(a),] (base + offset) []),
            (Sse::Mul, true) => template!(@body ops [mulsd Rx(a),] (base + offset) []),
            (Sse::Mul, false) => template!(@body ops [mulss Rx(a),] (base + offset) []),
            (Sse::Div, true) => template!(@body ops [divsd Rx(a),] (base + offset) []),
            (Sse::Div, false) => template!(@body ops [divss Rx(a),] (base + offset) []),
            (Sse::Sqrt, true) => template!(@body ops [sqrtsd Rx(a),] (base + offset) []),
            (Sse::Sqrt, false) => template!(@body ops [sqrtss Rx(a),] (base + offset) []),
        }
    }

    /// Jumps to a label on a condition.
    #[inline(never)]
    pub fn jump_if(&mut self, cond: Cond, to: Label) {
        let ops = &mut self.code;
        match cond {
            Cond::Equal => dynasm!(ops ; .arch x64 ; je =>to),
            Cond::NotEqual => dynasm!(ops ; .arch x64 ; jne =>to),
            Cond::Less => dynasm!(ops ; .arch x64 ; jl =>to),
            Cond::GreaterEqual => dynasm!(ops ; .arch x64 ; jge =>to),
            Cond::LessEqual => dynasm!(ops ; .arch x64 ; jle =>to),
            Cond::Greater => dynasm!(ops ; .arch x64 ; jg =>to),
            Cond::Below => dynasm!(ops ; .arch x64 ; jb =>to),
            Cond::AboveEqual => dynasm!(ops ; .arch x64 ; jae =>to),
            Cond::BelowEqual => dynasm!(ops ; .arch x64 ; jbe =>to),
            Cond::Above => dynasm!(ops ; .arch x64 ; ja =>to),
            Cond::Parity => dynasm!(ops ; .arch x64 ; jp =>to),
            Cond::NoParity => dynasm!(ops ; .arch x64 ; jnp =>to),
        }
    }

    /// Sets the low byte of a register on a condition.
    #[inline(never)]
    pub fn set_if(&mut self, cond: Cond, to: Reg) {
        to.touch(&mut self.held);
        let rex = 0x40 | to.0 >> 3;
        for byte in [rex, 0x0f, 0x90 | cond.code(), 0xc0 | to.0 & 7] {
            self.code.push(byte);
        }
    }

    /// Moves a 64-bit register on a condition.
    #[inline(never)]
    pub fn mov_if(&mut self, cond: Cond, to: Reg, from: Reg) {
        to.touch(&mut self.held);
        from.touch(&mut self.held);
        let rex = 0x48 | (to.0 >> 3) << 2 | from.0 >> 3;
        for byte in [rex, 0x0f, 0x40 | cond.code(), 0xc0 | (to.0 & 7) << 3 | from.0 & 7] {
            self.code.push(byte);
        }
    }

    /// A jump with a 4-byte displacement that is filled in later, at a multiple of 4 so that it can be
    /// changed by one store while other vCPUs run it. Gives the displacement's offset.
    #[inline(never)]
    pub fn patchable_jump(&mut self) -> usize {
        self.align(4, 1);
        self.code.push(0xe9);
        self.reserve_displacement()
    }

    /// An instruction that does nothing and may be overwritten by a jump while others run it: it is one, so that
    /// nobody is ever inside, and as long as a jump.
    pub fn jump_space(&mut self) {
        self.code.extend([0x0f, 0x1f, 0x44, 0x00, 0x00]);
    }

    /// As [`Asm::patchable_jump`], on a condition.
    #[inline(never)]
    pub fn patchable_jump_if(&mut self, cond: Cond) -> usize {
        self.align(4, 2);
        self.code.push(0x0f);
        self.code.push(0x80 | cond.code());
        self.reserve_displacement()
    }

    /// A call with a displacement that is filled in when the code is placed.
    #[inline(never)]
    pub fn placed_call(&mut self) -> usize {
        self.held = None;
        self.code.push(0xe8);
        self.reserve_displacement()
    }

    /// A jump with a displacement that is filled in when the code is placed.
    #[inline(never)]
    pub fn placed_jump(&mut self) -> usize {
        self.code.push(0xe9);
        self.reserve_displacement()
    }

    /// Moves a 64-bit constant that is filled in when the code is placed. Gives its offset.
    #[inline(never)]
    pub fn placed_constant(&mut self, to: Reg) -> usize {
        self.mov_imm64(to, i64::MAX);
        self.offset() - size_of::<i64>()
    }

    fn reserve_displacement(&mut self) -> usize {
        let at = self.offset();
        for _ in 0..4 {
            self.code.push(0);
        }
        at
    }
}
