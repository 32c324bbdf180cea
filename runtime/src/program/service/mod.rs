//! The services that programs ask for by SYSCALL: those that MARS and SPIM share (1 to 17), and of
//! MARS's own those for time, numbers in other bases and random numbers. It must not know how a
//! program runs, or when.
//!
//! Sources: "SPIM S20: A MIPS32 Simulator" (Patterson and Hennessy, appendix A), figure A.9.1; the
//! MARS help page "SYSCALL functions available in MARS".

mod file;
mod number;
mod random;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use translator::asm::{Compat, Cpu};
use translator::mode::Mode;

use super::board::HEAP_END;
use super::console::{Console, Until};
use super::memory::{self, NoMemory};
use crate::vcpu::Vcpu;
pub use file::{Files, ReopenError, SavedFile};
use random::Random;

/// Registers by their use.
mod register {
    pub const V0: usize = 2;
    pub const A0: usize = 4;
    pub const A1: usize = 5;
    pub const A2: usize = 6;
    pub const F0: usize = 0;
    pub const F12: usize = 12;
}
use register::{A0, A1, A2, F0, F12, V0};

/// The most random generators that a program can have.
const MOST_RANDOMS: usize = 1 << 16;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Served {
    /// It is done.
    Done,
    /// It is done, as far as it can be: the user should know this.
    Notice(String),
    /// It must be asked again, when there is input or when the time is up.
    Waiting(Option<Duration>),
    /// The program ends with this code.
    Exit(i32),
}

/// Why a request cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// There is no such service.
    #[error("there is no service {0}")]
    Unknown(u64),
    /// The arguments are wrong.
    #[error("service {number} ({name}): {what}")]
    Argument {
        /// The service.
        number: u64,
        /// Its name.
        name: &'static str,
        /// What is wrong.
        what: String,
    },
    /// The host failed.
    #[error("the console failed: {0}")]
    Console(#[from] std::io::Error),
}

/// What services remember of a program. Saved in snapshots, but for the open files' host side.
pub struct Services {
    compat: Compat,
    cpu: Cpu,
    /// The first address after the heap.
    pub heap: u64,
    /// Open files.
    pub files: Files,
    /// Random generators by their number.
    pub randoms: BTreeMap<i32, Random>,
    /// When the sleep that goes on ends.
    waking: Option<Instant>,
}

/// What a snapshot keeps of [`Services`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedServices {
    heap: u64,
    files: Vec<SavedFile>,
    randoms: BTreeMap<i32, Random>,
}

/// A request, with all it may touch.
pub struct Call<'a> {
    /// The processor.
    pub vcpu: &'a mut Vcpu,
    /// The console.
    pub console: &'a mut dyn Console,
}

/// Why a request cannot be answered, before its name is put to it.
enum Refusal {
    Unknown,
    Argument(String),
    Console(std::io::Error),
}

impl From<NoMemory> for Refusal {
    fn from(NoMemory(address): NoMemory) -> Self {
        Self::Argument(format!("there is no memory at {:#010x}", address as u32))
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::Console(error)
    }
}

type Answer = Result<Served, Refusal>;

/// The services by number, for messages.
const NAMES: [(u64, &str); 36] = [
    (1, "print integer"),
    (2, "print float"),
    (3, "print double"),
    (4, "print string"),
    (5, "read integer"),
    (6, "read float"),
    (7, "read double"),
    (8, "read string"),
    (9, "sbrk"),
    (10, "exit"),
    (11, "print character"),
    (12, "read character"),
    (13, "open file"),
    (14, "read file"),
    (15, "write file"),
    (16, "close file"),
    (17, "exit with value"),
    (30, "time"),
    (31, "MIDI out"),
    (32, "sleep"),
    (33, "MIDI out synchronous"),
    (34, "print hexadecimal"),
    (35, "print binary"),
    (36, "print unsigned"),
    (40, "set seed"),
    (41, "random integer"),
    (42, "random integer in a range"),
    (43, "random float"),
    (44, "random double"),
    (50, "confirm dialog"),
    (51, "integer dialog"),
    (52, "float dialog"),
    (53, "double dialog"),
    (54, "string dialog"),
    (55, "message dialog"),
    (56, "message dialog with an integer"),
];

fn name(number: u64) -> &'static str {
    let known = NAMES.iter().find(|(n, _)| *n == number).map(|(_, name)| *name);
    known.unwrap_or(if matches!(number, 57..=59) { "message dialog with a value" } else { "unknown" })
}

impl Services {
    /// The services of a program that starts with a heap at `heap`.
    pub fn new(cpu: Cpu, compat: Compat, heap: u64) -> Self {
        Self { compat, cpu, heap, files: Files::default(), randoms: BTreeMap::new(), waking: None }
    }

    /// Answers the request in the registers.
    ///
    /// # Errors
    /// Fails with a sentence for the user if the program asks for what cannot be; nothing has then
    /// changed.
    pub fn serve(&mut self, call: &mut Call<'_>) -> Result<Served, ServiceError> {
        let number = call.gpr(V0);
        self.answer(number, call).map_err(|refusal| match refusal {
            Refusal::Unknown => ServiceError::Unknown(number),
            Refusal::Console(error) => ServiceError::Console(error),
            Refusal::Argument(what) => ServiceError::Argument { number, name: name(number), what },
        })
    }

    fn answer(&mut self, number: u64, call: &mut Call<'_>) -> Answer {
        match number {
            1 => call.print(number::integer(call.gpr(A0))),
            2 => call.print(number::float(f32::from_bits(call.float(F12)), self.compat)),
            3 => call.print(number::double(f64::from_bits(call.double(F12)), self.compat)),
            4 => call.print_string(),
            5..=7 => self.read_number(number, call),
            8 => call.read_string(),
            9 => self.grow_heap(call),
            10 => Ok(Served::Exit(0)),
            11 => call.print([call.gpr(A0) as u8]),
            12 => call.read_character(),
            13..=16 => self.file(number, call),
            17 => Ok(Served::Exit(call.gpr(A0) as i32)),
            30 => call.time(),
            32 => self.sleep(call),
            34 => call.print(format!("{:#010x}", call.gpr(A0) as u32)),
            35 => call.print(format!("{:032b}", call.gpr(A0) as u32)),
            36 => call.print(self.unsigned(call.gpr(A0))),
            40..=44 => self.random(number, call),
            31 | 33 => Ok(Served::Notice(format!("{} makes no sound here", name(number)))),
            50..=59 => Ok(call.cancel_dialog(number)),
            _ => Err(Refusal::Unknown),
        }
    }

    /// A 32-bit processor's registers are sign-extended here.
    fn unsigned(&self, value: u64) -> String {
        match self.cpu {
            Cpu::Mips32r2 => (value as u32).to_string(),
            Cpu::Mips64r2 => value.to_string(),
        }
    }

    fn read_number(&self, service: u64, call: &mut Call<'_>) -> Answer {
        let Some(line) = call.console.read(Until::Newline(usize::MAX))? else {
            return Ok(Served::Waiting(None));
        };
        let text = String::from_utf8_lossy(&line);
        let wrong = |what: &str| Refusal::Argument(format!("`{}` is no {what}", text.trim_end()));
        match service {
            5 => {
                let value = number::read_integer(&text, self.compat).ok_or_else(|| wrong("integer"))?;
                call.set_gpr(V0, value as u64);
            }
            6 => {
                let value: f32 = number::read_real(&text, self.compat).ok_or_else(|| wrong("number"))?;
                call.set_float(F0, value.to_bits());
            }
            _ => {
                let value: f64 = number::read_real(&text, self.compat).ok_or_else(|| wrong("number"))?;
                call.set_double(F0, value.to_bits());
            }
        }
        Ok(Served::Done)
    }

    /// Gives the end of the heap, which grows by `$a0` bytes, rounded up to words as in MARS.
    fn grow_heap(&mut self, call: &mut Call<'_>) -> Answer {
        let bytes = call.gpr(A0) as i32;
        let (old, grown) = (self.heap, self.heap.checked_add_signed(i64::from(bytes)));
        match grown.and_then(|end| end.checked_next_multiple_of(4)) {
            Some(end) if bytes >= 0 && end <= HEAP_END => {
                self.heap = end;
                call.set_gpr(V0, old);
                Ok(Served::Done)
            }
            _ => Err(Refusal::Argument(format!("the heap cannot grow by {bytes} bytes"))),
        }
    }

    fn sleep(&mut self, call: &mut Call<'_>) -> Answer {
        let length = Duration::from_millis(u64::from(call.gpr(A0) as u32));
        let now = Instant::now();
        let end = *self.waking.get_or_insert(now + length);
        if end > now {
            return Ok(Served::Waiting(Some(end - now)));
        }
        self.waking = None;
        Ok(Served::Done)
    }

    /// A generator that has no seed yet gets its own number for one, so that runs can be repeated.
    fn random(&mut self, service: u64, call: &mut Call<'_>) -> Answer {
        let id = call.gpr(A0) as i32;
        if self.randoms.len() >= MOST_RANDOMS && !self.randoms.contains_key(&id) {
            let what = format!("there are {MOST_RANDOMS} random generators already");
            return Err(Refusal::Argument(what));
        }
        if service == 40 {
            self.randoms.insert(id, Random::new(i64::from(call.gpr(A1) as i32)));
            return Ok(Served::Done);
        }
        let generator = self.randoms.entry(id).or_insert_with(|| Random::new(i64::from(id)));
        match service {
            41 => call.set_gpr(A0, generator.integer() as u64),
            42 => {
                let bound = call.gpr(A1) as i32;
                let value = generator.integer_below(bound);
                let value = value
                    .ok_or_else(|| Refusal::Argument(format!("the upper bound {bound} is not positive")))?;
                call.set_gpr(A0, value as u64);
            }
            43 => call.set_float(F0, generator.float().to_bits()),
            _ => call.set_double(F0, generator.double().to_bits()),
        }
        Ok(Served::Done)
    }

    fn file(&mut self, service: u64, call: &mut Call<'_>) -> Answer {
        let (a0, a1, a2) = (call.gpr(A0), call.gpr(A1), call.gpr(A2));
        let machine = std::sync::Arc::clone(&call.vcpu.machine);
        let number = a0 as i32;
        let length = a2 as u32 as usize;
        let result = match service {
            13 => {
                let name = memory::string(&machine, a0)?;
                self.files.open(&name, a1 as u32, self.compat)
            }
            14 => {
                memory::check(&machine, a1, length)?;
                let bytes = match number {
                    0 => match call.console.read(Until::Count(length))? {
                        Some(bytes) => Some(bytes),
                        None => return Ok(Served::Waiting(None)),
                    },
                    _ => self.files.read(number, length),
                };
                bytes.map_or(Ok(-1), |bytes| {
                    memory::write(&machine, a1, &bytes).map(|()| bytes.len() as i32)
                })?
            }
            15 => {
                let bytes = memory::read(&machine, a1, length)?;
                match number {
                    1 | 2 => {
                        call.console.write(&bytes)?;
                        length as i32
                    }
                    _ => self.files.write(number, &bytes),
                }
            }
            _ => {
                self.files.close(number);
                return Ok(Served::Done);
            }
        };
        call.set_gpr(V0, result as u64);
        Ok(Served::Done)
    }

    /// What a snapshot keeps. A sleep that goes on begins anew.
    pub fn save(&mut self) -> SavedServices {
        SavedServices { heap: self.heap, files: self.files.save(), randoms: self.randoms.clone() }
    }

    /// Takes over what a snapshot kept.
    ///
    /// # Errors
    /// Fails if a file that was open cannot be opened again.
    pub fn restore(&mut self, saved: SavedServices) -> Result<(), ReopenError> {
        self.files = Files::reopen(saved.files)?;
        self.heap = saved.heap;
        self.randoms = saved.randoms;
        Ok(())
    }
}

impl Call<'_> {
    fn gpr(&self, number: usize) -> u64 {
        self.vcpu.cpu.gpr[number]
    }

    fn set_gpr(&mut self, number: usize, value: u64) {
        self.vcpu.cpu.gpr[number] = value;
    }

    fn float(&self, number: usize) -> u32 {
        self.vcpu.cpu.fpr[number] as u32
    }

    fn set_float(&mut self, number: usize, bits: u32) {
        let register = &mut self.vcpu.cpu.fpr[number];
        *register = *register & !0xffff_ffff | u64::from(bits);
    }

    fn is_wide(&self) -> bool {
        self.vcpu.cpu.mode.contains(Mode::WIDE_FPU)
    }

    fn double(&self, number: usize) -> u64 {
        if self.is_wide() {
            return self.vcpu.cpu.fpr[number];
        }
        u64::from(self.float(number)) | u64::from(self.float(number + 1)) << 32
    }

    fn set_double(&mut self, number: usize, bits: u64) {
        if self.is_wide() {
            self.vcpu.cpu.fpr[number] = bits;
        } else {
            self.set_float(number, bits as u32);
            self.set_float(number + 1, (bits >> 32) as u32);
        }
    }

    fn print(&mut self, text: impl AsRef<[u8]>) -> Answer {
        self.console.write(text.as_ref())?;
        Ok(Served::Done)
    }

    fn print_string(&mut self) -> Answer {
        let bytes = memory::string(&self.vcpu.machine, self.gpr(A0))?;
        self.print(bytes)
    }

    /// As `fgets` of C: at most `$a1` bytes with the zero at the end, up to and with a newline.
    fn read_string(&mut self) -> Answer {
        let (address, size) = (self.gpr(A0), self.gpr(A1) as i32);
        if size < 1 {
            return Ok(Served::Done);
        }
        memory::check(&self.vcpu.machine, address, 1)?;
        let mut bytes = Vec::new();
        if size > 1 {
            match self.console.read(Until::Newline(size as usize - 1))? {
                Some(read) => bytes = read,
                None => return Ok(Served::Waiting(None)),
            }
        }
        bytes.push(0);
        memory::write(&self.vcpu.machine, address, &bytes)?;
        Ok(Served::Done)
    }

    /// Gives the character, or -1 at the end of the input.
    fn read_character(&mut self) -> Answer {
        let Some(bytes) = self.console.read(Until::Count(1))? else { return Ok(Served::Waiting(None)) };
        self.set_gpr(V0, bytes.first().map_or(u64::MAX, |byte| u64::from(*byte)));
        Ok(Served::Done)
    }

    /// Milliseconds since 1970, by the host's clock: the low word in `$a0`, the high one in `$a1`.
    fn time(&mut self) -> Answer {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        self.set_gpr(A0, now as i32 as u64);
        self.set_gpr(A1, (now >> 32) as i32 as u64);
        Ok(Served::Done)
    }

    /// Answers as if the person had closed the dialog.
    fn cancel_dialog(&mut self, number: u64) -> Served {
        const CANCELLED: i64 = -2;
        const CONFIRM_CANCEL: u64 = 2;
        match number {
            50 => self.set_gpr(A0, CONFIRM_CANCEL),
            51..=54 => self.set_gpr(A1, CANCELLED as u64),
            _ => {}
        }
        Served::Notice(format!("there are no windows here; the {} counts as closed", name(number)))
    }
}
