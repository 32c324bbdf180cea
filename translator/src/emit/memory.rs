//! Loads and stores: the soft-TLB look-up inline, and the access.
//!
//! The tag comparison covers the whole 64-bit address but the page offset, of which it keeps the bits
//! below the access's size: so a misaligned, foreign or hostile address never equals a tag.

use super::asm::{Alu, Cond, Indexed, Label, Reg, reg};
use super::frame::{self, CPU, SOFT_TLB};
use super::near::Near;
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

/// Which array of the soft TLB a load is looked up in.
const fn soft_array(route: Route) -> usize {
    match route {
        Route::ForStore => offset_of!(SoftTlb, store),
        Route::Soft | Route::Window(_) => offset_of!(SoftTlb, load),
    }
}

impl Emitter<'_> {
    /// The register that `address` is in, if need be after it was computed into rdx. Changes rax and rcx.
    pub(super) fn address(&mut self, address: Value) -> Reg {
        match self.operand(address) {
            Some(Operand::Register(register)) if register != reg::RAX => register,
            _ => {
                self.eval(address, reg::RDX, &[reg::RAX, reg::RCX]);
                reg::RDX
            }
        }
    }

    /// Looks up an address: gives the host's memory, by rcx and the address, or goes to the slow path.
    /// Changes rax and rcx.
    pub(super) fn look_up(&mut self, address: Reg, bytes: u64, array: usize, slow: Label) -> Indexed {
        self.asm.rotate32_into(reg::RAX, address, ENTRY_SHIFT);
        self.asm.and32_imm(reg::RAX, ENTRY_MASK);
        self.asm.mov(reg::RCX, address);
        self.asm.alu_imm(Alu::And, reg::RCX, -4096 | (bytes as i32 - 1));
        self.take_entry(array, slow);
        Indexed::sum(reg::RCX, address)
    }

    /// Compares the tag of the entry at rax with rcx, and puts the entry's addend there.
    fn take_entry(&mut self, array: usize, slow: Label) {
        let entry = |field: usize| (array + field) as i32;
        self.asm.cmp_indexed(reg::RCX, SOFT_TLB, reg::RAX, entry(offset_of!(SoftEntry, tag)));
        self.asm.jump_if(Cond::NotEqual, slow);
        let addend = entry(offset_of!(SoftEntry, addend));
        self.asm.read64(Indexed { base: SOFT_TLB, index: reg::RAX, scale: 1, offset: addend }, reg::RCX);
    }

    /// As [`Emitter::look_up`], for an address that should lie in `window`. The offset in the window is
    /// rotated so that the bits that an aligned address does not have come out on top: one comparison
    /// finds what lies outside and what is misaligned. The load itself does not wait for that.
    fn go_by_window(&mut self, address: Reg, bytes: u64, window: Window, slow: Label) -> Indexed {
        let size_bits = bytes.trailing_zeros() as i8;
        match i32::try_from(window.base().wrapping_neg() as i64) {
            Ok(distance) => self.asm.lea(reg::RAX, address, distance),
            Err(_) => {
                self.move_constant(window.base().wrapping_neg(), reg::RAX);
                self.asm.alu(Alu::Add, reg::RAX, address);
            }
        }
        let checked = match size_bits {
            0 => reg::RAX,
            _ => {
                self.asm.rotate_into(reg::RCX, reg::RAX, size_bits);
                reg::RCX
            }
        };
        self.asm.alu_imm(Alu::Cmp, checked, window.size() >> size_bits);
        self.asm.jump_if(Cond::AboveEqual, slow);
        self.asm.load(reg::RCX, CPU, frame::RAM_BASE);
        // The address itself is known earlier than its distance.
        match i32::try_from(i64::from(window.physical()).wrapping_sub(window.base() as i64)) {
            Ok(offset) => Indexed { base: reg::RCX, index: address, scale: 1, offset },
            Err(_) => Indexed { base: reg::RCX, index: reg::RAX, scale: 1, offset: window.physical() },
        }
    }

    /// Finds the host's memory of an access that is near others, by rcx and the register that it gives as
    /// well, or goes to `apart`. Changes rax and rcx, if it is the first of its group.
    fn go_by_group(&mut self, near: Near, base: Reg, array: usize, apart: Label) -> Indexed {
        match near.span {
            Some(span) => {
                self.move_sum(reg::RAX, base, span.low);
                self.asm.rotate32_into(reg::RAX, reg::RAX, ENTRY_SHIFT);
                self.asm.and32_imm(reg::RAX, ENTRY_MASK);
                // If the last byte is in the next page, it does not have this entry.
                self.move_sum(reg::RCX, base, span.high);
                self.asm.alu_imm(Alu::And, reg::RCX, -4096 | (span.alignment - 1));
                self.take_entry(array, apart);
                self.asm.store(CPU, frame::page(near.slot), reg::RCX);
            }
            None => {
                self.asm.load(reg::RCX, CPU, frame::page(near.slot));
                self.asm.test(reg::RCX, reg::RCX);
                self.asm.jump_if(Cond::Equal, apart);
            }
        }
        Indexed { base: reg::RCX, index: base, scale: 1, offset: near.offset }
    }

    /// Moves the sum of a register and a constant; the host moves a register at no cost.
    fn move_sum(&mut self, to: Reg, base: Reg, offset: i32) {
        match offset {
            0 if to == base => {}
            0 => self.asm.mov(to, base),
            _ => self.asm.lea(to, base, offset),
        }
    }

    /// The address, in rdx, of an access whose group is not in one page that the soft TLB has.
    fn address_apart(&mut self, near: Near, base: Reg) -> Reg {
        if near.span.is_some() {
            self.asm.store_imm(CPU, frame::page(near.slot), 0);
        }
        self.move_sum(reg::RDX, base, near.offset);
        if near.is_narrow {
            self.asm.movsxd(reg::RDX, reg::RDX);
        }
        reg::RDX
    }

    /// Emits a load and gives the number of the node after it and its write.
    pub(super) fn load(&mut self, index: usize, access: Access, address: Value, route: Route) -> usize {
        let (to, next) = self.destination(index);
        let back = self.asm.label();
        let at = match (self.nearness.get(index), route) {
            (Some(near), _) => {
                let base = self.address(near.base);
                let apart = self.defer(Slow::LoadApart { access, near, base, route, to }, Some(back));
                self.go_by_group(near, base, soft_array(route), apart)
            }
            (None, Route::Window(window)) => {
                let address = self.address(address);
                let slow = self.defer(Slow::Load { access, address, route, to }, Some(back));
                self.go_by_window(address, access.bytes(), window, slow)
            }
            (None, _) => {
                let address = self.address(address);
                let slow = self.defer(Slow::Load { access, address, route, to }, Some(back));
                self.look_up(address, access.bytes(), soft_array(route), slow)
            }
        };
        let register = to.register();
        self.read(access, at, register);
        self.end_access(register, to, back);
        next
    }

    /// The way of a load whose group is not in one page that the soft TLB has.
    pub(super) fn load_apart(
        &mut self,
        access: Access,
        near: Near,
        base: Reg,
        route: Route,
        to: Destination,
        back: Option<Label>,
    ) {
        let address = self.address_apart(near, base);
        let slow = self.defer(Slow::Load { access, address, route, to }, back);
        let at = self.look_up(address, access.bytes(), soft_array(route), slow);
        let register = to.register();
        self.read(access, at, register);
        if !matches!(to, Destination::Pin(_)) {
            self.deliver(register, to);
        }
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

    /// Reads host memory and extends as the access says.
    fn read(&mut self, access: Access, at: Indexed, to: Reg) {
        if self.mode().contains(Mode::BIG_ENDIAN) {
            return self.read_swapped(access, at, to);
        }
        match access {
            Access::U8 => self.asm.read8(at, to),
            Access::I8 => self.asm.read8_signed(at, to),
            Access::U16 => self.asm.read16(at, to),
            Access::I16 => self.asm.read16_signed(at, to),
            Access::U32 => self.asm.read32(at, to),
            Access::I32 => self.asm.read32_signed(at, to),
            Access::U64 => self.asm.read64(at, to),
        }
    }

    fn read_swapped(&mut self, access: Access, at: Indexed, to: Reg) {
        match access {
            Access::U8 => self.asm.read8(at, to),
            Access::I8 => self.asm.read8_signed(at, to),
            Access::U16 | Access::I16 => {
                self.asm.read16(at, to);
                self.asm.swap16(to);
                if access == Access::I16 {
                    self.asm.movsx16(to, to);
                }
            }
            Access::U32 => self.asm.read32_swapped(at, to),
            Access::I32 => {
                self.asm.read32_swapped(at, to);
                self.asm.movsxd(to, to);
            }
            Access::U64 => self.asm.read64_swapped(at, to),
        }
    }

    /// Compares the delay slot at `address` with `word`. That is a load, which for the host is the cheapest way to
    /// know that neither the page nor its mapping is another.
    pub(super) fn check_slot(&mut self, address: Value, word: u32) {
        let address = self.address(address);
        let back = self.asm.label();
        let slow = self.defer(Slow::CheckSlot { address, word }, Some(back));
        let at = self.look_up(address, 4, offset_of!(SoftTlb, load), slow);
        self.read(Access::U32, at, reg::RAX);
        self.asm.cmp32_imm(reg::RAX, word as i32);
        self.asm.jump_if(Cond::NotEqual, slow);
        self.asm.bind(back);
    }

    /// Emits a store. A value that needs a computation is computed first, into a spill slot.
    pub(super) fn store(&mut self, index: usize, access: Access, address: Value, value: Value) {
        if self.operand(value).is_none() {
            self.spill(value);
        }
        let back = self.asm.label();
        let at = match self.nearness.get(index) {
            Some(near) => {
                let base = self.address(near.base);
                let apart = self.defer(Slow::StoreApart { access, near, base, value }, Some(back));
                self.go_by_group(near, base, offset_of!(SoftTlb, store), apart)
            }
            None => {
                let address = self.address(address);
                let slow = self.defer(Slow::Store { access, address, value }, Some(back));
                self.look_up(address, access.bytes(), offset_of!(SoftTlb, store), slow)
            }
        };
        self.put(access, at, value);
        self.asm.bind(back);
    }

    /// The way of a store whose group is not in one page that the soft TLB has.
    pub(super) fn store_apart(
        &mut self,
        access: Access,
        near: Near,
        base: Reg,
        value: Value,
        back: Option<Label>,
    ) {
        let address = self.address_apart(near, base);
        let slow = self.defer(Slow::Store { access, address, value }, back);
        let at = self.look_up(address, access.bytes(), offset_of!(SoftTlb, store), slow);
        self.put(access, at, value);
    }

    /// Writes a value that needs no computation to host memory. Changes rax.
    fn put(&mut self, access: Access, at: Indexed, value: Value) {
        let big = self.mode().contains(Mode::BIG_ENDIAN) && access.bytes() > 1;
        let from = match self.operand(value) {
            Some(Operand::Register(from)) if !big => from,
            _ => {
                self.move_operand(value, reg::RAX);
                reg::RAX
            }
        };
        if big {
            self.swap_bytes(access, from);
        }
        match access.bytes() {
            1 => self.asm.write8(at, from),
            2 => self.asm.write16(at, from),
            4 => self.asm.write32(at, from),
            _ => self.asm.write64(at, from),
        }
    }

    /// Swaps the bytes of a value of two bytes or more.
    pub(super) fn swap_bytes(&mut self, access: Access, value: Reg) {
        match access.bytes() {
            2 => self.asm.swap16(value),
            4 => self.asm.bswap32(value),
            _ => self.asm.bswap(value),
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
