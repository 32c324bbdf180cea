//! Loads and stores of general and floating-point registers, aligned and unaligned.
//!
//! The unaligned instructions are an aligned access of the word that holds the address, and a merge:
//! so they never cross a page, and never raise an address error.

use super::float::{Kind, read_float, write_float};
use crate::isa::{Insn, Op};
use crate::machine::{Access, Binary, Machine, Unary};
use crate::mode::Mode;

/// The effective address: base plus offset, wrapped to 32 bits where addresses are.
pub(super) fn wrap_address<M: Machine>(m: &mut M, sum: M::Val, mode: Mode) -> M::Val {
    if mode.contains(Mode::WIDE_ADDRESSES) { sum } else { m.unary(Unary::SignExtend32, sum) }
}

/// The effective address of `offset(base)`.
#[inline]
pub(super) fn address<M: Machine>(m: &mut M, i: Insn, mode: Mode) -> M::Val {
    let (base, offset) = (m.gpr(i.rs()), m.constant(i.simm()));
    let sum = m.binary(Binary::Add, base, offset);
    wrap_address(m, sum, mode)
}

/// Carries out a load or store of a general register.
#[inline]
pub fn execute<M: Machine>(m: &mut M, i: Insn, mode: Mode) -> Result<(), M::Stop> {
    match i.op {
        Op::Lb => load(m, i, mode, Access::I8),
        Op::Lbu => load(m, i, mode, Access::U8),
        Op::Lh => load(m, i, mode, Access::I16),
        Op::Lhu => load(m, i, mode, Access::U16),
        Op::Lw => load(m, i, mode, Access::I32),
        Op::Lwu => load(m, i, mode, Access::U32),
        Op::Ld => load(m, i, mode, Access::U64),
        Op::Sb => store(m, i, mode, Access::U8),
        Op::Sh => store(m, i, mode, Access::U16),
        Op::Sw => store(m, i, mode, Access::U32),
        Op::Sd => store(m, i, mode, Access::U64),
        Op::Lwl | Op::Lwr => load_part(m, i, mode, 4, i.op == Op::Lwl),
        Op::Ldl | Op::Ldr => load_part(m, i, mode, 8, i.op == Op::Ldl),
        Op::Swl | Op::Swr => store_part(m, i, mode, 4, i.op == Op::Swl),
        Op::Sdl | Op::Sdr => store_part(m, i, mode, 8, i.op == Op::Sdl),
        _ => unreachable!("{} is not a plain instruction", i.op.row().name),
    }
}

#[inline]
fn load<M: Machine>(m: &mut M, i: Insn, mode: Mode, access: Access) -> Result<(), M::Stop> {
    let address = address(m, i, mode);
    let value = m.load(access, address)?;
    m.set_gpr(i.rt(), value);
    Ok(())
}

#[inline]
fn store<M: Machine>(m: &mut M, i: Insn, mode: Mode, access: Access) -> Result<(), M::Stop> {
    let address = address(m, i, mode);
    let value = m.gpr(i.rt());
    m.store(access, address, value)
}

/// How an unaligned access meets the aligned word around its address.
struct Part<V> {
    /// The address of the aligned word.
    aligned: V,
    /// How many bits the register is shifted against the word, a multiple of 8.
    shift: V,
    access: Access,
}

/// Works out the part of the word that `address` leaves to a left or right instruction.
///
/// On a little-endian machine "right" is the part from the address upwards and "left" the part up to
/// the address; on a big-endian one the roles of the byte numbers are exchanged.
fn part<M: Machine>(m: &mut M, i: Insn, mode: Mode, bytes: u64, left: bool) -> Part<M::Val> {
    let address = address(m, i, mode);
    let mask = m.constant(!(bytes - 1));
    let aligned = m.binary(Binary::And, address, mask);
    let inside = m.constant(bytes - 1);
    let mut byte = m.binary(Binary::And, address, inside);
    if left != mode.contains(Mode::BIG_ENDIAN) {
        byte = m.binary(Binary::Xor, byte, inside);
    }
    let three = m.constant(3);
    let shift = m.binary(Binary::Shl, byte, three);
    Part { aligned, shift, access: if bytes == 8 { Access::U64 } else { Access::U32 } }
}

/// Merges the bytes of the word that the instruction covers into `rt`.
fn load_part<M: Machine>(m: &mut M, i: Insn, mode: Mode, bytes: u64, left: bool) -> Result<(), M::Stop> {
    let p = part(m, i, mode, bytes, left);
    let word = m.load(p.access, p.aligned)?;
    let ones = m.constant(Access::extend(p.access, u64::MAX));
    let (to, op) = if left { (ones, Binary::Shl) } else { (ones, Binary::Shr) };
    let covered = m.binary(op, to, p.shift);
    let new = m.binary(op, word, p.shift);
    let not_covered = m.unary(Unary::Not, covered);
    let old = m.gpr(i.rt());
    let kept = m.binary(Binary::And, old, not_covered);
    let mut value = m.binary(Binary::Or, kept, new);
    if bytes == 4 {
        value = m.unary(Unary::SignExtend32, value);
    }
    m.set_gpr(i.rt(), value);
    Ok(())
}

/// Merges the bytes of `rt` that the instruction covers into the word.
fn store_part<M: Machine>(m: &mut M, i: Insn, mode: Mode, bytes: u64, left: bool) -> Result<(), M::Stop> {
    let p = part(m, i, mode, bytes, left);
    let word = m.load_for_store(p.access, p.aligned)?;
    let op = if left { Binary::Shr } else { Binary::Shl };
    let register = m.gpr(i.rt());
    let register = if bytes == 4 { m.unary(Unary::ZeroExtend32, register) } else { register };
    let new = m.binary(op, register, p.shift);
    let ones = m.constant(Access::extend(p.access, u64::MAX));
    let covered = m.binary(op, ones, p.shift);
    let not_covered = m.unary(Unary::Not, covered);
    let kept = m.binary(Binary::And, word, not_covered);
    let value = m.binary(Binary::Or, kept, new);
    m.store(p.access, p.aligned, value)
}

/// Carries out a load or store of a floating-point register; the FPU is known to be usable.
pub fn execute_float<M: Machine>(m: &mut M, i: Insn, mode: Mode) -> Result<(), M::Stop> {
    let (kind, access) = match i.op {
        Op::Lwc1 | Op::Swc1 | Op::Lwxc1 | Op::Swxc1 => (Kind::Single, Access::U32),
        _ => (Kind::Double, Access::U64),
    };
    let address = match i.op {
        Op::Lwc1 | Op::Swc1 | Op::Ldc1 | Op::Sdc1 => address(m, i, mode),
        _ => indexed_address(m, i, mode),
    };
    match i.op {
        Op::Lwc1 | Op::Ldc1 => {
            let value = m.load(access, address)?;
            write_float(m, i.ft(), kind, value, mode);
        }
        Op::Lwxc1 | Op::Ldxc1 | Op::Luxc1 => {
            let value = m.load(access, address)?;
            write_float(m, i.fd(), kind, value, mode);
        }
        Op::Swc1 | Op::Sdc1 => {
            let value = read_float(m, i.ft(), kind, mode);
            m.store(access, address, value)?;
        }
        _ => {
            let value = read_float(m, i.fs(), kind, mode);
            m.store(access, address, value)?;
        }
    }
    Ok(())
}

/// The effective address of `index(base)`; LUXC1 and SUXC1 ignore its low three bits.
fn indexed_address<M: Machine>(m: &mut M, i: Insn, mode: Mode) -> M::Val {
    let (base, index) = (m.gpr(i.rs()), m.gpr(i.rt()));
    let sum = m.binary(Binary::Add, base, index);
    let sum = wrap_address(m, sum, mode);
    if matches!(i.op, Op::Luxc1 | Op::Suxc1) {
        let mask = m.constant(!7);
        return m.binary(Binary::And, sum, mask);
    }
    sum
}
