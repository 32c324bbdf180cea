//! Random programs in the language that MARS and SPIM share. They end, raise no exceptions, and print much of what they
//! compute.

use std::fmt::Write;

use crate::harness::Dice;

/// A program.
pub struct Program {
    pub text: String,
}

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
    dice: Dice,
    text: String,
    labels: usize,
}

/// The program of a seed.
pub fn program(seed: u64) -> Program {
    let mut generator = Generator { dice: Dice::new(seed), text: String::new(), labels: 0 };
    generator.data();
    generator.main();
    Program { text: generator.text }
}

impl Generator {
    fn line(&mut self, text: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "        {text}");
    }

    fn word(&mut self) -> u32 {
        if self.dice.below(3) == 0 { self.dice.pick(&EDGES) } else { self.dice.next() as u32 }
    }

    fn data(&mut self) {
        self.text.push_str("        .data\nwords:");
        for _ in 0..16 {
            let word = self.word();
            self.line(&format!(".word {word:#x}"));
        }
        self.text.push_str("singles:");
        for _ in 0..4 {
            let (whole, part) = (self.dice.below(2000) as i64 - 1000, self.dice.below(100));
            self.line(&format!(".float {whole}.{part:02}"));
        }
        self.line(".align 3");
        self.text.push_str("doubles:");
        for _ in 0..4 {
            let (whole, part) = (self.dice.below(200_000) as i64 - 100_000, self.dice.below(10_000));
            self.line(&format!(".double {whole}.{part:04}"));
        }
        self.text.push_str("part:");
        self.line(".double 0.375");
        self.text.push_str("text:");
        self.line(".asciiz \"ok \\t\\\"quoted\\\"\\n\"");
        self.line(".byte 1, 2, 'x', -1");
        self.line(".half 0x1234, -5");
        self.line(".space 3");
    }

    fn main(&mut self) {
        self.line(".text");
        self.line(".globl main");
        self.text.push_str("main:\n");
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
        for _ in 0..3 + self.dice.below(5) {
            self.part();
        }
        self.line("jr $s7");
        self.text.push_str("function:\n");
        (0..3).for_each(|_| self.whole());
        self.line("jr $ra");
    }

    /// A few instructions: in a row, in a loop, jumped over, or in a function.
    fn part(&mut self) {
        match self.dice.below(5) {
            0 => self.repeated(),
            1 => self.skipped(),
            2 => self.line("jal function"),
            3 => (0..4).for_each(|_| self.real()),
            _ => (0..6).for_each(|_| self.whole()),
        }
        self.print_whole();
        if self.dice.below(2) == 0 {
            self.print_real();
        }
    }

    fn label(&mut self) -> String {
        self.labels += 1;
        format!("label{}", self.labels)
    }

    fn repeated(&mut self) {
        let label = self.label();
        let times = 1 + self.dice.below(6);
        self.line(&format!("li $s6, {times}"));
        let _ = writeln!(self.text, "{label}:");
        (0..5).for_each(|_| self.whole());
        self.real();
        self.line("addiu $s6, $s6, -1");
        self.line(&format!("bnez $s6, {label}"));
    }

    fn skipped(&mut self) {
        let label = self.label();
        if self.dice.below(4) == 0 {
            let comparison = self.dice.pick(&COMPARISONS);
            self.fill(comparison);
            let branch = self.dice.pick(&["bc1t", "bc1f"]);
            self.line(&format!("{branch} {label}"));
        } else {
            let branch = self.dice.pick(&BRANCHES).replace('L', &label);
            self.fill(&branch);
        }
        (0..3).for_each(|_| self.whole());
        let _ = writeln!(self.text, "{label}:");
    }

    fn whole(&mut self) {
        let template = self.dice.pick(&WHOLE);
        self.fill(template);
    }

    fn real(&mut self) {
        let template = self.dice.pick(&REAL);
        self.fill(template);
    }

    /// Writes a template with its operands put in.
    fn fill(&mut self, template: &str) {
        let registers = [self.dice.pick(&REGISTERS), self.dice.pick(&REGISTERS), self.dice.pick(&REGISTERS)];
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
            "cvt.d.s" => [self.dice.pick(&DOUBLES), self.dice.pick(&SINGLES), SINGLES[0]],
            "cvt.s.d" => [self.dice.pick(&SINGLES), self.dice.pick(&DOUBLES), DOUBLES[0]],
            _ if name.ends_with(".d") => {
                [self.dice.pick(&DOUBLES), self.dice.pick(&DOUBLES), self.dice.pick(&DOUBLES)]
            }
            _ => [self.dice.pick(&SINGLES), self.dice.pick(&SINGLES), self.dice.pick(&SINGLES)],
        }
    }

    fn operand(&mut self, operand: &str, registers: [&str; 3], floats: [&str; 3]) -> String {
        let [d, s, t] = registers;
        match operand {
            "d" => d.into(),
            "s" => s.into(),
            "t" => t.into(),
            "n" => "$t9".into(),
            "i" => (self.dice.below(0x1_0000) as i64 - 0x8000).to_string(),
            "u" => self.dice.below(0x1_0000).to_string(),
            "w" => format!("{:#x}", self.word()),
            "h" => self.dice.below(32).to_string(),
            "x" => floats[0].into(),
            "y" => floats[1].into(),
            "z" => floats[2].into(),
            "b($s5)" => format!("{}($s5)", self.dice.below(60)),
            "e($s5)" => format!("{}($s5)", self.dice.below(30) * 2),
            "o($s5)" => format!("{}($s5)", self.dice.below(15) * 4),
            other => other.into(),
        }
    }

    fn print_whole(&mut self) {
        for register in REGISTERS {
            if self.dice.below(2) == 0 {
                self.line(&format!("move $a0, {register}"));
                self.line("li $v0, 1");
                self.line("syscall");
                self.line("li $a0, ' '");
                self.line("li $v0, 11");
                self.line("syscall");
            }
        }
        self.line("li $a0, 10");
        self.line("li $v0, 11");
        self.line("syscall");
    }

    fn print_real(&mut self) {
        let (single, double) = (self.dice.pick(&SINGLES), self.dice.pick(&DOUBLES));
        self.line(&format!("mov.s $f12, {single}"));
        self.line("li $v0, 2");
        self.line("syscall");
        self.line("li $a0, 10");
        self.line("li $v0, 11");
        self.line("syscall");
        self.line(&format!("mov.d $f12, {double}"));
        self.line("li $v0, 3");
        self.line("syscall");
        self.line("li $a0, 10");
        self.line("li $v0, 11");
        self.line("syscall");
    }
}
