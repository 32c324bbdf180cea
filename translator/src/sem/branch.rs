//! Branches and jumps: the condition, the target and the link. Running the delay slot and going to
//! the target is the caller's work.

use crate::isa::{Classes, Insn, Op};
use crate::machine::{Binary, Machine};

/// Where a branch goes when it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<V> {
    /// This many bytes from the branch instruction.
    Relative(u64),
    /// This offset in the delay slot's 256 MB region.
    Region(u64),
    /// An address in a register.
    Register(V),
}

/// A branch whose condition and target have been read, before the delay slot could change them.
#[derive(Clone, Copy, Debug)]
pub struct Branch<V> {
    /// Taken if not zero; `None` if always taken.
    pub condition: Option<V>,
    /// Where it goes.
    pub target: Target<V>,
}

/// Reads the condition and target of `insn` and writes its link register.
///
/// The link is written before the delay slot runs, as the manual allows; a slot that faults runs the
/// branch again, which the manual makes safe by forbidding a link register that is also a source.
#[inline]
pub fn branch<M: Machine>(m: &mut M, insn: Insn) -> Result<Branch<M::Val>, M::Stop> {
    let classes = insn.classes();
    if classes.contains(Classes::FPU) {
        m.need_fpu()?;
    }
    let condition = condition(m, insn);
    let target = match insn.op {
        Op::J | Op::Jal => Target::Region(insn.jump_offset()),
        _ if classes.contains(Classes::JUMP) => Target::Register(m.gpr(insn.rs())),
        _ => Target::Relative(insn.branch_offset().wrapping_add(4)),
    };
    if classes.contains(Classes::LINK) {
        let link = m.pc_relative(8);
        m.set_gpr(if classes.contains(Classes::JUMP) { insn.rd() } else { 31 }, link);
    }
    Ok(Branch { condition, target })
}

fn condition<M: Machine>(m: &mut M, i: Insn) -> Option<M::Val> {
    let zero_test = |m: &mut M, op: Binary, swap: bool| {
        let (a, zero) = (m.gpr(i.rs()), m.constant(0));
        Some(if swap { m.binary(op, zero, a) } else { m.binary(op, a, zero) })
    };
    match i.op {
        Op::Beq | Op::Beql if i.rs() == i.rt() => None,
        Op::Bgez | Op::Bgezal if i.rs() == 0 => None,
        Op::Beq | Op::Beql | Op::Bne | Op::Bnel => {
            let (a, b) = (m.gpr(i.rs()), m.gpr(i.rt()));
            let equal = matches!(i.op, Op::Beq | Op::Beql);
            Some(m.binary(if equal { Binary::Equal } else { Binary::NotEqual }, a, b))
        }
        Op::Bltz | Op::Bltzl | Op::Bltzal | Op::Bltzall => zero_test(m, Binary::LessSigned, false),
        Op::Bgez | Op::Bgezl | Op::Bgezal | Op::Bgezall => zero_test(m, Binary::LessEqualSigned, true),
        Op::Blez | Op::Blezl => zero_test(m, Binary::LessEqualSigned, false),
        Op::Bgtz | Op::Bgtzl => zero_test(m, Binary::LessSigned, true),
        Op::Bc1t | Op::Bc1tl => Some(m.condition(i.cc())),
        Op::Bc1f | Op::Bc1fl => {
            let (code, zero) = (m.condition(i.cc()), m.constant(0));
            Some(m.binary(Binary::Equal, code, zero))
        }
        _ => None,
    }
}
