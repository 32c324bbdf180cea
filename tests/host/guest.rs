//! A kernel of a few dozen instructions that does at once what a test asks of it by a key on the console, so that
//! the command line can be tested without a Linux boot. The words are put together here by hand, because the test
//! is not about the instruction table. It must not know how myvmm is run.

use std::io::Write as _;
use std::path::Path;

use tempfile::NamedTempFile;

/// Where the kernel is linked: ckseg0, 1 MB.
const BASE: u64 = 0xffff_ffff_8010_0000;
const HEADERS: u64 = 64 + 56;

/// What the kernel prints when it starts.
pub const GREETING: &str = "ready\n";
/// Resets the machine.
pub const RESET: u8 = b'r';
/// Turns the machine off.
pub const POWER_OFF: u8 = b'o';
/// Prints a panic as Linux does, and resets.
pub const PANIC: u8 = b'p';
/// Prints a panic as if quoted, then resets as Linux does when it is told to.
pub const QUOTE: u8 = b'q';

/// Asks the hypervisor to save the machine to [`SAVED`], and prints the answer, a digit.
pub const SAVE: u8 = b'!';
/// The name of the file that the kernel asks for.
pub const SAVED: &str = "own.snap";

/// Where a program for Linux is linked: at the same place in its page as in the file.
const PROGRAM_BASE: u64 = 0x40_0000 + HEADERS;
/// `hypcall 1`: save the machine to the file whose name $a0 points to.
const HYPCALL_SNAPSHOT: u32 = 0x4200_0028 | 1 << 11;

/// General registers by the use made of them.
const ZERO: u32 = 0;
const RESULT: u32 = 2;
const ARGUMENT: u32 = 4;
const SERIAL: u32 = 8;
const POWER: u32 = 9;
const VALUE: u32 = 10;
const KEY: u32 = 11;

/// Instructions one after the other.
#[derive(Default)]
struct Code(Vec<u32>);

impl Code {
    fn immediate(&mut self, opcode: u32, base: u32, register: u32, value: i32) {
        self.0.push(opcode << 26 | base << 21 | register << 16 | (value & 0xffff) as u32);
    }

    /// `lui`, to an address in ckseg1.
    fn device(&mut self, register: u32, page: u16) {
        self.immediate(0x0f, ZERO, register, 0xb000);
        self.immediate(0x0d, register, register, page.into());
    }

    /// Sets a register to an address below 2 GB, or in ckseg0 or ckseg1.
    fn address(&mut self, register: u32, address: u32) {
        self.immediate(0x0f, ZERO, register, (address >> 16) as i32);
        self.immediate(0x0d, register, register, address as i32);
    }

    fn set(&mut self, register: u32, value: u8) {
        self.immediate(0x0d, ZERO, register, value.into());
    }

    fn store_byte(&mut self, register: u32, base: u32, offset: i32) {
        self.immediate(0x28, base, register, offset);
    }

    fn store_word(&mut self, register: u32, base: u32, offset: i32) {
        self.immediate(0x2b, base, register, offset);
    }

    fn load_byte(&mut self, register: u32, base: u32, offset: i32) {
        self.immediate(0x24, base, register, offset);
    }

    fn and(&mut self, register: u32, mask: i32) {
        self.immediate(0x0c, register, register, mask);
    }

    /// A branch to `target` if the registers are equal, with a delay slot that does nothing.
    fn branch_if_equal(&mut self, a: u32, b: u32, target: usize) {
        let distance = target as i32 - (self.0.len() as i32 + 1);
        self.immediate(0x04, a, b, distance);
        self.0.push(0);
    }

    /// Runs `body` if `KEY` is `key`.
    fn on_key(&mut self, key: u8, body: impl FnOnce(&mut Self)) {
        self.set(VALUE, key);
        let at = self.0.len();
        // bne, whose distance is known when the body is there.
        self.0.extend([0, 0]);
        body(self);
        let distance = self.0.len() - (at + 1);
        self.0[at] = 0x05 << 26 | VALUE << 21 | KEY << 16 | distance as u32;
    }

    fn print(&mut self, text: &str) {
        for byte in text.bytes() {
            self.set(VALUE, byte);
            self.store_byte(VALUE, SERIAL, 0);
        }
    }

    fn power(&mut self, register: i32) {
        self.set(VALUE, 1);
        self.store_word(VALUE, POWER, register);
        let here = self.0.len();
        self.branch_if_equal(ZERO, ZERO, here);
    }
}

/// The kernel: prints its greeting, then does what keys say and prints back the others.
fn monitor() -> Code {
    let mut code = Code::default();
    code.device(SERIAL, 0);
    code.device(POWER, 0x2000);
    // The modem lines that say that it listens.
    code.set(VALUE, 3);
    code.store_byte(VALUE, SERIAL, 4);
    code.print(GREETING);
    let wait = code.0.len();
    code.load_byte(KEY, SERIAL, 5);
    code.and(KEY, 1);
    code.branch_if_equal(KEY, ZERO, wait);
    code.load_byte(KEY, SERIAL, 0);
    code.on_key(RESET, |code| code.power(4));
    code.on_key(POWER_OFF, |code| code.power(0));
    code.on_key(PANIC, |code| {
        code.print("[    1.0] Kernel panic - not syncing: as a test\r\n");
        code.power(4);
    });
    code.on_key(QUOTE, |code| {
        code.print("Kernel panic - not syncing: quoted\r\nreboot: Restarting system\r\n");
        code.power(4);
    });
    code.on_key(SAVE, |code| {
        code.address(ARGUMENT, 0x8018_0000);
        for (offset, byte) in (0..).zip(SAVED.bytes().chain([0])) {
            code.set(VALUE, byte);
            code.store_byte(VALUE, ARGUMENT, offset);
        }
        code.0.push(HYPCALL_SNAPSHOT);
        // addiu
        code.immediate(0x09, RESULT, KEY, b'0'.into());
    });
    code.store_byte(KEY, SERIAL, 0);
    code.branch_if_equal(ZERO, ZERO, wait);
    code
}

/// A static program for 64-bit Linux that asks the hypervisor to save the machine to the file `name`, and ends with the
/// answer as its status.
pub fn asking_program(name: &str) -> Vec<u8> {
    const EXIT: i32 = 5058;
    let mut code = Code::default();
    let text = PROGRAM_BASE as u32 + 6 * 4;
    code.address(ARGUMENT, text);
    code.0.push(HYPCALL_SNAPSHOT);
    code.immediate(0x0c, RESULT, ARGUMENT, 0xff);
    code.immediate(0x0d, ZERO, RESULT, EXIT);
    // syscall
    code.0.push(0x0c);
    let name: Vec<u8> = name.bytes().chain([0; 4]).collect();
    code.0.extend(name.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)));
    elf(&code, PROGRAM_BASE)
}

/// An ELF file with the given code at `base`, where it begins.
fn elf(code: &Code, base: u64) -> Vec<u8> {
    let size = code.0.len() as u64 * 4;
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // An executable for MIPS64 release 2: entry, program header, no sections.
    let header = [(2, 2), (8, 2), (1, 4), (base, 8), (64, 8), (0, 8), (0x8000_0000, 4)];
    let sizes = [64, 56, 1, 64, 0, 0].map(|value| (value, 2));
    // One segment: loaded, readable and executable.
    let segment = [(1, 4), (5, 4), (HEADERS, 8), (base, 8), (base, 8), (size, 8), (size, 8), (8, 8)];
    let words = code.0.iter().map(|word| (u64::from(*word), 4));
    let fields = header.into_iter().chain(sizes).chain(segment).chain(words);
    fields.for_each(|(value, width): (u64, usize)| bytes.extend(&value.to_le_bytes()[..width]));
    bytes
}

/// A kernel in a file that goes with it.
pub struct Guest(NamedTempFile);

impl Guest {
    /// The kernel that listens to keys.
    pub fn monitor() -> Self {
        Self::write(&monitor())
    }

    /// A kernel that resets the machine without a word.
    pub fn mute() -> Self {
        let mut code = Code::default();
        code.device(POWER, 0x2000);
        code.power(4);
        Self::write(&code)
    }

    fn write(code: &Code) -> Self {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(&elf(code, BASE)).unwrap();
        Self(file)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}
