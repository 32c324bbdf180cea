//! A program that runs: its machine, its services, and what it may do before others have their turn.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use translator::addr::Va;
use translator::asm::Para;
use translator::asm::layout::HEAP;

use super::board;
use super::console::Console;
use super::fault::Fault;
use super::image::{Image, Options};
use super::registers::Registers;
use super::service::{Call, Served, ServiceError, Services};
use crate::machine::{Control, Machine};
use crate::memory::RamError;
use crate::observe::{Observer, Watching};
use crate::vcpu::{Engine, Outcome, Statistics, Vcpu};

/// Why a program cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// There was no memory.
    #[error(transparent)]
    Ram(#[from] RamError),
    /// The host refused something else.
    #[error("the host gives no memory for translations")]
    Host(#[source] io::Error),
}

/// Why a program ended.
#[derive(Debug)]
pub enum End {
    /// It asked for the end, with this exit code.
    Exit(i32),
    /// It returned from where it started.
    Returned,
    /// It ran past its last instruction.
    RanOff(Fault),
    /// It did what cannot be.
    Fault(Fault),
    /// It waits for an interrupt that cannot come.
    Halted(Fault),
    /// Its console failed.
    Console(io::Error),
}

/// Why a program no longer runs for now.
#[derive(Debug)]
pub enum Turn {
    /// Its instructions are used up.
    Slice,
    /// Someone calls it; then it can go on with its slice.
    Called,
    /// It waits for input, or for this long.
    Waiting(Option<Duration>),
    /// It asks for something that its host must do; then it can go on with its slice.
    Para(Para),
    /// It can go on with its slice, but the user should know this.
    Notice(Fault),
    /// It has ended.
    Ended,
}

/// How a program is run.
#[derive(Clone, Debug)]
pub struct Execution {
    /// What runs it.
    pub engine: Engine,
    /// What is to be learnt of it; its instructions are counted in any case.
    pub watching: Watching,
}

impl From<Engine> for Execution {
    fn from(engine: Engine) -> Self {
        Self { engine, watching: Watching::default() }
    }
}

/// A program as a virtual machine.
pub struct ProgramVm {
    /// What it was made from.
    pub(super) image: Arc<Image>,
    pub(super) machine: Arc<Machine>,
    pub(super) vcpu: Vcpu,
    pub(super) services: Services,
    engine: Engine,
    /// How many instructions may have run in all. A slice ends after a delay slot, and so perhaps an
    /// instruction late: the next slice is then shorter by it.
    pub(super) due: u64,
    /// Whether a request for a service is still to be answered.
    pub(super) asked: bool,
    end: Option<End>,
    dumped: Option<Registers>,
}

impl ProgramVm {
    /// A program at its start.
    ///
    /// # Errors
    /// Fails if the host gives no memory.
    pub fn new(image: Arc<Image>, execution: impl Into<Execution>) -> Result<Self, ProgramError> {
        let Execution { engine, watching } = execution.into();
        let (machine, vcpu) = board::build(&image, &watching)?;
        let Options { cpu, compat, .. } = image.options;
        let services = Services::new(cpu, compat, heap(&image));
        let (due, asked, end, dumped) = (0, false, None, None);
        Ok(Self { image, machine, vcpu, services, engine, due, asked, end, dumped })
    }

    /// What it was made from.
    pub fn image(&self) -> &Arc<Image> {
        &self.image
    }

    /// Its switches, by which another thread can call it to a settled point.
    pub fn control(&self) -> Arc<Control> {
        Arc::clone(&self.machine.control)
    }

    /// Lets `instructions` more run. What it did not use of the last slice, because it waited, is lost.
    pub fn grant(&mut self, instructions: u64) {
        self.due = self.due.min(self.vcpu.retired()).saturating_add(instructions);
    }

    /// The instructions that have run.
    pub fn retired(&self) -> u64 {
        self.vcpu.retired()
    }

    /// Its processor.
    pub fn vcpu(&self) -> &Vcpu {
        &self.vcpu
    }

    /// A view of its machine that lasts beyond its end.
    pub fn observer(&self) -> Observer {
        Observer::new(Arc::clone(&self.machine))
    }

    /// What happened how often.
    pub fn statistics(&self) -> &Statistics {
        &self.vcpu.statistics
    }

    /// Why it ended, if it has.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// The registers.
    pub fn registers(&self) -> Registers {
        Registers::new(&self.image, &self.vcpu)
    }

    /// The registers, and what they were the last time that this was called.
    pub fn dump(&mut self) -> (Registers, Option<Registers>) {
        let now = self.registers();
        let before = self.dumped.replace(now.clone());
        (now, before)
    }

    /// Bytes of RAM.
    pub fn memory(&self) -> u64 {
        self.machine.ram.banks().iter().map(|bank| bank.size).sum()
    }

    /// Reads memory, for tests and debuggers; `None` where there is none.
    pub fn read(&self, address: Va, length: usize) -> Option<Vec<u8>> {
        super::memory::read(&self.machine, address.0, length).ok()
    }

    /// Where it is, as a statement of its source.
    pub fn here(&self) -> Fault {
        Fault::at(&self.image, &self.vcpu, self.vcpu.site().pc, String::new())
    }

    /// Runs until what was granted is used up, or something else is to be done first.
    pub fn run(&mut self, console: &mut dyn Console) -> Turn {
        loop {
            if self.asked
                && let Some(turn) = self.serve(console)
            {
                return turn;
            }
            if self.end.is_some() {
                return Turn::Ended;
            }
            let left = self.due.saturating_sub(self.vcpu.retired());
            if left == 0 {
                return Turn::Slice;
            }
            match self.vcpu.run(self.engine, left) {
                Outcome::Budget => {}
                Outcome::Attention => return Turn::Called,
                Outcome::SystemCall => self.asked = true,
                Outcome::Wait | Outcome::Halted => self.wait(),
                Outcome::Exception(exception) => {
                    let fault = Fault::of_exception(&self.image, &self.vcpu, exception);
                    self.end = Some(End::Fault(fault));
                }
                Outcome::Hypercall(code) => {
                    if let Some(para) = self.hypercall(code) {
                        return Turn::Para(para);
                    }
                }
            }
        }
    }

    /// Answers the request for a service. `None` lets the program go on.
    fn serve(&mut self, console: &mut dyn Console) -> Option<Turn> {
        let mut call = Call { vcpu: &mut self.vcpu, console };
        match self.services.serve(&mut call) {
            Ok(Served::Waiting(limit)) => return Some(Turn::Waiting(limit)),
            Ok(Served::Done) => {}
            Ok(Served::Exit(code)) => self.end = Some(End::Exit(code)),
            Ok(Served::Notice(what)) => {
                self.asked = false;
                return Some(Turn::Notice(Fault::new(&self.image, &self.vcpu, what)));
            }
            Err(ServiceError::Console(error)) => self.end = Some(End::Console(error)),
            Err(error) => {
                self.end = Some(End::Fault(Fault::new(&self.image, &self.vcpu, error.to_string())));
            }
        }
        self.asked = false;
        None
    }

    fn hypercall(&mut self, code: u32) -> Option<Para> {
        let para = self.image.para(code);
        if para.is_none() {
            let fault = |what: String| Fault::new(&self.image, &self.vcpu, what);
            self.end = Some(match code {
                board::END_CODE if self.vcpu.site().pc == board::RETURN => End::Returned,
                board::END_CODE => End::RanOff(fault("the program ran past its last instruction".into())),
                _ => End::Fault(fault(format!("there is no request {code} to the hypervisor"))),
            });
        }
        para
    }

    /// WAIT: time passes until the timer's interrupt.
    fn wait(&mut self) {
        while !self.vcpu.is_wakeable() {
            if !self.vcpu.skip_to_deadline() {
                let what = "the program waits for an interrupt that cannot come".to_owned();
                self.end = Some(End::Halted(Fault::new(&self.image, &self.vcpu, what)));
                return;
            }
        }
    }
}

/// Where the heap starts: after MARS's static data, or after the program's own if that is larger.
fn heap(image: &Image) -> u64 {
    let data =
        image.pieces.iter().filter(|piece| (HEAP.0 - 0x3_0000..board::HEAP_END).contains(&piece.address));
    let end = data.map(super::image::Piece::end).max().unwrap_or(0);
    end.next_multiple_of(8).max(HEAP.0)
}
