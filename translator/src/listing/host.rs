//! Host code as text in the words of the translator: fields of the vCPU, guest registers that live in
//! host registers, stubs, links and labels by name. It must not know what the code is for beyond the
//! parts that the emitter marked.

use std::collections::{BTreeMap, HashMap};

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Formatter, FormatterOutput, FormatterTextKind, Instruction,
    NasmFormatter, OpKind, Register, SymbolResolver, SymbolResult,
};
use serde::{Deserialize, Serialize};

use super::{Context, target};
use crate::block::Block;
use crate::code::{Code, Part, Routine};
use crate::emit::{Pins, frame};
use crate::isa::text::Names;
use crate::stub::Stub;

/// One host instruction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostLine {
    /// Its offset in the block's code.
    pub offset: usize,
    /// Its bytes, in hexadecimal. Displacements that depend on the place are 0.
    pub bytes: String,
    /// The label in front of it.
    pub label: Option<String>,
    /// Its text.
    pub text: String,
}

/// The host code of a block.
pub(super) struct Host {
    lines: Vec<HostLine>,
    parts: Vec<(usize, Part)>,
}

/// Where routines seem to be while code is decoded: no block is that long.
const ROUTINES: u64 = 1 << 30;
/// Names of a routine are asked for by its position here.
const PLAIN_ROUTINES: [(Routine, &str); 6] = [
    (Routine::Dispatch, "dispatch"),
    (Routine::Miss, "miss"),
    (Routine::Alarm, "alarm"),
    (Routine::Budget, "budget"),
    (Routine::Polled, "polled"),
    (Routine::Link, "link"),
];

impl Host {
    pub(super) fn new(block: &Block, code: &Code, context: Context<'_>) -> Self {
        let bytes = with_displacements(code);
        let instructions: Vec<Instruction> =
            Decoder::with_ip(64, &bytes, 0, DecoderOptions::NONE).into_iter().collect();
        let labels = labels(block, code, &instructions);
        let mut printer = Printer::new(labels, &context);
        let lines = instructions.iter().map(|instruction| {
            let offset = instruction.ip() as usize;
            let raw = &code.bytes[offset..offset + instruction.len()];
            HostLine {
                offset,
                bytes: raw.iter().map(|byte| format!("{byte:02x}")).collect(),
                label: printer.label(offset),
                text: printer.print(instruction),
            }
        });
        Self { lines: lines.collect(), parts: code.parts.clone() }
    }

    /// The lines of the parts that `wanted` chooses.
    pub(super) fn of(&self, wanted: impl Fn(Part) -> bool) -> Vec<HostLine> {
        self.lines.iter().filter(|line| self.part(line.offset).is_some_and(&wanted)).cloned().collect()
    }

    /// The lines of the part that begins at `start`.
    pub(super) fn at(&self, start: usize) -> Vec<HostLine> {
        let end = self.parts.iter().map(|(at, _)| *at).find(|at| *at > start).unwrap_or(usize::MAX);
        self.lines.iter().filter(|line| (start..end).contains(&line.offset)).cloned().collect()
    }

    /// The last part that begins at or before `offset`: an empty part has no bytes.
    fn part(&self, offset: usize) -> Option<Part> {
        self.parts.iter().rev().find(|(at, _)| *at <= offset).map(|(_, part)| *part)
    }
}

/// The bytes with displacements to the places that routines seem to have, and to link stubs.
fn with_displacements(code: &Code) -> Vec<u8> {
    let mut bytes = code.bytes.clone();
    let mut put = |at: usize, target: u64| {
        let displacement = target.wrapping_sub(at as u64 + 4) as u32;
        bytes[at..at + 4].copy_from_slice(&displacement.to_le_bytes());
    };
    for (at, routine) in &code.calls {
        put(*at, routine_address(*routine));
    }
    for link in &code.links {
        put(link.displacement, link.stub as u64);
    }
    bytes
}

fn routine_address(routine: Routine) -> u64 {
    let index = match routine {
        Routine::Stub(stub) => PLAIN_ROUTINES.len() + stub as usize,
        plain => PLAIN_ROUTINES.iter().position(|(other, _)| *other == plain).unwrap_or(0),
    };
    ROUTINES + index as u64
}

fn routine_name(address: u64) -> Option<String> {
    let index = usize::try_from(address.checked_sub(ROUTINES)?).ok()?;
    if let Some((_, name)) = PLAIN_ROUTINES.get(index) {
        return Some(format!("routine.{name}"));
    }
    let stub = Stub::ALL.get(index - PLAIN_ROUTINES.len())?;
    Some(format!("stub.{}", stub.name()))
}

/// A name for each offset that a jump goes to, and for each part off the straight path.
fn labels(block: &Block, code: &Code, instructions: &[Instruction]) -> HashMap<u64, String> {
    let mut labels = HashMap::new();
    let mut slow = 0;
    for (at, part) in &code.parts {
        let name = match part {
            Part::Slow(_) => {
                slow += 1;
                format!("slow{slow}")
            }
            Part::Link(exit) => match target(block, *exit) {
                Some(va) => format!("link_{:x}", va.0),
                None => "link".to_owned(),
            },
            Part::Budget => "over_budget".to_owned(),
            Part::Stale => "stale".to_owned(),
            Part::Entry | Part::Step(_) | Part::End => continue,
        };
        labels.insert(*at as u64, name);
    }
    let jumped_to: BTreeMap<u64, ()> =
        instructions.iter().filter(|i| is_jump(i)).map(|i| (i.near_branch64(), ())).collect();
    let others = jumped_to.into_keys().filter(|at| *at < ROUTINES && !labels.contains_key(at));
    let others: Vec<u64> = others.collect();
    labels.extend(others.into_iter().enumerate().map(|(index, at)| (at, format!("L{}", index + 1))));
    labels
}

fn is_jump(instruction: &Instruction) -> bool {
    let flow = instruction.flow_control();
    let near = instruction.op_count() > 0 && instruction.op0_kind() == OpKind::NearBranch64;
    near && matches!(flow, FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch)
}

/// Gives names to what instructions point to.
struct Resolver {
    labels: HashMap<u64, String>,
    registers: Names,
}

impl Resolver {
    fn memory(&self, instruction: &Instruction) -> Option<String> {
        let base = instruction.memory_base();
        let offset = instruction.memory_displacement64() as i32;
        if base.number() == usize::from(frame::CPU.0) && base.is_gpr64() {
            return frame::name(offset, self.registers).map(|name| format!("cpu.{name}"));
        }
        if base.number() == usize::from(frame::SOFT_TLB.0) && base.is_gpr64() {
            return frame::soft_tlb_name(offset).map(str::to_owned);
        }
        None
    }
}

impl SymbolResolver for Resolver {
    fn symbol(
        &mut self,
        instruction: &Instruction,
        _operand: u32,
        instruction_operand: Option<u32>,
        address: u64,
        _address_size: u32,
    ) -> Option<SymbolResult<'_>> {
        let name = match instruction.op_kind(instruction_operand?) {
            OpKind::Memory => self.memory(instruction)?,
            OpKind::NearBranch64 => routine_name(address).or_else(|| self.labels.get(&address).cloned())?,
            OpKind::Immediate64 if address == i64::MAX as u64 => "counter".to_owned(),
            _ => return None,
        };
        Some(SymbolResult::with_string(address, name))
    }
}

struct Printer {
    formatter: NasmFormatter,
    labels: HashMap<u64, String>,
    registers: Names,
    pins: Pins,
}

impl Printer {
    fn new(labels: HashMap<u64, String>, context: &Context<'_>) -> Self {
        let Context { registers, pins, .. } = *context;
        let resolver = Resolver { labels: labels.clone(), registers };
        let mut formatter = NasmFormatter::with_options(Some(Box::new(resolver)), None);
        let options = formatter.options_mut();
        options.set_hex_prefix("0x");
        options.set_hex_suffix("");
        options.set_uppercase_hex(false);
        options.set_show_branch_size(false);
        options.set_space_after_operand_separator(true);
        options.set_first_operand_char_index(8);
        Self { formatter, labels, registers, pins }
    }

    fn label(&self, offset: usize) -> Option<String> {
        self.labels.get(&(offset as u64)).cloned()
    }

    fn print(&mut self, instruction: &Instruction) -> String {
        let mut line = HostText { text: String::new(), registers: self.registers, pins: self.pins };
        self.formatter.format(instruction, &mut line);
        // The name says whose field it is.
        line.text.replace("cpu+cpu.", "cpu.")
    }
}

/// Text in which the registers that hold guest state say so.
struct HostText {
    text: String,
    registers: Names,
    pins: Pins,
}

impl FormatterOutput for HostText {
    fn write(&mut self, text: &str, _kind: FormatterTextKind) {
        self.text.push_str(text);
    }

    fn write_register(
        &mut self,
        _instruction: &Instruction,
        _operand: u32,
        _instruction_operand: Option<u32>,
        text: &str,
        register: Register,
    ) {
        let number = register.number();
        let is = |reg: crate::emit::asm::Reg| number == usize::from(reg.0);
        if !register.is_gpr() {
            self.text.push_str(text);
        } else if is(frame::CPU) {
            self.text.push_str("cpu");
        } else if is(frame::SOFT_TLB) {
            self.text.push_str("soft_tlb");
        } else if let Some((guest, _)) = self.pins.iter().find(|(_, host)| is(*host)) {
            self.text.push_str(&format!("{text}/*{}*/", &self.registers.gpr(guest)[1..]));
        } else {
            self.text.push_str(text);
        }
    }
}
