//! The plan of each sensitive instruction in each mode: `plans.txt`, a line each.

use translator::cp0::{Cp0, HARDWARE_USER_LOCAL, Status};
use translator::isa::{Classes, Insn, Op};
use translator::mode::Mode;
use translator::model::MIPS64R2;
use translator::patch::plan;

/// The modes as Status gives them.
fn modes() -> [(&'static str, Mode); 4] {
    let wide = Status::KX | Status::SX | Status::UX | Status::FR;
    let mode = |status| Mode::empty().with_status(wide | status);
    [
        ("kernel", mode(Status::empty())),
        ("exl", mode(Status::EXL | Status::KSU_USER)),
        ("user", mode(Status::KSU_USER)),
        ("user+cu0", mode(Status::KSU_USER | Status::CU0)),
    ]
}

/// The words that stand for an instruction: for a barrier, one a type that the manual names; for RDHWR, one for the
/// CPU's number and one for UserLocal; for moves to and from coprocessor 0, one a register and one for a register that
/// does not exist.
fn words(op: Op) -> Vec<(String, u32)> {
    const BARRIERS: [u32; 6] = [0x00, 0x04, 0x10, 0x11, 0x12, 0x13];
    let row = op.row();
    if op == Op::Sync {
        return BARRIERS.map(|stype| (format!("{} {stype:#x}", row.name), row.value | stype << 6)).into();
    }
    if op == Op::Rdhwr {
        let word =
            |register: u8| (format!("{} ${register}", row.name), row.value | u32::from(register) << 11);
        return vec![word(0), word(HARDWARE_USER_LOCAL)];
    }
    if !matches!(op, Op::Mfc0 | Op::Dmfc0 | Op::Mtc0 | Op::Dmtc0) {
        return vec![(row.name.to_owned(), row.value)];
    }
    let registers = Cp0::ALL.iter().map(|r| (r.row().name, r.row().number, r.row().select));
    let words = registers.chain([("none", 31, 1)]).map(|(name, number, select)| {
        let word = row.value | u32::from(number) << 11 | u32::from(select);
        (format!("{} {name}", row.name), word)
    });
    words.collect()
}

#[test]
fn plans_are_as_written() {
    let mut text = String::new();
    for op in Op::ALL.iter().filter(|op| op.classes().contains(Classes::SENSITIVE)) {
        for (name, word) in words(*op) {
            for (mode_name, mode) in modes() {
                let plan = plan(Insn { op: *op, word }, &MIPS64R2, mode);
                let actions: Vec<String> = plan.actions.iter().map(ToString::to_string).collect();
                let (kind, actions) = (plan.kind().name(), actions.join(", "));
                text.push_str(&format!("{name:18} {mode_name:9} {kind:12} {actions:32} {}\n", plan.reason));
            }
        }
    }
    crate::check(&crate::folder().join("plans.txt"), &text);
}
