//! The interpreter: a [`Machine`] whose values are numbers. Memory, stubs and everything else outside
//! the registers goes through [`Env`].

use crate::addr::Va;
use crate::block::{Block, End, Step};
use crate::cp0::{Cp0, Status};
use crate::cpu::Cpu;
use crate::isa::{Classes, Insn, Op};
use crate::machine::{Access, Binary, Machine, Raise, Special, Unary};
use crate::sem::{self, Branch, Target};
use crate::stub::Stub;

/// Where an instruction is, for exceptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Site {
    /// Its virtual address.
    pub pc: Va,
    /// Whether it is in a delay slot; the branch is then the word before.
    pub in_slot: bool,
}

/// What the interpreter needs besides registers.
pub trait Env {
    /// Why an instruction stopped. The program counter is already where to go on.
    type Stop;

    /// The vCPU's state.
    fn cpu(&mut self) -> &mut Cpu;
    /// Notes which instruction runs now.
    fn set_site(&mut self, site: Site);
    /// The instruction that runs now.
    fn site(&self) -> Site;
    /// Reads memory.
    fn load(&mut self, access: Access, va: Va) -> Result<u64, Self::Stop>;
    /// Reads memory that is about to be written.
    fn load_for_store(&mut self, access: Access, va: Va) -> Result<u64, Self::Stop>;
    /// Writes memory.
    fn store(&mut self, access: Access, va: Va, value: u64) -> Result<(), Self::Stop>;
    /// Raises an exception at the current site.
    fn raise(&mut self, what: Raise) -> Self::Stop;
    /// Runs a stub.
    fn stub(&mut self, stub: Stub, args: [u64; 2], immediate: u32) -> Result<u64, Self::Stop>;
    /// A floating-point operation.
    fn float(&mut self, op: Op, operands: [u64; 3]) -> Result<u64, Self::Stop>;
    /// Leaves if an interrupt is pending that is not masked; the program counter moves on.
    fn check_interrupts(&mut self) -> Result<(), Self::Stop>;
}

/// The value of `op` on `a`.
#[inline]
pub fn unary(op: Unary, a: u64) -> u64 {
    const EVEN_BYTES: u64 = 0x00ff_00ff_00ff_00ff;
    match op {
        Unary::SignExtend8 => a as i8 as u64,
        Unary::SignExtend16 => a as i16 as u64,
        Unary::SignExtend32 => a as i32 as u64,
        Unary::ZeroExtend32 => u64::from(a as u32),
        Unary::Not => !a,
        Unary::LeadingZeros32 => u64::from((a as u32).leading_zeros()),
        Unary::LeadingZeros64 => u64::from(a.leading_zeros()),
        Unary::SwapBytesInHalves => (a & EVEN_BYTES) << 8 | a >> 8 & EVEN_BYTES,
        Unary::SwapHalves => a << 48 | (a & 0xffff_0000) << 16 | a >> 16 & 0xffff_0000 | a >> 48,
    }
}

/// The value of `op` on `a` and `b`.
#[inline]
pub fn binary(op: Binary, a: u64, b: u64) -> u64 {
    let (word, amount) = (a as u32, b as u32);
    let extend = |word: u32| word as i32 as u64;
    match op {
        Binary::Add => a.wrapping_add(b),
        Binary::Sub => a.wrapping_sub(b),
        Binary::Add32 => extend(a.wrapping_add(b) as u32),
        Binary::Sub32 => extend(a.wrapping_sub(b) as u32),
        Binary::And => a & b,
        Binary::Or => a | b,
        Binary::Xor => a ^ b,
        Binary::Shl => a.wrapping_shl(amount),
        Binary::Shr => a.wrapping_shr(amount),
        Binary::Sar => (a as i64).wrapping_shr(amount) as u64,
        Binary::Rotr => a.rotate_right(amount & 63),
        Binary::Shl32 => extend(word.wrapping_shl(amount)),
        Binary::Shr32 => extend(word.wrapping_shr(amount)),
        Binary::Sar32 => (word as i32).wrapping_shr(amount) as u64,
        Binary::Rotr32 => extend(word.rotate_right(amount & 31)),
        Binary::Mul => a.wrapping_mul(b),
        Binary::MulHighSigned => ((i128::from(a as i64) * i128::from(b as i64)) >> 64) as u64,
        Binary::MulHighUnsigned => ((u128::from(a) * u128::from(b)) >> 64) as u64,
        Binary::DivSigned => (a as i64).wrapping_div(signed_divisor(a, b)) as u64,
        Binary::RemSigned => (a as i64).wrapping_rem(signed_divisor(a, b)) as u64,
        Binary::DivUnsigned => a / b.max(1),
        Binary::RemUnsigned => a % b.max(1),
        Binary::Equal => u64::from(a == b),
        Binary::NotEqual => u64::from(a != b),
        Binary::LessSigned => u64::from((a as i64) < b as i64),
        Binary::LessUnsigned => u64::from(a < b),
        Binary::LessEqualSigned => u64::from(a as i64 <= b as i64),
    }
}

/// Dividing by zero is unpredictable on MIPS; here, as in QEMU, it divides by one.
fn signed_divisor(a: u64, b: u64) -> i64 {
    if b == 0 || a as i64 == i64::MIN && b as i64 == -1 { 1 } else { b as i64 }
}

/// The interpreter over some environment.
struct Interpreter<'a, E>(&'a mut E);

impl<E: Env> Machine for Interpreter<'_, E> {
    type Val = u64;
    type Stop = E::Stop;

    #[inline]
    fn constant(&mut self, value: u64) -> u64 {
        value
    }
    fn pc_relative(&mut self, offset: u64) -> u64 {
        self.0.site().pc.0.wrapping_add(offset)
    }
    fn region_relative(&mut self, offset: u64) -> u64 {
        self.0.site().pc.0.wrapping_add(4) & !0x0fff_ffff | offset
    }
    #[inline]
    fn gpr(&mut self, r: u8) -> u64 {
        self.0.cpu().gpr[r as usize & 31]
    }
    #[inline]
    fn set_gpr(&mut self, r: u8, value: u64) {
        if r != 0 {
            self.0.cpu().gpr[r as usize & 31] = value;
        }
    }
    fn special(&mut self, s: Special) -> u64 {
        let cpu = self.0.cpu();
        match s {
            Special::Hi => cpu.hi,
            Special::Lo => cpu.lo,
            Special::Cp0(register) => cpu.cp0(register),
            Special::Fpr(r) => cpu.fpr[r as usize & 31],
        }
    }
    fn set_special(&mut self, s: Special, value: u64) {
        let cpu = self.0.cpu();
        match s {
            Special::Hi => cpu.hi = value,
            Special::Lo => cpu.lo = value,
            Special::Cp0(register) => cpu.set_cp0(register, value),
            Special::Fpr(r) => cpu.fpr[r as usize & 31] = value,
        }
    }
    fn fpr_low(&mut self, r: u8) -> u64 {
        u64::from(self.0.cpu().fpr[r as usize & 31] as u32)
    }
    fn set_fpr_low(&mut self, r: u8, value: u64) {
        let register = &mut self.0.cpu().fpr[r as usize & 31];
        *register = *register & !0xffff_ffff | u64::from(value as u32);
    }
    fn condition(&mut self, cc: u8) -> u64 {
        u64::from(self.0.cpu().fcsr >> condition_bit(cc) & 1)
    }
    #[inline]
    fn unary(&mut self, op: Unary, a: u64) -> u64 {
        unary(op, a)
    }
    #[inline]
    fn binary(&mut self, op: Binary, a: u64, b: u64) -> u64 {
        binary(op, a, b)
    }
    #[inline]
    fn select(&mut self, condition: u64, a: u64, b: u64) -> u64 {
        if condition != 0 { a } else { b }
    }
    #[inline]
    fn load(&mut self, access: Access, address: u64) -> Result<u64, E::Stop> {
        self.0.load(access, Va(address))
    }
    fn load_for_store(&mut self, access: Access, address: u64) -> Result<u64, E::Stop> {
        self.0.load_for_store(access, Va(address))
    }
    #[inline]
    fn store(&mut self, access: Access, address: u64, value: u64) -> Result<(), E::Stop> {
        self.0.store(access, Va(address), value)
    }
    fn load_linked(&mut self, access: Access, address: u64) -> Result<u64, E::Stop> {
        self.0.stub(Stub::LoadLinked, [address, 0], access as u32)
    }
    fn store_conditional(&mut self, access: Access, address: u64, value: u64) -> Result<u64, E::Stop> {
        self.0.stub(Stub::StoreConditional, [address, value], access as u32)
    }
    fn raise_if(&mut self, condition: u64, what: Raise) -> Result<(), E::Stop> {
        if condition != 0 { self.raise(what) } else { Ok(()) }
    }
    fn raise(&mut self, what: Raise) -> Result<(), E::Stop> {
        Err(self.0.raise(what))
    }
    fn need_fpu(&mut self) -> Result<(), E::Stop> {
        let usable = Status::from_bits_retain(self.0.cpu().cp0(Cp0::Status)).contains(Status::CU1);
        if usable { Ok(()) } else { self.raise(Raise::Coprocessor1) }
    }
    fn float(&mut self, op: Op, operands: [u64; 3]) -> Result<u64, E::Stop> {
        self.0.float(op, operands)
    }
    fn set_condition(&mut self, cc: u8, value: u64) {
        let bit = 1 << condition_bit(cc);
        let fcsr = &mut self.0.cpu().fcsr;
        *fcsr = if value != 0 { *fcsr | bit } else { *fcsr & !bit };
    }
    fn stub(&mut self, stub: Stub, args: [u64; 2], immediate: u32) -> Result<u64, E::Stop> {
        self.0.stub(stub, args, immediate)
    }
    fn fence(&mut self) {
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    }
    fn check_interrupts(&mut self) -> Result<(), E::Stop> {
        self.0.check_interrupts()
    }
}

/// The bit of FCSR that holds condition code `cc`: 23, then 25 to 31.
pub const fn condition_bit(cc: u8) -> u8 {
    if cc == 0 { 23 } else { 24 + cc }
}

/// Carries out one plain instruction at the current site.
pub fn run_insn<E: Env>(env: &mut E, insn: Insn) -> Result<(), E::Stop> {
    let mode = env.cpu().mode;
    sem::execute(&mut Interpreter(env), insn, mode)
}

/// Carries out one step that is not a branch.
#[inline]
fn step<E: Env>(env: &mut E, step: &Step) -> Result<(), E::Stop> {
    let mode = env.cpu().mode;
    let mut m = Interpreter(env);
    match step.insn {
        Some(insn) if step.plan.actions.is_empty() => sem::execute(&mut m, insn, mode),
        Some(insn) => sem::system::perform(&mut m, insn, &step.plan, mode),
        None => m.raise(Raise::ReservedInstruction),
    }
}

/// Runs at most `limit` instructions of `block` (but a branch always with its slot), which begins at
/// the vCPU's program counter and lies in one page. Returns how many ran; the program counter is where to go on. On a stop
/// the instruction that stopped is counted only if it finished.
pub fn run_block<E: Env>(env: &mut E, block: &Block, limit: usize) -> (usize, Result<(), E::Stop>) {
    let start = env.cpu().pc;
    let count = block.steps.len();
    let body = if matches!(block.end, End::Branch) { count - 2 } else { count };
    for (index, current) in block.steps[..body].iter().enumerate() {
        if index == limit {
            env.cpu().pc = start + index as u64 * 4;
            return (index, Ok(()));
        }
        env.set_site(Site { pc: Va(start + index as u64 * 4), in_slot: false });
        if let Err(stop) = step(env, current) {
            return (index, Err(stop));
        }
    }
    let end = start + body as u64 * 4;
    env.cpu().pc = end;
    if body == count || body >= limit {
        return (body, Ok(()));
    }
    let (ran, result) = run_branch(env, &block.steps[body], &block.steps[body + 1], Va(end));
    (body + ran, result)
}

/// Runs a branch at `pc` and its delay slot. Returns how many instructions ran.
pub fn run_branch<E: Env>(env: &mut E, first: &Step, slot: &Step, pc: Va) -> (usize, Result<(), E::Stop>) {
    env.set_site(Site { pc, in_slot: false });
    let Some(insn) = first.insn else { return (0, Err(env.raise(Raise::ReservedInstruction))) };
    let (taken, target) = match branch_target(env, insn, pc) {
        Ok(outcome) => outcome,
        Err(stop) => return (0, Err(stop)),
    };
    if !taken && insn.classes().contains(Classes::LIKELY) {
        env.cpu().pc = target.0;
        return (1, Ok(()));
    }
    env.set_site(Site { pc: pc + 4, in_slot: true });
    if let Err(stop) = step(env, slot) {
        return (1, Err(stop));
    }
    env.cpu().pc = target.0;
    (2, Ok(()))
}

/// Whether the branch `insn` at `pc` is taken, and where it goes after its slot; its link register is
/// written.
pub fn branch_target<E: Env>(env: &mut E, insn: Insn, pc: Va) -> Result<(bool, Va), E::Stop> {
    let branch = sem::branch(&mut Interpreter(env), insn)?;
    let taken = branch.condition.is_none_or(|condition| condition != 0);
    Ok((taken, if taken { target(pc, &branch) } else { pc + 8 }))
}

fn target(pc: Va, branch: &Branch<u64>) -> Va {
    match branch.target {
        Target::Relative(offset) => pc + offset,
        Target::Region(offset) => Va((pc + 4).0 & !0x0fff_ffff | offset),
        Target::Register(va) => Va(va),
    }
}
