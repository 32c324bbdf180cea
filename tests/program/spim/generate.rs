//! Random programs in the language that MARS and SPIM share. They end, and print much of what they compute. Some read
//! input, write and read a file, take memory, or raise exceptions for a handler of their own.

use std::fmt::Write;
use std::path::Path;

use fuzzing::Numbers;

/// A program.
pub struct Program {
    pub text: String,
    /// What it reads.
    pub input: String,
    /// Whether it brings its own handler, and so cannot have SPIM's.
    pub handles: bool,
}

impl Program {
    /// The text, with the file that it writes and reads in `directory`.
    pub fn text_in(&self, directory: &Path) -> String {
        self.text.replace(FILE, &directory.join(FILE).to_string_lossy())
    }
}

/// The file that programs write and read.
pub const FILE: &str = "random.txt";

/// The handler counts exceptions by their codes and goes on after the instruction.
const HANDLER: &str = "        .ktext 0x80000180
        mfc0 $k0, $13
        srl $k0, $k0, 2
        andi $k0, $k0, 31
        sll $k1, $gp, 5
        addu $gp, $gp, $k1
        addu $gp, $gp, $k0
        mfc0 $k0, $14
        addiu $k0, $k0, 4
        mtc0 $k0, $14
        eret
";

/// What raises exceptions, but for some operands.
const EXCEPTIONS: [&str; 14] = [
    "add d, s, t",
    "sub d, s, t",
    "addi d, s, i",
    "li $t9, 0x7fffffff|addi d, $t9, 5",
    "li $t9, 0x80000000|sub d, $t9, s",
    "teq s, t",
    "tne s, t",
    "tge s, t",
    "tltu s, t",
    "break 3",
    "sw s, 2($s5)",
    "sh s, 3($s5)",
    "mulo d, s, t",
    "mulou d, s, t",
];

/// What is written in a template: `d` a register that is written, `s` and `t` ones that are read, `i` a signed and `u` an
/// unsigned constant of 16 bits, `w` one of 32, `h` a shift, `b`, `e` and `o` offsets of a byte, a halfword and a word
/// in the data, `n` a small divisor that is not zero, prepared before, `x`, `y` and `z` floating-point registers.
const WHOLE: [&str; 78] = [
    "addu d, s, t",
    "subu d, s, t",
    "addiu d, s, i",
    "addu d, s, i",
    "and d, s, t",
    "or d, s, t",
    "xor d, s, t",
    "nor d, s, t",
    "andi d, s, u",
    "ori d, s, u",
    "xori d, s, u",
    "slt d, s, t",
    "sltu d, s, t",
    "slti d, s, i",
    "sltiu d, s, i",
    "sll d, s, h",
    "srl d, s, h",
    "sra d, s, h",
    "sllv d, s, t",
    "srlv d, s, t",
    "srav d, s, t",
    "lui d, u",
    "li d, i",
    "li d, w",
    "la d, words",
    "la d, words+8",
    "move d, s",
    "not d, s",
    "negu d, s",
    "mul d, s, t",
    "mult s, t|mflo d",
    "mult s, t|mfhi d",
    "multu s, t|mflo d",
    "multu s, t|mfhi d",
    "mtlo s|mthi t|madd s, t|mflo d",
    "mtlo s|mthi t|maddu s, t|mfhi d",
    "mtlo s|mthi t|msub s, t|mfhi d",
    "div s, n|mflo d",
    "div s, n|mfhi d",
    "divu s, n|mflo d",
    "div d, s, n",
    "divu d, s, n",
    "rem d, s, n",
    "remu d, s, n",
    "seq d, s, t",
    "sne d, s, t",
    "sgt d, s, t",
    "sgtu d, s, t",
    "sge d, s, t",
    "sgeu d, s, t",
    "sle d, s, t",
    "sleu d, s, t",
    "rol d, s, t",
    "ror d, s, t",
    "rol d, s, h",
    "ror d, s, h",
    "clo d, s",
    "clz d, s",
    "movn d, s, t",
    "movz d, s, t",
    "sra $t9, s, 1|abs d, $t9",
    "lb d, b($s5)",
    "lbu d, b($s5)",
    "lh d, e($s5)",
    "lhu d, e($s5)",
    "lw d, o($s5)",
    "lw d, words+4",
    "ulw d, b($s5)",
    "ulh d, b($s5)",
    "ulhu d, b($s5)",
    "sb s, b($s5)",
    "sh s, e($s5)",
    "sw s, o($s5)",
    "sw s, words+12",
    "usw s, b($s5)",
    "ush s, b($s5)",
    "lwl d, b($s5)|lwr d, b($s5)",
    "swl s, b($s5)|swr s, b($s5)",
];

const REAL: [&str; 31] = [
    "add.s x, y, z",
    "sub.s x, y, z",
    "mul.s x, y, z",
    "div.s x, y, z",
    "abs.s x, y",
    "neg.s x, y",
    "mov.s x, y",
    "sqrt.s x, y",
    "add.d x, y, z",
    "sub.d x, y, z",
    "mul.d x, y, z",
    "div.d x, y, z",
    "abs.d x, y",
    "neg.d x, y",
    "mov.d x, y",
    "l.s x, singles",
    "l.s x, singles+4",
    "l.d x, doubles",
    "l.d x, doubles+8",
    "s.s x, singles+8",
    "s.d x, doubles+16",
    "cvt.d.s x, y",
    "cvt.s.d x, y",
    "mtc1 s, $f10|cvt.s.w $f8, $f10",
    "mtc1 s, $f10|cvt.d.w $f26, $f10",
    "cvt.s.w $f2, $f10",
    "sra $t9, s, 1|mtc1 $t9, $f10|cvt.d.w $f16, $f10|l.d $f18, part|add.d $f16, $f16, $f18|trunc.w.d $f10, $f16|mfc1 d, $f10",
    "srl $t9, s, 1|mtc1 $t9, $f10|cvt.d.w $f16, $f10|l.d $f18, part|add.d $f16, $f16, $f18|round.w.d $f10, $f16|mfc1 d, $f10",
    "sra $t9, s, 1|mtc1 $t9, $f10|cvt.d.w $f16, $f10|l.d $f18, part|sub.d $f16, $f16, $f18|ceil.w.d $f10, $f16|mfc1 d, $f10",
    "sra $t9, s, 1|mtc1 $t9, $f10|cvt.d.w $f16, $f10|l.d $f18, part|sub.d $f16, $f16, $f18|floor.w.d $f10, $f16|mfc1 d, $f10",
    "sra $t9, s, 9|mtc1 $t9, $f10|cvt.s.w $f16, $f10|trunc.w.s $f10, $f16|mfc1 d, $f10",
];

const BRANCHES: [&str; 20] = [
    "beq s, t, L",
    "bne s, t, L",
    "blt s, t, L",
    "ble s, t, L",
    "bgt s, t, L",
    "bge s, t, L",
    "bltu s, t, L",
    "bleu s, t, L",
    "bgtu s, t, L",
    "bgeu s, t, L",
    "beqz s, L",
    "bnez s, L",
    "bltz s, L",
    "blez s, L",
    "bgtz s, L",
    "bgez s, L",
    "beq s, 5, L",
    "blt s, 100, L",
    "bgt s, -7, L",
    "b L",
];

const COMPARISONS: [&str; 6] = [
    "c.eq.s y, z",
    "c.eq.d y, z",
    "l.s $f2, singles|l.s $f4, singles+4|c.lt.s $f2, $f4",
    "l.s $f2, singles|l.s $f4, singles+4|c.le.s $f4, $f2",
    "l.d $f20, doubles|l.d $f22, doubles+8|c.lt.d $f20, $f22",
    "l.d $f20, doubles|l.d $f22, doubles+8|c.le.d $f22, $f20",
];

const REGISTERS: [&str; 16] = [
    "$t0", "$t1", "$t2", "$t3", "$t4", "$t5", "$t6", "$t7", "$s0", "$s1", "$s2", "$s3", "$a1", "$a2", "$a3",
    "$v1",
];
const SINGLES: [&str; 4] = ["$f2", "$f4", "$f6", "$f8"];
const DOUBLES: [&str; 4] = ["$f20", "$f22", "$f24", "$f26"];
const EDGES: [u32; 10] =
    [0, 1, 2, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x8000_0001];

struct Generator {
    numbers: Numbers,
    text: String,
    labels: usize,
    input: String,
    handles: bool,
}

/// The program of a seed.
pub fn program(seed: u64) -> Program {
    let mut numbers = Numbers::new(seed);
    let handles = numbers.below(4) == 0;
    let mut generator = Generator { numbers, text: String::new(), labels: 0, input: String::new(), handles };
    generator.data();
    generator.main();
    Program { text: generator.text, input: generator.input, handles }
}

impl Generator {
    fn line(&mut self, text: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "        {text}");
    }

    fn word(&mut self) -> u32 {
        if self.numbers.below(3) == 0 { self.numbers.one_of(&EDGES) } else { self.numbers.next() as u32 }
    }

    fn data(&mut self) {
        self.text.push_str("        .data\nwords:");
        for _ in 0..16 {
            let word = self.word();
            self.line(&format!(".word {word:#x}"));
        }
        self.text.push_str("singles:");
        for _ in 0..4 {
            let (whole, part) = (self.numbers.below(2000) as i64 - 1000, self.numbers.below(100));
            self.line(&format!(".float {whole}.{part:02}"));
        }
        self.line(".align 3");
        self.text.push_str("doubles:");
        for _ in 0..4 {
            let (whole, part) = (self.numbers.below(200_000) as i64 - 100_000, self.numbers.below(10_000));
            self.line(&format!(".double {whole}.{part:04}"));
        }
        self.text.push_str("part:");
        self.line(".double 0.375");
        self.text.push_str("text:");
        self.line(".asciiz \"ok \\t\\\"quoted\\\"\\n\"");
        self.line(".byte 1, 2, 'x', -1");
        self.line(".half 0x1234, -5");
        self.line(".space 3");
        self.text.push_str("line:");
        self.line(".space 40");
        self.text.push_str("name:");
        self.line(&format!(".asciiz \"{FILE}\""));
    }

    fn main(&mut self) {
        if self.handles {
            self.text.push_str(HANDLER);
        }
        self.line(".text");
        // Without SPIM's own handler there is also nothing that calls `main`.
        let start = if self.handles { "__start" } else { "main" };
        self.line(&format!(".globl {start}"));
        let _ = writeln!(self.text, "{start}:");
        self.line("move $s7, $ra");
        self.line("la $s5, words");
        for (index, register) in REGISTERS.into_iter().enumerate() {
            self.line(&format!("lw {register}, {}($s5)", 4 * index));
        }
        for (index, (single, double)) in SINGLES.into_iter().zip(DOUBLES).enumerate() {
            self.line(&format!("l.s {single}, singles+{}", 4 * index));
            self.line(&format!("l.d {double}, doubles+{}", 8 * index));
        }
        self.line("la $a0, text");
        self.line("li $v0, 4");
        self.line("syscall");
        for _ in 0..3 + self.numbers.below(5) {
            self.part();
        }
        if self.handles {
            self.print_register("$gp");
            self.service(10);
        } else {
            self.line("jr $s7");
        }
        self.text.push_str("function:\n");
        (0..3).for_each(|_| self.whole());
        self.line("jr $ra");
    }

    /// A few instructions: in a row, in a loop, jumped over, or in a function.
    fn part(&mut self) {
        match self.numbers.below(8) {
            0 => self.repeated(),
            1 => self.skipped(),
            2 => self.line("jal function"),
            3 => (0..4).for_each(|_| self.real()),
            4 => self.reading(),
            5 => self.heap(),
            6 => self.file(),
            _ => (0..6).for_each(|_| self.whole()),
        }
        if self.handles {
            (0..3).for_each(|_| self.exception());
        }
        self.print_whole();
        if self.numbers.below(2) == 0 {
            self.print_real();
        }
    }

    fn service(&mut self, number: u32) {
        self.line(&format!("li $v0, {number}"));
        self.line("syscall");
    }

    /// Something that raises an exception, with some operands.
    fn exception(&mut self) {
        let template = self.numbers.one_of(&EXCEPTIONS);
        self.fill(template);
    }

    /// Reads numbers and lines, and prints them.
    fn reading(&mut self) {
        for _ in 0..1 + self.numbers.below(3) {
            match self.numbers.below(4) {
                0 => {
                    let number = self.numbers.below(4_000_000) as i64 - 2_000_000;
                    let _ = writeln!(self.input, "{number}");
                    self.service(5);
                    let register = self.numbers.one_of(&REGISTERS);
                    self.line(&format!("move {register}, $v0"));
                    self.print_register(register);
                }
                1 => self.reading_real(),
                2 => {
                    let words = ["", "a", "two words", "  blanks  ", "longer than the room for it"];
                    let word = self.numbers.one_of(&words);
                    let _ = writeln!(self.input, "{word}");
                    // With the newline and the zero behind it, all of a line fits.
                    let room = word.len() as u64 + 2 + self.numbers.below(10);
                    self.line("la $a0, line");
                    self.line(&format!("li $a1, {room}"));
                    self.service(8);
                    self.service(4);
                }
                _ => {
                    let byte = self.numbers.one_of(b"aZ09+~ ");
                    self.input.push(char::from(byte));
                    self.service(12);
                    self.print_register("$v0");
                }
            }
        }
    }

    fn reading_real(&mut self) {
        let (whole, part) = (self.numbers.below(2000) as i64 - 1000, self.numbers.below(1000));
        let _ = writeln!(self.input, "{whole}.{part:03}");
        let (single, double) = (self.numbers.one_of(&SINGLES), self.numbers.one_of(&DOUBLES));
        if self.numbers.below(2) == 0 {
            self.service(6);
            self.line(&format!("mov.s {single}, $f0"));
        } else {
            self.service(7);
            self.line(&format!("mov.d {double}, $f0"));
        }
        self.print_real();
    }

    /// Takes memory, twice, and uses it.
    fn heap(&mut self) {
        let (bytes, more, offset) =
            (8 + 8 * self.numbers.below(20), 8 * self.numbers.below(20), 4 * self.numbers.below(2));
        self.line(&format!("li $a0, {bytes}"));
        self.service(9);
        self.line("move $t8, $v0");
        self.line(&format!("li $a0, {more}"));
        self.service(9);
        // Where the heap begins is each simulator's own.
        self.line("subu $t9, $v0, $t8");
        self.print_register("$t9");
        let (stored, loaded) = (self.numbers.one_of(&REGISTERS), self.numbers.one_of(&REGISTERS));
        self.line(&format!("sw {stored}, {offset}($t8)"));
        self.line(&format!("lw {loaded}, {offset}($t8)"));
    }

    /// Writes some of the data to a file, and reads it.
    fn file(&mut self) {
        const WRITE_ANEW: u32 = 0o1101;
        let (length, room) = (1 + self.numbers.below(60), 1 + self.numbers.below(40));
        self.open(WRITE_ANEW);
        self.line("move $a0, $t8");
        self.line("la $a1, words");
        self.line(&format!("li $a2, {length}"));
        self.service(15);
        self.print_register("$v0");
        self.close();
        self.open(0);
        self.line("move $a0, $t8");
        self.line("la $a1, line");
        self.line(&format!("li $a2, {room}"));
        self.service(14);
        self.print_register("$v0");
        self.close();
        let register = self.numbers.one_of(&REGISTERS);
        self.line(&format!("lb {register}, line"));
        // Strings are printed from here, so there must be a zero.
        self.line("sb $zero, line+39");
    }

    fn open(&mut self, flags: u32) {
        self.line("la $a0, name");
        self.line(&format!("li $a1, {flags}"));
        self.line("li $a2, 0x1b6");
        self.service(13);
        self.line("move $t8, $v0");
    }

    fn close(&mut self) {
        self.line("move $a0, $t8");
        self.service(16);
    }

    fn label(&mut self) -> String {
        self.labels += 1;
        format!("label{}", self.labels)
    }

    fn repeated(&mut self) {
        let label = self.label();
        let times = 1 + self.numbers.below(6);
        self.line(&format!("li $s6, {times}"));
        let _ = writeln!(self.text, "{label}:");
        (0..5).for_each(|_| self.whole());
        self.real();
        self.line("addiu $s6, $s6, -1");
        self.line(&format!("bnez $s6, {label}"));
    }

    fn skipped(&mut self) {
        let label = self.label();
        if self.numbers.below(4) == 0 {
            let comparison = self.numbers.one_of(&COMPARISONS);
            self.fill(comparison);
            let branch = self.numbers.one_of(&["bc1t", "bc1f"]);
            self.line(&format!("{branch} {label}"));
        } else {
            let branch = self.numbers.one_of(&BRANCHES).replace('L', &label);
            self.fill(&branch);
        }
        (0..3).for_each(|_| self.whole());
        let _ = writeln!(self.text, "{label}:");
    }

    fn whole(&mut self) {
        let template = self.numbers.one_of(&WHOLE);
        self.fill(template);
    }

    fn real(&mut self) {
        let template = self.numbers.one_of(&REAL);
        self.fill(template);
    }

    /// Writes a template with its operands put in.
    fn fill(&mut self, template: &str) {
        let registers = [
            self.numbers.one_of(&REGISTERS),
            self.numbers.one_of(&REGISTERS),
            self.numbers.one_of(&REGISTERS),
        ];
        if template.contains(", n") {
            self.line(&format!("andi $t9, {}, 0xff", registers[2]));
            self.line("ori $t9, $t9, 1");
        }
        for instruction in template.split('|') {
            let (name, operands) = instruction.split_once(' ').unwrap_or((instruction, ""));
            let floats = self.floats(name);
            let operands = operands.split(", ").map(|operand| self.operand(operand, registers, floats));
            let operands: Vec<String> = operands.collect();
            self.line(&format!("{name} {}", operands.join(", ")));
        }
    }

    /// Registers of the widths that the name says.
    fn floats(&mut self, name: &str) -> [&'static str; 3] {
        match name {
            "cvt.d.s" => [self.numbers.one_of(&DOUBLES), self.numbers.one_of(&SINGLES), SINGLES[0]],
            "cvt.s.d" => [self.numbers.one_of(&SINGLES), self.numbers.one_of(&DOUBLES), DOUBLES[0]],
            _ if name.ends_with(".d") => {
                [self.numbers.one_of(&DOUBLES), self.numbers.one_of(&DOUBLES), self.numbers.one_of(&DOUBLES)]
            }
            _ => {
                [self.numbers.one_of(&SINGLES), self.numbers.one_of(&SINGLES), self.numbers.one_of(&SINGLES)]
            }
        }
    }

    fn operand(&mut self, operand: &str, registers: [&str; 3], floats: [&str; 3]) -> String {
        let [d, s, t] = registers;
        match operand {
            "d" => d.into(),
            "s" => s.into(),
            "t" => t.into(),
            "n" => "$t9".into(),
            "i" => (self.numbers.below(0x1_0000) as i64 - 0x8000).to_string(),
            "u" => self.numbers.below(0x1_0000).to_string(),
            "w" => format!("{:#x}", self.word()),
            "h" => self.numbers.below(32).to_string(),
            "x" => floats[0].into(),
            "y" => floats[1].into(),
            "z" => floats[2].into(),
            "b($s5)" => format!("{}($s5)", self.numbers.below(60)),
            "e($s5)" => format!("{}($s5)", self.numbers.below(30) * 2),
            "o($s5)" => format!("{}($s5)", self.numbers.below(15) * 4),
            other => other.into(),
        }
    }

    fn print_register(&mut self, register: &str) {
        self.line(&format!("move $a0, {register}"));
        self.service(1);
        self.line("li $a0, ' '");
        self.service(11);
    }

    fn print_newline(&mut self) {
        self.line("li $a0, 10");
        self.service(11);
    }

    fn print_whole(&mut self) {
        for register in REGISTERS {
            if self.numbers.below(2) == 0 {
                self.print_register(register);
            }
        }
        self.print_newline();
    }

    fn print_real(&mut self) {
        let (single, double) = (self.numbers.one_of(&SINGLES), self.numbers.one_of(&DOUBLES));
        self.line(&format!("mov.s $f12, {single}"));
        self.service(2);
        self.print_newline();
        self.line(&format!("mov.d $f12, {double}"));
        self.service(3);
        self.print_newline();
    }
}
