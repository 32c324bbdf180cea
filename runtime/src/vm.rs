//! A whole machine that boots a kernel: built from a [`Config`], run until it ends. This is what the
//! command line uses and what other programs can embed.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::thread;

use translator::addr::Pa;
use translator::cp0::{Cp0, Status};
use translator::mode::Mode;
use translator::model::Model;

use crate::backend::disk::SharedDisk;
use crate::backend::net::Card;
use crate::backend::output::OutputQueue;
use crate::board::fdt::{self, Chosen};
use crate::board::virt::{self, Board, BoardError};
use crate::device::rtc::host_clock;
use crate::device::uart::SerialInput;
use crate::device::virtio::block::Block;
use crate::device::virtio::entropy::Entropy;
use crate::device::virtio::net::Net;
use crate::device::virtio::{Transport, VirtioDevice};
use crate::load::kernel::{Boot, Request, load};
use crate::load::symbols::Symbols;
use crate::load::{LoadError, RamWriter, WriteError};
use crate::machine::{Clock, Control, Ending, Exceptions, Machine};
use crate::memory::{Dma, Ram, RamError};
use crate::observe::Observer;
use crate::trace::{Kinds, Trace};
use crate::vcpu::{Engine, Outcome, Statistics, Vcpu};

/// What machine to build and what to boot on it.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the machine is called: its network cards have their addresses by it.
    pub name: String,
    /// The kernel's ELF file.
    pub kernel: PathBuf,
    /// The initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// The kernel's command line.
    pub command_line: String,
    /// Bytes of RAM.
    pub ram: u64,
    /// The number of vCPUs.
    pub vcpus: usize,
    /// The CPU model.
    pub model: &'static Model,
    /// What runs guest code.
    pub engine: Engine,
    /// Whether generated code counts instructions.
    pub counted: bool,
    /// Whether every translation is remembered, with how often it was entered.
    pub profiled: bool,
    /// Which events are written, and where.
    pub trace: Option<Tracing>,
    /// The disks, in the order of their names in the guest.
    pub disks: Vec<SharedDisk>,
    /// The network cards.
    pub cards: Vec<Card>,
}

/// What of a machine is traced.
#[derive(Clone, Debug)]
pub struct Tracing {
    /// The kinds of events.
    pub kinds: Kinds,
    /// The file that the lines go to.
    pub out: Arc<File>,
    /// Names for addresses, beside those of the kernel's file.
    pub symbols: Symbols,
}

/// Why a machine could not be built or run.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// The board refused its size.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// There was no memory.
    #[error(transparent)]
    Ram(#[from] RamError),
    /// The kernel or its companions could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The kernel is for another CPU.
    #[error("{file}: the kernel is {found}, but the machine is {wanted}")]
    Target {
        /// The kernel's file.
        file: PathBuf,
        /// What the kernel is for.
        found: &'static str,
        /// What the machine is.
        wanted: &'static str,
    },
    /// The host gave no network.
    #[error("Cannot set up the network")]
    Network(#[source] std::io::Error),
    /// The host gave no thread.
    #[error("Cannot start a thread of the machine")]
    Thread(#[source] std::io::Error),
}

impl Tracing {
    fn start(&self, of_kernel: &Symbols) -> Trace {
        let symbols = if self.symbols.is_empty() { of_kernel } else { &self.symbols };
        Trace::new(self.kinds, symbols.clone(), Box::new(BufWriter::new(Arc::clone(&self.out))))
    }
}

/// A machine that is ready to run.
pub struct Vm {
    machine: Arc<Machine>,
    vcpus: Vec<Vcpu>,
    engine: Engine,
    serial_input: SerialInput,
    boot: Boot,
}

struct Writer<'a>(&'a Ram);

impl RamWriter for Writer<'_> {
    fn write(&mut self, pa: Pa, bytes: &[u8]) -> Result<(), WriteError> {
        self.0.write(pa, bytes).ok_or(WriteError { pa, length: bytes.len() as u64 })
    }

    /// RAM is fresh, and so already zero.
    fn clear(&mut self, pa: Pa, length: u64) -> Result<(), WriteError> {
        if self.0.contains(pa, length) { Ok(()) } else { Err(WriteError { pa, length }) }
    }
}

impl Vm {
    /// Builds a machine and loads its kernel. What the guest prints goes to `output`.
    ///
    /// # Errors
    /// Refuses sizes that the board cannot have and files that are no kernel for it, and reports a
    /// host without memory or threads.
    pub fn build(config: &Config, output: Box<dyn Write + Send>) -> Result<Self, VmError> {
        let control = Control::new(config.vcpus);
        let output = OutputQueue::new(output).map_err(VmError::Thread)?;
        let devices = virtio_devices(config).map_err(VmError::Network)?;
        let size = virt::Size { ram: config.ram, vcpus: config.vcpus, virtio: devices.len() };
        let ram = Arc::new(Ram::new(&virt::plan(size)?.ram)?);
        let dma = Dma::new(Arc::clone(&ram));
        let virtio: Result<_, _> = devices.into_iter().map(|device| transport(device, &dma)).collect();
        let host = virt::Host {
            serial_output: Box::new(output),
            clock: host_clock(),
            power: control.clone(),
            pins: control.clone(),
            start: control.clone(),
            rom: Vec::new(),
            virtio: virtio.map_err(VmError::Thread)?,
        };
        let board = Board::new(config.ram, config.vcpus, host)?;
        let boot = load_kernel(config, &board, &ram)?;
        let mut mode = Mode::empty();
        mode.set(Mode::COUNTED, config.counted);
        mode.set(Mode::PROFILED, config.profiled);
        let trace = config.trace.as_ref().map(|tracing| tracing.start(&boot.symbols));
        let (clock, exceptions) = (Clock::Host, Exceptions::Guest);
        let machine =
            Machine::with_exceptions(config.model, mode, ram, board.bus, control, clock, exceptions);
        let machine = Arc::new(machine.map_err(VmError::Thread)?.traced(trace));
        let notice: Weak<Machine> = Arc::downgrade(&machine);
        dma.connect(notice);
        let vcpus = (0..config.vcpus).map(|number| Vcpu::new(Arc::clone(&machine), number)).collect();
        let mut vm = Self { machine, vcpus, engine: config.engine, serial_input: board.serial_input, boot };
        vm.set_boot_state();
        Ok(vm)
    }

    /// The first vCPU starts in the kernel as a boot loader would leave it; the others wait for it.
    fn set_boot_state(&mut self) {
        for vcpu in &mut self.vcpus {
            vcpu.set_cp0(Cp0::CMGCRBase, virt::CM_BASE.0 >> 4);
        }
        let first = &mut self.vcpus[0];
        first.cpu.pc = self.boot.entry.0;
        first.cpu.gpr[4] = self.boot.a0;
        first.cpu.gpr[5] = self.boot.a1.0;
        first.set_cp0(Cp0::Status, (Status::KX | Status::SX | Status::UX).bits());
    }

    /// The user's end of the serial port.
    pub fn serial_input(&self) -> SerialInput {
        self.serial_input.clone()
    }

    /// A view of the machine that lasts beyond its end.
    pub fn observer(&self) -> Observer {
        Observer::new(Arc::clone(&self.machine))
    }

    /// The names of the kernel's file; a kernel that moves itself is no longer where they say.
    pub fn symbols(&self) -> &Symbols {
        &self.boot.symbols
    }

    /// The machine's switches.
    pub fn control(&self) -> Arc<Control> {
        Arc::clone(&self.machine.control)
    }

    /// Runs the machine, a thread a vCPU, until it ends. Gives the reason and what each vCPU did.
    ///
    /// # Errors
    /// Fails if the host starts no threads; the machine has then ended.
    pub fn run(self) -> Result<(Ending, Vec<Statistics>), VmError> {
        let control = self.control();
        let engine = self.engine;
        let threads: Result<Vec<_>, _> = self
            .vcpus
            .into_iter()
            .map(|mut vcpu| {
                let name = format!("vcpu{}", vcpu.number);
                thread::Builder::new().name(name).spawn(move || {
                    drive(&mut vcpu, engine);
                    vcpu.take_statistics()
                })
            })
            .collect();
        if threads.is_err() {
            control.end(Ending::Quit);
        }
        let threads = threads.map_err(VmError::Thread)?;
        let statistics = threads.into_iter().filter_map(|thread| thread.join().ok()).collect();
        Ok((control.ending().unwrap_or(Ending::Quit), statistics))
    }
}

/// The virtio devices in the order of their slots. Linux names them in that order.
fn virtio_devices(config: &Config) -> std::io::Result<Vec<Box<dyn VirtioDevice>>> {
    let disks = config.disks.iter().enumerate().map(|(number, disk)| {
        let name = format!("myvmm-disk{number}");
        Box::new(Block::new(disk.clone(), &name)) as Box<dyn VirtioDevice>
    });
    let mut devices: Vec<Box<dyn VirtioDevice>> = disks.collect();
    for (number, card) in config.cards.iter().enumerate() {
        let mac = card.mac.unwrap_or_else(|| card.link.default_mac(&config.name, number));
        devices.push(Box::new(Net::new(mac, card.link.open()?)));
    }
    devices.push(Box::new(Entropy));
    Ok(devices)
}

fn transport(device: Box<dyn VirtioDevice>, dma: &Dma) -> std::io::Result<virt::MakeVirtio> {
    let transport = Transport::new(device, dma.clone())?;
    Ok(Box::new(move |line| transport.wire(line)))
}

fn load_kernel(config: &Config, board: &Board, ram: &Ram) -> Result<Boot, VmError> {
    let request = Request { kernel: &config.kernel, initrd: config.initrd.as_deref(), ram: &board.plan.ram };
    let boot = load(request, &mut Writer(ram), |placement| {
        let mut command_line = config.command_line.clone();
        if !placement.room_to_relocate {
            command_line.push_str(" nokaslr");
        }
        let chosen = Chosen { command_line, initrd: placement.initrd.clone(), seed: None };
        Ok(fdt::build(&board.plan, &chosen)?)
    })?;
    let wrong = |found, wanted| VmError::Target { file: config.kernel.clone(), found, wanted };
    if boot.target.big_endian {
        return Err(wrong("big-endian", "little-endian"));
    }
    if boot.target.wide && !config.model.wide {
        return Err(wrong("64-bit", "32-bit"));
    }
    Ok(boot)
}

/// How many instructions a vCPU runs before its loop looks around by itself; alarms interrupt it
/// earlier.
const TURN: u64 = 1 << 30;

/// Runs one vCPU until the machine ends.
fn drive(vcpu: &mut Vcpu, engine: Engine) {
    let control = Arc::clone(&vcpu.machine.control);
    let mut running = vcpu.number == 0;
    while control.ending().is_none() {
        if let Some(address) = control.take_start(vcpu.number) {
            vcpu.start(address);
            running = true;
        }
        if !running || control.is_paused() {
            vcpu.stand_by();
            continue;
        }
        match vcpu.run(engine, TURN) {
            Outcome::Halted => control.end(Ending::PowerOff),
            Outcome::Wait => {
                while !vcpu.is_wakeable() && !vcpu.has_alarm() {
                    vcpu.sleep();
                }
            }
            Outcome::Budget | Outcome::Attention | Outcome::Hypercall(_) => {}
            // The guest has handlers of its own.
            Outcome::SystemCall | Outcome::Exception(_) => {}
        }
    }
}
