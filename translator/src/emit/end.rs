//! How blocks begin and end: the budget, links to other blocks, jumps through the jump cache, and the
//! check of the alarm on every way back.

use std::mem::{offset_of, size_of};

use super::asm::{Alu, Asm, Cond, Label, Reg, reg};
use super::frame::{self, CPU};
use super::{Emitter, Slow};
use crate::addr::{PAGE_OFFSET_MASK, PAGE_SIZE};
use crate::code::{Link, Part, Routine};
use crate::cpu::{JUMP_CACHE_ENTRIES, JUMP_ROTATION, JumpEntry, Shared};
use crate::ir::{Exit, Terminal, Value};
use crate::mode::Mode;
use crate::nature::Nature;
use crate::patch::Action;

/// The offset of an entry in the jump cache, from an address: its word number times the entry's size.
const JUMP_SHIFT: i8 = (size_of::<JumpEntry>().trailing_zeros() - 2) as i8;
const JUMP_MASK: i32 = ((JUMP_CACHE_ENTRIES - 1) * size_of::<JumpEntry>()) as i32;

/// The bits of an address that say which page of its 256 MB region it is in.
const PAGE_IN_REGION: i32 = 0x0fff_f000;

/// Jumps to the block at the address in rcx if the jump cache has it, else to `miss`. Changes rax.
pub(super) fn emit_jump(asm: &mut Asm, miss: Label) {
    asm.rotate32_into(reg::RAX, reg::RCX, JUMP_ROTATION as i8);
    asm.alu(Alu::Xor, reg::RAX, reg::RCX);
    asm.shl32_imm(reg::RAX, JUMP_SHIFT);
    asm.and32_imm(reg::RAX, JUMP_MASK);
    asm.alu_memory(Alu::Add, reg::RAX, CPU, frame::JUMP_CACHE);
    asm.alu_memory(Alu::Cmp, reg::RCX, reg::RAX, offset_of!(JumpEntry, va) as i32);
    asm.jump_if(Cond::NotEqual, miss);
    asm.jump_memory(reg::RAX, offset_of!(JumpEntry, host) as i32);
}

impl Emitter<'_> {
    /// A checked block compares the bytes that it was made from with RAM.
    pub(super) fn check_bytes(&mut self) {
        if !self.block.is_checked {
            return;
        }
        let changed = self.defer(Slow::Recheck, None);
        self.asm.load(reg::RAX, CPU, frame::RAM_BASE);
        self.move_constant(self.block.key.pa.0, reg::RCX);
        self.asm.alu(Alu::Add, reg::RAX, reg::RCX);
        let is_big = self.mode().contains(Mode::BIG_ENDIAN);
        for (index, step) in self.block.steps_in_page().iter().enumerate() {
            let raw = if is_big { step.word.swap_bytes() } else { step.word };
            self.asm.cmp32_memory_imm(reg::RAX, 4 * index as i32, raw as i32);
            self.asm.jump_if(Cond::NotEqual, changed);
        }
    }

    /// The entry of the block: a profiled one counts its runs, and a counted one pays for all its steps
    /// at once. Gives the label of the way out if that is too much.
    pub(super) fn enter(&mut self) -> Option<Label> {
        if self.mode().contains(Mode::PROFILED) {
            self.counter = Some(self.asm.placed_constant(reg::RAX));
            self.asm.add_memory_imm(reg::RAX, 0, 1);
        }
        if !self.mode().contains(Mode::COUNTED) {
            return None;
        }
        let too_much = self.asm.label();
        self.asm.sub_memory_imm(CPU, frame::BUDGET, self.block.steps.len() as i32);
        self.asm.jump_if(Cond::Less, too_much);
        Some(too_much)
    }

    pub(super) fn leave_for_budget(&mut self, label: Label) {
        self.asm.bind(label);
        self.asm.add_memory_imm(CPU, frame::BUDGET, self.block.steps.len() as i32);
        self.set_pc(Exit::Direct(self.block.va.page_offset() as i64));
        self.go_to(Routine::Budget);
    }

    pub(super) fn terminal(&mut self) {
        match self.ir.terminal {
            Terminal::Stop => self.asm.trap(),
            Terminal::Jump(exit) => self.exit(exit),
            Terminal::Branch { condition, taken, otherwise, late_slot, is_likely } => {
                if late_slot.index() < self.ir.nodes.len() {
                    self.branch_before_slot(condition, [taken, otherwise], late_slot, is_likely);
                } else {
                    self.branch(condition, taken, otherwise);
                }
            }
        }
    }

    fn branch(&mut self, condition: Value, taken: Exit, otherwise: Exit) {
        let cond = self.flags(condition);
        if self.goes_back(taken) || !self.is_linkable(taken) {
            let not_taken = self.asm.label();
            self.asm.jump_if(cond.negate(), not_taken);
            self.exit(taken);
            self.asm.bind(not_taken);
        } else {
            let displacement = self.asm.patchable_jump_if(cond);
            self.add_link(displacement, taken);
        }
        self.exit(otherwise);
    }

    /// A branch whose slot runs after its condition was looked at: on the way to the first exit, and, if
    /// the branch is no likely one, once more on the way to the second.
    fn branch_before_slot(&mut self, condition: Value, exits: [Exit; 2], slot: Value, is_likely: bool) {
        let cond = self.flags(condition);
        let not_taken = self.asm.label();
        self.asm.jump_if(cond.negate(), not_taken);
        self.late_slot(slot);
        self.exit(exits[0]);
        self.asm.bind(not_taken);
        if is_likely {
            self.refund_slot();
        } else {
            self.late_slot(slot);
        }
        self.exit(exits[1]);
    }

    /// The nodes of a slot from `first` on. What an earlier copy of them kept is kept anew.
    fn late_slot(&mut self, first: Value) {
        let first = first.index();
        self.spilled[first..].fill(None);
        self.nodes(first, self.ir.nodes.len());
        self.mark(Part::End);
    }

    /// A nullified slot was paid for at the entry and did not run.
    fn refund_slot(&mut self) {
        if self.mode().contains(Mode::COUNTED) {
            self.asm.add_memory_imm(CPU, frame::BUDGET, 1);
        }
    }

    /// Whether `exit` may close a loop without passing the jump cache.
    fn goes_back(&self, exit: Exit) -> bool {
        match self.resolve(exit) {
            Exit::Direct(offset) => offset <= self.place.offset as i64,
            _ => false,
        }
    }

    /// A region-relative target is a constant where the page's address is.
    fn resolve(&self, exit: Exit) -> Exit {
        match exit {
            Exit::Region(offset) if !self.mode().contains(Mode::MAPPED) => {
                let target =
                    (self.block.va.0 + 4 * (self.block.steps.len() as u64 - 1)) & !0x0fff_ffff | offset;
                Exit::Direct(target.wrapping_sub(self.block.va.page().0) as i64)
            }
            _ => exit,
        }
    }

    /// Whether a jump to `exit` can be a link: inside the page, or anywhere from a page that has one
    /// virtual address to the same kind of page.
    fn is_linkable(&self, exit: Exit) -> bool {
        if self.slot_may_change_mode() {
            return false;
        }
        match self.resolve(exit) {
            Exit::Direct(offset) => {
                (0..PAGE_SIZE as i64).contains(&offset) || !self.mode().contains(Mode::MAPPED)
            }
            _ => false,
        }
    }

    /// Whether the delay slot has a stub after which another block may be the next: it cannot go there
    /// by itself, because the branch is not done.
    fn slot_may_change_mode(&self) -> bool {
        let last = self.block.steps.last();
        let actions = last.filter(|_| self.place.in_slot).map_or(&[][..], |step| step.plan.actions);
        actions.iter().any(|action| matches!(action, Action::Call(stub) if stub.may_change_mode()))
    }

    fn exit(&mut self, exit: Exit) {
        let exit = self.resolve(exit);
        if let Exit::Indirect(target) = exit {
            return match self.patched_target() {
                Some(va) => self.jump_to_one(target, va),
                None => self.indirect(target),
            };
        }
        if self.may_stay_in_page(exit) {
            self.stay_in_page(exit);
        }
        if !self.is_linkable(exit) {
            self.set_pc(exit);
            if !self.mode().contains(Mode::MAPPED) {
                return self.go_to(Routine::Dispatch);
            }
            self.asm.mov(reg::RCX, reg::RAX);
            return self.jump_by_cache();
        }
        self.link(exit);
    }

    /// Goes to `exit` by a link.
    fn link(&mut self, exit: Exit) {
        if self.goes_back(exit) {
            let alarm = self.defer(Slow::Alarm(exit), None);
            self.check_alarm(alarm);
        }
        if self.waits(exit) {
            let polled = self.defer(Slow::Polled(exit), None);
            self.asm.sub_memory_imm(CPU, frame::POLLS, 1);
            self.asm.jump_if(Cond::Less, polled);
            self.asm.pause();
        }
        let displacement = self.asm.patchable_jump();
        self.add_link(displacement, exit);
    }

    /// Whether the block, when it goes on at `exit`, is a loop that waits for another vCPU or a device to
    /// change memory.
    fn waits(&self, exit: Exit) -> bool {
        exit == Exit::Direct(self.block.va.page_offset() as i64)
            && !self.mode().contains(Mode::ALONE)
            && self.ir.only_looks()
    }

    /// Whether a region-relative jump of a mapped page probably stays in the page: it did where the block
    /// was decoded.
    fn may_stay_in_page(&self, exit: Exit) -> bool {
        match exit {
            Exit::Region(offset) => {
                let may_not = self.slot_may_change_mode() || self.block.has_far_slot();
                !may_not && !self.leaves_page(self.block.va.0, offset)
            }
            _ => false,
        }
    }

    fn leaves_page(&self, va: u64, region_offset: u64) -> bool {
        (va ^ region_offset) & PAGE_IN_REGION as u64 != 0
    }

    /// Goes to `exit` by a link if it is in the page that the block now runs in, whose mapping is then
    /// the block's own.
    fn stay_in_page(&mut self, exit: Exit) {
        let Exit::Region(offset) = exit else { return };
        let elsewhere = self.asm.label();
        self.asm.load(reg::RAX, CPU, frame::PC);
        self.asm.and32_imm(reg::RAX, PAGE_IN_REGION);
        self.asm.alu_imm(Alu::Cmp, reg::RAX, offset as i32 & PAGE_IN_REGION);
        self.asm.jump_if(Cond::NotEqual, elsewhere);
        self.link(Exit::Direct((offset & PAGE_OFFSET_MASK) as i64));
        self.asm.bind(elsewhere);
    }

    /// The one address that the block's jump by register has gone to. Only unmapped code has such jumps.
    fn patched_target(&self) -> Option<u64> {
        let jump = &self.block.steps[self.block.indirect_jump()?];
        match jump.nature {
            Nature::Target(va) if !self.slot_may_change_mode() => Some(va.0),
            _ => None,
        }
    }

    /// Jumps to `va` by a link if that is what `target` gives.
    fn jump_to_one(&mut self, target: Value, va: u64) {
        self.eval(target, reg::RCX, &[reg::RAX, reg::RDX]);
        let other = self.defer(Slow::Retarget, None);
        self.asm.alu_imm(Alu::Cmp, reg::RCX, va as i32);
        self.asm.jump_if(Cond::NotEqual, other);
        self.link(Exit::Direct(va.wrapping_sub(self.block.va.page().0) as i64));
    }

    fn check_alarm(&mut self, raised: Label) {
        self.asm.load(reg::RAX, CPU, frame::ALARM_ADDRESS);
        self.asm.cmp32_memory_imm(reg::RAX, offset_of!(Shared, alarm) as i32, 0);
        self.asm.jump_if(Cond::NotEqual, raised);
    }

    /// Jumps to the address that `target` gives. The look-up in the jump cache is inline, so that the
    /// host predicts each site by itself.
    fn indirect(&mut self, target: Value) {
        self.eval(target, reg::RCX, &[reg::RAX, reg::RDX]);
        self.asm.store(CPU, frame::PC, reg::RCX);
        self.jump_by_cache();
    }

    /// Jumps to the address in rcx, which is the program counter already.
    fn jump_by_cache(&mut self) {
        let miss = self.asm.label();
        self.asm.load(reg::RAX, CPU, frame::ALARM_ADDRESS);
        self.asm.cmp32_memory_imm(reg::RAX, offset_of!(Shared, alarm) as i32, 0);
        self.asm.jump_if(Cond::NotEqual, miss);
        emit_jump(&mut self.asm, miss);
        self.asm.bind(miss);
        self.go_to(Routine::Dispatch);
    }

    fn add_link(&mut self, displacement: usize, exit: Exit) {
        let index = self.links.len();
        self.links.push((displacement, exit));
        self.defer(Slow::Link(index), None);
    }

    /// What a link goes to while it is not joined.
    pub(super) fn link_stub(&mut self, index: usize) {
        let (displacement, exit) = self.links[index];
        let stub = self.asm.offset();
        self.set_pc(exit);
        let at = self.asm.placed_call();
        self.calls.push((at, Routine::Link));
        self.placed_links.push(Link { displacement, stub, return_offset: self.asm.offset() });
    }

    /// Sets the program counter to where `exit` goes. Changes rax.
    pub(super) fn set_pc(&mut self, exit: Exit) {
        match self.resolve(exit) {
            Exit::Direct(offset) if !self.mode().contains(Mode::MAPPED) => {
                let va = self.block.va.page().0.wrapping_add(offset as u64);
                self.set_constant_pc(va, reg::RAX);
            }
            Exit::Direct(offset) => {
                self.asm.load(reg::RAX, CPU, frame::PC);
                self.asm.alu_imm(Alu::And, reg::RAX, -(PAGE_SIZE as i32));
                self.asm.alu_imm(Alu::Add, reg::RAX, offset as i32);
                self.asm.store(CPU, frame::PC, reg::RAX);
            }
            Exit::Region(offset) => {
                self.eval_region(offset, reg::RAX);
                self.asm.store(CPU, frame::PC, reg::RAX);
            }
            Exit::Indirect(_) => unreachable!("an indirect exit sets the program counter itself"),
        }
    }

    /// Sets the program counter to a constant. May change `spare`.
    pub(super) fn set_constant_pc(&mut self, va: u64, spare: Reg) {
        if let Ok(short) = i32::try_from(va as i64) {
            self.asm.store_imm(CPU, frame::PC, short);
        } else {
            self.asm.mov_imm64(spare, va as i64);
            self.asm.store(CPU, frame::PC, spare);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::addr::{Pa, Va};
    use crate::block::{Block, Key};
    use crate::code::Routine;
    use crate::emit::{Pins, emit};
    use crate::ir;
    use crate::mode::Mode;
    use crate::model::MIPS64R2;

    const LOAD: u32 = 0x8c82_0000; // lw $v0, 0($a0)
    const MASK: u32 = 0x3042_0001; // andi $v0, $v0, 1
    const STEP: u32 = 0x2484_0004; // addiu $a0, $a0, 4
    const STORE: u32 = 0xac82_0004; // sw $v0, 4($a0)
    const SYNC: u32 = 0x0000_000f;
    const NOP: u32 = 0;

    /// Whether the loop of `body` and `bne $v0, $zero` has a way out for those that have looked often.
    fn leaves_for_looks(body: &[u32], slot: u32, mode: Mode) -> bool {
        let branch = 0x1440_0000 | (-(body.len() as i32 + 1)) as u32 & 0xffff;
        let words = [body, &[branch, slot]].concat();
        let va = Va(0xffff_ffff_8000_1000);
        let key = Key::new(va, Pa(0x1000), mode);
        let word = |index: usize| words.get(index).copied().unwrap_or(NOP);
        let block = Block::decode(key, va, &MIPS64R2, word, None);
        emit(&block, &ir::build(&block), &Pins::COMPILED)
            .calls
            .iter()
            .any(|(_, routine)| *routine == Routine::Polled)
    }

    #[test]
    fn loops_that_wait_for_memory_make_room_for_others() {
        let mode = Mode::empty();
        for waits in [&[LOAD][..], &[LOAD, MASK], &[LOAD, SYNC]] {
            assert!(leaves_for_looks(waits, NOP, mode), "{waits:x?}");
            assert!(!leaves_for_looks(waits, NOP, Mode::ALONE), "{waits:x?}");
            assert!(!leaves_for_looks(waits, STEP, mode), "{waits:x?}");
        }
        for works in [&[MASK][..], &[LOAD, STEP], &[LOAD, STORE], &[STEP, LOAD]] {
            assert!(!leaves_for_looks(works, NOP, mode), "{works:x?}");
        }
    }
}
