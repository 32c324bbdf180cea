//! The meaning of each instruction, written once over [`Machine`]. Plain instructions are in `alu`,
//! `memory` and `float`; branches in `branch`; the actions that replace sensitive ones in `system`.

mod alu;
mod branch;
mod float;
mod memory;
mod operate;
pub mod system;

pub use branch::{Branch, Target, branch};
pub use float::{FloatShape, Kind as FloatKind, float_shape};
pub use operate::{compare_condition, operate};

use crate::isa::{Classes, Insn};
use crate::machine::Machine;
use crate::mode::Mode;

/// Carries out a plain instruction: not a branch and not one that a patch plan replaces.
#[inline]
pub fn execute<M: Machine>(m: &mut M, insn: Insn, mode: Mode) -> Result<(), M::Stop> {
    if let Some(done) = alu::execute(m, insn) {
        return done;
    }
    let classes = insn.classes();
    if classes.contains(Classes::FPU) {
        m.need_fpu()?;
        if classes.intersects(Classes::LOAD | Classes::STORE) {
            return memory::execute_float(m, insn, mode);
        }
        return float::execute(m, insn, mode);
    }
    memory::execute(m, insn, mode)
}
