//! Pseudo-instructions by what they do: a program of them, with many operands, assembled here and by
//! GNU as, leaves the same results behind when both run under QEMU.

use std::path::Path;
use std::process::{Command, Output};

use translator::asm::{Compat, Cpu, Options, Section, assemble};

/// Values at the edges of what instructions and immediates hold; no arithmetic on them overflows twice.
const VALUES: [i64; 14] =
    [0, 1, -1, 2, 5, -7, 255, 32767, 32768, -32768, -32769, 65535, 0x1234_5678, -0x1234_5678];

/// Operations with three operands that never trap.
const THREE: &[&str] = &[
    "addu", "subu", "and", "or", "xor", "nor", "slt", "sltu", "mul", "seq", "sne", "sge", "sgeu", "sgt",
    "sgtu", "sle", "sleu",
];
/// Operations with three operands that trap on a zero divisor or an overflow.
const DIVIDE: &[&str] = &["div", "divu", "rem", "remu"];
const BRANCH: &[&str] = &["beq", "bne", "blt", "bltu", "ble", "bleu", "bgt", "bgtu", "bge", "bgeu"];
const TWO: &[&str] = &["move", "not", "neg", "negu", "abs"];
const SHIFT: &[&str] = &["sll", "srl", "sra", "rol", "ror"];

/// A program that keeps `$t0` after each statement.
struct Writer {
    text: String,
    results: usize,
}

impl Writer {
    fn keep(&mut self, statement: &str) {
        self.text.push_str(&format!("{statement}\nsw $t0, 0($s0)\naddiu $s0, $s0, 4\n"));
        self.results += 1;
    }

    fn binary(&mut self, operation: &str, a: i64, b: i64) {
        let load = format!("li $t1, {a}\nli $t2, {b}");
        self.keep(&format!("{load}\n{operation} $t0, $t1, $t2"));
        self.keep(&format!("{load}\n{operation} $t0, $t1, {b}"));
        self.keep(&format!("{load}\nmove $t0, $t1\n{operation} $t0, $t2"));
    }

    fn branch(&mut self, operation: &str, a: i64, b: i64) {
        for right in ["$t2".to_owned(), b.to_string()] {
            let values = format!("li $t1, {a}\nli $t2, {b}\nli $t0, 1");
            self.keep(&format!("{values}\n{operation} $t1, {right}, 1f\nli $t0, 0\n1:"));
        }
    }

    fn memory(&mut self) {
        for (load, store) in [("ulw", "usw"), ("ulh", "ush"), ("ulhu", "ush"), ("lw", "sw"), ("lb", "sb")] {
            let step = if load == "lw" { 4 } else { 3 };
            for address in [format!("data+{step}"), format!("{step}($s1)"), format!("data+{step}($s2)")] {
                self.keep(&format!("{load} $t0, {address}"));
                self.keep(&format!("li $t0, 0x89abcdef\n{store} $t0, {address}"));
                self.keep(&format!("{load} $t0, {address}"));
            }
            self.keep(&format!("move $t0, $s1\n{load} $t0, {step}($t0)"));
            self.keep(&format!("li $t0, 0x20000\nsubu $t3, $s1, $t0\n{load} $t0, 0x20004($t3)"));
        }
        for address in ["data+8", "8($s1)", "data+4($s2)"] {
            self.keep(&format!("ld $t0, {address}"));
            self.keep(&format!("ld $t4, {address}\nmove $t0, $t5"));
            self.keep(&format!("li $t4, 77\nli $t5, -99\nsd $t4, {address}\nlw $t0, {address}"));
            self.keep(&format!("l.d $f2, {address}\ns.d $f2, 16($s1)\nlw $t0, 20($s1)"));
        }
        self.keep("move $t0, $s1\nld $t0, 8($t0)");
    }

    fn constants(&mut self) {
        for value in VALUES.into_iter().chain([0x7fff_ffff, -0x8000_0000, 0x8000_8000, 0xffff_ffff]) {
            self.keep(&format!("li $t0, {value}"));
        }
        for float in ["1.5", "-0.1", "0.0", "3.0e10"] {
            self.keep(&format!("li.s $f2, {float}\nmfc1 $t0, $f2"));
            self.keep(&format!("li.d $f2, {float}\nmfc1 $t0, $f2"));
            self.keep(&format!("li.d $f2, {float}\nmfc1 $t0, $f3"));
        }
        for address in ["data", "data+0x12345", "data+8($s2)", "-5($s1)", "0x12345($s1)", "data($t0)"] {
            self.keep(&format!("li $t0, 12\nla $t0, {address}"));
        }
    }

    fn arithmetic(&mut self) {
        for a in VALUES {
            for b in VALUES {
                THREE.iter().for_each(|operation| self.binary(operation, a, b));
                BRANCH.iter().for_each(|operation| self.branch(operation, a, b));
                if b != 0 {
                    DIVIDE.iter().for_each(|operation| self.quotient(operation, a, b));
                }
                if a.abs().max(b.abs()) <= 32768 {
                    self.keep(&format!("li $t1, {a}\nli $t2, {b}\nmulo $t0, $t1, $t2"));
                    self.keep(&format!("li $t1, {}\nli $t2, {}\nmulou $t0, $t1, $t2", a.abs(), b.abs()));
                    self.keep(&format!("li $t1, {a}\nsub $t0, $t1, {b}"));
                    self.keep(&format!("li $t1, {a}\nadd $t0, $t1, {b}"));
                }
            }
            TWO.iter().for_each(|operation| self.keep(&format!("li $t1, {a}\n{operation} $t0, $t1")));
            TWO[1..].iter().for_each(|operation| self.keep(&format!("li $t0, {a}\n{operation} $t0")));
            for amount in [0, 1, 7, 31] {
                SHIFT.iter().for_each(|operation| self.binary(operation, a, amount));
            }
        }
    }

    /// A division by a constant has no form with two operands.
    fn quotient(&mut self, operation: &str, a: i64, b: i64) {
        self.keep(&format!("li $t1, {a}\nli $t2, {b}\n{operation} $t0, $t1, $t2"));
        self.keep(&format!("li $t1, {a}\n{operation} $t0, $t1, {b}"));
    }
}

/// The source, which writes its results to standard output and ends.
fn source() -> String {
    let mut writer = Writer { text: String::new(), results: 0 };
    writer.constants();
    writer.memory();
    writer.arithmetic();
    let (text, size) = (writer.text, writer.results * 4);
    format!(
        ".data\ndata: .word 0x83828180, 0x87868584, 0x8b8a8988, 0x8f8e8d8c, 0, 0, 0, 0\nout: .space {size}\n\
         .text\n.globl main\nmain: la $s0, out\nla $s1, data\nli $s2, 4\n{text}\n\
         li $a0, 1\nla $a1, out\nli $a2, {size}\nli $v0, 4004\nsyscall\nli $a0, 0\nli $v0, 4001\nsyscall\n"
    )
}

/// Runs a tool, or says what to install.
fn run(tool: &str, package: &str, arguments: &[&str]) -> Output {
    let output = Command::new(tool).args(arguments).output();
    let output = output.unwrap_or_else(|e| panic!("{tool}: {e}; install the package {package}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {}\n{errors:.2000}", output.status);
    output
}

/// What a source that GNU as reads writes when it runs.
fn results(directory: &Path, name: &str, source: &str) -> Vec<u32> {
    const BINUTILS: &str = "binutils-mips64el-linux-gnuabi64";
    let path =
        |end: &str| directory.join(format!("{name}{end}")).to_str().expect("a path in UTF-8").to_owned();
    std::fs::write(path(".s"), source).expect("the directory can be written");
    let arguments =
        ["-mabi=32", "-march=mips32r2", "-mfp32", "-non_shared", "-G0", "-o", &path(".o"), &path(".s")];
    run("mips64el-linux-gnuabi64-as", BINUTILS, &arguments);
    let notes = ["--section-start=.MIPS.abiflags=0x300000", "--section-start=.reginfo=0x301000"];
    let places = ["-Ttext=0x400000", "-Tdata=0x10010000", "-e", "0x400000", notes[0], notes[1]];
    let (object, program) = (path(".o"), path(".elf"));
    let link = [&["-m", "elf32ltsmip"], &places[..], &["-o", &program, &object]].concat();
    run("mips64el-linux-gnuabi64-ld", BINUTILS, &link);
    let output = run("qemu-mipsel-static", "qemu-user-static", &["-cpu", "24Kf", &path(".elf")]);
    output.stdout.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().expect("four bytes"))).collect()
}

/// Our program as a source of bare words.
fn our_words(source: &str, compat: Compat) -> String {
    let options = Options { compat, cpu: Cpu::Mips32r2, ..Options::default() };
    let program = assemble("t.s", &[("t.s", source)], &options).unwrap_or_else(|e| panic!("{e}"));
    let words = |section| {
        let segment = program.segments.iter().find(|s| s.section == section).expect("the section is there");
        let words = segment.bytes.chunks_exact(4);
        let words = words.map(|b| u32::from_le_bytes(b.try_into().expect("four bytes")));
        words.map(|word| format!(".word {word:#x}\n")).collect::<String>()
    };
    format!(".text\n{}.data\n{}", words(Section::Text), words(Section::Data))
}

#[test]
fn pseudo_instructions_do_what_those_of_gnu_as_do() {
    let directory = tempfile::tempdir().expect("a directory for the programs");
    let source = source();
    let theirs = results(directory.path(), "theirs", &source);
    assert!(theirs.len() > 10_000, "{} results", theirs.len());
    for compat in [Compat::Mars, Compat::Spim, Compat::Gas] {
        let ours = results(directory.path(), "ours", &our_words(&source, compat));
        let kept: Vec<&str> = source.split("sw $t0, 0($s0)").collect();
        for (index, (our, their)) in ours.iter().zip(&theirs).enumerate() {
            assert_eq!(our, their, "{compat:?}: result {index} of\n{}", kept[index]);
        }
        assert_eq!(ours.len(), theirs.len());
    }
}
