//! A whole machine that boots a kernel: built from a [`Config`], run until it ends. This is what the
//! command line uses and what other programs can embed.

pub mod moving;
pub mod requests;
pub mod snapshots;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use translator::addr::Pa;
use translator::cp0::{Cp0, Status};
use translator::isa::text::Names;
use translator::mode::Mode;
use translator::model::Model;

use self::requests::{Place, Requests};
use self::snapshots::{Opened, RestoreError, Snapshots};
use crate::backend::disk::SharedDisk;
use crate::backend::net::Card;
use crate::backend::output::OutputQueue;
use crate::backend::terminal::Terminal;
use crate::board::fdt::{self, Chosen};
use crate::board::virt::{self, Board, BoardError};
use crate::bus::Bus;
use crate::device::lock;
use crate::device::rtc::{WallClock, host_clock};
use crate::device::uart::SerialInput;
use crate::device::virtio::block::Block;
use crate::device::virtio::console::Console;
use crate::device::virtio::entropy::Entropy;
use crate::device::virtio::net::Net;
use crate::device::virtio::{DeviceKind, Transport, VirtioDevice};
use crate::drive::{self, Schedule};
use crate::load::kernel::{Boot, Request, load};
use crate::load::symbols::Symbols;
use crate::load::{LoadError, RamWriter, WriteError};
use crate::machine::{Clock, Control, Ending, Guest, Machine, NANOSECONDS_PER_TICK};
use crate::memory::{Dma, Ram, RamError};
use crate::observe::{Observer, Watching};
use crate::pause::{Hold, Member, Pausable};
use crate::persist::DeviceState;
use crate::sliced_time::SlicedTime;
use crate::vcpu::{Engine, Statistics, Vcpu};

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
    /// Which host threads the vCPUs run on.
    pub schedule: Schedule,
    /// What runs guest code.
    pub engine: Engine,
    /// What is to be learnt of it.
    pub watching: Watching,
    /// The disks, in the order of their names in the guest.
    pub disks: Vec<SharedDisk>,
    /// The network cards.
    pub cards: Vec<Card>,
    /// What the virtio consoles are connected to.
    pub consoles: Vec<Terminal>,
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
    /// The machine cannot go on from the snapshot.
    #[error("Cannot restore a machine from {}", file.display())]
    Restore {
        /// The snapshot.
        file: PathBuf,
        /// Why not.
        source: RestoreError,
    },
    /// The host gave no network.
    #[error("Cannot set up the network")]
    Network(#[source] std::io::Error),
    /// The host gave no thread.
    #[error("Cannot start a thread of the machine")]
    Thread(#[source] std::io::Error),
    /// The thread of a vCPU has panicked.
    #[error("Internal error of vCPU {vcpu}: {what}; this is a bug of myvmm, please report it")]
    Vcpu {
        /// The number of the vCPU.
        vcpu: usize,
        /// What the panic said.
        what: String,
    },
}

/// A machine that is ready to run.
pub struct Vm {
    handle: Handle,
    engine: Engine,
    schedule: Schedule,
    /// The tick that a machine in slices is at.
    time: Arc<SlicedTime>,
    serial_input: SerialInput,
    symbols: Symbols,
    snapshots: Snapshots,
    place: Option<Arc<Place>>,
}

/// A machine whose memory is still empty.
struct Assembly {
    control: Arc<Control>,
    ram: Arc<Ram>,
    dma: Dma,
    board: Board,
    virtio: Vec<Arc<Transport>>,
    time: Arc<SlicedTime>,
}

/// How other threads control a machine, from before it runs until after its end. Clones control the
/// same machine.
#[derive(Clone)]
pub struct Handle {
    machine: Arc<Machine>,
    vcpus: Arc<Pausable<Vcpu>>,
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
        // What is random differs from run to run.
        let entropy = config.schedule == Schedule::Threads;
        let assembly = Assembly::new(config, entropy, output)?;
        let boot = load_kernel(config, &assembly.board, &assembly.ram)?;
        let vm = assembly.finish(config, boot.symbols.clone())?;
        vm.set_boot_state(&boot);
        Ok(vm)
    }

    /// Builds a machine that goes on from the snapshot `file`. The snapshot says how large it is; its
    /// engine, the host's side of its devices and what is told of it are those of `config`.
    ///
    /// # Errors
    /// Refuses a snapshot that is damaged or does not fit, and fails as [`Vm::build`] does.
    pub fn restore(config: &Config, file: &Path, output: Box<dyn Write + Send>) -> Result<Self, VmError> {
        let failed = |source| VmError::Restore { file: file.to_owned(), source };
        let opened = Opened::new(file).map_err(failed)?;
        if opened.state.model != config.model.name {
            return Err(failed(RestoreError::Model(opened.state.model)));
        }
        let config = Config { ram: opened.state.ram, vcpus: opened.state.orders.len(), ..config.clone() };
        opened.check_cards(config.cards.len()).map_err(failed)?;
        let vm = Self::blank(&config, opened.state.entropy, output)?;
        vm.snapshots.restore(opened).map_err(failed)?;
        Ok(vm)
    }

    /// Builds a machine whose memory is empty, with or without a source of random bytes.
    fn blank(config: &Config, entropy: bool, output: Box<dyn Write + Send>) -> Result<Self, VmError> {
        Assembly::new(config, entropy, output)?.finish(config, Symbols::default())
    }

    /// The first vCPU starts in the kernel as a boot loader would leave it; the others wait for it.
    fn set_boot_state(&self, boot: &Boot) {
        let vcpus = &self.handle.vcpus;
        for number in 0..vcpus.count() {
            vcpus.member(number).set_cp0(Cp0::CMGCRBase, virt::CM_BASE.0 >> 4);
        }
        let mut first = vcpus.member(0);
        first.cpu.pc = boot.entry.0;
        first.cpu.gpr[4] = boot.a0;
        first.cpu.gpr[5] = boot.a1.0;
        first.set_cp0(Cp0::Status, (Status::KX | Status::SX | Status::UX).bits());
    }

    /// The user's end of the serial port.
    pub fn serial_input(&self) -> SerialInput {
        self.serial_input.clone()
    }

    /// A view of the machine that lasts beyond its end.
    pub fn observer(&self) -> Observer {
        self.handle.observer()
    }

    /// The names of the kernel's file; a kernel that moves itself is no longer where they say.
    pub fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// How other threads control the machine.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// What takes snapshots of the machine while it runs.
    pub fn snapshots(&self) -> Snapshots {
        self.snapshots.clone()
    }

    /// Lets the guest have its machine saved in `place`. The machine's model must know HYPCALL.
    pub fn set_place(&mut self, place: Arc<Place>) {
        self.place = Some(place);
    }

    /// Runs the machine until it ends. Gives the reason and what each vCPU did.
    ///
    /// # Errors
    /// Fails if the host starts no threads, or if a bug ends one; the machine has then ended.
    pub fn run(self) -> Result<(Ending, Vec<Statistics>), VmError> {
        let Self { handle, engine, schedule, time, snapshots, place, .. } = self;
        let control = Arc::clone(&handle.machine.control);
        let requests = Arc::new(Requests::new(snapshots, place));
        let statistics = match schedule {
            Schedule::Threads => drive::threads(&control, handle.vcpus, engine, requests)?,
            Schedule::Slices(slice) => drive::slices(
                handle.vcpus,
                drive::Rules { control: Arc::clone(&control), engine, slice, time, requests },
            )?,
        };
        Ok((control.ending().unwrap_or(Ending::Quit), statistics))
    }
}

impl Assembly {
    fn new(config: &Config, entropy: bool, output: Box<dyn Write + Send>) -> Result<Self, VmError> {
        let sliced = config.schedule != Schedule::Threads;
        let control =
            if sliced { Control::with_one_thread(config.vcpus) } else { Control::new(config.vcpus) };
        let time = Arc::<SlicedTime>::default();
        let output = OutputQueue::new(output).map_err(VmError::Thread)?;
        let devices = virtio_devices(config, entropy).map_err(VmError::Network)?;
        let size = virt::Size { ram: config.ram, vcpus: config.vcpus, virtio: devices.len() };
        let ram = Arc::new(Ram::new(&virt::plan(size)?.ram)?);
        let dma = Dma::new(Arc::clone(&ram));
        let transport = |device| transport(device, &dma, sliced).map(Arc::new);
        let virtio: Result<Vec<_>, _> = devices.into_iter().map(transport).collect();
        let virtio = virtio.map_err(VmError::Thread)?;
        let wire = |transport: &Arc<Transport>| -> virt::MakeVirtio {
            let transport = Arc::clone(transport);
            Box::new(move |line| transport.wire(line))
        };
        let host = virt::Host {
            serial_output: Box::new(output),
            clock: if sliced { sliced_clock(Arc::clone(&time)) } else { host_clock() },
            power: control.clone(),
            pins: control.clone(),
            vcpu_power: control.clone(),
            rom: Vec::new(),
            virtio: virtio.iter().map(wire).collect(),
        };
        let board = Board::new(config.ram, config.vcpus, host)?;
        if sliced {
            lock(&board.clock).leave_alarm_to_owner();
            let clock = Arc::downgrade(&board.clock);
            time.tell(clock);
        }
        Ok(Self { control, ram, dma, board, virtio, time })
    }

    fn finish(self, config: &Config, symbols: Symbols) -> Result<Vm, VmError> {
        let Self { control, ram, dma, board, virtio, time } = self;
        let sliced = config.schedule != Schedule::Threads;
        let mut mode = config.watching.mode();
        mode.set(Mode::COUNTED, config.watching.counted || sliced);
        let trace = config.watching.trace(&symbols, Names::N64);
        let clock = if sliced { Clock::Instructions } else { Clock::Host };
        let virtio = virtio.into_iter().map(|transport| transport as Arc<dyn DeviceState>);
        let devices = virtio.chain(board.states()).collect();
        let machine = Machine::for_guest(config.model, mode, ram, board.bus, control, clock, Guest::KERNEL);
        let machine = Arc::new(machine.map_err(VmError::Thread)?.traced(trace));
        let notice: Weak<Machine> = Arc::downgrade(&machine);
        dma.connect(notice);
        let handle = Handle::new(Arc::clone(&machine));
        let snapshots = Snapshots::new(machine, Arc::clone(&handle.vcpus), devices, config.disks.clone());
        let (engine, schedule, serial_input) = (config.engine, config.schedule, board.serial_input);
        Ok(Vm { handle, engine, schedule, time, serial_input, symbols, snapshots, place: None })
    }
}

impl Handle {
    /// A machine as it is in the snapshot `file`, to be looked at: it has no devices and never runs.
    ///
    /// # Errors
    /// Refuses a snapshot that is damaged or of a machine without `model`, and reports a host without memory.
    pub fn of_snapshot(model: &'static Model, file: &Path) -> Result<Self, VmError> {
        let failed = |source| VmError::Restore { file: file.to_owned(), source };
        let opened = Opened::new(file).map_err(failed)?;
        let state = &opened.state;
        if state.model != model.name {
            return Err(failed(RestoreError::Model(state.model.clone())));
        }
        let size = virt::Size { ram: state.ram, vcpus: state.orders.len(), virtio: 0 };
        let ram = Arc::new(Ram::new(&virt::plan(size)?.ram)?);
        let control = Control::with_one_thread(size.vcpus);
        let machine = Machine::new(model, Mode::empty(), ram, Bus::new(), control, Clock::Instructions);
        let handle = Self::new(machine.map_err(VmError::Thread)?);
        snapshots::restore_sight(&handle.machine, &handle.vcpus, opened).map_err(failed)?;
        Ok(handle)
    }

    fn new(machine: Arc<Machine>) -> Self {
        let vcpu = |number| Member {
            cell: Vcpu::new(Arc::clone(&machine), number),
            control: Arc::clone(&machine.control),
            number,
        };
        let members: Vec<_> = (0..machine.control.vcpus()).map(vcpu).collect();
        let standing = Arc::clone(&machine);
        let vcpus = Pausable::new(members, Box::new(move |still| standing.set_standing(still)));
        Self { machine, vcpus }
    }

    /// Makes the machine stand still until [`Handle::resume`], and returns when it does: every vCPU is at
    /// a settled point, every device has finished the request in hand, and the guest's Count and timers
    /// stand still. The real-time clock shows the host's time and goes on. Gives whether that is new.
    pub fn pause(&self) -> bool {
        self.vcpus.pause()
    }

    /// Lets a paused machine go on. Gives whether it was paused.
    pub fn resume(&self) -> bool {
        self.vcpus.resume()
    }

    /// Whether the machine is paused.
    pub fn is_paused(&self) -> bool {
        self.vcpus.is_paused()
    }

    /// Makes the machine stand still as long as the hold lives, paused or not, and gives access to its
    /// vCPUs meanwhile.
    pub fn hold(&self) -> Hold<Vcpu> {
        self.vcpus.hold()
    }

    /// Ends the machine at once, without a word to the guest.
    pub fn quit(&self) {
        self.machine.control.end(Ending::Quit);
    }

    /// Ends the machine as if someone had pressed its reset button: whoever runs it may build it anew.
    pub fn reset(&self) {
        self.machine.control.end(Ending::HostReset);
    }

    /// Why the machine ended, if it has.
    pub fn ending(&self) -> Option<Ending> {
        self.machine.control.ending()
    }

    /// A view of the machine that lasts beyond its end.
    pub fn observer(&self) -> Observer {
        Observer::new(Arc::clone(&self.machine))
    }

    /// The host's threads that run the vCPUs; 0 for one that has not begun.
    pub fn threads(&self) -> Vec<i32> {
        self.vcpus.threads()
    }

    /// How long the machine has run, without the time that it stood still.
    pub fn run_time(&self) -> Duration {
        self.machine.run_time()
    }
}

/// The virtio devices in the order of their slots. Linux names them in that order.
fn virtio_devices(config: &Config, entropy: bool) -> std::io::Result<Vec<Box<dyn VirtioDevice>>> {
    let disks = config.disks.iter().enumerate().map(|(number, disk)| {
        let name = format!("myvmm-disk{number}");
        Box::new(Block::new(disk.clone(), &name)) as Box<dyn VirtioDevice>
    });
    let mut devices: Vec<Box<dyn VirtioDevice>> = disks.collect();
    for (number, card) in config.cards.iter().enumerate() {
        let mac = card.mac.unwrap_or_else(|| card.link.default_mac(&config.name, number));
        devices.push(Box::new(Net::new(mac, card.link.open()?)));
    }
    for terminal in &config.consoles {
        devices.push(Box::new(Console::new(terminal.clone())));
    }
    if entropy {
        devices.push(Box::new(Entropy));
    }
    Ok(devices)
}

/// A machine in slices finds its requests done at the same instruction in every run; but a network has to be
/// listened to all the time.
fn transport(device: Box<dyn VirtioDevice>, dma: &Dma, sliced: bool) -> std::io::Result<Transport> {
    let at_once = sliced && device.kind() != DeviceKind::Network;
    let transport = Transport::new(device, dma.clone())?;
    Ok(if at_once { transport.at_once() } else { transport })
}

/// The wall clock of a machine in slices: every run begins on the first day of 2020.
fn sliced_clock(time: Arc<SlicedTime>) -> WallClock {
    const BEGINNING: u64 = 1_577_836_800;
    Box::new(move || BEGINNING * 1_000_000_000 + time.tick() * NANOSECONDS_PER_TICK)
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
    if boot.target.abi.has_wide_registers() && !config.model.wide {
        return Err(wrong("64-bit", "32-bit"));
    }
    Ok(boot)
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
