//! The roles of operands in the table against what instructions do: an instruction changes no register
//! that its row does not write, and its effect depends on none that its row does not read.

use translator::isa::operand::{Form, Operand, Role, Slot};
use translator::isa::{Classes, Insn, Op};

use crate::bare::Privilege;
use crate::exclusion::World;
use crate::generate::Menu;
use crate::image::Place;
use crate::program::{Initial, Program, Unit};
use crate::state::State;
use crate::{SETUPS, run_here};

const PROGRAMS_PER_ROW: u64 = 4;
const LINK: usize = 31;
/// What is changed in registers that an instruction should not read.
const NOISE: u64 = 0x0123_4567_89ab_cdef;

/// One of the two register files.
#[derive(Clone, Copy, PartialEq, Eq)]
enum File {
    General,
    Float,
}

fn file_of(slot: &Slot) -> Option<File> {
    match slot.kind.form() {
        Form::Gpr => Some(File::General),
        Form::Fpr => Some(File::Float),
        _ => None,
    }
}

/// Whether the row has the register as an operand that is not only of role `other`.
fn has_operand(insn: Insn, file: File, register: usize, other: Role) -> bool {
    let named = |slot: &Slot| {
        let is_it = slot.get(insn.word, 0).first as usize == register;
        file_of(slot) == Some(file) && slot.role != other && is_it
    };
    insn.op.row().operands().iter().any(named)
}

fn reads(insn: Insn, file: File, register: usize) -> bool {
    let is_address = |slot: &Slot| {
        let value = slot.get(insn.word, 0);
        let base = value.second as usize == register;
        match slot.kind {
            Operand::Memory => base,
            Operand::Indexed => base || value.first as usize == register,
            _ => false,
        }
    };
    let addresses = file == File::General && insn.op.row().operands().iter().any(is_address);
    has_operand(insn, file, register, Role::Write) || addresses
}

fn writes(insn: Insn, file: File, register: usize) -> bool {
    let links = insn.classes().contains(Classes::LINK | Classes::BRANCH) && register == LINK;
    has_operand(insn, file, register, Role::Read) || links && file == File::General
}

/// `program` with other values in all registers that `insn` should not read.
fn with_noise(insn: Insn, program: &Program) -> Program {
    let mut noisy = program.clone();
    for number in 1..32 {
        if let Initial::Number(value) = &mut noisy.gpr[number]
            && !reads(insn, File::General, number)
        {
            *value ^= NOISE;
        }
    }
    for number in 0..32 {
        if !reads(insn, File::Float, number) {
            noisy.fpr[number] ^= NOISE;
        }
    }
    noisy
}

/// The registers of a file that changed although the row does not say so.
fn written_unsaid(insn: Insn, program: &Program, place: Place, after: &State) -> Option<String> {
    let before = program.registers(place.middle_of_data());
    let general = (0..32).find(|n| after.gpr[*n] != before[*n] && !writes(insn, File::General, *n));
    let float = (0..32).find(|n| after.fpr[*n] != program.fpr[*n] && !writes(insn, File::Float, *n));
    general.map(|n| format!("writes ${n}")).or(float.map(|n| format!("writes $f{n}")))
}

/// What depends on the noise, given what the instruction leaves with and without it.
fn read_unsaid(insn: Insn, plain: &State, noisy: &State) -> Option<String> {
    let mut noisy = noisy.clone();
    for number in 0..32 {
        if !writes(insn, File::General, number) {
            noisy.gpr[number] = plain.gpr[number];
        }
        let kept = if writes(insn, File::Float, number) {
            // A word result leaves the upper half as it was.
            u64::from(noisy.fpr[number] as u32) | plain.fpr[number] & !u64::from(u32::MAX)
        } else {
            plain.fpr[number]
        };
        noisy.fpr[number] = kept;
    }
    let difference = plain.difference(&noisy);
    (!difference.is_empty()).then(|| format!("depends on a register that it does not read\n{difference}"))
}

fn complaint(menu: &Menu, privilege: Privilege, op: Op, seed: u64) -> Option<String> {
    let (insn, mut program) = menu.single(op, seed);
    program.units = vec![if op.classes().has_delay_slot() {
        Unit::Branch { word: insn.word, skip: 0, slot: Op::Nop.row().value }
    } else {
        Unit::Straight(vec![insn.word])
    }];
    let place = Place { base: privilege.base(), slot: 0 };
    let run = |program: &Program| run_here(SETUPS[0], privilege, std::slice::from_ref(program)).remove(0);
    let (plain, noisy) = (run(&program), run(&with_noise(insn, &program)));
    // What raises an exception writes nothing, and so seems to keep what it would have written.
    let went_on = plain.pc == place.end(&program);
    let read = if went_on { read_unsaid(insn, &plain, &noisy) } else { None };
    let found = written_unsaid(insn, &program, place, &plain).or(read)?;
    Some(format!("{}: {found}", op.row().name))
}

fn check_rows(world: World, privilege: Privilege, wanted: impl Fn(Classes) -> bool) {
    let menu = Menu::new(world);
    let ops = Op::ALL.iter().copied().filter(|op| wanted(op.classes()));
    let first_complaint = |op| (0..PROGRAMS_PER_ROW).find_map(|seed| complaint(&menu, privilege, op, seed));
    let found: Vec<String> = ops.filter_map(first_complaint).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn rows_name_the_registers_that_instructions_read_and_write() {
    check_rows(World::User, Privilege::User, |classes| {
        !classes.intersects(Classes::JUMP | Classes::PRIVILEGED)
    });
}

#[test]
fn privileged_rows_name_the_registers_that_instructions_read_and_write() {
    check_rows(World::Kernel, Privilege::Kernel, |classes| classes.contains(Classes::PRIVILEGED));
}
