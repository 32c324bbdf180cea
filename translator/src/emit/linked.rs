//! Load linked and store conditional. The link is a physical address and the value found there; the
//! store is a compare-and-swap of the host. What the soft TLB does not have goes to a stub that means
//! the same: a store to a page of code, above all, has no entry.

use std::mem::offset_of;

use super::asm::{Alu, Cond, Label, Reg, Shift, reg};
use super::frame::{self, CPU};
use super::{Emitter, Slow};
use crate::cp0::Cp0;
use crate::cpu::{Cpu, SoftTlb};
use crate::ir::Value;
use crate::machine::Access;
use crate::mode::Mode;

/// LLAddr holds the physical address without its low bits.
const LLADDR_SHIFT: i8 = 4;

impl Emitter<'_> {
    /// Emits a load linked and gives the number of the node after it and its write.
    pub(super) fn load_linked(&mut self, index: usize, access: Access, address: Value) -> usize {
        let address = self.address(address);
        let (to, next) = self.destination(index);
        let back = self.asm.label();
        let slow = self.defer(Slow::LoadLinked { access, address, to }, Some(back));
        let at = self.look_up(address, access.bytes(), offset_of!(SoftTlb, load), slow);
        // The link keeps the bytes as they are in memory.
        match access {
            Access::U64 => self.asm.read64(at, reg::RAX),
            _ => self.asm.read32(at, reg::RAX),
        }
        self.asm.lea_indexed(at, reg::RDX);
        self.asm.store(CPU, frame::LINK_VALUE, reg::RAX);
        self.asm.alu_memory(Alu::Sub, reg::RDX, CPU, frame::RAM_BASE);
        self.asm.store(CPU, frame::LINK_ADDRESS, reg::RDX);
        self.asm.shift_imm(Shift::Right, true, reg::RDX, LLADDR_SHIFT);
        self.asm.store(CPU, frame::cp0(Cp0::LLAddr), reg::RDX);
        let register = to.register();
        self.extend_linked(access, register);
        self.end_access(register, to, back);
        next
    }

    /// Puts the register value of the bytes in rax into `to`.
    fn extend_linked(&mut self, access: Access, to: Reg) {
        if self.mode().contains(Mode::BIG_ENDIAN) {
            self.swap_bytes(access, reg::RAX);
        }
        match access {
            Access::U64 => self.asm.mov(to, reg::RAX),
            _ => self.asm.movsxd(to, reg::RAX),
        }
    }

    /// Emits a store conditional and gives the number of the node after it and its write.
    pub(super) fn store_conditional(
        &mut self,
        index: usize,
        access: Access,
        address: Value,
        value: Value,
    ) -> usize {
        let address = self.address(address);
        let (to, next) = self.destination(index);
        let back = self.asm.label();
        let slow = self.defer(Slow::StoreConditional { access, address, value, to }, Some(back));
        let at = self.look_up(address, access.bytes(), offset_of!(SoftTlb, store), slow);
        self.asm.lea_indexed(at, reg::RDX);
        self.move_operand(value, reg::RCX);
        if self.mode().contains(Mode::BIG_ENDIAN) {
            self.swap_bytes(access, reg::RCX);
        }
        self.asm.mov(reg::RAX, reg::RDX);
        self.asm.alu_memory(Alu::Sub, reg::RAX, CPU, frame::RAM_BASE);
        self.asm.alu_memory(Alu::Cmp, reg::RAX, CPU, frame::LINK_ADDRESS);
        self.asm.store_imm(CPU, frame::LINK_ADDRESS, Cpu::NO_LINK as i32);
        let done = self.asm.label();
        self.asm.jump_if(Cond::NotEqual, done);
        self.asm.load(reg::RAX, CPU, frame::LINK_VALUE);
        match (access, self.mode().contains(Mode::ALONE)) {
            (Access::U64, false) => self.asm.compare_exchange(reg::RDX, reg::RCX),
            (_, false) => self.asm.compare_exchange32(reg::RDX, reg::RCX),
            (_, true) => self.exchange_alone(access, done),
        }
        // The last comparison has left "equal" if the store was done.
        self.asm.bind(done);
        self.asm.set_if(Cond::Equal, reg::RAX);
        let register = to.register();
        self.asm.movzx8(register, reg::RAX);
        self.end_access(register, to, back);
        next
    }

    /// Stores rcx at rdx if rax is there, else goes to `done`. Nothing comes between where nothing else uses
    /// memory, and a load need not wait for a plain store as it does for an exchange.
    fn exchange_alone(&mut self, access: Access, done: Label) {
        match access {
            Access::U64 => self.asm.alu_memory(Alu::Cmp, reg::RAX, reg::RDX, 0),
            _ => self.asm.cmp32_memory(reg::RAX, reg::RDX, 0),
        }
        self.asm.jump_if(Cond::NotEqual, done);
        match access {
            Access::U64 => self.asm.store(reg::RDX, 0, reg::RCX),
            _ => self.asm.store32(reg::RDX, 0, reg::RCX),
        }
    }
}
