//! The decoder: every word of 32 bits against a search through the table, and all words that differ in their opcodes
//! against GNU's disassembler.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use translator::isa::text::{Names, print_word};
use translator::isa::{Op, decode};

/// A case is all words with one upper half, so that the cases from 0 to 65535 are all words. The upper halves come in
/// an order in which neighbours have different opcodes.
#[test]
fn fuzz_decoder() {
    /// Odd, so that every half has its turn.
    const STEP: u64 = 40_503;
    fuzzing::run(|numbers| {
        let upper = u32::from(numbers.seed().wrapping_mul(STEP) as u16) << 16;
        let rows = Op::ALL.iter().copied();
        let rows: Vec<Op> =
            rows.filter(|op| (upper ^ op.row().value) & op.row().mask >> 16 << 16 == 0).collect();
        for word in upper..=upper | 0xffff {
            let matching = rows.iter().copied().filter(|op| word & op.row().mask == op.row().value);
            let expected = matching.max_by_key(|op| op.row().mask.count_ones());
            assert_eq!(decode(word).map(|insn| insn.op), expected, "{word:#010x}");
        }
        let word = upper | numbers.next() as u32 & 0xffff;
        let text =
            print_word(word, numbers.next() & !3, numbers.one_of(&[Names::Numeric, Names::O32, Names::N64]));
        assert!(decode(word).is_some() || text.starts_with(".word "), "{word:#010x}: {text}");
    });
}

/// Every opcode and function with each of the fields that select further, one after the other, and some words of each row.
fn classes() -> BTreeSet<u32> {
    let word = |opcode: u32, rs: u32, rt: u32, sa: u32, function: u32| {
        opcode << 26 | rs << 21 | rt << 16 | 3 << 11 | sa << 6 | function
    };
    let fields = |x| [[x, 2, 0], [1, x, 0], [1, 2, x], [0, 2, x]];
    let functions = (0..64).flat_map(|opcode| (0..64).map(move |function| (opcode, function)));
    let all = functions.flat_map(|(opcode, function)| {
        (0..32).flat_map(fields).map(move |[rs, rt, sa]| word(opcode, rs, rt, sa, function))
    });
    let free = [0, 0x5555_5555, 0xaaaa_aaaa, 0xffff_ffff];
    let rows = Op::ALL.iter().flat_map(|op| free.map(|free| op.row().value | free & !op.row().mask));
    all.chain(rows).collect()
}

/// The mnemonics that GNU's disassembler gives `words`; `None` for what it takes for no instruction.
fn disassembled(words: &BTreeSet<u32>) -> Vec<Option<String>> {
    const PACKAGE: &str = "binutils-mips64el-linux-gnuabi64";
    let directory = tempfile::tempdir().expect("a directory for the words");
    let file = directory.path().join("words");
    fs::write(&file, words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>())
        .expect("there is room");
    let mut command = Command::new("mips64el-linux-gnuabi64-objdump");
    command.args([
        "-D",
        "-z",
        "-b",
        "binary",
        "-EL",
        "-m",
        "mips:isa64r2",
        "-M",
        "no-aliases,virt,eva",
        "--no-addresses",
    ]);
    let output =
        command.arg(file).output().unwrap_or_else(|error| panic!("objdump: {error}; install {PACKAGE}"));
    let text = String::from_utf8(output.stdout).expect("it is text");
    // `\t01234567 \tmnemonic\toperands`
    let lines =
        text.lines().filter_map(|line| line.strip_prefix('\t')?.split_once('\t').map(|(_, text)| text));
    lines
        .map(|text| Some(text.split('\t').next()?.trim().to_owned()).filter(|name| name != ".word"))
        .collect()
}

/// Rows that GNU calls by another name, at least for some operands.
const OTHER_NAMES: [(Op, &str); 18] = [
    (Op::Cop2, "c2"),
    (Op::Dextm, "dext"),
    (Op::Dextu, "dext"),
    (Op::Dinsm, "dins"),
    (Op::Dinsu, "dins"),
    (Op::Drotr, "dror"),
    (Op::Drotr32, "dror32"),
    (Op::Drotrv, "drorv"),
    (Op::Dsub, "dneg"),
    (Op::Dsubu, "dnegu"),
    (Op::Ori, "dli"),
    (Op::Rotr, "ror"),
    (Op::Rotrv, "rorv"),
    (Op::Sub, "neg"),
    (Op::Subu, "negu"),
    (Op::Nop, "sll"),
    (Op::Ssnop, "sll"),
    (Op::Ehb, "sll"),
];

/// Rows of which GNU knows some words only: coprocessor 2's with the implementer's bits clear, and RDHWR without the
/// selects of Release 6.
const KNOWN_IN_PART: [Op; 7] = [Op::Cfc2, Op::Ctc2, Op::Dmfc2, Op::Dmtc2, Op::Mfc2, Op::Mtc2, Op::Rdhwr];

/// Rows that in the DSP module, which no model here has, name one of four accumulators.
const FIRST_ACCUMULATOR: [Op; 10] =
    [Op::Madd, Op::Maddu, Op::Mfhi, Op::Mflo, Op::Msub, Op::Msubu, Op::Mthi, Op::Mtlo, Op::Mult, Op::Multu];

/// GNU knows extensions that no model here has, so what it takes for one of those may be reserved here.
fn agrees(ours: Option<Op>, theirs: Option<&str>) -> bool {
    match (ours, theirs) {
        (Some(op), Some(name)) => op.row().name == name || OTHER_NAMES.contains(&(op, name)),
        (Some(op), None) => KNOWN_IN_PART.contains(&op),
        (None, Some(name)) => {
            !Op::ALL.iter().any(|op| op.row().name == name && !FIRST_ACCUMULATOR.contains(op))
        }
        (None, None) => true,
    }
}

#[test]
fn opcodes_are_what_gnu_objdump_makes_of_them() {
    let words = classes();
    let theirs = disassembled(&words);
    assert_eq!(theirs.len(), words.len());
    let mut different: BTreeMap<(Option<&str>, Option<&str>), u32> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (word, theirs) in words.iter().zip(&theirs) {
        let ours = decode(*word).map(|insn| insn.op);
        if !agrees(ours, theirs.as_deref()) {
            different.entry((ours.map(|op| op.row().name), theirs.as_deref())).or_insert(*word);
        }
        seen.extend(ours);
    }
    assert!(different.is_empty(), "ours, theirs, a word: {different:08x?}");
    assert!(seen.len() * 10 > Op::ALL.len() * 9, "only {} rows were seen", seen.len());
}
