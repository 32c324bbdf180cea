//! Programs under QEMU's user-mode emulation of Linux: an ELF file made by hand, with a driver that
//! runs one slot after another and a signal handler that notes what each left behind. No handler
//! ever returns: the next program begins there.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use translator::isa::Op;
use translator::isa::operand::Value;

use crate::assemble::{constant, memory, one, word};
use crate::bare::USER_BASE;
use crate::image::{self, BLOCK_BYTES, BLOCKS, CODE, block};
use crate::program::{DATA_DOUBLES, Program};
use crate::state::{End, State};

const EMULATOR: &str = "qemu-mips64el-static";
/// Seconds after which a run is given up.
const PATIENCE: &str = "60";

/// The space before the slots: the ELF header, the driver, and what it needs.
const DRIVER: u64 = USER_BASE + 0x1000;
const ACTION: u64 = USER_BASE + 0x800;
const ALTERNATE_STACK: u64 = USER_BASE + 0x900;
/// Two doublewords: the state block and the code of the running slot.
const CURRENT: u64 = USER_BASE + 0xa00;
const STACK: u64 = USER_BASE + 0x4000;
const STACK_BYTES: u64 = 0x8000;

const SYS_WRITE: u64 = 5001;
const SYS_RT_SIGACTION: u64 = 5013;
const SYS_SIGALTSTACK: u64 = 5129;
const SYS_EXIT: u64 = 5058;
/// Siginfo, on the alternate stack, without blocking the signal.
const ACTION_FLAGS: u64 = 8 | 0x0800_0000 | 0x4000_0000;
const ACTION_MASK_BYTES: i64 = 16;

/// Linux's numbers on MIPS.
pub mod signal {
    pub const ILL: u32 = 4;
    pub const TRAP: u32 = 5;
    pub const FPE: u32 = 8;
    pub const BUS: u32 = 10;
    pub const SEGV: u32 = 11;
    pub const ALL: [u32; 5] = [ILL, TRAP, FPE, BUS, SEGV];
}

/// Offsets in the handler's `ucontext`.
mod context {
    pub const GPR: i64 = 40;
    pub const HI: i64 = GPR + 64 * 8;
    pub const LO: i64 = HI + 4 * 8;
    pub const PC: i64 = LO + 4 * 8;
}

/// The argument registers of n64, and where a system call's number and result are.
const A0: u8 = 4;
const A1: u8 = 5;
const A2: u8 = 6;
const A3: u8 = 7;
const V0: u8 = 2;

/// Runs `programs`; gives what each leaves behind.
pub fn run(programs: &[Program]) -> Vec<State> {
    assert!(is_installed(), "{EMULATOR} must be installed (Debian package qemu-user-static)");
    let executable = std::fs::Permissions::from_mode(0o700);
    let builder = tempfile::Builder::new().permissions(executable).tempfile();
    let mut file = builder.expect("a temporary file");
    file.write_all(&elf(programs)).expect("writing the program");
    let path = file.into_temp_path();
    let output = Command::new("timeout")
        .args([PATIENCE, EMULATOR, "-cpu", "MIPS64R2-generic"])
        .arg(&path)
        .stdin(Stdio::null())
        .output()
        .expect("timeout (coreutils) starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    let bytes = programs.len() * BLOCK_BYTES as usize;
    let seeds = programs.first().map(|p| p.seed)..=programs.last().map(|p| p.seed);
    assert_eq!(output.stdout.len(), bytes, "seeds {seeds:?}: {} {errors}", output.status);
    output.stdout.chunks_exact(BLOCK_BYTES as usize).map(state).collect()
}

fn is_installed() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(EMULATOR).exists())
}

fn state(bytes: &[u8]) -> State {
    let double = |at: u64| {
        let at = at as usize;
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
    };
    let result = |at: u64| double(block::RESULT + at);
    let number = result(block::SIGNAL) as u32;
    let address = result(block::SIGNAL + 16);
    let is_memory = matches!(number, signal::BUS | signal::SEGV);
    State {
        gpr: std::array::from_fn(|number| result(block::GPR + 8 * number as u64)),
        hi: result(block::HI),
        lo: result(block::LO),
        fpr: std::array::from_fn(|number| result(block::FPR + 8 * number as u64)),
        fcsr: result(block::FCSR) as u32,
        pc: result(block::PC),
        end: End::Signal { number, address: is_memory.then_some(address) },
        data: (0..DATA_DOUBLES).map(|index| double(block::DATA + 8 * index as u64)).collect(),
        cp0: Vec::new(),
        ran: None,
    }
}

fn elf(programs: &[Program]) -> Vec<u8> {
    let mut bytes = image::image(USER_BASE, programs);
    let mut put = |at: u64, part: &[u8]| {
        let at = (at - USER_BASE) as usize;
        bytes[at..at + part.len()].copy_from_slice(part);
    };
    put(USER_BASE, &header());
    let (driver, handler) = driver(programs.len() as u64);
    let driver: Vec<u8> = driver.into_iter().flat_map(u32::to_le_bytes).collect();
    put(DRIVER, &driver);
    put(ACTION, &doubles(&[ACTION_FLAGS, handler]));
    put(ALTERNATE_STACK, &doubles(&[STACK, STACK_BYTES, 0]));
    put(CURRENT, &doubles(&[USER_BASE + BLOCKS, USER_BASE + CODE]));
    bytes
}

fn doubles(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The ELF header and one program header: all of the file, readable, writable, executable.
fn header() -> Vec<u8> {
    const EM_MIPS: u16 = 8;
    const EF_MIPS_ARCH_64R2: u32 = 0x8000_0000;
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    bytes.extend([2, EM_MIPS, 1, 0].into_iter().flat_map(u16::to_le_bytes));
    bytes.extend(doubles(&[DRIVER, 64, 0]));
    bytes.extend(EF_MIPS_ARCH_64R2.to_le_bytes());
    bytes.extend([64_u16, 56, 1, 0, 0, 0].into_iter().flat_map(u16::to_le_bytes));
    bytes.extend([1_u32, 7].into_iter().flat_map(u32::to_le_bytes));
    bytes.extend(doubles(&[0, USER_BASE, USER_BASE, image::BYTES, image::BYTES, 0x1_0000]));
    bytes
}

fn system_call(number: u64, arguments: &[[u32; 2]]) -> Vec<u32> {
    let mut code: Vec<u32> = arguments.iter().flatten().copied().collect();
    code.extend(constant(V0, number));
    code.push(Op::Syscall.row().value);
    code
}

/// The driver, and the address of its signal handler.
fn driver(slots: u64) -> (Vec<u32>, u64) {
    let mut code = system_call(SYS_SIGALTSTACK, &[constant(A0, ALTERNATE_STACK), constant(A1, 0)]);
    for number in signal::ALL {
        let arguments = [
            constant(A0, number.into()),
            constant(A1, ACTION),
            constant(A2, 0),
            constant(A3, ACTION_MASK_BYTES as u64),
        ];
        code.extend(system_call(SYS_RT_SIGACTION, &arguments));
    }
    let start = next_slot(slots);
    code.extend(&start);
    let handler = DRIVER + 4 * code.len() as u64;
    code.extend(note_result());
    code.extend(advance());
    code.extend(&start);
    assert!(4 * code.len() as u64 <= STACK - DRIVER, "the driver fits its room");
    (code, handler)
}

/// The register that points to [`CURRENT`], and scratch registers.
const VARIABLES: u8 = 8;
const BLOCK: u8 = 9;
const SCRATCH: u8 = 10;
const END: u8 = 11;

fn load(to: u8, offset: i64, base: u8) -> u32 {
    word(Op::Ld, 0, &[one(to), memory(offset, base)])
}

fn store(from: u8, offset: i64, base: u8) -> u32 {
    word(Op::Sd, 0, &[one(from), memory(offset, base)])
}

/// The handler's first part: signal, registers and FCSR into the slot's result.
fn note_result() -> Vec<u32> {
    let result = |offset: u64| (block::RESULT + offset) as i64;
    let mut code = constant(VARIABLES, CURRENT).to_vec();
    code.push(load(BLOCK, 0, VARIABLES));
    let mut copy = |from: i64, base: u8, to: u64| {
        code.extend([load(SCRATCH, from, base), store(SCRATCH, result(to), BLOCK)]);
    };
    for part in 0..3 {
        copy(8 * part, A1, block::SIGNAL + 8 * part as u64);
    }
    for number in 0..32 {
        copy(context::GPR + 8 * number, A2, block::GPR + 8 * number as u64);
    }
    copy(context::HI, A2, block::HI);
    copy(context::LO, A2, block::LO);
    copy(context::PC, A2, block::PC);
    code.extend([word(Op::Cfc1, 0, &[one(SCRATCH), one(31)]), store(SCRATCH, result(block::FCSR), BLOCK)]);
    for number in 0..32_u8 {
        let to = memory(result(block::FPR + 8 * u64::from(number)), BLOCK);
        code.push(word(Op::Sdc1, 0, &[one(number), to]));
    }
    code
}

/// The handler's second part: the next slot becomes the current one. The failing store conditional
/// breaks a link that the program left.
fn advance() -> Vec<u32> {
    let add =
        |register: u8, value: u64| word(Op::Daddiu, 0, &[one(register), one(register), one(value as i64)]);
    vec![
        add(BLOCK, BLOCK_BYTES),
        store(BLOCK, 0, VARIABLES),
        load(SCRATCH, 8, VARIABLES),
        add(SCRATCH, image::CODE_BYTES),
        store(SCRATCH, 8, VARIABLES),
        word(Op::Sc, 0, &[one(0), memory(0, VARIABLES)]),
    ]
}

/// Jumps to the current slot, or writes all state blocks to standard output and exits.
fn next_slot(slots: u64) -> Vec<u32> {
    let mut finish = write_blocks(slots * BLOCK_BYTES);
    finish.extend(system_call(SYS_EXIT, &[constant(A0, 0)]));
    let mut code = constant(VARIABLES, CURRENT).to_vec();
    code.push(load(BLOCK, 0, VARIABLES));
    code.push(load(SCRATCH, 8, VARIABLES));
    code.extend(constant(END, USER_BASE + BLOCKS + slots * BLOCK_BYTES));
    let to_finish = Value { first: 4 * 4, second: 0 };
    code.extend([
        word(Op::Beq, 0, &[one(BLOCK), one(END), to_finish]),
        Op::Nop.row().value,
        word(Op::Jr, 0, &[one(SCRATCH)]),
        Op::Nop.row().value,
    ]);
    code.extend(finish);
    code
}

/// Register 16 is what is left to write, 17 how much. A pipe may take less than it is offered.
fn write_blocks(length: u64) -> Vec<u32> {
    let (left, count) = (16_u8, 17_u8);
    let mut code = constant(left, USER_BASE + BLOCKS).to_vec();
    code.extend(constant(count, length));
    let three = |op: Op, d: u8, s: u8, t: u8| word(op, 0, &[one(d), one(s), one(t)]);
    let mut body = constant(V0, SYS_WRITE).to_vec();
    body.extend(constant(A0, 1));
    body.extend([
        three(Op::Daddu, A1, left, 0),
        three(Op::Daddu, A2, count, 0),
        Op::Syscall.row().value,
        three(Op::Daddu, left, left, V0),
        three(Op::Dsubu, count, count, V0),
    ]);
    let back = Value { first: -4 * body.len() as i64, second: 0 };
    body.push(word(Op::Bne, 0, &[one(count), one(0), back]));
    body.push(Op::Nop.row().value);
    code.extend(body);
    code
}
