//! Against QEMU: results and FCSR, bit for bit, but for the deviations that each test names.

use translator::float::{Control, Exceptions, Fcsr, Format, RoundingMode, Rules};

use crate::instructions::{self, Instruction};
use crate::operands::{Kind, Operands};
use crate::program::{self, Outcome, Record};

const RECORDS_PER_MODE: usize = 4000;
/// Signals take their time.
const TRAPPING_RECORDS_PER_MODE: usize = 400;

const ENABLES: u32 = 0x1f << 7;
const UNIMPLEMENTED: u32 = 1 << 17;

/// Records in all rounding modes. `fixed` are the bits of FCSR that all have; Flags, Cause and
/// condition codes are random, so that a test sees what becomes of them.
fn records(takes: Kind, seed: u64, per_mode: usize, fixed: u32, random: u32) -> Vec<Record> {
    let mut operands = Operands::new(seed);
    let modes = (0..RoundingMode::ALL.len() as u32).flat_map(|mode| std::iter::repeat_n(mode, per_mode));
    modes
        .map(|mode| {
            let noise =
                operands.bits() as u32 & random & !(UNIMPLEMENTED | Fcsr::FLUSH | Fcsr::ROUNDING_MODE);
            // A Cause bit with its Enable would already trap in CTC1.
            let trapping = (noise & ENABLES) << 5;
            Record { operands: operands.triple(takes), fcsr: noise & !trapping | fixed | mode }
        })
        .collect()
}

fn ours(rules: &Rules, instruction: &Instruction, record: &Record) -> Outcome {
    let mut fcsr = rules.reset();
    fcsr.write(Control::Status, record.fcsr, rules).expect("no trap before the instruction");
    let result = (instruction.meaning)(&mut fcsr, record.operands);
    Outcome { result: result.unwrap_or(0), fcsr: fcsr.0, trapped: result.is_err() }
}

/// Runs all records and reports where `agree(record, ours, theirs)` does not hold.
fn compare(
    rules: &Rules,
    instruction: &Instruction,
    records: &[Record],
    agree: impl Fn(&Record, &Outcome, &Outcome) -> bool,
) -> usize {
    let theirs = program::run(rules, instruction.word, records);
    let mut failures = Vec::new();
    for (record, theirs) in records.iter().zip(theirs) {
        let ours = ours(rules, instruction, record);
        let theirs = Outcome { result: theirs.result & instruction.result, ..theirs };
        if !agree(record, &ours, &theirs) {
            failures.push(format!("{record:x?}\n  ours   {ours:x?}\n  theirs {theirs:x?}"));
        }
    }
    let shown = failures.iter().take(5).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{}: {} of {}\n{shown}", instruction.name, failures.len(), records.len());
    records.len()
}

fn compare_all(
    rules: &Rules,
    instructions: &[Instruction],
    per_mode: usize,
    [fixed, random]: [u32; 2],
    agree: impl Fn(&Record, &Outcome, &Outcome) -> bool,
) {
    let mut count = 0;
    for (instruction, seed) in instructions.iter().zip(1_u64..) {
        let records = records(instruction.takes, seed << 32, per_mode, fixed, random);
        count += compare(rules, instruction, &records, &agree);
    }
    println!("{} instructions, {count} executions compared", instructions.len());
}

fn legacy() -> Vec<Instruction> {
    instructions::common().into_iter().chain(instructions::before_release_6()).collect()
}

fn release_6() -> Vec<Instruction> {
    let signs = [Format::S, Format::D].into_iter().flat_map(instructions::signs);
    instructions::common().into_iter().chain(instructions::release_6()).chain(signs).collect()
}

fn same(_: &Record, ours: &Outcome, theirs: &Outcome) -> bool {
    ours == theirs
}

#[test]
fn legacy_results_and_status() {
    compare_all(&Rules::LEGACY, &legacy(), RECORDS_PER_MODE, [0, !ENABLES], same);
}

#[test]
fn release_6_results_and_status() {
    compare_all(&Rules::RELEASE_6, &release_6(), RECORDS_PER_MODE, [0, !ENABLES], same);
}

/// QEMU's legacy abs and neg are bit operations: only results that are no NaNs can be compared.
#[test]
fn legacy_signs_of_numbers() {
    for format in [Format::S, Format::D] {
        let infinity = if format == Format::S { 0x7f80_0000 } else { 0x7ff0_0000_0000_0000 };
        let (magnitude, register) =
            if format == Format::S { (0x7fff_ffff, 0xffff_ffff) } else { (u64::MAX >> 1, u64::MAX) };
        let signs = instructions::signs(format);
        compare_all(&Rules::LEGACY, &signs, RECORDS_PER_MODE, [0, !ENABLES], |record, ours, theirs| {
            let is_nan = record.operands[0] & register & magnitude > infinity;
            is_nan || ours.result == theirs.result
        });
    }
}

/// QEMU raises nothing when it flushes; where we raise Underflow, U and I are not compared.
fn same_but_for_flushing(_: &Record, ours: &Outcome, theirs: &Outcome) -> bool {
    let flushed = Fcsr(ours.fcsr).cause().contains(Exceptions::UNDERFLOW);
    let tiny = (Exceptions::UNDERFLOW | Exceptions::INEXACT).bits();
    let ignored = if flushed { tiny << 12 | tiny << 2 } else { 0 };
    (ours.result, ours.fcsr | ignored) == (theirs.result, theirs.fcsr | ignored)
}

#[test]
fn legacy_flush_to_zero() {
    compare_all(&Rules::LEGACY, &legacy(), RECORDS_PER_MODE, [Fcsr::FLUSH, !ENABLES], same_but_for_flushing);
}

#[test]
fn release_6_flush_to_zero() {
    compare_all(
        &Rules::RELEASE_6,
        &release_6(),
        RECORDS_PER_MODE,
        [Fcsr::FLUSH, !ENABLES],
        same_but_for_flushing,
    );
}

/// QEMU does not know that an enabled Underflow is raised for an exact result, too; of a
/// multiply-add, the product can be exact and the sum not.
fn same_but_for_exact_underflow(_: &Record, ours: &Outcome, theirs: &Outcome) -> bool {
    let underflow = |outcome: &Outcome| Fcsr(outcome.fcsr).cause().contains(Exceptions::UNDERFLOW);
    let only_ours = ours.trapped && underflow(ours) && !underflow(theirs);
    only_ours || ours == theirs
}

#[test]
fn legacy_traps() {
    let random = [0, u32::MAX];
    compare_all(&Rules::LEGACY, &legacy(), TRAPPING_RECORDS_PER_MODE, random, same_but_for_exact_underflow);
}

#[test]
fn release_6_traps() {
    let random = [0, u32::MAX];
    compare_all(
        &Rules::RELEASE_6,
        &release_6(),
        TRAPPING_RECORDS_PER_MODE,
        random,
        same_but_for_exact_underflow,
    );
}

#[test]
fn control_register_writes() {
    for rules in [Rules::LEGACY, Rules::RELEASE_6] {
        let writes = instructions::control_writes(rules);
        compare_all(&rules, &writes, TRAPPING_RECORDS_PER_MODE, [0, u32::MAX], same);
    }
}
