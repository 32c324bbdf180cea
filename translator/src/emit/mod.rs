//! From nodes to x86-64. The straight path of a block comes first; slow paths, links and the stale
//! entry are queued as data and follow it. The guest state is exact in its homes whenever anything is
//! called or left, so nothing is ever rolled back.

pub(crate) mod asm;
mod end;
mod float;
pub mod frame;
mod linked;
mod memory;
mod near;
mod pins;
mod routines;
mod uses;
mod value;

pub use routines::{Routines, routines};

use crate::block::Block;
use crate::code::{Code, Link, Part, Routine};
use crate::cpu::SPILL_SLOTS;
use crate::ir::{Exit, Home, Ir, Node, Route, Terminal, Value};
use crate::isa::Insn;
use crate::machine::{Access, Raise};
use crate::mode::Mode;
use crate::stub::{GUARDED, Stub};
use asm::{Asm, Cond, Label, Reg, Xmm, reg};
use frame::CPU;
use near::{Near, Nearness};
pub use pins::Pins;
use uses::Uses;

/// Where in its block an instruction is, as generated code tells a stub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The page offset of the instruction: 4096 for a delay slot on the next page.
    pub offset: u64,
    /// Whether it is in a delay slot.
    pub in_slot: bool,
    /// How many steps of the block come before it.
    pub index: u32,
    /// How many steps of the block come after it.
    pub remaining: u32,
}

impl Place {
    const SLOT: u32 = 1 << 13;
    const INDEX_SHIFT: u32 = 16;
    const REMAINING_SHIFT: u32 = 24;
    /// Both numbers are less than [`MAX_INSNS`](crate::block::MAX_INSNS).
    const COUNT: u32 = 0x7f;

    /// The place as one number.
    pub const fn pack(self) -> u32 {
        let slot = if self.in_slot { Self::SLOT } else { 0 };
        self.offset as u32 | slot | self.index << Self::INDEX_SHIFT | self.remaining << Self::REMAINING_SHIFT
    }

    /// The place that [`Place::pack`] made `number` of.
    pub const fn unpack(number: u32) -> Place {
        Place {
            offset: (number & (Self::SLOT - 1)) as u64,
            in_slot: number & Self::SLOT != 0,
            index: number >> Self::INDEX_SHIFT & Self::COUNT,
            remaining: number >> Self::REMAINING_SHIFT & Self::COUNT,
        }
    }
}

/// What a slow path does before it goes back.
#[derive(Clone, Copy, Debug)]
enum Slow {
    /// A load.
    Load { access: Access, address: Reg, route: Route, to: Destination },
    /// A store.
    Store { access: Access, address: Reg, value: Value },
    /// A load linked.
    LoadLinked { access: Access, address: Reg, to: Destination },
    /// A store conditional, whose outcome goes to `to`.
    StoreConditional { access: Access, address: Reg, value: Value, to: Destination },
    /// A load whose group is not in one page that the soft TLB has.
    LoadApart { access: Access, near: Near, base: Reg, route: Route, to: Destination },
    /// A store whose group is not in one page that the soft TLB has.
    StoreApart { access: Access, near: Near, base: Reg, value: Value },
    /// Raise an exception.
    Raise(Raise),
    /// A floating-point instruction by the exact rules.
    Float { word: u32 },
    /// The FPU is not usable, or not the host's.
    NeedFpu,
    /// The soft TLB does not have the delay slot on the next page, or that is another word.
    CheckSlot { address: Reg, word: u32 },
    /// An interrupt is pending.
    Interrupt,
    /// Memory differs from the block's bytes.
    Recheck,
    /// The target in rcx is not the one that the jump was patched for.
    Retarget,
    /// The alarm is raised on the way to an address.
    Alarm(Exit),
    /// The block has waited for memory to change for a while, and is to go on at an address.
    Polled(Exit),
    /// A link that is not joined.
    Link(usize),
}

/// A slow path to be emitted after the straight one.
#[derive(Clone, Copy, Debug)]
struct Deferred {
    slow: Slow,
    place: Place,
    entry: Label,
    back: Option<Label>,
}

/// Where the result of a node with effects goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Destination {
    /// A host register that is a guest register's home.
    Pin(Reg),
    /// A home in memory, by its offset, and whether only the low word is written.
    Memory(i32, bool),
    /// Nowhere.
    Nowhere,
}

impl Destination {
    /// The host register that a result for here is best computed in.
    const fn register(self) -> Reg {
        match self {
            Destination::Pin(pin) => pin,
            _ => reg::RAX,
        }
    }
}

struct Emitter<'a> {
    asm: Asm,
    ir: &'a Ir,
    block: &'a Block,
    pins: &'a Pins,
    uses: Uses,
    nearness: Nearness,
    /// The spill slot of each node that has one.
    spilled: Vec<Option<u8>>,
    next_spill: usize,
    place: Place,
    step: usize,
    deferred: Vec<Deferred>,
    calls: Vec<(usize, Routine)>,
    links: Vec<(usize, Exit)>,
    placed_links: Vec<Link>,
    counter: Option<usize>,
    parts: Vec<(usize, Part)>,
}

/// Translates the nodes of `block` to host code for a machine whose blocks and routines all have `pins`.
pub fn emit(block: &Block, ir: &Ir, pins: &Pins) -> Code {
    let emitter = Emitter {
        asm: Asm::new(),
        ir,
        block,
        pins,
        uses: Uses::new(ir),
        nearness: Nearness::new(ir, straight_end(ir)),
        spilled: vec![None; ir.nodes.len()],
        next_spill: 0,
        place: Place { offset: block.va.page_offset(), in_slot: false, index: 0, remaining: 0 },
        step: 0,
        deferred: Vec::new(),
        calls: Vec::new(),
        links: Vec::new(),
        placed_links: Vec::new(),
        counter: None,
        parts: Vec::with_capacity(block.steps.len() + 4),
    };
    emitter.run()
}

impl Emitter<'_> {
    fn run(mut self) -> Code {
        self.mark(Part::Entry);
        self.asm.jump_space();
        let body = self.asm.offset();
        self.check_bytes();
        let budget = self.enter();
        self.nodes(0, straight_end(self.ir));
        self.mark(Part::End);
        self.terminal();
        if let Some(label) = budget {
            self.mark(Part::Budget);
            self.leave_for_budget(label);
        }
        self.slow_paths();
        self.mark(Part::Stale);
        let stale = self.asm.offset();
        self.set_pc(Exit::Direct(self.block.va.page_offset() as i64));
        self.go_to(Routine::Miss);
        Code {
            calls: self.calls,
            links: self.placed_links,
            body,
            stale,
            counter: self.counter,
            parts: self.parts,
            bytes: self.asm.finish(),
        }
    }

    /// What is emitted next is for `part`.
    fn mark(&mut self, part: Part) {
        self.parts.push((self.asm.offset(), part));
    }

    /// Emits the nodes with effects among those from `from` to `to`, and the pure ones that must be
    /// computed before their registers change.
    fn nodes(&mut self, from: usize, to: usize) {
        let mut index = from;
        while index < to {
            index = self.node(index, to);
        }
    }

    /// Emits node `index` and gives the number of the next to emit.
    fn node(&mut self, index: usize, to: usize) -> usize {
        let value = Value(index as u16);
        match self.ir.nodes[index] {
            Node::Begin(step, in_slot) => self.begin(step as usize, in_slot),
            Node::Write(home, source) => self.write(home, source),
            Node::Load(access, address, route) => return self.load(index, access, address, route),
            Node::Store(access, address, source) => self.store(index, access, address, source),
            Node::LoadLinked(access, address) => return self.load_linked(index, access, address),
            Node::StoreConditional(access, address, source) => {
                return self.store_conditional(index, access, address, source);
            }
            Node::RaiseIf(condition, what) => {
                let cond = self.flags(condition);
                let entry = self.defer(Slow::Raise(what), None);
                self.asm.jump_if(cond, entry);
            }
            Node::Raise(what) => self.raise(what),
            Node::NeedFpu => {
                let entry = self.defer(Slow::NeedFpu, None);
                self.asm.cmp32_memory_imm(CPU, frame::FLOAT_STATE, 0);
                self.asm.jump_if(Cond::NotEqual, entry);
            }
            Node::Float(op, operands) => return self.float(index, to, op, operands),
            Node::Stub(stub, args, immediate) => return self.stub(index, stub, args, immediate),
            Node::CheckSlot(address, word) => self.check_slot(address, word),
            Node::Fence => self.asm.barrier(),
            Node::CheckInterrupts => self.check_interrupts(),
            Node::Keep(source) => {
                self.eval(source, reg::RAX, &[reg::RCX, reg::RDX]);
                self.asm.store(CPU, frame::KEPT, reg::RAX);
            }
            _ if self.uses.must_be_kept(value) => self.spill(value),
            _ => {}
        }
        index + 1
    }

    fn begin(&mut self, step: usize, in_slot: bool) {
        self.mark(Part::Step(step));
        self.step = step;
        self.place = Place {
            offset: self.block.va.page_offset() + 4 * step as u64,
            in_slot,
            index: step as u32,
            remaining: (self.block.steps.len() - 1 - step) as u32,
        };
    }

    /// The instruction that the current step is.
    fn insn(&self) -> Option<Insn> {
        self.block.steps[self.step].insn
    }

    fn mode(&self) -> Mode {
        self.block.key.mode
    }

    fn spill_slot(&mut self, value: Value) -> i32 {
        let slot = self.next_spill;
        self.next_spill = (slot + 1) % SPILL_SLOTS;
        self.spilled[value.index()] = Some(slot as u8);
        frame::spill(slot)
    }

    /// Computes a pure node now, because what it reads changes before it is used.
    fn spill(&mut self, value: Value) {
        self.eval(value, reg::RAX, &[reg::RCX, reg::RDX]);
        let offset = self.spill_slot(value);
        self.asm.store(CPU, offset, reg::RAX);
    }

    /// The destination of node `index`, and the number of the node after it. If the next node with an
    /// effect writes the value, and nothing else uses it, the write is done with the node.
    fn destination(&mut self, index: usize) -> (Destination, usize) {
        let value = Value(index as u16);
        let count = self.uses.count(value);
        if count == 0 {
            return (Destination::Nowhere, index + 1);
        }
        let next = index + 1;
        if let (1, Some(Node::Write(home, source))) = (count, self.ir.nodes.get(next))
            && *source == value
            && let Some(to) = self.direct_destination(*home)
        {
            return (to, next + 1);
        }
        (Destination::Memory(self.spill_slot(value), false), next)
    }

    /// Where a result can be written without a further computation.
    fn direct_destination(&self, home: Home) -> Option<Destination> {
        match home {
            Home::Gpr(r) => {
                Some(self.pins.host(r).map_or(Destination::Memory(frame::gpr(r), false), Destination::Pin))
            }
            Home::FprLow(r) => Some(Destination::Memory(frame::fpr(r), true)),
            Home::Condition(_) => None,
            Home::Special(_) => frame::field(home).map(|offset| Destination::Memory(offset, false)),
        }
    }

    /// Moves the result in `from` to its destination.
    fn deliver(&mut self, from: Reg, to: Destination) {
        match to {
            Destination::Pin(pin) => self.asm.mov(pin, from),
            Destination::Memory(offset, false) => {
                self.asm.store(CPU, offset, from);
                if from == reg::RAX {
                    self.hold(offset);
                }
            }
            Destination::Memory(offset, true) => self.asm.store32(CPU, offset, from),
            Destination::Nowhere => {}
        }
    }

    fn stub(&mut self, index: usize, stub: Stub, args: [Value; 2], immediate: u32) -> usize {
        self.arguments(args);
        let (to, next) = self.destination(index);
        self.call_stub(stub, immediate, self.place);
        self.deliver(reg::RAX, to);
        next
    }

    /// Puts arguments into rax and rdx.
    fn arguments(&mut self, [first, second]: [Value; 2]) {
        self.eval(second, reg::RDX, &[reg::RAX, reg::RCX]);
        self.eval(first, reg::RAX, &[reg::RCX]);
    }

    /// Calls a stub whose arguments are in rax and rdx.
    fn call_stub(&mut self, stub: Stub, immediate: u32, place: Place) {
        if !self.mode().contains(Mode::MAPPED) {
            self.set_constant_pc(self.block.va.page().0, reg::RCX);
        }
        self.asm.store32_imm(CPU, frame::PLACE, place.pack() as i32);
        self.asm.mov_imm32(reg::RCX, immediate as i32);
        let at = self.asm.placed_call();
        self.calls.push((at, Routine::Stub(stub)));
    }

    fn raise(&mut self, what: Raise) {
        self.call_stub(Stub::Raise, what as u32, self.place);
        self.asm.trap();
    }

    /// Queues a slow path and gives the label of its entry.
    fn defer(&mut self, slow: Slow, back: Option<Label>) -> Label {
        let entry = self.asm.label();
        self.deferred.push(Deferred { slow, place: self.place, entry, back });
        entry
    }

    fn go_to(&mut self, routine: Routine) {
        let at = self.asm.placed_jump();
        self.calls.push((at, routine));
    }

    fn slow_paths(&mut self) {
        let mut done = 0;
        while done < self.deferred.len() {
            let deferred = self.deferred[done];
            done += 1;
            self.mark(match deferred.slow {
                Slow::Link(index) => Part::Link(self.links[index].1),
                _ => Part::Slow(self.block.steps.len() - 1 - deferred.place.remaining as usize),
            });
            self.asm.bind(deferred.entry);
            self.place = deferred.place;
            self.slow_path(deferred);
            self.asm.release();
            if let Some(back) = deferred.back {
                self.asm.jump(back);
            }
        }
    }

    fn slow_path(&mut self, Deferred { slow, place, back, .. }: Deferred) {
        match slow {
            Slow::LoadApart { access, near, base, route, to } => {
                self.load_apart(access, near, base, route, to, back);
            }
            Slow::StoreApart { access, near, base, value } => {
                self.store_apart(access, near, base, value, back);
            }
            Slow::Load { access, address, route, to } => {
                self.asm.mov(reg::RAX, address);
                let (stub, guarded) = match route {
                    Route::Soft => (Stub::Load, 0),
                    Route::ForStore => (Stub::LoadForStore, 0),
                    Route::Window(_) => (Stub::Load, GUARDED),
                };
                self.call_stub(stub, access as u32 | guarded, place);
                self.deliver(reg::RAX, to);
            }
            Slow::Store { access, address, value } => {
                self.asm.mov(reg::RAX, address);
                self.move_operand(value, reg::RDX);
                self.call_stub(Stub::Store, access as u32, place);
            }
            Slow::LoadLinked { access, address, to } => {
                self.asm.mov(reg::RAX, address);
                self.call_stub(Stub::LoadLinked, access as u32, place);
                self.deliver(reg::RAX, to);
            }
            Slow::StoreConditional { access, address, value, to } => {
                self.asm.mov(reg::RAX, address);
                self.move_operand(value, reg::RDX);
                self.call_stub(Stub::StoreConditional, access as u32, place);
                self.deliver(reg::RAX, to);
            }
            Slow::Raise(what) => {
                self.call_stub(Stub::Raise, what as u32, place);
                self.asm.trap();
            }
            Slow::Float { word } => self.call_stub(Stub::Float, word, place),
            Slow::NeedFpu => {
                self.call_stub(Stub::NeedFpu, 0, place);
                self.asm.trap();
            }
            Slow::CheckSlot { address, word } => {
                self.asm.mov(reg::RAX, address);
                self.call_stub(Stub::CheckSlot, word, place);
            }
            Slow::Interrupt => self.call_stub(Stub::Interrupt, 0, place),
            Slow::Recheck => {
                self.call_stub(Stub::Recheck, 0, place);
                self.asm.trap();
            }
            Slow::Retarget => {
                self.asm.mov(reg::RAX, reg::RCX);
                self.call_stub(Stub::Retarget, 0, place);
                self.asm.trap();
            }
            Slow::Alarm(exit) => {
                self.set_pc(exit);
                self.go_to(Routine::Alarm);
            }
            Slow::Polled(exit) => {
                self.set_pc(exit);
                self.go_to(Routine::Polled);
            }
            Slow::Link(index) => self.link_stub(index),
        }
    }
}

/// The number of the first node of a late slot, or of the one after the last.
fn straight_end(ir: &Ir) -> usize {
    match ir.terminal {
        Terminal::Branch { late_slot, .. } => late_slot.index(),
        _ => ir.nodes.len(),
    }
}

/// The vector registers that floating-point sequences use.
const XMM0: Xmm = Xmm(0);
const XMM1: Xmm = Xmm(1);
