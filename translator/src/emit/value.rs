//! Computing values: expression trees into host registers, comparisons into flags, and writes to
//! guest state.

use super::Emitter;
use super::asm::{Alu, Cond, Reg, Shift, reg};
use super::frame::{self, CPU};
use crate::addr::PAGE_SIZE;
use crate::interp::condition_bit;
use crate::ir::{Home, Node, Value};
use crate::machine::{Binary, Special, Unary};
use crate::mode::Mode;

/// A value that an instruction can name without computing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// A host register.
    Register(Reg),
    /// 64 bits of the vCPU's state.
    Memory(i32),
    /// A constant that an instruction can hold.
    Immediate(i32),
    /// A constant that it cannot.
    Constant(u64),
}

impl Emitter<'_> {
    fn is_spilled(&self, value: Value) -> Option<i32> {
        self.spilled[value.index()].map(|slot| frame::spill(slot as usize))
    }

    /// `value` as an operand, if it needs no computation.
    pub(super) fn operand(&self, value: Value) -> Option<Operand> {
        match self.stored_operand(value) {
            Some(Operand::Memory(offset)) if self.asm.held() == Some(offset) => {
                Some(Operand::Register(reg::RAX))
            }
            operand => operand,
        }
    }

    /// As [`Emitter::operand`], without what rax happens to hold.
    pub(super) fn stored_operand(&self, value: Value) -> Option<Operand> {
        if let Some(offset) = self.is_spilled(value) {
            return Some(Operand::Memory(offset));
        }
        match self.ir.nodes[value.index()] {
            Node::Constant(c) => {
                Some(i32::try_from(c as i64).map_or(Operand::Constant(c), Operand::Immediate))
            }
            Node::Read(Home::Gpr(r)) => {
                Some(self.pins.host(r).map_or(Operand::Memory(frame::gpr(r)), Operand::Register))
            }
            Node::Read(home) => frame::field(home).map(Operand::Memory),
            Node::Kept => Some(Operand::Memory(frame::KEPT)),
            _ => None,
        }
    }

    /// Whether computing `value` reads host register `pin`.
    fn reads(&self, value: Value, pin: Reg) -> bool {
        if self.is_spilled(value).is_some() {
            return false;
        }
        let node = self.ir.nodes[value.index()];
        match node {
            Node::Read(Home::Gpr(r)) => self.pins.host(r) == Some(pin),
            _ => node.is_pure() && node.operands().any(|v| self.reads(v, pin)),
        }
    }

    /// Whether `value` can be computed in place in `pin`: only its first operand may read the pin.
    fn is_safe_in_place(&self, value: Value, pin: Reg) -> bool {
        match self.ir.nodes[value.index()] {
            _ if self.operand(value).is_some() => true,
            Node::Unary(_, a) => self.operand(a).is_some() || !self.reads(a, pin),
            Node::Binary(Binary::Add | Binary::Add32, a, b)
                if self.is_in_register(a) && self.is_in_register(b) =>
            {
                true
            }
            Node::Binary(op, a, b) => {
                let (a, b) = self.in_order(op, a, b, pin);
                !needs_fixed_registers(op)
                    && !self.reads(b, pin)
                    && (self.operand(a).is_some() || self.is_safe_in_place(a, pin))
            }
            _ => false,
        }
    }

    fn is_in_register(&self, value: Value) -> bool {
        matches!(self.stored_operand(value), Some(Operand::Register(_)))
    }

    /// The operands of `op` in the order in which it changes `to` in place, if there is one.
    fn in_order(&self, op: Binary, a: Value, b: Value, to: Reg) -> (Value, Value) {
        let commutes = matches!(op, Binary::And | Binary::Or | Binary::Xor);
        if commutes && self.stored_operand(b) == Some(Operand::Register(to)) { (b, a) } else { (a, b) }
    }

    /// Moves a value that needs no computation to a register.
    pub(super) fn move_operand(&mut self, value: Value, to: Reg) {
        match self.operand(value) {
            Some(Operand::Register(from)) if from == to => {}
            Some(Operand::Register(from)) => self.asm.mov(to, from),
            Some(Operand::Memory(offset)) => self.asm.load(to, CPU, offset),
            Some(Operand::Immediate(c)) => self.move_constant(c as i64 as u64, to),
            Some(Operand::Constant(c)) => self.move_constant(c, to),
            None => self.eval(value, to, &[reg::RCX]),
        }
    }

    pub(super) fn move_constant(&mut self, value: u64, to: Reg) {
        if let Ok(small) = u32::try_from(value) {
            self.asm.mov_imm32(to, small as i32);
        } else if let Ok(signed) = i32::try_from(value as i64) {
            self.asm.mov_imm_signed(to, signed);
        } else {
            self.asm.mov_imm64(to, value as i64);
        }
    }

    /// Computes `value` into `to`. The registers in `free` may be changed; `to` is not among them.
    pub(super) fn eval(&mut self, value: Value, to: Reg, free: &[Reg]) {
        if self.operand(value).is_some() {
            return self.move_operand(value, to);
        }
        match self.ir.nodes[value.index()] {
            Node::Page(offset) => self.eval_page(offset, to),
            Node::Region(offset) => self.eval_region(offset, to),
            Node::Read(Home::FprLow(r)) => self.asm.load32(to, CPU, frame::fpr(r)),
            Node::Read(Home::Condition(cc)) => {
                self.asm.load32(to, CPU, frame::FCSR);
                self.asm.shr32_imm(to, condition_bit(cc) as i8);
                self.asm.and32_imm(to, 1);
            }
            Node::Unary(op, a) => self.eval_unary(op, a, to, free),
            Node::Binary(op, a, b) => self.eval_binary(op, a, b, to, free),
            Node::Select(condition, a, b) => self.eval_select(condition, a, b, to),
            node => unreachable!("{node:?} is no value to compute, or was not kept"),
        }
    }

    fn eval_page(&mut self, offset: u64, to: Reg) {
        self.asm.load(to, CPU, frame::PC);
        self.asm.alu_imm(Alu::And, to, -4096);
        self.asm.alu_imm(Alu::Add, to, offset as i32);
    }

    pub(super) fn eval_region(&mut self, offset: u64, to: Reg) {
        if !self.mode().contains(Mode::MAPPED) {
            let region = self.block.va.0 & !0x0fff_ffff;
            return self.move_constant(region | offset, to);
        }
        self.asm.load(to, CPU, frame::PC);
        if self.block.has_far_slot() {
            // The region is that of the slot.
            self.asm.alu_imm(Alu::Add, to, PAGE_SIZE as i32);
        }
        self.asm.alu_imm(Alu::And, to, !0x0fff_ffff);
        self.asm.alu_imm(Alu::Add, to, offset as i32);
    }

    fn eval_unary(&mut self, op: Unary, a: Value, to: Reg, free: &[Reg]) {
        if let (Unary::SignExtend32, Some(Operand::Memory(offset))) = (op, self.operand(a)) {
            return self.asm.load32_signed(to, CPU, offset);
        }
        if let (Unary::ZeroExtend32, Some(Operand::Memory(offset))) = (op, self.operand(a)) {
            return self.asm.load32(to, CPU, offset);
        }
        let from = match self.operand(a) {
            Some(Operand::Register(from)) => from,
            _ => {
                self.eval(a, to, free);
                to
            }
        };
        match op {
            Unary::SignExtend8 => self.asm.movsx8(to, from),
            Unary::SignExtend16 => self.asm.movsx16(to, from),
            Unary::SignExtend32 => self.asm.movsxd(to, from),
            Unary::ZeroExtend32 => self.asm.mov32(to, from),
            Unary::LeadingZeros32 => self.asm.lzcnt32(to, from),
            Unary::LeadingZeros64 => self.asm.lzcnt(to, from),
            Unary::Not | Unary::SwapBytesInHalves | Unary::SwapHalves => {
                if from != to {
                    self.asm.mov(to, from);
                }
                self.swap_or_invert(op, to, free);
            }
        }
    }

    fn swap_or_invert(&mut self, op: Unary, to: Reg, free: &[Reg]) {
        match op {
            Unary::Not => self.asm.not(to),
            Unary::SwapHalves => {
                // Reversing all bytes and then the bytes of each half leaves the halves reversed.
                self.asm.bswap(to);
                self.swap_bytes_in_halves(to, free);
            }
            _ => self.swap_bytes_in_halves(to, free),
        }
    }

    fn swap_bytes_in_halves(&mut self, to: Reg, free: &[Reg]) {
        const EVEN_BYTES: u64 = 0x00ff_00ff_00ff_00ff;
        let (other, mask) = (free[0], free.get(1).copied());
        self.asm.mov(other, to);
        self.asm.shift_imm(Shift::Right, true, other, 8);
        let mask = mask.unwrap_or(reg::RDX);
        self.asm.mov_imm64(mask, EVEN_BYTES as i64);
        self.asm.alu(Alu::And, other, mask);
        self.asm.alu(Alu::And, to, mask);
        self.asm.shift_imm(Shift::Left, true, to, 8);
        self.asm.alu(Alu::Or, to, other);
    }

    fn eval_binary(&mut self, op: Binary, a: Value, b: Value, to: Reg, free: &[Reg]) {
        use Binary as B;
        let (a, b) = self.in_order(op, a, b, to);
        match op {
            B::Add | B::Add32 => self.eval_sum(op == B::Add, a, b, to, free),
            B::Sub => self.eval_alu(Alu::Sub, a, b, to, free),
            B::Sub32 => {
                self.eval_alu(Alu::Sub, a, b, to, free);
                self.asm.movsxd(to, to);
            }
            B::And => self.eval_alu(Alu::And, a, b, to, free),
            B::Or => self.eval_alu(Alu::Or, a, b, to, free),
            B::Xor => self.eval_alu(Alu::Xor, a, b, to, free),
            B::Shl => self.eval_shift(Shift::Left, true, a, b, to, free),
            B::Shr => self.eval_shift(Shift::Right, true, a, b, to, free),
            B::Sar => self.eval_shift(Shift::ArithmeticRight, true, a, b, to, free),
            B::Rotr => self.eval_shift(Shift::RotateRight, true, a, b, to, free),
            B::Shl32 => self.eval_shift(Shift::Left, false, a, b, to, free),
            B::Shr32 => self.eval_shift(Shift::Right, false, a, b, to, free),
            B::Sar32 => self.eval_shift(Shift::ArithmeticRight, false, a, b, to, free),
            B::Rotr32 => self.eval_shift(Shift::RotateRight, false, a, b, to, free),
            B::Mul => self.eval_product(a, b, to, free),
            B::MulHighSigned | B::MulHighUnsigned => self.eval_high(op, a, b, to),
            B::DivSigned | B::RemSigned | B::DivUnsigned | B::RemUnsigned => self.eval_division(op, a, b, to),
            B::Equal | B::NotEqual | B::LessSigned | B::LessUnsigned | B::LessEqualSigned => {
                let cond = self.compare(op, a, b, &with(to, free));
                self.asm.set_if(cond, to);
                self.asm.movzx8(to, to);
            }
        }
    }

    /// Sums are addresses as often as not, and `lea` adds without moving first.
    fn eval_sum(&mut self, wide: bool, a: Value, b: Value, to: Reg, free: &[Reg]) {
        match (self.operand(a), self.operand(b)) {
            (Some(Operand::Register(x)), Some(Operand::Register(y))) if wide => self.asm.lea_sum(to, x, y),
            (Some(Operand::Register(x)), Some(Operand::Register(y))) => self.asm.lea32_sum(to, x, y),
            (Some(Operand::Register(x)), Some(Operand::Immediate(c))) if wide => self.asm.lea(to, x, c),
            (Some(Operand::Register(x)), Some(Operand::Immediate(c))) => self.asm.lea32(to, x, c),
            _ => self.eval_alu(Alu::Add, a, b, to, free),
        }
        if !wide {
            self.asm.movsxd(to, to);
        }
    }

    fn eval_alu(&mut self, op: Alu, a: Value, b: Value, to: Reg, free: &[Reg]) {
        match self.stored_operand(b) {
            Some(Operand::Register(y)) if y == to => {
                // The first operand would overwrite the second.
                let spare = free[0];
                self.asm.mov(spare, to);
                self.eval(a, to, &free[1..]);
                self.asm.alu(op, to, spare);
            }
            Some(Operand::Constant(c)) => {
                self.eval(a, to, free);
                self.move_constant(c, free[0]);
                self.asm.alu(op, to, free[0]);
            }
            Some(_) => {
                self.eval(a, to, free);
                self.apply(op, to, b);
            }
            None => {
                let spare = free[0];
                self.eval(b, spare, &with(to, &free[1..]));
                self.eval(a, to, &free[1..]);
                self.asm.alu(op, to, spare);
            }
        }
    }

    /// Applies `op` to `to` and a value that is an operand but no large constant. What rax holds is
    /// asked only now, because computing the first operand may have changed it.
    fn apply(&mut self, op: Alu, to: Reg, b: Value) {
        match self.operand(b) {
            Some(Operand::Register(y)) => self.asm.alu(op, to, y),
            Some(Operand::Memory(offset)) => self.asm.alu_memory(op, to, CPU, offset),
            Some(Operand::Immediate(c)) => self.asm.alu_imm(op, to, c),
            other => unreachable!("{other:?} is no operand of an instruction"),
        }
    }

    fn eval_shift(&mut self, op: Shift, wide: bool, a: Value, b: Value, to: Reg, free: &[Reg]) {
        match self.operand(b) {
            Some(Operand::Immediate(amount)) => {
                let amount = amount & if wide { 63 } else { 31 };
                self.eval(a, to, free);
                self.asm.shift_imm(op, wide, to, amount as i8);
                if op == Shift::Right && amount > 0 {
                    // The sign is zero, as the upper half is already.
                    return;
                }
            }
            _ if op == Shift::RotateRight => self.eval_rotation(wide, a, b, to),
            _ => {
                let (by, free) = match self.stored_operand(b) {
                    Some(Operand::Register(by)) if by != to => (by, free),
                    _ => {
                        self.eval(b, free[0], &with(to, &free[1..]));
                        (free[0], &free[1..])
                    }
                };
                self.eval(a, to, free);
                self.asm.shift_by(op, wide, to, to, by);
            }
        }
        if !wide {
            self.asm.movsxd(to, to);
        }
    }

    /// A rotation by a variable goes by rcx. No instruction rotates inside a larger computation, so
    /// every scratch register is free.
    fn eval_rotation(&mut self, wide: bool, a: Value, b: Value, to: Reg) {
        self.eval(a, reg::RAX, &[reg::RDX, reg::RCX]);
        self.eval(b, reg::RCX, &[reg::RDX]);
        self.asm.shift_cl(Shift::RotateRight, wide, reg::RAX);
        self.asm.mov(to, reg::RAX);
    }

    fn eval_product(&mut self, a: Value, b: Value, to: Reg, free: &[Reg]) {
        match self.stored_operand(b) {
            Some(Operand::Memory(offset)) => {
                self.eval(a, to, free);
                self.asm.imul_memory(to, CPU, offset);
            }
            Some(Operand::Register(y)) if y != to => {
                self.eval(a, to, free);
                self.asm.imul(to, y);
            }
            _ => {
                let spare = free[0];
                self.eval(b, spare, &with(to, &free[1..]));
                self.eval(a, to, &free[1..]);
                self.asm.imul(to, spare);
            }
        }
    }

    /// The high half of a product; rax and rdx are the multiplier's.
    fn eval_high(&mut self, op: Binary, a: Value, b: Value, to: Reg) {
        self.eval(b, reg::RCX, &[reg::RAX, reg::RDX]);
        self.eval(a, reg::RAX, &[reg::RDX]);
        self.asm.release();
        match op {
            Binary::MulHighSigned => self.asm.imul_wide(reg::RCX),
            _ => self.asm.mul_wide(reg::RCX),
        }
        self.asm.mov(to, reg::RDX);
    }

    /// Divisions that the host would trap on have the results that [`Binary`] names: by zero is by
    /// one, and by minus one is a negation, which also covers the smallest value.
    fn eval_division(&mut self, op: Binary, a: Value, b: Value, to: Reg) {
        let signed = matches!(op, Binary::DivSigned | Binary::RemSigned);
        self.eval(b, reg::RCX, &[reg::RAX, reg::RDX]);
        self.eval(a, reg::RAX, &[reg::RDX]);
        self.asm.release();
        self.asm.mov_imm32(reg::RDX, 1);
        self.asm.test(reg::RCX, reg::RCX);
        self.asm.mov_if(Cond::Equal, reg::RCX, reg::RDX);
        if signed {
            let (negate, done) = (self.asm.label(), self.asm.label());
            self.asm.alu_imm(Alu::Cmp, reg::RCX, -1);
            self.asm.jump_if(Cond::Equal, negate);
            self.asm.cqo();
            self.asm.idiv(reg::RCX);
            self.asm.jump(done);
            self.asm.bind(negate);
            self.asm.neg(reg::RAX);
            self.asm.mov_imm32(reg::RDX, 0);
            self.asm.bind(done);
        } else {
            self.asm.mov_imm32(reg::RDX, 0);
            self.asm.div(reg::RCX);
        }
        let quotient = matches!(op, Binary::DivSigned | Binary::DivUnsigned);
        let from = if quotient { reg::RAX } else { reg::RDX };
        if from != to {
            self.asm.mov(to, from);
        }
    }

    fn eval_select(&mut self, condition: Value, a: Value, b: Value, to: Reg) {
        self.eval(b, reg::RAX, &[reg::RCX, reg::RDX]);
        let from = match self.operand(a) {
            Some(Operand::Register(from)) => from,
            _ => {
                self.eval(a, reg::RCX, &[reg::RDX]);
                reg::RCX
            }
        };
        let cond = self.flags_with(condition, &[reg::RDX]);
        self.asm.mov_if(cond, reg::RAX, from);
        if to != reg::RAX {
            self.asm.mov(to, reg::RAX);
        }
    }

    /// Computes `condition` into flags and gives the condition under which it is not zero.
    pub(super) fn flags(&mut self, condition: Value) -> Cond {
        self.flags_with(condition, &[reg::RAX, reg::RCX, reg::RDX])
    }

    fn flags_with(&mut self, condition: Value, free: &[Reg]) -> Cond {
        if self.operand(condition).is_none() {
            match self.ir.nodes[condition.index()] {
                Node::Binary(op, a, b) if is_comparison(op) => return self.compare(op, a, b, free),
                Node::Read(Home::Condition(cc)) => {
                    self.asm.test32_memory_imm(CPU, frame::FCSR, (1u32 << condition_bit(cc)) as i32);
                    return Cond::NotEqual;
                }
                _ => {}
            }
        }
        self.eval(condition, free[0], &free[1..]);
        self.asm.test(free[0], free[0]);
        Cond::NotEqual
    }

    /// Compares `a` and `b` into flags.
    fn compare(&mut self, op: Binary, a: Value, b: Value, free: &[Reg]) -> Cond {
        let zero = self.operand(b) == Some(Operand::Immediate(0));
        if zero && matches!(op, Binary::Equal | Binary::NotEqual) && self.is_condition(a) {
            let cond = self.flags_with(a, free);
            return if op == Binary::Equal { cond.negate() } else { cond };
        }
        match (self.operand(a), self.operand(b)) {
            (Some(Operand::Register(x)), _) if zero => self.asm.test(x, x),
            (Some(Operand::Memory(offset)), Some(Operand::Immediate(c))) => {
                self.asm.cmp_memory_imm(CPU, offset, c);
            }
            (Some(Operand::Register(x)), Some(_)) => self.compare_with(x, b, free),
            (_, Some(_)) => {
                self.eval(a, free[0], &free[1..]);
                self.compare_with(free[0], b, &free[1..]);
            }
            (_, None) => {
                self.eval(b, free[0], &free[1..]);
                self.eval(a, free[1], &free[2..]);
                self.asm.alu(Alu::Cmp, free[1], free[0]);
            }
        }
        match op {
            Binary::Equal => Cond::Equal,
            Binary::NotEqual => Cond::NotEqual,
            Binary::LessSigned => Cond::Less,
            Binary::LessUnsigned => Cond::Below,
            _ => Cond::LessEqual,
        }
    }

    fn compare_with(&mut self, x: Reg, b: Value, free: &[Reg]) {
        match self.operand(b) {
            Some(Operand::Register(y)) => self.asm.alu(Alu::Cmp, x, y),
            Some(Operand::Memory(offset)) => self.asm.alu_memory(Alu::Cmp, x, CPU, offset),
            Some(Operand::Immediate(c)) => self.asm.alu_imm(Alu::Cmp, x, c),
            _ => {
                let spare = free.iter().copied().find(|r| *r != x).unwrap_or(reg::RDX);
                self.move_operand(b, spare);
                self.asm.alu(Alu::Cmp, x, spare);
            }
        }
    }

    fn is_condition(&self, value: Value) -> bool {
        if self.operand(value).is_some() {
            return false;
        }
        match self.ir.nodes[value.index()] {
            Node::Binary(op, ..) => is_comparison(op),
            Node::Read(Home::Condition(_)) => true,
            _ => false,
        }
    }

    /// Writes `value` to guest state.
    pub(super) fn write(&mut self, home: Home, value: Value) {
        match home {
            Home::Gpr(r) => match self.pins.host(r) {
                Some(pin) => self.write_pin(pin, value),
                None => self.write_memory(frame::gpr(r), value),
            },
            Home::FprLow(r) => {
                self.eval(value, reg::RAX, &[reg::RCX, reg::RDX]);
                self.asm.store32(CPU, frame::fpr(r), reg::RAX);
            }
            Home::Condition(cc) => self.write_condition(cc, value),
            Home::Special(Special::Hi | Special::Lo | Special::Cp0(_) | Special::Fpr(_)) => {
                if let Some(offset) = frame::field(home) {
                    self.write_memory(offset, value);
                }
            }
        }
    }

    fn write_pin(&mut self, pin: Reg, value: Value) {
        if self.is_safe_in_place(value, pin) {
            self.eval(value, pin, &[reg::RAX, reg::RCX, reg::RDX]);
        } else {
            self.eval(value, reg::RAX, &[reg::RCX, reg::RDX]);
            self.asm.mov(pin, reg::RAX);
        }
    }

    fn write_memory(&mut self, offset: i32, value: Value) {
        match self.stored_operand(value) {
            Some(Operand::Immediate(c)) => {
                self.asm.store_imm(CPU, offset, c);
                self.asm.release();
            }
            Some(Operand::Register(from)) => {
                self.asm.store(CPU, offset, from);
                self.asm.release();
            }
            _ => {
                self.eval(value, reg::RAX, &[reg::RCX, reg::RDX]);
                self.asm.store(CPU, offset, reg::RAX);
                self.hold(offset);
            }
        }
    }

    /// Notes that rax holds the field at `offset`, if it is one that is only ever written whole.
    pub(super) fn hold(&mut self, offset: i32) {
        if frame::is_general(offset) {
            self.asm.hold(offset);
        }
    }

    /// The value is 0 or 1.
    fn write_condition(&mut self, cc: u8, value: Value) {
        let bit = condition_bit(cc);
        self.eval(value, reg::RAX, &[reg::RCX, reg::RDX]);
        self.set_condition_from(reg::RAX, bit);
    }

    /// Sets bit `bit` of FCSR to the lowest bit of `from`, which is 0 or 1 and is changed.
    pub(super) fn set_condition_from(&mut self, from: Reg, bit: u8) {
        self.asm.shl32_imm(from, bit as i8);
        self.asm.and32_memory_imm(CPU, frame::FCSR, !(1u32 << bit) as i32);
        self.asm.or32_memory(CPU, frame::FCSR, from);
    }
}

fn is_comparison(op: Binary) -> bool {
    matches!(
        op,
        Binary::Equal
            | Binary::NotEqual
            | Binary::LessSigned
            | Binary::LessUnsigned
            | Binary::LessEqualSigned
    )
}

/// Operations that work in particular host registers, or set the whole target late.
fn needs_fixed_registers(op: Binary) -> bool {
    !matches!(
        op,
        Binary::Add
            | Binary::Add32
            | Binary::Sub
            | Binary::Sub32
            | Binary::And
            | Binary::Or
            | Binary::Xor
            | Binary::Shl
            | Binary::Shr
            | Binary::Sar
            | Binary::Rotr
            | Binary::Shl32
            | Binary::Shr32
            | Binary::Sar32
            | Binary::Rotr32
            | Binary::Mul
    ) && !is_comparison(op)
}

/// `free` with `more` added at its end.
fn with(more: Reg, free: &[Reg]) -> Vec<Reg> {
    free.iter().copied().chain([more]).collect()
}
