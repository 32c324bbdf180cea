//! Floating-point arithmetic on the host's FPU, with the guest's rounding mode in MXCSR.
//!
//! The host agrees with the guest but for NaNs and what is out of range; those results are found by a
//! comparison and worked out by the exact rules. FCSR.Flags are MXCSR's sticky bits. FCSR.Cause is
//! owed: the last operation before anything can look is noted with its operands.

use std::ops::Range;

use super::asm::{Alu, Cond, Reg, Sse, reg};
use super::frame::{self, CPU};
use super::{Emitter, Slow, XMM0, XMM1};
use crate::interp::condition_bit;
use crate::ir::{Node, Value};
use crate::isa::{Insn, Op};
use crate::mode::Mode;

/// How an operation is done on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Two sources, one result.
    Arithmetic(Sse, bool),
    /// The square root.
    Root(bool),
    /// Single to double or back.
    Resize { to_double: bool },
    /// Integer to float.
    FromInteger { long: bool, double: bool },
    /// Float to integer, by the current rounding or towards zero.
    ToInteger { long: bool, double: bool, truncate: bool },
    /// A comparison: the flags that it needs and whether the operands are exchanged.
    Compare { double: bool, cond: Cond, exchange: bool },
}

fn way(op: Op) -> Option<Way> {
    use Way::{Arithmetic, FromInteger, Resize, Root, ToInteger};
    Some(match op {
        Op::AddS => Arithmetic(Sse::Add, false),
        Op::AddD => Arithmetic(Sse::Add, true),
        Op::SubS => Arithmetic(Sse::Sub, false),
        Op::SubD => Arithmetic(Sse::Sub, true),
        Op::MulS => Arithmetic(Sse::Mul, false),
        Op::MulD => Arithmetic(Sse::Mul, true),
        Op::DivS => Arithmetic(Sse::Div, false),
        Op::DivD => Arithmetic(Sse::Div, true),
        Op::SqrtS => Root(false),
        Op::SqrtD => Root(true),
        Op::CvtDS => Resize { to_double: true },
        Op::CvtSD => Resize { to_double: false },
        Op::CvtDW => FromInteger { long: false, double: true },
        Op::CvtDL => FromInteger { long: true, double: true },
        Op::CvtSW => FromInteger { long: false, double: false },
        Op::CvtSL => FromInteger { long: true, double: false },
        Op::CvtWS => ToInteger { long: false, double: false, truncate: false },
        Op::CvtWD => ToInteger { long: false, double: true, truncate: false },
        Op::CvtLS => ToInteger { long: true, double: false, truncate: false },
        Op::CvtLD => ToInteger { long: true, double: true, truncate: false },
        Op::TruncWS => ToInteger { long: false, double: false, truncate: true },
        Op::TruncWD => ToInteger { long: false, double: true, truncate: true },
        Op::TruncLS => ToInteger { long: true, double: false, truncate: true },
        Op::TruncLD => ToInteger { long: true, double: true, truncate: true },
        _ => return comparison(op),
    })
}

/// Comparisons whose outcome one flag tells; unordered operands go the exact way before it is asked.
/// So a predicate and its "or unordered" twin are the same here.
fn comparison(op: Op) -> Option<Way> {
    let (cond, exchange) = match op.row().name.split('.').nth(1)? {
        "eq" | "ueq" | "seq" | "ngl" => (Cond::Equal, false),
        "olt" | "ult" | "lt" | "nge" => (Cond::Above, true),
        "ole" | "ule" | "le" | "ngt" => (Cond::AboveEqual, true),
        _ => return None,
    };
    let double = op.row().name.ends_with(".d");
    op.row().classes.contains(crate::isa::Classes::COMPARE).then_some(Way::Compare { double, cond, exchange })
}

impl Emitter<'_> {
    /// Emits a floating-point instruction up to `to` or the next step, and gives the next node.
    pub(super) fn float(&mut self, index: usize, to: usize, op: Op, _: [Value; 3]) -> usize {
        let Some(insn) = self.insn() else { unreachable!("a floating-point node has an instruction") };
        let rest = &self.ir.nodes[index + 1..to];
        let end = rest.iter().position(|n| matches!(n, Node::Begin(..))).map_or(to, |p| index + 1 + p);
        match way(op) {
            Some(way) if self.mode().contains(Mode::WIDE_FPU) => self.fast_float(insn, way, end..to),
            _ => self.call_stub(crate::stub::Stub::Float, insn.word, self.place),
        }
        end
    }

    fn fast_float(&mut self, insn: Insn, way: Way, rest: Range<usize>) {
        let back = self.asm.label();
        let slow = self.defer(Slow::Float { word: insn.word }, Some(back));
        let (fs, ft, fd) = (frame::fpr(insn.fs()), frame::fpr(insn.ft()), frame::fpr(insn.fd()));
        if self.cause_is_visible(rest) {
            self.note_operation(insn, fs, ft);
        }
        match way {
            Way::Arithmetic(op, double) => {
                self.load_float(double, fs);
                self.asm.sse(op, double, XMM0, CPU, ft);
                self.finish_float(double, fd, slow);
            }
            Way::Root(double) => {
                self.asm.xorps(XMM0, XMM0);
                self.asm.sse(Sse::Sqrt, double, XMM0, CPU, fs);
                self.finish_float(double, fd, slow);
            }
            Way::Resize { to_double } => {
                self.load_float(!to_double, fs);
                if to_double {
                    self.asm.cvtss2sd(XMM0, XMM0);
                } else {
                    self.asm.cvtsd2ss(XMM0, XMM0);
                }
                self.finish_float(to_double, fd, slow);
            }
            Way::FromInteger { long, double } => {
                self.asm.xorps(XMM0, XMM0);
                self.convert_integer(long, double, fs);
                self.store_float(double, fd);
            }
            Way::ToInteger { long, double, truncate } => {
                self.load_float(double, fs);
                self.convert_to_integer(long, double, truncate);
                self.finish_integer(long, fd, slow);
            }
            Way::Compare { double, cond, exchange } => {
                let (a, b) = if exchange { (ft, fs) } else { (fs, ft) };
                self.compare_floats(double, a, b);
                self.asm.jump_if(Cond::Parity, slow);
                self.asm.set_if(cond, reg::RAX);
                self.asm.movzx8(reg::RAX, reg::RAX);
                self.set_condition_from(reg::RAX, condition_bit(insn.compare_cc()));
            }
        }
        self.asm.bind(back);
    }

    /// Whether anything can look at FCSR before the next floating-point operation in `rest`, the nodes
    /// that are sure to follow.
    fn cause_is_visible(&self, rest: Range<usize>) -> bool {
        for node in &self.ir.nodes[rest] {
            match node {
                Node::Float(..) => return false,
                Node::Load(..) | Node::Store(..) | Node::Stub(..) => return true,
                Node::LoadLinked(..) | Node::StoreConditional(..) => return true,
                Node::Raise(_) | Node::RaiseIf(..) | Node::CheckInterrupts | Node::NeedFpu => return true,
                _ => {}
            }
        }
        true
    }

    /// Notes the operation, before its result can overwrite an operand.
    fn note_operation(&mut self, insn: Insn, fs: i32, ft: i32) {
        self.asm.load(reg::RAX, CPU, fs);
        self.asm.store(CPU, frame::float_operand(0), reg::RAX);
        self.asm.load(reg::RAX, CPU, ft);
        self.asm.store(CPU, frame::float_operand(1), reg::RAX);
        self.asm.store32_imm(CPU, frame::FLOAT_WORD, insn.word as i32);
    }

    fn load_float(&mut self, double: bool, offset: i32) {
        if double {
            self.asm.movsd_load(XMM0, CPU, offset);
        } else {
            self.asm.movss_load(XMM0, CPU, offset);
        }
    }

    fn store_float(&mut self, double: bool, offset: i32) {
        if double {
            self.asm.movsd_store(CPU, offset, XMM0);
        } else {
            self.asm.movss_store(CPU, offset, XMM0);
        }
    }

    /// Stores the result unless it is a NaN.
    fn finish_float(&mut self, double: bool, to: i32, slow: super::Label) {
        if double {
            self.asm.ucomisd(XMM0, XMM0);
        } else {
            self.asm.ucomiss(XMM0, XMM0);
        }
        self.asm.jump_if(Cond::Parity, slow);
        self.store_float(double, to);
    }

    fn convert_integer(&mut self, long: bool, double: bool, from: i32) {
        match (long, double) {
            (true, true) => self.asm.cvtsi2sd64(XMM0, CPU, from),
            (false, true) => self.asm.cvtsi2sd32(XMM0, CPU, from),
            (true, false) => self.asm.cvtsi2ss64(XMM0, CPU, from),
            (false, false) => self.asm.cvtsi2ss32(XMM0, CPU, from),
        }
    }

    fn convert_to_integer(&mut self, long: bool, double: bool, truncate: bool) {
        let to: Reg = reg::RAX;
        match (long, double, truncate) {
            (true, true, true) => self.asm.cvttsd2si(to, XMM0),
            (true, true, false) => self.asm.cvtsd2si(to, XMM0),
            (true, false, true) => self.asm.cvttss2si(to, XMM0),
            (true, false, false) => self.asm.cvtss2si(to, XMM0),
            (false, true, true) => self.asm.cvttsd2si32(to, XMM0),
            (false, true, false) => self.asm.cvtsd2si32(to, XMM0),
            (false, false, true) => self.asm.cvttss2si32(to, XMM0),
            (false, false, false) => self.asm.cvtss2si32(to, XMM0),
        }
    }

    /// Stores the integer in rax unless it is the host's mark of a number out of range, which is also
    /// a number in range and then merely takes the exact way.
    fn finish_integer(&mut self, long: bool, to: i32, slow: super::Label) {
        if long {
            self.asm.mov_imm64(reg::RCX, i64::MIN);
        } else {
            self.asm.movsxd(reg::RAX, reg::RAX);
            self.asm.mov_imm_signed(reg::RCX, i32::MIN);
        }
        self.asm.alu(Alu::Cmp, reg::RAX, reg::RCX);
        self.asm.jump_if(Cond::Equal, slow);
        if long {
            self.asm.store(CPU, to, reg::RAX);
        } else {
            self.asm.store32(CPU, to, reg::RAX);
        }
    }

    fn compare_floats(&mut self, double: bool, a: i32, b: i32) {
        if double {
            self.asm.movsd_load(XMM0, CPU, a);
            self.asm.movsd_load(XMM1, CPU, b);
            self.asm.ucomisd(XMM0, XMM1);
        } else {
            self.asm.movss_load(XMM0, CPU, a);
            self.asm.movss_load(XMM1, CPU, b);
            self.asm.ucomiss(XMM0, XMM1);
        }
    }
}
