//! What a program leaves behind, and how two of them differ.

use std::fmt::{self, Write};

use translator::cp0::Cp0;
use translator::isa::text::GPR_NAMES_N64;

/// Registers and memory after a program.
#[derive(Clone, Debug)]
pub struct State {
    pub gpr: [u64; 32],
    pub hi: u64,
    pub lo: u64,
    pub fpr: [u64; 32],
    pub fcsr: u32,
    /// Where it ended; a branch if the end was in its delay slot.
    pub pc: u64,
    pub end: End,
    pub data: Vec<u64>,
    /// The coprocessor 0 registers; none if only a signal was seen.
    pub cp0: Vec<u64>,
    /// How many instructions ran, if that is known.
    pub ran: Option<u64>,
}

/// How a program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// By a signal, with the address it names, if that means anything.
    Signal { number: u32, address: Option<u64> },
    /// By an exception with this Cause, or in kernel mode perhaps without.
    Exception { cause: u64 },
    /// It ran on and on.
    Never,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Signal { number, .. } => write!(f, "signal {number}"),
            End::Exception { cause } => write!(f, "exception {}", cause >> 2 & 31),
            End::Never => write!(f, "none"),
        }
    }
}

impl State {
    /// Whether another way agrees with this one. Of a program that ran on and on until this one gave
    /// it up nothing is compared.
    pub fn agrees(&self, other: &State) -> bool {
        self.end == End::Never || self.difference(other).is_empty()
    }

    /// The registers that differ from `other`, a line each, and nothing for equal states.
    pub fn difference(&self, other: &State) -> String {
        let mut text = String::new();
        let mut compare = |name: &str, mine: u64, theirs: u64| {
            if mine != theirs {
                let _ = writeln!(text, "  * {name:<10} {mine:016x} {theirs:016x}");
            }
        };
        for (number, name) in GPR_NAMES_N64.iter().enumerate() {
            compare(&format!("${number} ({name})"), self.gpr[number], other.gpr[number]);
        }
        for number in 0..32 {
            compare(&format!("$f{number}"), self.fpr[number], other.fpr[number]);
        }
        compare("hi", self.hi, other.hi);
        compare("lo", self.lo, other.lo);
        compare("fcsr", self.fcsr.into(), other.fcsr.into());
        compare("pc", self.pc, other.pc);
        for (index, (mine, theirs)) in self.data.iter().zip(&other.data).enumerate() {
            let offset = 8 * index as i64 - 4 * self.data.len() as i64;
            compare(&format!("data{offset:+}"), *mine, *theirs);
        }
        for (register, (mine, theirs)) in Cp0::ALL.iter().zip(self.cp0.iter().zip(&other.cp0)) {
            compare(register.row().name, *mine, *theirs);
        }
        if let (Some(mine), Some(theirs)) = (self.ran, other.ran)
            && mine != theirs
        {
            let _ = writeln!(text, "  * instructions {mine} {theirs}");
        }
        if self.end != other.end {
            let _ = writeln!(text, "  * {:?} / {:?}", self.end, other.end);
        }
        text
    }

    /// All registers of both, with the differences marked.
    pub fn side_by_side(&self, other: &State) -> String {
        let mut text = String::new();
        let mut line = |name: String, mine: u64, theirs: u64| {
            let mark = if mine == theirs { ' ' } else { '*' };
            let _ = writeln!(text, "  {mark} {name:<5} {mine:016x} {theirs:016x}");
        };
        for number in 0..32 {
            line(format!("${number}"), self.gpr[number], other.gpr[number]);
        }
        for number in 0..32 {
            line(format!("$f{number}"), self.fpr[number], other.fpr[number]);
        }
        line("hi".into(), self.hi, other.hi);
        line("lo".into(), self.lo, other.lo);
        line("fcsr".into(), self.fcsr.into(), other.fcsr.into());
        line("pc".into(), self.pc, other.pc);
        text
    }
}
