//! From a block's steps to nodes: the translator's side of [`Machine`]. Constants fold here.

use std::convert::Infallible;

use super::{Exit, Home, Ir, Node, Route, Terminal, Value};
use crate::addr::PAGE_SIZE;
use crate::block::{Block, End, Step};
use crate::interp;
use crate::isa::{Classes, Insn, Op, Role};
use crate::machine::{Access, Binary, Machine, Raise, Special, Unary};
use crate::mode::Mode;
use crate::nature::Nature;
use crate::sem::{self, Target};
use crate::stub::Stub;

/// Translates `block` into nodes.
pub fn build(block: &Block) -> Ir {
    let mut builder = Builder {
        nodes: Vec::with_capacity(block.steps.len() * 6),
        mode: block.key.mode,
        page: block.va.page().0,
        offset: block.va.page_offset(),
        known: [None; 32],
        nature: Nature::Plain,
        fpu_checked: false,
    };
    let terminal = builder.run(block);
    Ir { nodes: builder.nodes, terminal }
}

struct Builder {
    nodes: Vec<Node>,
    mode: Mode,
    /// The virtual address of the block's page; a constant of the translation unless the mode has
    /// [`Mode::MAPPED`].
    page: u64,
    /// The page offset of the current instruction.
    offset: u64,
    /// General registers whose value is a known constant.
    known: [Option<u64>; 32],
    /// What the current instruction has shown to be.
    nature: Nature,
    /// Whether an earlier instruction of the block has found the FPU usable.
    fpu_checked: bool,
}

/// Nothing stops while nodes are built.
type Never<T> = Result<T, Infallible>;

impl Builder {
    fn run(&mut self, block: &Block) -> Terminal {
        let first = block.va.page_offset();
        let body = block.steps.len() - if block.ends_in_branch() { 2 } else { 0 };
        for (index, step) in block.steps[..body].iter().enumerate() {
            self.begin(first, index, false);
            self.step(step);
        }
        let after = (first + 4 * block.steps.len() as u64) as i64;
        match block.end {
            End::Branch | End::FarBranch => {
                self.branch(&block.steps[body], &block.steps[body + 1], first, body)
            }
            End::Next => Terminal::Jump(Exit::Direct(after)),
            End::Stop | End::Interpret => Terminal::Stop,
        }
    }

    fn begin(&mut self, first: u64, index: usize, in_slot: bool) {
        self.offset = first + 4 * index as u64;
        self.push(Node::Begin(index as u8, in_slot));
    }

    fn step(&mut self, step: &Step) {
        let mode = self.mode;
        self.nature = step.nature;
        let Ok(()) = match step.insn {
            Some(insn) if step.is_kept() => sem::execute(self, insn, mode),
            Some(insn) => sem::system::perform(self, insn, &step.plan, mode),
            None => self.raise(Raise::ReservedInstruction),
        };
    }

    /// A branch and its slot. Condition and target are read after the slot where the slot does not
    /// change them, because a comparison then fuses with its jump. A slot that does, and only computes,
    /// runs after the comparison, on either way; otherwise condition and target are kept.
    fn branch(&mut self, branch: &Step, slot: &Step, first: u64, index: usize) -> Terminal {
        let Some(insn) = branch.insn else { return Terminal::Stop };
        self.begin(first, index, false);
        let Ok(read) = sem::branch(self, insn);
        let taken = match read.target {
            Target::Relative(offset) => Exit::Direct(self.offset.wrapping_add(offset) as i64),
            Target::Region(offset) => Exit::Region(offset),
            Target::Register(value) => Exit::Indirect(value),
        };
        let otherwise = Exit::Direct(self.offset as i64 + 8);
        let likely = insn.classes().contains(Classes::LIKELY);
        let unsafe_to_wait = !likely && slot_changes_sources(insn, slot);
        let keep = |builder: &mut Self, value| {
            if !unsafe_to_wait {
                return value;
            }
            builder.push(Node::Keep(value));
            builder.push(Node::Kept)
        };
        match (read.condition, taken) {
            (None, Exit::Indirect(target)) => {
                let target = keep(self, target);
                self.slot(slot, first, index + 1);
                Terminal::Jump(Exit::Indirect(target))
            }
            (None, _) => {
                self.slot(slot, first, index + 1);
                Terminal::Jump(taken)
            }
            (Some(condition), _) => {
                let is_late = likely || unsafe_to_wait && slot_only_computes(slot);
                let condition = if is_late { condition } else { keep(self, condition) };
                let before_slot = Value(self.nodes.len() as u16);
                self.slot(slot, first, index + 1);
                let end = Value(self.nodes.len() as u16);
                let late_slot = if is_late { before_slot } else { end };
                Terminal::Branch { condition, taken, otherwise, late_slot, is_likely: likely }
            }
        }
    }

    fn slot(&mut self, slot: &Step, first: u64, index: usize) {
        self.begin(first, index, true);
        if self.offset == PAGE_SIZE {
            let address = self.page_relative(PAGE_SIZE);
            self.push(Node::CheckSlot(address, slot.word));
        }
        self.step(slot);
    }

    fn push(&mut self, node: Node) -> Value {
        self.nodes.push(node);
        Value((self.nodes.len() - 1) as u16)
    }

    fn as_constant(&self, value: Value) -> Option<u64> {
        match self.nodes[value.index()] {
            Node::Constant(c) => Some(c),
            _ => None,
        }
    }

    /// Page-relative addresses are constants where the page has one virtual address.
    fn page_relative(&mut self, offset: u64) -> Value {
        if self.mode.contains(Mode::MAPPED) {
            self.push(Node::Page(offset))
        } else {
            self.constant(self.page.wrapping_add(offset))
        }
    }

    /// Values of nodes that have effects are used once, or they lose their register; see `emit`.
    fn identity(&self, op: Binary, a: Value, b: Value) -> Option<Value> {
        let zero = |v| self.as_constant(v) == Some(0);
        match op {
            Binary::Add | Binary::Or | Binary::Xor if zero(b) => Some(a),
            Binary::Add | Binary::Or | Binary::Xor if zero(a) => Some(b),
            Binary::Sub | Binary::Shl | Binary::Shr | Binary::Sar if zero(b) => Some(a),
            _ => None,
        }
    }
}

/// Whether all that `slot` does is to compute values of registers.
fn slot_only_computes(slot: &Step) -> bool {
    const MORE: Classes = Classes::SENSITIVE
        .union(Classes::LOAD)
        .union(Classes::STORE)
        .union(Classes::TRAP)
        .union(Classes::OVERFLOW)
        .union(Classes::FPU);
    slot.is_kept() && slot.insn.is_some_and(|insn| !insn.classes().intersects(MORE))
}

/// Whether `slot` may change what `branch` reads, or does something whose outcome the branch must not
/// see early.
fn slot_changes_sources(branch: Insn, slot: &Step) -> bool {
    let Some(slot_insn) = slot.insn else { return false };
    if branch.classes().contains(Classes::FPU) {
        let slot_classes = slot_insn.classes();
        return slot_classes.contains(Classes::COMPARE) || slot_insn.op == Op::Ctc1;
    }
    let written = slot_insn.op.row().operands().iter().filter(|s| s.role != Role::Read);
    let mut written = written.map(|s| s.get(slot_insn.word, 0).first);
    let reads = [i64::from(branch.rs()), i64::from(branch.rt())];
    written.any(|register| reads.contains(&register))
}

impl Machine for Builder {
    type Val = Value;
    type Stop = Infallible;

    fn constant(&mut self, value: u64) -> Value {
        self.push(Node::Constant(value))
    }

    fn pc_relative(&mut self, offset: u64) -> Value {
        self.page_relative(self.offset.wrapping_add(offset))
    }

    fn region_relative(&mut self, offset: u64) -> Value {
        self.push(Node::Region(offset))
    }

    fn gpr(&mut self, r: u8) -> Value {
        match self.known[r as usize & 31] {
            _ if r == 0 => self.constant(0),
            Some(value) => self.constant(value),
            None => self.push(Node::Read(Home::Gpr(r))),
        }
    }

    fn set_gpr(&mut self, r: u8, value: Value) {
        if r == 0 {
            return;
        }
        self.known[r as usize & 31] = self.as_constant(value);
        self.push(Node::Write(Home::Gpr(r), value));
    }

    fn special(&mut self, s: Special) -> Value {
        self.push(Node::Read(Home::Special(s)))
    }

    fn set_special(&mut self, s: Special, value: Value) {
        self.push(Node::Write(Home::Special(s), value));
    }

    fn fpr_low(&mut self, r: u8) -> Value {
        self.push(Node::Read(Home::FprLow(r)))
    }

    fn set_fpr_low(&mut self, r: u8, value: Value) {
        self.push(Node::Write(Home::FprLow(r), value));
    }

    fn condition(&mut self, cc: u8) -> Value {
        self.push(Node::Read(Home::Condition(cc)))
    }

    fn unary(&mut self, op: Unary, a: Value) -> Value {
        match self.as_constant(a) {
            Some(a) => self.constant(interp::unary(op, a)),
            None => self.push(Node::Unary(op, a)),
        }
    }

    fn binary(&mut self, op: Binary, a: Value, b: Value) -> Value {
        if let (Some(a), Some(b)) = (self.as_constant(a), self.as_constant(b)) {
            return self.constant(interp::binary(op, a, b));
        }
        if let Some(same) = self.identity(op, a, b) {
            return same;
        }
        if matches!(op, Binary::Shl32 | Binary::Shr32 | Binary::Sar32) && self.as_constant(b) == Some(0) {
            // What compilers write to make a word of a doubleword.
            return self.unary(Unary::SignExtend32, a);
        }
        self.push(Node::Binary(op, a, b))
    }

    fn select(&mut self, condition: Value, a: Value, b: Value) -> Value {
        match self.as_constant(condition) {
            Some(0) => b,
            Some(_) => a,
            None => self.push(Node::Select(condition, a, b)),
        }
    }

    fn load(&mut self, access: Access, address: Value) -> Never<Value> {
        match self.nature {
            Nature::Device => {
                let none = self.constant(0);
                self.stub(Stub::DeviceLoad, [address, none], access as u32)
            }
            Nature::Window(window) => Ok(self.push(Node::Load(access, address, Route::Window(window)))),
            _ => Ok(self.push(Node::Load(access, address, Route::Soft))),
        }
    }

    fn load_for_store(&mut self, access: Access, address: Value) -> Never<Value> {
        Ok(self.push(Node::Load(access, address, Route::ForStore)))
    }

    fn store(&mut self, access: Access, address: Value, value: Value) -> Never<()> {
        if self.nature == Nature::Device {
            return self.stub(Stub::DeviceStore, [address, value], access as u32).map(drop);
        }
        self.push(Node::Store(access, address, value));
        Ok(())
    }

    fn load_linked(&mut self, access: Access, address: Value) -> Never<Value> {
        Ok(self.push(Node::LoadLinked(access, address)))
    }

    fn store_conditional(&mut self, access: Access, address: Value, value: Value) -> Never<Value> {
        Ok(self.push(Node::StoreConditional(access, address, value)))
    }

    fn raise_if(&mut self, condition: Value, what: Raise) -> Never<()> {
        match self.as_constant(condition) {
            Some(0) => {}
            Some(_) => drop(self.push(Node::Raise(what))),
            None => drop(self.push(Node::RaiseIf(condition, what))),
        }
        Ok(())
    }

    fn raise(&mut self, what: Raise) -> Never<()> {
        self.push(Node::Raise(what));
        Ok(())
    }

    fn need_fpu(&mut self) -> Never<()> {
        if !self.fpu_checked {
            self.push(Node::NeedFpu);
            self.fpu_checked = true;
        }
        Ok(())
    }

    fn float(&mut self, op: Op, operands: [Value; 3]) -> Never<Value> {
        Ok(self.push(Node::Float(op, operands)))
    }

    fn set_condition(&mut self, cc: u8, value: Value) {
        self.push(Node::Write(Home::Condition(cc), value));
    }

    /// After a stub that may change Status, the FPU must be looked at again.
    fn stub(&mut self, stub: Stub, args: [Value; 2], immediate: u32) -> Never<Value> {
        if matches!(stub, Stub::WriteCp0 | Stub::WriteFloatControl) {
            self.fpu_checked = false;
        }
        Ok(self.push(Node::Stub(stub, args, immediate)))
    }

    fn fence(&mut self) {
        self.push(Node::Fence);
    }

    fn check_interrupts(&mut self) -> Never<()> {
        self.push(Node::CheckInterrupts);
        Ok(())
    }
}
