//! What a program died of, for people: what happened, at which instruction, and where that is in the
//! source.

use std::fmt;

use translator::addr::Va;
use translator::asm::{Diagnostic, Place, Severity};
use translator::exception::{Exception, Intent};
use translator::isa::{Classes, Op, decode};
use translator::machine::Access;

use super::image::Image;
use crate::vcpu::Vcpu;

/// Why a program could not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What happened.
    pub what: String,
    /// The instruction's address.
    pub pc: Va,
    /// The label at or before it, and the distance from it.
    pub label: Option<(String, u64)>,
    /// The instruction, if it could be read.
    pub instruction: Option<String>,
    /// The statement that it comes from.
    pub place: Option<Place>,
}

impl Fault {
    /// Something happened at the instruction that ran last.
    pub(super) fn new(image: &Image, vcpu: &Vcpu, what: String) -> Self {
        Self::at(image, vcpu, vcpu.site().pc, what)
    }

    /// Something happened at `pc`.
    pub(super) fn at(image: &Image, vcpu: &Vcpu, pc: Va, what: String) -> Self {
        let word = vcpu.word_at(pc);
        Self {
            what,
            pc,
            label: image.label(pc).map(|(name, distance)| (name.to_owned(), distance)),
            instruction: word.map(|word| image.text(word, pc)),
            place: image.line(pc).cloned(),
        }
    }

    /// An exception that the program does not handle.
    pub(super) fn of_exception(image: &Image, vcpu: &Vcpu, exception: Exception) -> Self {
        Self::new(image, vcpu, describe(vcpu, exception))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:#010x}", self.what, self.pc.0 as u32)?;
        match &self.label {
            Some((name, 0)) => write!(f, " <{name}>")?,
            Some((name, distance)) => write!(f, " <{name}+{distance:#x}>")?,
            None => {}
        }
        if let Some(instruction) = &self.instruction {
            write!(f, ": {instruction}")?;
        }
        let Some(place) = &self.place else { return Ok(()) };
        let statement = Diagnostic {
            severity: Severity::Error,
            message: String::new(),
            label: String::new(),
            place: Some(place.clone()),
            note: None,
        };
        // The first line would say again that this is an error.
        let text = statement.to_string();
        let text = text.split_once('\n').map_or("", |(_, place)| place);
        write!(f, "\n{}", text.trim_end())
    }
}

fn describe(vcpu: &Vcpu, exception: Exception) -> String {
    let name = exception.name();
    match exception {
        Exception::AddressError(va, intent) => match access(vcpu).filter(|(at, _)| *at == va.0) {
            Some((_, bytes)) if va.0 & (bytes - 1) != 0 => {
                format!("{name}: {} address {} is no multiple of {bytes}", verb(intent), hex(va.0))
            }
            _ if va.0 & 3 != 0 && intent == Intent::Fetch => {
                format!("{name}: a jump to {}, which is no multiple of 4,", hex(va.0))
            }
            _ => format!("{name}: {} address {} is outside of 32 bits", verb(intent), hex(va.0)),
        },
        Exception::BusError(Intent::Fetch) => format!("{name}: there is no memory to run"),
        Exception::BusError(intent) => match access(vcpu) {
            Some((at, _)) => format!("{name}: {} address {} has no memory", verb(intent), hex(at)),
            None => name.to_owned(),
        },
        Exception::Breakpoint => breakpoint(vcpu),
        Exception::CoprocessorUnusable(unit) => format!("coprocessor {unit} is not usable"),
        _ => name.to_owned(),
    }
}

/// The codes by which compilers and assemblers say what is wrong with a division (MIPS o32 ABI,
/// `BRK_DIVZERO` and `BRK_OVERFLOW` of Linux's `asm/break.h`).
fn breakpoint(vcpu: &Vcpu) -> String {
    let insn = vcpu.word_at(vcpu.site().pc).and_then(decode);
    match insn.filter(|insn| insn.op == Op::Break).map(|insn| insn.word >> 6 & 0xf_ffff) {
        Some(code) if code == 7 || code == 7 << 10 => "division by zero (breakpoint 7)".into(),
        Some(code) if code == 6 || code == 6 << 10 => "division overflow (breakpoint 6)".into(),
        _ => "breakpoint".into(),
    }
}

fn verb(intent: Intent) -> &'static str {
    match intent {
        Intent::Load => "load",
        Intent::Store => "store",
        Intent::Fetch => "instruction",
    }
}

fn hex(address: u64) -> String {
    if address as i32 as u64 == address {
        format!("{:#010x}", address as u32)
    } else {
        format!("{address:#x}")
    }
}

/// The address and width of the load or store at the current site, whose registers are as they were.
fn access(vcpu: &Vcpu) -> Option<(u64, u64)> {
    let insn = decode(vcpu.word_at(vcpu.site().pc)?)?;
    let is_access = insn.classes().intersects(Classes::LOAD | Classes::STORE);
    let base = vcpu.cpu.gpr[insn.rs() as usize];
    let address = base.wrapping_add(insn.simm());
    let bytes = match insn.op.row().name {
        "lb" | "lbu" | "sb" => Access::U8,
        "lh" | "lhu" | "sh" => Access::U16,
        "ld" | "sd" | "lld" | "scd" | "ldc1" | "sdc1" => Access::U64,
        _ => Access::U32,
    };
    let narrow = address as i32 as u64;
    is_access.then_some((narrow, bytes.bytes()))
}
