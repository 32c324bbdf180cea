//! A MIPS program as an ELF image made by hand, since no cross compiler may be asked for. It runs
//! one instruction over an array of records, under a control register of each record's own, and
//! writes the array with the results to its standard output. A trap leaves a mark and goes on.
//! Knows Linux's n64 calling convention and nothing of what the instructions mean.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use translator::float::Rules;

const BASE: u32 = 0x1_0000;
const ACTION: u32 = BASE + 0x800;
const CODE: u32 = BASE + 0x1000;
const RECORDS: u32 = BASE + 0x2000;
const RECORD_SIZE: u32 = 32;

const SYS_WRITE: u32 = 5001;
const SYS_RT_SIGACTION: u32 = 5013;
const SYS_EXIT: u32 = 5058;
const SIGFPE: u32 = 8;
const SA_SIGINFO: u32 = 8;
/// Where `rt_sigframe`'s `ucontext` holds general register 16 and the program counter.
const CONTEXT_R16: u32 = 40 + 16 * 8;
const CONTEXT_PC: u32 = 40 + 64 * 8 + 8 * 8;

/// What the instruction is run on: FS, FT and FR, and the FCSR before it.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    pub operands: [u64; 3],
    pub fcsr: u32,
}

/// What it left behind: FD, FCSR, and whether it raised a signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    pub result: u64,
    pub fcsr: u32,
    pub trapped: bool,
}

/// Runs `instruction` on all records. It finds the operands in f2, f4 and f6, and the first in
/// general register 12, too, and writes f8.
pub fn run(rules: &Rules, instruction: u32, records: &[Record]) -> Vec<Outcome> {
    // QEMU refuses to load a file that is not executable.
    let executable = std::fs::Permissions::from_mode(0o700);
    let builder = tempfile::Builder::new().permissions(executable).tempfile();
    let mut file = builder.expect("a temporary file");
    file.write_all(&image(rules, instruction, records)).expect("writing the program");
    let processor = if rules.nan2008 { "I6400" } else { "MIPS64R2-generic" };
    let output = Command::new("qemu-mips64el-static")
        .args(["-cpu", processor])
        .arg(file.path())
        .output()
        .expect("qemu-mips64el-static must be installed (Debian package qemu-user-static)");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {errors}", output.status);
    assert_eq!(output.stdout.len(), records.len() * RECORD_SIZE as usize);
    output.stdout.chunks_exact(RECORD_SIZE as usize).map(outcome).collect()
}

fn outcome(bytes: &[u8]) -> Outcome {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    Outcome { result: u64::from(word(0)) | u64::from(word(4)) << 32, fcsr: word(8), trapped: word(12) != 0 }
}

fn image(rules: &Rules, instruction: u32, records: &[Record]) -> Vec<u8> {
    let mut image = header(rules, records.len());
    image.resize((ACTION - BASE) as usize, 0);
    let (code, handler) = code(instruction, records.len() as u32);
    image.extend(u64::from(SA_SIGINFO).to_le_bytes());
    image.extend(u64::from(handler).to_le_bytes());
    image.resize((CODE - BASE) as usize, 0);
    image.extend(code.into_iter().flat_map(u32::to_le_bytes));
    assert!(image.len() <= (RECORDS - BASE) as usize);
    image.resize((RECORDS - BASE) as usize, 0);
    for record in records {
        image.extend(record.operands.into_iter().flat_map(u64::to_le_bytes));
        image.extend(u64::from(record.fcsr).to_le_bytes());
    }
    image
}

/// The ELF header and one program header: all of the file, readable, writable, executable.
fn header(rules: &Rules, records: usize) -> Vec<u8> {
    const EM_MIPS: u16 = 8;
    const EF_MIPS_ARCH_64R2: u32 = 0x8000_0000;
    const EF_MIPS_ARCH_64R6: u32 = 0xa000_0000;
    const EF_MIPS_NAN2008: u32 = 0x400;
    let flags = if rules.nan2008 { EF_MIPS_ARCH_64R6 | EF_MIPS_NAN2008 } else { EF_MIPS_ARCH_64R2 };
    let size = u64::from(RECORDS - BASE) + records as u64 * u64::from(RECORD_SIZE);
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    for half in [2, EM_MIPS, 1, 0] {
        bytes.extend(half.to_le_bytes());
    }
    for long in [u64::from(CODE), 64, 0] {
        bytes.extend(long.to_le_bytes());
    }
    bytes.extend(flags.to_le_bytes());
    for half in [64_u16, 56, 1, 0, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    for word in [1_u32, 7] {
        bytes.extend(word.to_le_bytes());
    }
    for long in [0, u64::from(BASE), u64::from(BASE), size, size, 0x1_0000] {
        bytes.extend(long.to_le_bytes());
    }
    bytes
}

fn immediate(opcode: u32, rs: u32, rt: u32, value: u32) -> u32 {
    opcode << 26 | rs << 21 | rt << 16 | value & 0xffff
}

fn register(rs: u32, rt: u32, rd: u32, function: u32) -> u32 {
    rs << 21 | rt << 16 | rd << 11 | function
}

const ADDIU: u32 = 0x09;
const DADDIU: u32 = 0x19;
const BNE: u32 = 0x05;
const LW: u32 = 0x23;
const SW: u32 = 0x2b;
const LD: u32 = 0x37;
const SD: u32 = 0x3f;
const LDC1: u32 = 0x35;
const SDC1: u32 = 0x3d;
const DADDU: u32 = 0x2d;
const DSUBU: u32 = 0x2f;
const NOP: u32 = 0;
const SYSCALL: u32 = 0x0c;
const JUMP_TO_R31: u32 = 31 << 21 | 0x09;
const CLEAR_F8: u32 = 0x44a0_0000 | 8 << 11;
const FCSR_FROM_R10: u32 = 0x44c0_0000 | 10 << 16 | 31 << 11;
const R11_FROM_FCSR: u32 = 0x4440_0000 | 11 << 16 | 31 << 11;

fn load(rt: u32, value: u32) -> [u32; 2] {
    [immediate(0x0f, 0, rt, value >> 16), immediate(0x0d, rt, rt, value)]
}

/// The program, and the address of its signal handler.
fn code(instruction: u32, count: u32) -> (Vec<u32>, u32) {
    let mut code = Vec::new();
    install_handler(&mut code);
    each_record(&mut code, instruction, count);
    write_records(&mut code, count * RECORD_SIZE);
    code.extend(load(2, SYS_EXIT));
    code.extend([immediate(ADDIU, 0, 4, 0), SYSCALL]);
    let handler = CODE + 4 * code.len() as u32;
    code.extend([
        immediate(ADDIU, 0, 2, 1),
        immediate(SD, 6, 2, CONTEXT_R16),
        immediate(LD, 6, 3, CONTEXT_PC),
        immediate(DADDIU, 3, 3, 4),
        immediate(SD, 6, 3, CONTEXT_PC),
        JUMP_TO_R31,
        NOP,
    ]);
    (code, handler)
}

fn install_handler(code: &mut Vec<u32>) {
    code.extend(load(2, SYS_RT_SIGACTION));
    code.extend(load(4, SIGFPE));
    code.extend(load(5, ACTION));
    code.extend([immediate(ADDIU, 0, 6, 0), immediate(ADDIU, 0, 7, 16), SYSCALL]);
}

/// Register 8 walks over the records, 9 counts them down, 16 is the mark the handler leaves.
fn each_record(code: &mut Vec<u32>, instruction: u32, count: u32) {
    code.extend(load(8, RECORDS));
    code.extend(load(9, count));
    let body = [
        immediate(ADDIU, 0, 16, 0),
        immediate(LDC1, 8, 2, 0),
        immediate(LDC1, 8, 4, 8),
        immediate(LDC1, 8, 6, 16),
        immediate(LW, 8, 10, 24),
        immediate(LD, 8, 12, 0),
        CLEAR_F8,
        FCSR_FROM_R10,
        instruction,
        R11_FROM_FCSR,
        immediate(SDC1, 8, 8, 0),
        immediate(SW, 8, 11, 8),
        immediate(SW, 8, 16, 12),
        immediate(DADDIU, 8, 8, RECORD_SIZE),
        immediate(DADDIU, 9, 9, u32::MAX),
    ];
    code.extend(body);
    code.extend([immediate(BNE, 9, 0, u32::MAX - body.len() as u32), NOP]);
}

/// Register 16 is what is left to write, 17 how much. A pipe may take less than it is offered.
fn write_records(code: &mut Vec<u32>, length: u32) {
    code.extend(load(16, RECORDS));
    code.extend(load(17, length));
    let body = [
        load(2, SYS_WRITE)[0],
        load(2, SYS_WRITE)[1],
        immediate(ADDIU, 0, 4, 1),
        register(16, 0, 5, DADDU),
        register(17, 0, 6, DADDU),
        SYSCALL,
        register(16, 2, 16, DADDU),
        register(17, 2, 17, DSUBU),
    ];
    code.extend(body);
    code.extend([immediate(BNE, 17, 0, u32::MAX - body.len() as u32), NOP]);
}
