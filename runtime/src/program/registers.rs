//! The registers of a program, and how they are shown to people and to programs.

use std::fmt::Write;

use translator::addr::Va;
use translator::asm::Cpu;
use translator::cp0::Cp0;
use translator::isa::text::GPR_NAMES_O32;
use translator::mode::Mode;

use super::image::Image;
use crate::vcpu::Vcpu;

/// The coprocessor 0 registers that programs meet.
const SHOWN: [Cp0; 9] = [
    Cp0::Status,
    Cp0::Cause,
    Cp0::Epc,
    Cp0::BadVAddr,
    Cp0::Count,
    Cp0::Compare,
    Cp0::EBase,
    Cp0::Config,
    Cp0::PRId,
];

/// A register: its name, its value, and whether it is 64 bits wide.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cell {
    name: &'static str,
    value: u64,
    wide: bool,
}

/// All registers at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registers {
    /// The program's name.
    pub program: String,
    /// The instructions that had run.
    pub instructions: u64,
    /// Whether general registers have 64 bits.
    pub wide: bool,
    /// Whether there are 32 floating-point registers of 64 bits, and not 16 pairs.
    pub wide_fpu: bool,
    /// The general registers.
    pub gpr: [u64; 32],
    /// The program counter.
    pub pc: u64,
    /// HI and LO.
    pub hi_lo: [u64; 2],
    /// The floating-point registers.
    pub fpr: [u64; 32],
    /// The floating-point control and status register.
    pub fcsr: u32,
    cp0: Vec<Cell>,
    /// The instruction at the program counter, with its label.
    next: String,
}

impl Registers {
    pub(super) fn new(image: &Image, vcpu: &Vcpu) -> Self {
        let cpu = &vcpu.cpu;
        let cell = |register: &Cp0| Cell {
            name: register.row().name,
            value: vcpu.shown_cp0(*register),
            wide: register.row().wide && image.options.cpu == Cpu::Mips64r2,
        };
        Self {
            program: image.name.clone(),
            instructions: vcpu.retired(),
            wide: image.options.cpu == Cpu::Mips64r2,
            wide_fpu: cpu.mode.contains(Mode::WIDE_FPU),
            gpr: cpu.gpr,
            pc: cpu.pc,
            hi_lo: [cpu.hi, cpu.lo],
            fpr: cpu.fpr,
            fcsr: cpu.fcsr,
            cp0: SHOWN.iter().map(cell).collect(),
            next: next(image, vcpu),
        }
    }

    /// For people: aligned, a `*` at what is not as in `before`, in colour if that is wanted.
    pub fn text(&self, before: Option<&Registers>, colour: bool) -> String {
        let before = before.unwrap_or(self);
        Sheet { now: self, before, colour, text: String::new() }.write()
    }

    /// For programs: one line of JSON. Values are strings of hexadecimal digits, for JSON's numbers
    /// cannot hold 64 bits.
    pub fn json(&self, before: Option<&Registers>) -> String {
        let before = before.unwrap_or(self);
        let digits = if self.wide { 16 } else { 8 };
        let hex = |value: u64| format!("\"0x{:0digits$x}\"", self.visible(value));
        let list = |cells: Vec<String>| cells.join(",");
        let gpr = GPR_NAMES_O32.iter().zip(self.gpr).map(|(name, v)| format!("\"{name}\":{}", hex(v)));
        let fpr = self.fpr.iter().map(|v| self.json_float(*v));
        let cp0 = self.cp0.iter().map(|c| format!("\"{}\":\"{}\"", c.name, c.hex()));
        let changed = self.changed(before).into_iter().map(|name| format!("\"{name}\""));
        format!(
            "{{\"program\":{},\"instructions\":{},\"pc\":{},\"next\":{},\"hi\":{},\"lo\":{},\
             \"gpr\":{{{}}},\"fpr\":[{}],\"fcsr\":\"{:#010x}\",\"cp0\":{{{}}},\"changed\":[{}]}}",
            quoted(&self.program),
            self.instructions,
            hex(self.pc),
            quoted(&self.next),
            hex(self.hi_lo[0]),
            hex(self.hi_lo[1]),
            list(gpr.collect()),
            list(fpr.collect()),
            self.fcsr,
            list(cp0.collect()),
            list(changed.collect()),
        )
    }

    fn json_float(&self, value: u64) -> String {
        if self.wide_fpu { format!("\"{value:#018x}\"") } else { format!("\"{:#010x}\"", value as u32) }
    }

    /// The names of the registers that are not as in `before`; of the counters only the program counter.
    pub fn changed(&self, before: &Registers) -> Vec<String> {
        let mut names = Vec::new();
        let mut compare = |name: &str, same: bool| {
            if !same {
                names.push(name.to_owned());
            }
        };
        compare("pc", self.pc == before.pc);
        compare("hi", self.hi_lo[0] == before.hi_lo[0]);
        compare("lo", self.hi_lo[1] == before.hi_lo[1]);
        for (number, name) in GPR_NAMES_O32.iter().enumerate() {
            compare(name, self.gpr[number] == before.gpr[number]);
        }
        for (number, (now, old)) in self.fpr.iter().zip(before.fpr).enumerate() {
            compare(&format!("f{number}"), *now == old);
        }
        compare("fcsr", self.fcsr == before.fcsr);
        for (now, old) in self.cp0.iter().zip(&before.cp0) {
            compare(now.name, now == old);
        }
        names
    }

    /// A 32-bit processor's registers are held sign-extended.
    fn visible(&self, value: u64) -> u64 {
        if self.wide { value } else { u64::from(value as u32) }
    }

    /// The double in an even-odd pair of 32-bit registers.
    fn pair(&self, even: usize) -> f64 {
        f64::from_bits(u64::from(self.fpr[even] as u32) | self.fpr[even + 1] << 32)
    }
}

impl Cell {
    fn hex(&self) -> String {
        if self.wide { format!("{:#018x}", self.value) } else { format!("{:#010x}", self.value as u32) }
    }
}

/// The instruction that is next.
fn next(image: &Image, vcpu: &Vcpu) -> String {
    let pc = Va(vcpu.cpu.pc);
    let text = vcpu.word_at(pc).map_or("no memory".into(), |word| image.text(word, pc));
    match image.label(pc) {
        Some((name, 0)) => format!("{name}: {text}"),
        Some((name, distance)) => format!("{name}+{distance:#x}: {text}"),
        None => text,
    }
}

/// A string of JSON.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c < ' ' => {
                // Writing to a string cannot fail.
                let _ = write!(quoted, "\\u{:04x}", c as u32);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

const BOLD: &str = "\x1b[1m";
const CHANGED: &str = "\x1b[1;33m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// The page of a dump while it is written.
struct Sheet<'a> {
    now: &'a Registers,
    before: &'a Registers,
    colour: bool,
    text: String,
}

impl Sheet<'_> {
    fn write(mut self) -> String {
        let Registers { program, instructions, .. } = self.now;
        let instructions = grouped(*instructions);
        let title = format!("── {program} ── after {instructions} instructions ");
        let rule = "─".repeat(92usize.saturating_sub(title.chars().count()));
        self.styled(BOLD, &format!("{title}{rule}"));
        self.text.push('\n');
        self.counters();
        self.general();
        if self.now.wide_fpu {
            self.wide_floats();
        } else {
            self.float_pairs();
        }
        self.control();
        self.text
    }

    fn styled(&mut self, style: &str, text: &str) {
        if self.colour {
            self.text.extend([style, text, PLAIN]);
        } else {
            self.text.push_str(text);
        }
    }

    /// A name and a value, marked if it changed.
    fn cell(&mut self, name: &str, value: &str, changed: bool) {
        self.text.push(if changed { '*' } else { ' ' });
        self.styled(DIM, name);
        self.text.push(' ');
        if changed { self.styled(CHANGED, value) } else { self.text.push_str(value) }
    }

    fn hex(&self, value: u64) -> String {
        if self.now.wide { format!("{value:#018x}") } else { format!("{:#010x}", value as u32) }
    }

    fn counters(&mut self) {
        let (now, before) = (self.now, self.before);
        self.cell("pc       ", &self.hex(now.pc), now.pc != before.pc);
        self.text.push_str("   ");
        self.text.push_str(&now.next);
        self.text.push('\n');
        for (index, name) in ["hi       ", "lo       "].into_iter().enumerate() {
            let value = now.hi_lo[index];
            self.cell(name, &self.hex(value), value != before.hi_lo[index]);
            self.text.push_str("  ");
        }
        self.text.truncate(self.text.trim_end().len());
        self.text.push('\n');
    }

    /// Columns from top to bottom, as in the register windows of MARS and SPIM.
    fn general(&mut self) {
        let columns = if self.now.wide { 2 } else { 4 };
        let rows = 32 / columns;
        for row in 0..rows {
            for column in 0..columns {
                let number = column * rows + row;
                let name = format!("${:<4}{:>4}", GPR_NAMES_O32[number], format!("${number}"));
                let value = self.now.gpr[number];
                let mut shown = self.hex(value);
                if self.now.wide {
                    shown = format!("{shown} {:>20}", value as i64);
                }
                self.cell(&name, &shown, value != self.before.gpr[number]);
                self.text.push_str(if column + 1 < columns { "  " } else { "\n" });
            }
        }
    }

    fn float_pairs(&mut self) {
        for even in (0..32).step_by(2) {
            for number in [even, even + 1] {
                let bits = self.now.fpr[number] as u32;
                let shown = format!("{bits:#010x} {:<14}", short(f64::from(f32::from_bits(bits)), 8));
                let changed = bits != self.before.fpr[number] as u32;
                self.cell(&format!("{:<9}", format!("$f{number}")), &shown, changed);
                self.text.push(' ');
            }
            let double = self.now.pair(even);
            let changed = double.to_bits() != self.before.pair(even).to_bits();
            self.cell("double", &short(double, 17), changed);
            self.text.push('\n');
        }
    }

    fn wide_floats(&mut self) {
        for number in 0..32 {
            let bits = self.now.fpr[number];
            let name = format!("{:<9}", format!("$f{number}"));
            let single = short(f64::from(f32::from_bits(bits as u32)), 8);
            let double = short(f64::from_bits(bits), 17);
            let shown = format!("{bits:#018x} single {single:<14} double {double}");
            self.cell(&name, &shown, bits != self.before.fpr[number]);
            self.text.push('\n');
        }
    }

    fn control(&mut self) {
        let fcsr = format!("{:#010x}", self.now.fcsr);
        self.cell("fcsr     ", &fcsr, self.now.fcsr != self.before.fcsr);
        self.text.push_str("  ");
        let (now, before) = (self.now, self.before);
        for (index, (cell, old)) in now.cp0.iter().zip(&before.cp0).enumerate() {
            self.cell(&format!("{:<9}", cell.name), &cell.hex(), cell != old);
            let is_last =
                (index + 2).is_multiple_of(if now.wide { 3 } else { 4 }) || index + 1 == now.cp0.len();
            self.text.push_str(if is_last { "\n" } else { "  " });
        }
    }
}

/// A number with marks between groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A real number in its shortest form, scientific if that is shorter.
fn short(value: f64, digits: usize) -> String {
    let plain = if digits <= 8 { (value as f32).to_string() } else { value.to_string() };
    if plain.len() <= digits + 2 {
        return plain;
    }
    if digits <= 8 { format!("{:e}", value as f32) } else { format!("{value:e}") }
}
