//! Random programs from the instruction table: rows are chosen by class, operands by the kinds and
//! roles of their slots. What it leaves out is in `exclusion`.

use translator::float::Format;
use translator::isa::operand::{Form, Operand, Role, Slot, Value};
use translator::isa::{Classes, Insn, Op, decode};

use crate::assemble::{constant, memory, one, word};
use crate::exclusion::{self, World};
use crate::operands::{Kind, Operands};
use crate::program::{DATA_DOUBLES, Initial, Program, Unit};

/// The families of rows, each with how many of a hundred instructions come from it in user mode and
/// in kernel mode.
const FAMILIES: [(Family, u64, u64); 6] = [
    (Family::Integer, 42, 34),
    (Family::Memory, 22, 22),
    (Family::Float, 20, 16),
    (Family::Branch, 12, 12),
    (Family::Trap, 2, 2),
    (Family::System, 2, 14),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Integer,
    Memory,
    Float,
    Branch,
    Trap,
    System,
}

impl Family {
    fn of(op: Op) -> Self {
        let classes = op.classes();
        if classes.has_delay_slot() {
            Family::Branch
        } else if classes
            .intersects(Classes::COP2 | Classes::PRIVILEGED | Classes::HYPERCALL | Classes::PAIRED)
        {
            Family::System
        } else if classes.intersects(Classes::LOAD | Classes::STORE) {
            Family::Memory
        } else if classes.contains(Classes::FPU) {
            Family::Float
        } else if classes.contains(Classes::TRAP) {
            Family::Trap
        } else {
            Family::Integer
        }
    }
}

/// The rows that programs of one world choose from.
pub struct Menu {
    world: World,
    /// Whether programs change their own code.
    patches: bool,
    families: Vec<(Vec<Op>, u64)>,
}

impl Menu {
    pub fn new(world: World) -> Self {
        let rows = |family| {
            let all = Op::ALL.iter().copied();
            let ops = all.filter(|op| Family::of(*op) == family && exclusion::excluded(*op, world).is_none());
            ops.collect()
        };
        let families = FAMILIES.iter().map(|(family, user, kernel)| {
            (rows(*family), if world == World::Kernel { *kernel } else { *user })
        });
        Self { world, patches: exclusion::patches(world), families: families.collect() }
    }

    /// The program of `seed`.
    pub fn program(&self, seed: u64) -> Program {
        self.generator(seed).program(seed)
    }

    /// `op` with operands, and a state to run it in.
    pub fn single(&self, op: Op, seed: u64) -> (Insn, Program) {
        let mut generator = self.generator(seed);
        (generator.instruction(op), generator.program(seed))
    }

    fn generator(&self, seed: u64) -> Generator<'_> {
        let mut random = Operands::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bf0_3635);
        let hostile = random.below(4) == 0;
        let first = 1 + random.below(29) as u8;
        let bases = [first, first + 1];
        let counter = if first > 15 { first - 3 } else { first + 5 };
        Generator { menu: self, random, hostile, bases, counter }
    }
}

struct Generator<'a> {
    menu: &'a Menu,
    random: Operands,
    /// Faults are wanted.
    hostile: bool,
    /// Registers that hold the data area's middle and are not written.
    bases: [u8; 2],
    /// The register that counts loops and is not otherwise written.
    counter: u8,
}

impl Generator<'_> {
    fn program(&mut self, seed: u64) -> Program {
        const ROOM_BEFORE_PAGE_END: u64 = 1000;
        let mut gpr = std::array::from_fn(|_| Initial::Number(self.integer()));
        gpr[0] = Initial::Number(0);
        for base in self.bases {
            gpr[usize::from(base)] = Initial::Data;
        }
        let length = 10 + self.random.below(50) as usize;
        Program {
            seed,
            gpr,
            hi: self.integer(),
            lo: self.integer(),
            fpr: std::array::from_fn(|_| self.raw_float()),
            fcsr: self.fcsr(),
            data: (0..DATA_DOUBLES).map(|_| self.datum()).collect(),
            start: self.random.below(ROOM_BEFORE_PAGE_END) as usize,
            units: self.units(length, true),
        }
    }

    fn units(&mut self, length: usize, loops: bool) -> Vec<Unit> {
        (0..length).map(|_| self.unit(loops)).collect()
    }

    fn unit(&mut self, loops: bool) -> Unit {
        match self.random.below(100) {
            0..3 if loops => self.loop_unit(),
            3..5 => Unit::Straight(self.linked_pair()),
            5..7 => Unit::Straight(self.float_control()),
            7 if self.menu.patches => self.patch(),
            8 if self.hostile && self.random.below(4) == 0 => Unit::Straight(self.wild_jump()),
            _ => match self.row() {
                op if op.classes().contains(Classes::JUMP) => self.jump(op),
                op if op.classes().has_delay_slot() => self.branch(op),
                op => Unit::Straight(self.straight(op)),
            },
        }
    }

    fn row(&mut self) -> Op {
        let mut ticket = self.random.below(100);
        for (ops, share) in &self.menu.families {
            if ticket < *share {
                return ops[self.random.below(ops.len() as u64) as usize];
            }
            ticket -= share;
        }
        Op::Nop
    }

    /// `op` with random operands, after what its operands need.
    fn straight(&mut self, op: Op) -> Vec<u32> {
        if matches!(op, Op::Sc | Op::Scd) {
            return self.linked_pair();
        }
        if self.is_deadly(op) && !self.hostile {
            return vec![Op::Nop.row().value];
        }
        let insn = self.instruction(op);
        let mut words = self.preparation(insn);
        words.push(insn.word);
        words
    }

    /// Whether the instruction nearly always ends the program.
    fn is_deadly(&mut self, op: Op) -> bool {
        let classes = op.classes();
        let privileged = classes.contains(Classes::PRIVILEGED) && self.menu.world != World::Kernel;
        let never_goes_on = privileged
            || classes.intersects(Classes::COP2 | Classes::HYPERCALL | Classes::PAIRED | Classes::END)
            || classes.contains(Classes::TRAP | Classes::SENSITIVE)
            || op == Op::Wait;
        let often_stops = classes.intersects(Classes::TRAP | Classes::OVERFLOW) || op == Op::Rdhwr;
        never_goes_on || often_stops && self.random.below(4) != 0
    }

    /// Instructions that give registers values which `insn` needs.
    fn preparation(&mut self, insn: Insn) -> Vec<u32> {
        let operands = insn.op.row().operands();
        if exclusion::wants_words(insn.op) {
            let reads = operands.iter().filter(|slot| is_gpr(slot) && slot.role == Role::Read);
            let registers = reads.map(|slot| one(slot.get(insn.word, 0).first));
            return registers.map(|register| word(Op::Sll, 0, &[register, register, one(0)])).collect();
        }
        if operands.iter().any(|slot| slot.kind == Operand::Indexed) && insn.op != Op::Prefx {
            let offset = self.offset(alignment(insn.op));
            return vec![word(Op::Addiu, 0, &[one(insn.rt()), one(0), one(offset)])];
        }
        Vec::new()
    }

    /// `op` with random operands that are allowed.
    fn instruction(&mut self, op: Op) -> Insn {
        loop {
            let mut word = op.row().value;
            for slot in op.row().operands() {
                word = self.fill(op, slot, word);
            }
            let Some(insn) = decode(word) else { continue };
            if exclusion::excluded_operands(insn, self.menu.world).is_none() {
                return insn;
            }
        }
    }

    fn fill(&mut self, op: Op, slot: &Slot, word: u32) -> u32 {
        let value = match slot.kind {
            Operand::Memory => self.memory_operand(op),
            Operand::Indexed => {
                let base = self.bases[self.random.below(2) as usize];
                Value { first: self.destination().into(), second: base.into() }
            }
            _ if is_gpr(slot) && slot.role != Role::Read => one(self.destination()),
            Operand::Signed => one(self.immediate() as i16),
            Operand::Unsigned => one(self.immediate()),
            Operand::FloatControl => one([25, 26, 28, 31][self.random.below(4) as usize]),
            _ => {
                let raw = slot.field.put(word, self.random.bits() as u32);
                return slot.second.put(
                    raw,
                    if is_two_part(slot) { self.random.bits() as u32 } else { slot.second.get(raw) },
                );
            }
        };
        slot.put(word, value, 0).expect("the value was chosen to fit")
    }

    /// A general register that a program may write.
    fn destination(&mut self) -> u8 {
        loop {
            let register = self.random.below(32) as u8;
            if !self.bases.contains(&register) && register != self.counter {
                return register;
            }
        }
    }

    fn memory_operand(&mut self, op: Op) -> Value {
        let align = alignment(op);
        let linked = matches!(op, Op::Sc | Op::Scd);
        let fault = self.hostile && !linked && self.random.below(16) == 0;
        if fault && self.random.below(2) == 0 {
            return memory(self.offset(align), 0);
        }
        let align = if fault { 1 } else { align };
        memory(self.offset(align), self.bases[self.random.below(2) as usize])
    }

    /// An offset in the data area from its middle. Few places are used, so that loads meet stores.
    fn offset(&mut self, align: u64) -> i64 {
        const HALF: i64 = DATA_DOUBLES as i64 * 4;
        let near = if self.random.below(4) == 0 { HALF as u64 * 2 } else { 64 };
        let offset = self.random.below(near) as i64 - near as i64 / 2;
        (offset & !(align as i64 - 1)).min(HALF - 8)
    }

    fn branch(&mut self, op: Op) -> Unit {
        let word = self.instruction(op).word;
        Unit::Branch { word, skip: self.skip(), slot: self.slot() }
    }

    fn jump(&mut self, op: Op) -> Unit {
        loop {
            let insn = self.instruction(op);
            if self.bases.contains(&insn.rs()) || insn.rs() == self.counter || insn.rs() == 0 {
                continue;
            }
            return Unit::Jump { word: insn.word, register: insn.rs(), skip: self.skip(), slot: self.slot() };
        }
    }

    /// A jump to where there is no code.
    fn wild_jump(&mut self) -> Vec<u32> {
        let nowhere = exclusion::nowhere(self.menu.world);
        let register = 1 + self.random.below(30) as u8;
        let mut words =
            constant(register, nowhere[self.random.below(nowhere.len() as u64) as usize]).to_vec();
        words.extend([word(Op::Jr, 0, &[one(register)]), self.slot()]);
        words
    }

    fn patch(&mut self) -> Unit {
        let word = self.slot();
        let address = self.nonzero_destination();
        let value = loop {
            let value = self.nonzero_destination();
            if value != address {
                break value;
            }
        };
        Unit::Patch { word, address, value, skip: self.skip() }
    }

    fn nonzero_destination(&mut self) -> u8 {
        loop {
            let register = self.destination();
            if register != 0 {
                return register;
            }
        }
    }

    fn skip(&mut self) -> usize {
        self.random.below(5) as usize
    }

    /// One instruction that may follow a branch.
    fn slot(&mut self) -> u32 {
        loop {
            let op = self.row();
            if op.classes().has_delay_slot() {
                continue;
            }
            let words = self.straight(op);
            let insn = decode(words[0]).expect("made from a row");
            if words.len() == 1 && exclusion::excluded_in_slot(insn).is_none() {
                return words[0];
            }
        }
    }

    fn loop_unit(&mut self) -> Unit {
        let length = 2 + self.random.below(8) as usize;
        let body = self.units(length, false);
        let backs = [Op::Bne, Op::Bnel, Op::Bgtz, Op::Bgtzl];
        let back = backs[self.random.below(4) as usize];
        let turns = 1 + self.random.below(12) as u8;
        Unit::Loop { counter: self.counter, turns, body, back, slot: self.slot() }
    }

    /// A load linked and a store conditional of the same width at the same address, with an
    /// instruction between them; other pairs are UNPREDICTABLE or always fail.
    fn linked_pair(&mut self) -> Vec<u32> {
        let (load, store) = if self.random.below(2) == 0 { (Op::Ll, Op::Sc) } else { (Op::Lld, Op::Scd) };
        let place = self.memory_operand(store);
        let (to, from) = (self.destination(), self.destination());
        let between = loop {
            let between = self.slot();
            if !decode(between).is_some_and(|insn| matches!(insn.op, Op::Ll | Op::Lld)) {
                break between;
            }
        };
        let load = word(load, 0, &[one(to), place]);
        vec![load, between, word(store, 0, &[one(from), place])]
    }

    /// Writes a view of FCSR by a register.
    fn float_control(&mut self) -> Vec<u32> {
        let register = self.nonzero_destination();
        const VIEWS: [(u8, u32); 4] = [(25, 0xff), (26, 0x0003_f07c), (28, 0x0000_0f83), (31, u32::MAX)];
        let (view, bits) = VIEWS[self.random.below(4) as usize];
        let value = (self.fcsr() & bits) as i32;
        let mut words = constant(register, i64::from(value) as u64).to_vec();
        words.push(word(Op::Ctc1, 0, &[one(register), one(view)]));
        words
    }

    /// A value for FCSR that does not raise an exception at once.
    fn fcsr(&mut self) -> u32 {
        const ENABLES: u32 = 0x1f << 7;
        const CAUSE: u32 = 0x3f << 12;
        let bits = self.random.bits() as u32 & exclusion::fcsr_mask(self.menu.world) & !CAUSE;
        let keep_enables = self.hostile && self.random.below(2) == 0;
        if keep_enables { bits } else { bits & !ENABLES }
    }

    fn integer(&mut self) -> u64 {
        const EDGES: [u64; 16] = [
            0,
            1,
            2,
            u64::MAX,
            0x7f,
            0x8000,
            0x7fff,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            0x1_0000_0000,
            0xffff_ffff_8000_0000,
            0xffff_ffff_7fff_ffff,
            0x7fff_ffff_ffff_ffff,
            0x8000_0000_0000_0000,
            0xffff_ffff_ffff_8000,
        ];
        match self.random.below(4) {
            0 => EDGES[self.random.below(EDGES.len() as u64) as usize],
            1 => self.random.triple(Kind::Long)[0],
            2 => self.random.bits() as i32 as u64,
            _ => self.random.bits(),
        }
    }

    fn immediate(&mut self) -> u16 {
        const EDGES: [u16; 6] = [0, 1, 0xffff, 0x7fff, 0x8000, 0xff];
        match self.random.below(3) {
            0 => EDGES[self.random.below(EDGES.len() as u64) as usize],
            _ => self.random.bits() as u16,
        }
    }

    /// A register image with a double, or singles in both halves.
    fn raw_float(&mut self) -> u64 {
        match self.random.below(2) {
            0 => self.random.float(Format::D),
            _ => self.random.float(Format::S) | self.random.float(Format::S) << 32,
        }
    }

    fn datum(&mut self) -> u64 {
        if self.random.below(2) == 0 { self.integer() } else { self.raw_float() }
    }
}

fn is_gpr(slot: &Slot) -> bool {
    slot.kind.form() == Form::Gpr
}

/// Whether the operand's second field is its own; that of an insert size is the position's.
fn is_two_part(slot: &Slot) -> bool {
    matches!(slot.kind, Operand::Cp0 | Operand::Hardware)
}

/// The alignment that a load or store needs, which its mnemonic says: byte, half, word or double,
/// but none for the left and right parts and those that clear the low bits.
fn alignment(op: Op) -> u64 {
    let name = op.row().name;
    let parts = ["lwl", "lwr", "ldl", "ldr", "swl", "swr", "sdl", "sdr", "luxc1", "suxc1"];
    match name {
        _ if parts.contains(&name) || !op.classes().intersects(Classes::LOAD | Classes::STORE) => 1,
        "ll" | "sc" => 4,
        "lld" | "scd" => 8,
        _ => match name.as_bytes()[1] {
            b'b' => 1,
            b'h' => 2,
            b'w' => 4,
            _ => 8,
        },
    }
}
