//! Board `virt`: the machine that a Linux kernel boots on. Its list of devices is [`plan`]; here the
//! list becomes devices on a bus. It must not know how a vCPU works, or where the host's streams go.
//!
//! ```text
//! 0000_0000  RAM, at most 256 MB (what ckseg0 and legacy DMA reach)
//! 1000_0000  serial, clock, power, virtio slots
//! 1bdc_0000  GIC, where MIPS boards have it (128 KB), then the power controller (32 KB)
//! 1fbf_0000  coherence manager (32 KB), then its L2-only sync page
//! 1fc0_0000  boot ROM: the reset vector of every MIPS CPU
//! 2000_0000  the rest of the RAM
//! ```

use std::io::Write;
use std::sync::{Arc, Mutex};

use thiserror::Error;
use translator::addr::Pa;

use super::plan::{Node, Plan, Slot, Value};
use crate::bus::irq::IrqLine;
use crate::bus::{AddError, Bus};
use crate::device::cm::{self, Cm, L2Sync};
use crate::device::cpc::{self, Cpc};
use crate::device::gic::{self, Gic};
use crate::device::pins::{VcpuPins, VcpuPower};
use crate::device::power::{self, Power, PowerControl};
use crate::device::rom::Rom;
use crate::device::rtc::{Rtc, WallClock};
use crate::device::uart::{SerialInput, Uart};
use crate::device::{SharedDevice, Window};
use crate::persist::DeviceState;

/// CPUs a board can have: `CONFIG_NR_CPUS` of Debian's mips64r2el kernel.
pub const MAX_VCPUS: usize = 16;
/// CP0 Count steps a second. The device tree names twice that as the CPU's clock, which
/// arch/mips/generic/init.c `plat_time_init` halves.
pub const COUNT_HZ: u32 = 100_000_000;

const LOW_RAM: u64 = 0x1000_0000;
const HIGH_RAM_BASE: Pa = Pa(0x2000_0000);
/// RAM comes in whole pages of the largest size that Linux has on MIPS.
const RAM_GRAIN: u64 = 64 * 1024;
/// The largest machine: what is left of a 36-bit physical address space, which every CPU model has.
const MAX_RAM: u64 = 32 << 30;

/// Small devices have a page each, so that a user-mode driver in the guest can be given just one.
const PAGE: u64 = 0x1000;
const SERIAL: Window = Window { base: Pa(0x1000_0000), size: PAGE };
const CLOCK: Window = Window { base: Pa(0x1000_1000), size: PAGE };
const POWER: Window = Window { base: Pa(0x1000_2000), size: PAGE };
const VIRTIO_BASE: Pa = Pa(0x1001_0000);
const GIC: Window = Window { base: Pa(0x1bdc_0000), size: gic::WINDOW_SIZE };
const CPC: Window = Window { base: Pa(GIC.base.0 + GIC.size), size: cpc::WINDOW_SIZE };
const CM: Window = Window { base: Pa(0x1fbf_0000), size: cm::WINDOW_SIZE };
/// Linux puts the L2-only sync region right behind the registers (arch/mips/kernel/mips-cm.c).
const L2_SYNC: Window = Window { base: Pa(CM.base.0 + CM.size), size: cm::L2_SYNC_SIZE };
const ROM: Window = Window { base: Pa(0x1fc0_0000), size: 4 << 20 };

/// The serial port's input clock; 115200 baud is a divisor of one.
const SERIAL_CLOCK_HZ: u32 = 1_843_200;
/// Registers are bytes at successive addresses.
const SERIAL_SHIFT: u32 = 0;

/// Where the coherence manager is: CP0 CMGCRBase holds this address shifted right by four.
pub const CM_BASE: Pa = CM.base;

/// A size of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Bytes of RAM, a multiple of 64 KB.
    pub ram: u64,
    /// CPUs, 1 to [`MAX_VCPUS`].
    pub vcpus: usize,
    /// virtio-mmio transports.
    pub virtio: usize,
}

/// A machine that cannot be built.
#[derive(Debug, Error)]
pub enum BoardError {
    /// The number of CPUs is zero or too large.
    #[error("A machine has 1 to {MAX_VCPUS} CPUs, not {0}")]
    Vcpus(usize),
    /// The RAM is zero, ragged or too large.
    #[error("A machine has 64 KB to {limit} GB of RAM in steps of 64 KB, not {0} bytes", limit = MAX_RAM >> 30)]
    Ram(u64),
    /// More devices than the interrupt controller has inputs.
    #[error("The interrupt controller has no inputs left for {0} virtio devices")]
    Interrupts(usize),
    /// Two devices of the list collide.
    #[error("The board's list of devices contradicts itself")]
    Bus(#[from] AddError),
}

/// The devices that this board knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first serial port.
    Serial,
    /// The real-time clock.
    Clock,
    /// Power-off and reboot.
    Power,
    /// A virtio transport, by number.
    Virtio(usize),
    /// The interrupt controller.
    Gic,
    /// The coherence manager.
    Cm,
    /// The power controller of the cores.
    Cpc,
    /// The page behind the coherence manager.
    L2Sync,
    /// The boot ROM.
    Rom,
}

/// The list: everything that a `virt` board of this size has.
pub fn plan(size: Size) -> Result<Plan<Kind>, BoardError> {
    if !(1..=MAX_VCPUS).contains(&size.vcpus) {
        return Err(BoardError::Vcpus(size.vcpus));
    }
    if size.ram == 0 || size.ram > MAX_RAM || !size.ram.is_multiple_of(RAM_GRAIN) {
        return Err(BoardError::Ram(size.ram));
    }
    let slots = number_interrupts(slots(size.virtio, size.vcpus));
    let inputs = slots.iter().filter(|slot| slot.interrupt.is_some()).count();
    if gic::shared_interrupts(inputs, size.vcpus).is_none() {
        return Err(BoardError::Interrupts(size.virtio));
    }
    Ok(Plan {
        model: "myvmm virt",
        compatible: vec!["myvmm,virt"],
        ram: ram(size.ram),
        cpu: Node::new("cpu", &["mti,mips64r2"]).with("clocks", Value::Reference("cpu_clock")),
        vcpus: size.vcpus,
        interrupt_parent: "gic",
        fixtures: fixtures(),
        slots,
        aliases: vec![("serial0", 0), ("rtc0", 1)],
        console: Some(0),
    })
}

fn ram(size: u64) -> Vec<Window> {
    let low = size.min(LOW_RAM);
    let low_bank = Window { base: Pa(0), size: low };
    let high_bank = Window { base: HIGH_RAM_BASE, size: size - low };
    [low_bank, high_bank].into_iter().filter(|bank| bank.size > 0).collect()
}

fn fixtures() -> Vec<Node> {
    let syscon = |name, register: power::Register| {
        Node::new(name, &[name])
            .with("regmap", Value::Reference("power"))
            .with_cell("offset", register.offset())
            .with_cell("value", power::TRIGGER)
    };
    let clock = Node::new("cpu-clock", &["fixed-clock"]).labelled("cpu_clock");
    vec![
        clock.with_cell("#clock-cells", 0).with_cell("clock-frequency", 2 * COUNT_HZ),
        syscon("syscon-poweroff", power::Register::PowerOff),
        syscon("syscon-reboot", power::Register::Reboot),
    ]
}

/// Devices without their interrupts. Those that interrupt come first, the console before all.
fn slots(virtio: usize, vcpus: usize) -> Vec<Slot<Kind>> {
    let serial = Node::new("serial", &["ns16550a"])
        .with_cell("clock-frequency", SERIAL_CLOCK_HZ)
        .with_cell("reg-shift", SERIAL_SHIFT);
    let power = Node::new("power", &["syscon"]).labelled("power");
    // Vector 7 is the CPU's own timer. There is no `mti,gic-timer` below: then Linux keeps to CP0
    // Count and Compare, which cost no device access.
    let gic = Node::new("interrupt-controller", &["mti,gic"])
        .labelled("gic")
        .with("interrupt-controller", Value::Flag)
        .with_cell("#address-cells", 0)
        .with_cell("#interrupt-cells", 3)
        .with_cell("mti,reserved-cpu-vectors", 7);
    let slot = |kind, node, window| Slot { kind, node, window, interrupt: None };
    let mut slots = vec![
        slot(Kind::Serial, Some(serial), SERIAL),
        slot(Kind::Clock, Some(Node::new("rtc", &["google,goldfish-rtc"])), CLOCK),
        slot(Kind::Power, Some(power), POWER),
        slot(Kind::Gic, Some(gic), GIC),
        slot(Kind::Cm, None, CM),
        slot(Kind::L2Sync, None, L2_SYNC),
        slot(Kind::Rom, None, ROM),
    ];
    if vcpus <= cpc::MOST_CORES {
        // The kernel looks for its address here (arch/mips/kernel/mips-cpc.c).
        slots.push(slot(Kind::Cpc, Some(Node::new("power-controller", &["mti,mips-cpc"])), CPC));
    }
    slots.extend((0..virtio).map(|number| {
        let window = Window { base: VIRTIO_BASE + number as u64 * PAGE, size: PAGE };
        slot(Kind::Virtio(number), Some(Node::new("virtio", &["virtio,mmio"])), window)
    }));
    slots
}

/// Gives each device that interrupts an input of its own, from 0 up; the GIC's last inputs are the
/// kernel's, for interrupts between CPUs.
fn number_interrupts(mut slots: Vec<Slot<Kind>>) -> Vec<Slot<Kind>> {
    let interrupting =
        slots.iter_mut().filter(|slot| matches!(slot.kind, Kind::Serial | Kind::Clock | Kind::Virtio(_)));
    for (slot, input) in interrupting.zip(0..) {
        slot.interrupt = Some(input);
    }
    slots
}

/// Makes a virtio transport that interrupts through the given line.
pub type MakeVirtio = Box<dyn FnOnce(IrqLine) -> Arc<dyn SharedDevice>>;

/// What a board needs from the rest of the program.
pub struct Host {
    /// Where serial output goes; see [`Uart::new`] on blocking.
    pub serial_output: Box<dyn Write + Send>,
    /// What the real-time clock shows.
    pub clock: WallClock,
    /// Who switches the machine off.
    pub power: Arc<dyn PowerControl>,
    /// The vCPUs' interrupt pins.
    pub pins: Arc<dyn VcpuPins>,
    /// Who starts and stops vCPUs.
    pub vcpu_power: Arc<dyn VcpuPower>,
    /// What is at the reset vector; may be empty.
    pub rom: Vec<u8>,
    /// The virtio devices, in the order of their slots.
    pub virtio: Vec<MakeVirtio>,
}

/// A `virt` board with its devices in place.
pub struct Board {
    /// The list that it was built from.
    pub plan: Plan<Kind>,
    /// Its devices, by address.
    pub bus: Bus,
    /// The user's end of the serial port.
    pub serial_input: SerialInput,
    /// The serial port.
    pub serial: Arc<Mutex<Uart>>,
    /// The real-time clock.
    pub clock: Arc<Mutex<Rtc>>,
    /// The interrupt controller.
    pub gic: Arc<Gic>,
    /// The coherence manager.
    pub cm: Arc<Mutex<Cm>>,
    /// The power controller of the cores.
    pub cpc: Arc<Mutex<Cpc>>,
}

impl Board {
    /// The devices with state, beside the virtio devices, in the order in which they are restored: the
    /// interrupt controller, whose inputs the others drive, comes last.
    pub fn states(&self) -> [Arc<dyn DeviceState>; 5] {
        [self.serial.clone(), self.clock.clone(), self.cm.clone(), self.cpc.clone(), self.gic.clone()]
    }

    /// Builds the board with `ram` bytes of RAM and `vcpus` CPUs. RAM itself is not on the bus.
    pub fn new(ram: u64, vcpus: usize, host: Host) -> Result<Self, BoardError> {
        let plan = plan(Size { ram, vcpus, virtio: host.virtio.len() })?;
        let inputs = plan.slots.iter().filter(|slot| slot.interrupt.is_some()).count();
        let gic = Arc::new(Gic::new(vcpus, inputs, host.pins));
        let line = |slot: &Slot<Kind>| IrqLine::new(gic.clone(), slot.interrupt.unwrap_or(u32::MAX));
        let (serial, serial_input) =
            Uart::new(SERIAL_SHIFT, line(find(&plan, Kind::Serial)), host.serial_output);
        let clock = Rtc::new(host.clock, line(find(&plan, Kind::Clock)));
        let cm = Arc::new(Mutex::new(Cm::new(CM.base, vcpus, host.vcpu_power)));
        let cpc = Arc::new(Mutex::new(Cpc::new(cm.clone())));
        let (mut power, mut rom) = (Some(Power::new(host.power)), Some(Rom::new(host.rom)));
        let mut virtio = host.virtio.into_iter();
        let mut bus = Bus::new();
        for slot in &plan.slots {
            let device: Arc<dyn SharedDevice> = match slot.kind {
                Kind::Serial => serial.clone(),
                Kind::Clock => clock.clone(),
                Kind::Power => Arc::new(Mutex::new(power.take().expect(ONCE))),
                Kind::Virtio(_) => virtio.next().expect(ONCE)(line(slot)),
                Kind::Gic => gic.clone(),
                Kind::Cm => cm.clone(),
                Kind::Cpc => cpc.clone(),
                Kind::L2Sync => Arc::new(Mutex::new(L2Sync)),
                Kind::Rom => Arc::new(Mutex::new(rom.take().expect(ONCE))),
            };
            let name = slot.path().unwrap_or_else(|| format!("{:?}", slot.kind));
            bus.add(&name, slot.window, device)?;
        }
        Ok(Self { plan, bus, serial_input, serial, clock, gic, cm, cpc })
    }
}

/// Why taking a device that there is one of cannot fail.
const ONCE: &str = "the board lists each of its devices once";

fn find(plan: &Plan<Kind>, kind: Kind) -> &Slot<Kind> {
    plan.slots.iter().find(|slot| slot.kind == kind).expect(ONCE)
}

#[cfg(test)]
mod tests;
