//! The assembler against two others: every row of the instruction table, with random operands, gives the
//! word that llvm-mc and GNU as give.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Output, Stdio};

use translator::asm::{Cpu, Options, assemble};
use translator::isa::text::{Names, print_word};
use translator::isa::{Form, Op, Operand, decode};

/// How many words of each row are compared.
const SAMPLES: u32 = 24;
/// Where our text starts.
const TEXT: u64 = 0x40_0000;

/// A line of assembly of some row.
struct Line {
    op: Op,
    ours: String,
    theirs: String,
}

/// The xorshift generator: the same lines in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32
    }
}

/// A word of a row with random fields, within what the manual calls predictable.
fn random_word(op: Op, random: &mut Random) -> u32 {
    let row = op.row();
    let mut word = row.value | random.next() & !row.mask;
    for slot in row.operands() {
        let field = slot.field;
        match slot.kind {
            Operand::GprTwice => word = slot.second.put(word, field.get(word)),
            // Bits 10..3 are for the implementer; the others write register and select only.
            Operand::Cop2Immediate if matches!(op, Op::Cfc2 | Op::Ctc2) => word &= !0x7ff,
            Operand::Cop2Immediate => word &= !0x7f8,
            // GNU as knows selects of later releases only.
            Operand::Hardware if random.next() & 3 != 0 => word = slot.second.put(word, 0),
            Operand::ExtractSize if op != Op::Dextu => {
                let most = 31 - slot_position(op, word).min(31);
                word = field.put(word, random.next() % (most + 1));
            }
            Operand::ExtractSize => word = field.put(word, random.next() % (32 - slot_position(op, word))),
            Operand::ExtractSizeUpper => {
                word = field.put(word, random.next() % (32 - slot_position(op, word)));
            }
            Operand::InsertSize | Operand::InsertSizeUpper => {
                let least = slot.second.get(word);
                word = field.put(word, least + random.next() % (32 - least));
            }
            _ => {}
        }
    }
    word
}

/// The field with the position of a bit field.
fn slot_position(op: Op, word: u32) -> u32 {
    let mut slots = op.row().operands().iter();
    slots
        .find(|s| matches!(s.kind, Operand::Position | Operand::PositionUpper))
        .map_or(0, |s| s.field.get(word))
}

/// Random lines of every row that their decoder does not take for another.
fn lines() -> Vec<Line> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut lines = Vec::new();
    for op in Op::ALL {
        for _ in 0..SAMPLES {
            let word = random_word(*op, &mut random);
            if decode(word).is_none_or(|insn| insn.op != *op) {
                continue;
            }
            let pc = TEXT + 4 * lines.len() as u64;
            let ours = print_word(word, pc, Names::Numeric);
            let theirs = their_line(*op, word, pc, &ours);
            lines.push(Line { op: *op, ours, theirs });
        }
    }
    lines
}

/// The same line as the other assemblers want it: targets relative to the line, as their sections start
/// at 0, and coprocessor 2 registers by name.
fn their_line(op: Op, word: u32, pc: u64, ours: &str) -> String {
    let Some(slot) = op.row().operands().last() else { return ours.to_owned() };
    let start = ours.rfind([' ', ',']).map_or("", |at| &ours[..=at]);
    match slot.kind {
        Operand::Branch if matches!(op, Op::Bc2f | Op::Bc2t | Op::Bc2fl | Op::Bc2tl) => {
            let distance = slot.get(word, pc).first.wrapping_sub(pc as i64);
            format!("{} {distance}", start.replace("$fcc", "$cc"))
        }
        Operand::Cop2Immediate if matches!(op, Op::Cfc2 | Op::Ctc2) => {
            format!("{start} ${}", slot.field.get(word) >> 11)
        }
        Operand::Branch => {
            let distance = slot.get(word, pc).first.wrapping_sub(pc as i64);
            format!("{start} {distance}")
        }
        // With two operands this is a macro of llvm-mc with the checks of a division.
        _ if matches!(op, Op::Div | Op::Divu | Op::Ddiv | Op::Ddivu) => ours.replacen(' ', " $0, ", 1),
        Operand::Target => format!("{start} {:#x}", slot.field.get(word) << 2),
        Operand::Cop2Immediate => {
            let immediate = slot.field.get(word);
            format!("{start} ${}, {}", immediate >> 11, immediate & 7)
        }
        _ => ours.to_owned(),
    }
}

/// Our words for all lines.
fn our_words(lines: &[Line]) -> Vec<u32> {
    let text: String = lines.iter().map(|line| format!("{}\n", line.ours)).collect();
    let options = Options { cpu: Cpu::Mips64r2, delayed_branches: true, ..Options::default() };
    let program = assemble("t.s", &[("t.s", text.as_str())], &options).unwrap_or_else(|e| panic!("{e}"));
    let bytes = &program.segments[0].bytes;
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().expect("four bytes"))).collect()
}

/// Runs a tool with `input`, or says what to install.
fn run(tool: &str, package: &str, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(tool);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{tool}: {e}; install the package {package}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input.as_bytes()).expect("the tool reads its input"));
        child.wait_with_output().expect("the tool ends")
    })
}

/// Fails unless all words agree but those of the rows that are listed as unknown to the tool.
fn compare(tool: &str, theirs: &BTreeMap<usize, u32>, unknown: &[(&[Op], &str)]) {
    let lines = lines();
    let ours = our_words(&lines);
    assert_eq!(ours.len(), lines.len());
    let mut problems = Vec::new();
    let (mut refused, mut compared) = (BTreeMap::new(), BTreeMap::new());
    for (index, (line, our)) in lines.iter().zip(&ours).enumerate() {
        match theirs.get(&index) {
            None => *refused.entry(line.op).or_insert(0) += 1,
            Some(their) if their == our => *compared.entry(line.op).or_insert(0) += 1,
            Some(their) => {
                problems.push(format!("`{}`: ours {our:#010x}, {tool}'s {their:#010x}", line.ours));
            }
        }
    }
    let listed: BTreeSet<Op> = unknown.iter().flat_map(|(ops, _)| ops.iter().copied()).collect();
    for op in Op::ALL {
        let count = |of: &BTreeMap<Op, u32>| of.get(op).copied().unwrap_or(0);
        let (compared, refused) = (count(&compared), count(&refused));
        // A tool may refuse some operands, as equal registers of `jalr.hb`, but not most.
        let is_known = compared > refused && compared > 0;
        if is_known == listed.contains(op) {
            let name = op.row().name;
            problems.push(format!("{tool} compared {compared} and refused {refused} of `{name}`"));
        }
    }
    problems.truncate(60);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

const NO_MODES: &str = ".set noreorder\n.set noat\n.set nomacro\n";

/// Each line after a label with its number, so that lines in error are known by what is missing.
#[test]
fn every_row_is_what_llvm_mc_makes_of_it() {
    let mut text = String::from(NO_MODES);
    for (index, line) in lines().iter().enumerate() {
        // A branch counts from its delay slot there.
        let is_branch = line.op.row().operands().last().is_some_and(|s| s.kind == Operand::Branch);
        let theirs = if is_branch { from_slot(&line.theirs) } else { line.theirs.clone() };
        text.push_str(&format!("line{index}:\n{theirs}\n"));
    }
    let arguments = ["-arch=mips64el", "-mcpu=mips64r5", "-mattr=+virt,+eva,+mt", "--show-encoding"];
    let output = run("llvm-mc-14", "llvm-14", &arguments, &text);
    compare("llvm-mc", &llvm_words(&String::from_utf8_lossy(&output.stdout)), LLVM_UNKNOWN);
}

fn from_slot(line: &str) -> String {
    let at = line.rfind(' ').expect("a branch has a target") + 1;
    let distance: i64 = line[at..].parse().expect("a distance");
    format!("{}{}", &line[..at], distance - 4)
}

fn llvm_words(listing: &str) -> BTreeMap<usize, u32> {
    let mut words = BTreeMap::new();
    let mut current = None;
    for line in listing.lines() {
        if let Some(index) = line.strip_prefix("line").and_then(|l| l.strip_suffix(':')) {
            current = index.parse().ok();
        }
        let encoding = line.split("encoding: [").nth(1).and_then(|e| e.split(']').next());
        if let (Some(encoding), Some(index)) = (encoding, current.take_if(|_| encoding.is_some())) {
            let bytes = encoding.split(',').map(|b| u8::from_str_radix(b.trim_start_matches("0x"), 16));
            let bytes: Vec<u8> = bytes.collect::<Result<_, _>>().unwrap_or_else(|e| panic!("{line}: {e}"));
            words.insert(index, u32::from_le_bytes(bytes.try_into().expect("four bytes")));
        }
    }
    words
}

/// GNU as makes nothing of a file with errors, so lines in error are left out in a second run.
#[test]
fn every_row_is_what_gnu_as_makes_of_it() {
    let lines = lines();
    let directory = tempfile::tempdir().expect("a directory for the object");
    let object = directory.path().join("t.o");
    let object = object.to_str().expect("a path in UTF-8");
    let all: Vec<usize> = (0..lines.len()).collect();
    let bad = gas(object, &lines, &all);
    let good: Vec<usize> = all.into_iter().filter(|index| !bad.contains(index)).collect();
    let still_bad = gas(object, &lines, &good);
    assert!(still_bad.is_empty(), "GNU as refused {still_bad:?} in the second run");
    let dump = run("mips64el-linux-gnuabi64-objdump", GAS_PACKAGE, &["-s", "-j", ".text", object], "");
    let words = dumped_words(&String::from_utf8_lossy(&dump.stdout));
    compare("GNU as", &good.into_iter().zip(words).collect(), GAS_UNKNOWN);
}

const GAS_PACKAGE: &str = "binutils-mips64el-linux-gnuabi64";

/// Assembles some lines; returns those in error.
fn gas(object: &str, lines: &[Line], chosen: &[usize]) -> BTreeSet<usize> {
    let mut text = String::from(NO_MODES);
    for index in chosen {
        let line = &lines[*index];
        let is_branch = line.op.row().operands().last().is_some_and(|s| s.kind == Operand::Branch);
        let at = line.theirs.rfind(' ').map_or(0, |at| at + 1);
        let (start, target) = line.theirs.split_at(at);
        let theirs = if is_branch { format!("{start}.+({target})") } else { line.theirs.clone() };
        text.push_str(&format!("{theirs}\n"));
    }
    let arguments =
        ["-mabi=64", "-march=mips64r2", "-mvirt", "-meva", "-mno-fix-loongson3-llsc", "-o", object, "-"];
    let output = run("mips64el-linux-gnuabi64-as", GAS_PACKAGE, &arguments, &text);
    let first = NO_MODES.lines().count() + 1;
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    let errors = messages.lines().filter(|line| line.contains("Error:"));
    let numbers = errors.filter_map(|line| line.split(':').nth(1)?.trim().parse::<usize>().ok());
    numbers.map(|number| chosen[number - first]).collect()
}

fn dumped_words(dump: &str) -> Vec<u32> {
    let rows = dump.lines().filter(|line| line.starts_with(' '));
    let groups = rows.flat_map(|line| line[1..].split_whitespace().skip(1).take(4));
    let words = groups.filter(|g| g.len() == 8).filter_map(|g| u32::from_str_radix(g, 16).ok());
    words.map(u32::swap_bytes).collect()
}

/// Rows that llvm-mc 14 does not read, with the reason.
const LLVM_UNKNOWN: &[(&[Op], &str)] = &[
    (
        &[
            Op::AbsPs,
            Op::MovPs,
            Op::NegPs,
            Op::MovfPs,
            Op::MovtPs,
            Op::MovzPs,
            Op::MovnPs,
            Op::AlnvPs,
            Op::MaddPs,
            Op::MsubPs,
            Op::NmaddPs,
            Op::NmsubPs,
            Op::CFPs,
            Op::CUnPs,
            Op::CEqPs,
            Op::CUeqPs,
            Op::COltPs,
            Op::CUltPs,
            Op::COlePs,
            Op::CUlePs,
            Op::CSfPs,
            Op::CNglePs,
            Op::CSeqPs,
            Op::CNglPs,
            Op::CLtPs,
            Op::CNgePs,
            Op::CLePs,
            Op::CNgtPs,
        ],
        "it has only those paired singles that add, multiply, convert and permute",
    ),
    (
        &[Op::Cfc2, Op::Ctc2, Op::Mfhc2, Op::Mthc2, Op::Bc2f, Op::Bc2t, Op::Bc2fl, Op::Bc2tl, Op::Cop2],
        "it has only the first moves of coprocessor 2",
    ),
    (&[Op::Rdpgpr, Op::Wrpgpr, Op::Prefx], "it has them for microMIPS only"),
    (&[Op::Wait], "it has `wait` without a code only"),
];

/// Rows that GNU as 2.40 does not read: none.
const GAS_UNKNOWN: &[(&[Op], &str)] = &[];

/// The forms are all of those that the lines above rewrite or leave as they are.
#[test]
fn targets_are_last_operands() {
    for op in Op::ALL {
        let slots = op.row().operands();
        let target = slots.iter().position(|slot| slot.kind.form() == Form::Target);
        assert!(target.is_none_or(|at| at + 1 == slots.len()), "{}", op.row().name);
    }
}
