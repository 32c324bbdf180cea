//! Loads and stores: the soft-TLB look-up inline, and the access.
//!
//! The tag comparison covers the whole 64-bit address but the page offset, of which it keeps the bits
//! below the access's size: so a misaligned, foreign or hostile address never equals a tag.

use super::asm::{Alu, Cond, Label, Reg, Shift, reg};
use super::frame::{self, CPU, SOFT_TLB};
use super::value::Operand;
use super::{Destination, Emitter, Slow};
use crate::cpu::{SOFT_TLB_ENTRIES, SoftEntry, SoftTlb};
use crate::ir::{Route, Value};
use crate::machine::Access;
use crate::mode::Mode;
use crate::nature::Window;
use std::mem::{offset_of, size_of};

/// The offset of an entry in its array, from an address: the page number times the entry's size.
const ENTRY_SHIFT: i8 = (12 - size_of::<SoftEntry>().trailing_zeros()) as i8;
const ENTRY_MASK: i32 = ((SOFT_TLB_ENTRIES - 1) * size_of::<SoftEntry>()) as i32;

impl Emitter<'_> {
    /// Looks the address in rdx up: goes on with the host address in rdx, or to the slow path with the
    /// address unchanged. Changes rax and rcx.
    pub(super) fn look_up(&mut self, bytes: u64, array: usize, slow: Label) {
        let entry = |field: usize| (array + field) as i32;
        self.asm.mov32(reg::RAX, reg::RDX);
        self.asm.shr32_imm(reg::RAX, ENTRY_SHIFT);
        self.asm.and32_imm(reg::RAX, ENTRY_MASK);
        self.asm.mov(reg::RCX, reg::RDX);
        self.asm.alu_imm(Alu::And, reg::RCX, -4096 | (bytes as i32 - 1));
        self.asm.cmp_indexed(reg::RCX, SOFT_TLB, reg::RAX, entry(offset_of!(SoftEntry, tag)));
        self.asm.jump_if(Cond::NotEqual, slow);
        self.asm.add_indexed(reg::RDX, SOFT_TLB, reg::RAX, entry(offset_of!(SoftEntry, addend)));
    }

    /// As [`Emitter::look_up`], for an address that should lie in `window`. The offset in the window is
    /// rotated so that the bits that an aligned address does not have come out on top: one comparison
    /// finds what lies outside and what is misaligned.
    fn go_by_window(&mut self, bytes: u64, window: Window, slow: Label) {
        let size_bits = bytes.trailing_zeros() as i8;
        self.move_constant(window.base().wrapping_neg(), reg::RAX);
        self.asm.alu(Alu::Add, reg::RAX, reg::RDX);
        if size_bits > 0 {
            self.asm.shift_imm(Shift::RotateRight, true, reg::RAX, size_bits);
        }
        self.asm.alu_imm(Alu::Cmp, reg::RAX, window.size() >> size_bits);
        self.asm.jump_if(Cond::AboveEqual, slow);
        self.asm.load(reg::RCX, CPU, frame::RAM_BASE);
        self.asm.lea_scaled(reg::RDX, reg::RCX, reg::RAX, bytes, window.physical());
    }

    /// Emits a load and gives the number of the node after it and its write.
    pub(super) fn load(&mut self, index: usize, access: Access, address: Value, route: Route) -> usize {
        self.eval(address, reg::RDX, &[reg::RAX, reg::RCX]);
        let (to, next) = self.destination(index);
        let back = self.asm.label();
        let slow = self.defer(Slow::Load { access, route, to }, Some(back));
        match route {
            Route::Soft => self.look_up(access.bytes(), offset_of!(SoftTlb, load), slow),
            Route::ForStore => self.look_up(access.bytes(), offset_of!(SoftTlb, store), slow),
            Route::Window(window) => self.go_by_window(access.bytes(), window, slow),
        }
        let register = to.register();
        self.read(access, register);
        self.end_access(register, to, back);
        next
    }

    /// Moves the result in `register` to its destination, where the slow path comes back to.
    pub(super) fn end_access(&mut self, register: Reg, to: Destination, back: Label) {
        if !matches!(to, Destination::Pin(_)) {
            self.deliver(register, to);
        }
        self.asm.bind(back);
        // Both ways come here with the result in rax as well.
        if let Destination::Memory(offset, false) = to {
            self.hold(offset);
        }
    }

    /// Reads host memory at rdx and extends as the access says.
    fn read(&mut self, access: Access, to: Reg) {
        if self.mode().contains(Mode::BIG_ENDIAN) {
            return self.read_swapped(access, to);
        }
        match access {
            Access::U8 => self.asm.load8(to, reg::RDX, 0),
            Access::I8 => self.asm.load8_signed(to, reg::RDX, 0),
            Access::U16 => self.asm.load16(to, reg::RDX, 0),
            Access::I16 => self.asm.load16_signed(to, reg::RDX, 0),
            Access::U32 => self.asm.load32(to, reg::RDX, 0),
            Access::I32 => self.asm.load32_signed(to, reg::RDX, 0),
            Access::U64 => self.asm.load(to, reg::RDX, 0),
        }
    }

    fn read_swapped(&mut self, access: Access, to: Reg) {
        match access {
            Access::U8 => self.asm.load8(to, reg::RDX, 0),
            Access::I8 => self.asm.load8_signed(to, reg::RDX, 0),
            Access::U16 | Access::I16 => {
                self.asm.load16(to, reg::RDX, 0);
                self.asm.swap16(to);
                if access == Access::I16 {
                    self.asm.movsx16(to, to);
                }
            }
            Access::U32 => self.asm.load32_swapped(to, reg::RDX, 0),
            Access::I32 => {
                self.asm.load32_swapped(to, reg::RDX, 0);
                self.asm.movsxd(to, to);
            }
            Access::U64 => self.asm.load_swapped(to, reg::RDX, 0),
        }
    }

    /// Emits a store. A value that needs a computation is computed first, into a spill slot.
    pub(super) fn store(&mut self, access: Access, address: Value, value: Value) {
        if self.operand(value).is_none() {
            self.spill(value);
        }
        self.eval(address, reg::RDX, &[reg::RAX, reg::RCX]);
        let back = self.asm.label();
        let slow = self.defer(Slow::Store { access, value }, Some(back));
        self.look_up(access.bytes(), offset_of!(SoftTlb, store), slow);
        let big = self.mode().contains(Mode::BIG_ENDIAN) && access.bytes() > 1;
        let from = match self.operand(value) {
            Some(Operand::Register(from)) if !big => from,
            _ => {
                self.move_operand(value, reg::RCX);
                reg::RCX
            }
        };
        if big {
            self.swap_for_store(access);
        }
        match access.bytes() {
            1 => self.asm.store8(reg::RDX, 0, from),
            2 => self.asm.store16(reg::RDX, 0, from),
            4 => self.asm.store32(reg::RDX, 0, from),
            _ => self.asm.store(reg::RDX, 0, from),
        }
        self.asm.bind(back);
    }

    /// Swaps the bytes of the value in rcx that is about to be stored.
    pub(super) fn swap_for_store(&mut self, access: Access) {
        match access.bytes() {
            2 => self.asm.swap16(reg::RCX),
            4 => self.asm.bswap32(reg::RCX),
            _ => self.asm.bswap(reg::RCX),
        }
    }

    /// Leaves if an interrupt is pending that Status does not mask.
    pub(super) fn check_interrupts(&mut self) {
        use crate::cp0::{Cp0, IP_SHIFT};
        use crate::cpu::Shared;
        let back = self.asm.label();
        let slow = self.defer(Slow::Interrupt, Some(back));
        self.asm.load(reg::RAX, CPU, frame::ALARM_ADDRESS);
        self.asm.load32(reg::RAX, reg::RAX, offset_of!(Shared, interrupt_lines) as i32);
        self.asm.load32(reg::RCX, CPU, frame::cp0(Cp0::Cause));
        self.asm.alu(Alu::Or, reg::RAX, reg::RCX);
        self.asm.alu_memory(Alu::And, reg::RAX, CPU, frame::cp0(Cp0::Status));
        self.asm.test32_imm(reg::RAX, 0xff << IP_SHIFT);
        self.asm.jump_if(Cond::NotEqual, slow);
        self.asm.bind(back);
    }
}
