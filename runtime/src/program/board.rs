//! Board `bare`: the memory that MARS and SPIM show to a program, and a processor as they leave it at
//! the program's start. There are no devices. It must not know what services there are.
//!
//! Memory: text from 0x0040_0000, data and heap from 0x1000_0000, the stack below 0x8000_0000, the
//! handler's text from 0x8000_0000 and its data from 0x9000_0000. What a program places elsewhere gets
//! memory there; every other address is a bus error.

use std::sync::Arc;

use translator::addr::{PAGE_SIZE, Pa, Va};
use translator::asm::{Cpu, Endian};
use translator::cp0::{Cp0, Status};
use translator::isa::Op;
use translator::isa::text::Names;
use translator::mode::Mode;
use translator::model::{Model, PROGRAM_MIPS32R2, PROGRAM_MIPS64R2};

use super::image::{Image, Options, Piece};
use super::vm::ProgramError;
use crate::bus::Bus;
use crate::device::Window;
use crate::machine::{Clock, Control, Exceptions, Guest, Machine};
use crate::memory::Ram;
use crate::observe::Watching;
use crate::vcpu::Vcpu;

/// What `$ra` is at the start: the program ends when it returns there.
pub const RETURN: Va = Va(0x003f_f000);
/// The code of the HYPCALL at [`RETURN`] and after the last instruction of text.
pub const END_CODE: u32 = 0;
/// The first address that the heap cannot have.
pub const HEAP_END: u64 = 0x2000_0000;

const REGIONS: [(u64, u64); 5] = [
    (RETURN.0, 0x0050_0000),
    (0x1000_0000, HEAP_END),
    (0x7f00_0000, 0x8000_0000),
    (0x8000_0000, 0x8010_0000),
    (0x9000_0000, 0x9010_0000),
];

/// Room after the last instruction of a text for the HYPCALL that ends what runs into it.
const TEXT_SLACK: u64 = 4;

/// SPIM's Status at the start: coprocessors 0 and 1 usable, all interrupts unmasked and none enabled,
/// user mode, which flat memory does not look at. A 64-bit processor has 32 FPU registers of 64 bits,
/// as the n64 convention wants; a 32-bit one has pairs.
fn status(cpu: Cpu) -> u64 {
    const COMMON: u64 = 0x3000_ff10;
    match cpu {
        Cpu::Mips32r2 => COMMON,
        Cpu::Mips64r2 => COMMON | Status::FR.bits(),
    }
}

/// The mode in which a program starts, but for what the machine counts.
pub fn mode(options: Options) -> Mode {
    fixed_mode(options).with_status(Status::from_bits_retain(status(options.cpu)))
}

fn fixed_mode(options: Options) -> Mode {
    let mut mode = Mode::FLAT | Mode::ALONE;
    mode.set(Mode::BIG_ENDIAN, options.endian == Endian::Big);
    mode
}

/// The processor of a program.
pub fn model(cpu: Cpu) -> &'static Model {
    match cpu {
        Cpu::Mips32r2 => &PROGRAM_MIPS32R2,
        Cpu::Mips64r2 => &PROGRAM_MIPS64R2,
    }
}

/// A machine with `image` in memory that is watched as `watching` says, its vCPU at the image's start.
pub fn build(image: &Image, watching: &Watching) -> Result<(Arc<Machine>, Vcpu), ProgramError> {
    let ram = Arc::new(Ram::new(&banks(&image.pieces))?);
    fill(&ram, image);
    let exceptions = if image.has_handler() { Exceptions::HostCalls } else { Exceptions::Host };
    let mode = fixed_mode(image.options) | Mode::COUNTED | watching.mode();
    let model = model(image.options.cpu);
    let (bus, control) = (Bus::new(), Control::new(1));
    let clock = Clock::Instructions;
    let guest = Guest { exceptions, pins: image.pins() };
    let machine = Machine::for_guest(model, mode, ram, bus, control, clock, guest);
    let trace = watching.trace(&image.symbols(), Names::O32);
    let machine = Arc::new(machine.map_err(ProgramError::Host)?.traced(trace));
    let mut vcpu = Vcpu::new(Arc::clone(&machine), 0);
    start(&mut vcpu, image);
    Ok((machine, vcpu))
}

fn start(vcpu: &mut Vcpu, image: &Image) {
    const CONFIG_BIG_ENDIAN: u64 = 1 << 15;
    vcpu.set_cp0(Cp0::Status, status(image.options.cpu));
    if image.options.endian == Endian::Big {
        let config = vcpu.cpu.cp0(Cp0::Config);
        vcpu.set_cp0(Cp0::Config, config | CONFIG_BIG_ENDIAN);
    }
    vcpu.cpu.pc = image.entry.0;
    vcpu.cpu.gpr[25] = image.procedure.0;
    vcpu.cpu.gpr[28] = image.global.0;
    vcpu.cpu.gpr[29] = image.stack.0;
    vcpu.cpu.gpr[31] = RETURN.0;
}

/// The banks that hold the regions and every piece.
fn banks(pieces: &[Piece]) -> Vec<Window> {
    let down = |address: u64| address & !(PAGE_SIZE - 1);
    let mut ranges: Vec<(u64, u64)> = REGIONS.to_vec();
    ranges.extend(pieces.iter().map(|piece| {
        let end = (piece.end() + TEXT_SLACK).min(1 << 32);
        (down(piece.address), end.next_multiple_of(PAGE_SIZE))
    }));
    ranges.sort_unstable();
    let mut banks: Vec<Window> = Vec::new();
    for (start, end) in ranges {
        match banks.last_mut() {
            Some(bank) if start <= bank.base.0 + bank.size => {
                bank.size = bank.size.max(end - bank.base.0);
            }
            _ => banks.push(Window { base: Pa(start), size: end - start }),
        }
    }
    banks
}

/// Puts the pieces into memory, and what ends a program that returns or runs on. What a program puts
/// in the same places wins.
fn fill(ram: &Ram, image: &Image) {
    let end = Op::Hypcall.row().value | END_CODE;
    let end = match image.options.endian {
        Endian::Little => end.to_le_bytes(),
        Endian::Big => end.to_be_bytes(),
    };
    let ends = image.pieces.iter().filter(|piece| piece.is_code).map(Piece::end);
    for address in ends.chain([RETURN.0]) {
        // After the last page of memory there is nothing to run into.
        let _ = ram.write(Pa(address), &end);
    }
    for piece in &image.pieces {
        // `banks` has made room for every piece.
        let _ = ram.write(Pa(piece.address), &piece.bytes);
    }
}
