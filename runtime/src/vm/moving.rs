//! How a whole machine leaves and arrives while it runs: what the target must know to build one like it, and what
//! then belongs to it besides memory. It must not know how it is sent.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use translator::model::MIPS64R2;

use super::snapshots::{self, Identity, Snapshots, begin_watch, machine_state};
use super::{Config, Vm, VmError};
use crate::backend::disk::{Format, SharedDisk, Watch};
use crate::backend::net::Link;
use crate::board::virt;
use crate::drive::Schedule;
use crate::machine::{Ending, Machine};
use crate::memory::{Ram, pages};
use crate::migrate::{self, Areas, Hello, Place, Standing, sentence};
use crate::pause::{Brake, Hold};
use crate::snapshot::Reader;
use crate::vcpu::Vcpu;
use crate::wire::{self, WireError};

/// The most disks and cards of a machine that comes.
const MOST_DEVICES: usize = 64;
/// What a moved machine is called.
pub const KIND: &str = "machine";

/// What the target must know to build a machine like the one that comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// The CPU model.
    pub model: String,
    /// Bytes of RAM.
    pub ram: u64,
    /// The number of vCPUs.
    pub vcpus: u32,
    /// Instructions of a slice, if the vCPUs run in slices.
    pub slice: Option<NonZeroU64>,
    /// Nanoseconds for which the guest has lived when it was announced.
    pub elapsed: u64,
    /// The disks, in the order of their names in the guest.
    pub disks: Vec<DiskShape>,
    /// The network cards, in the order of their names in the guest.
    pub cards: Vec<CardShape>,
    /// What it boots when it resets; if nothing, it then ends.
    pub boot: Option<BootShape>,
}

/// What a machine boots, from files that both sides open by the same names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootShape {
    /// The kernel, by its absolute name.
    pub kernel: PathBuf,
    /// The initial RAM disk, by its absolute name.
    pub initrd: Option<PathBuf>,
    /// The kernel's command line.
    pub command_line: String,
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskShape {
    /// The image at the source, by its absolute name.
    pub file: PathBuf,
    /// Whether it is stored as qcow2.
    pub qcow2: bool,
    /// How the target has it.
    pub passage: Passage,
    /// Bytes of the disk.
    pub bytes: u64,
}

/// How a disk gets to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Passage {
    /// It refuses changes, and both sides open it by the same name.
    ReadOnly,
    /// Both sides open it by the same name, and it is handed over.
    HandedOver,
    /// Its content goes with the guest, to an image of the target's.
    Copied,
}

/// A network card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardShape {
    /// Its address.
    pub mac: [u8; 6],
    /// What it is plugged into.
    pub link: LinkShape,
}

/// What kind of network it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkShape {
    /// That of a user's program.
    User,
    /// Another program.
    Stream,
    /// A network device of the host's kernel.
    Tap,
}

impl BootShape {
    /// Whether the files are there is the target's matter.
    fn of(config: &Config) -> Self {
        let absolute = |file: &PathBuf| std::path::absolute(file).unwrap_or_else(|_| file.clone());
        Self {
            kernel: absolute(&config.kernel),
            initrd: config.initrd.as_ref().map(absolute),
            command_line: config.command_line.clone(),
        }
    }
}

impl Shape {
    fn of(config: &Config, reboots: bool, with_disks: bool, machine: &Machine) -> Result<Self, String> {
        if !config.consoles.is_empty() {
            return Err("a machine with --console cannot be moved: its other end is on this host".into());
        }
        Ok(Self {
            model: machine.model.name.into(),
            ram: machine.ram.banks().iter().map(|bank| bank.size).sum(),
            vcpus: machine.control.vcpus() as u32,
            slice: match config.schedule {
                Schedule::Threads => None,
                Schedule::Slices(slice) => Some(slice),
            },
            elapsed: machine.run_time().as_nanos() as u64,
            disks: config.disks.iter().map(|disk| disk_shape(disk, with_disks)).collect::<Result<_, _>>()?,
            cards: config
                .cards
                .iter()
                .enumerate()
                .map(|(number, card)| CardShape {
                    mac: card.mac.unwrap_or_else(|| card.link.default_mac(&config.name, number)).0,
                    link: match card.link {
                        Link::User(_) => LinkShape::User,
                        Link::Stream(_) => LinkShape::Stream,
                        Link::Tap(_) => LinkShape::Tap,
                    },
                })
                .collect(),
            boot: reboots.then(|| BootShape::of(config)),
        })
    }

    /// The disks that are copied.
    pub fn copied(&self) -> impl Iterator<Item = &DiskShape> {
        self.disks.iter().filter(|disk| disk.passage == Passage::Copied)
    }

    /// What a source says.
    ///
    /// # Errors
    /// Refuses what is no shape, or that of a machine that cannot be.
    pub fn decode(hello: &Hello) -> Result<Self, ShapeError> {
        let shape: Self = wire::decode(&hello.shape)?;
        let many = shape.disks.len() + shape.cards.len() > MOST_DEVICES;
        if !shape.copied().map(|disk| disk.bytes).eq(hello.disks.iter().copied()) {
            return Err(ShapeError::Size);
        }
        if many || shape.ram != hello.bytes() || shape.vcpus as usize > virt::MAX_VCPUS {
            return Err(ShapeError::Size);
        }
        if shape.model != MIPS64R2.name {
            return Err(ShapeError::Model(shape.model));
        }
        Ok(shape)
    }
}

/// Why no machine can be built for one that comes.
#[derive(Debug, thiserror::Error)]
pub enum ShapeError {
    /// It is no shape.
    #[error("what is said of the machine makes no sense: {0}")]
    Wire(#[from] WireError),
    /// It is larger than a machine can be, or than was said.
    #[error("what is said of the machine's size makes no sense")]
    Size,
    /// It has another CPU.
    #[error("it is a machine with CPU {0}, which this myvmm does not have")]
    Model(String),
}

fn disk_shape(disk: &SharedDisk, with_disks: bool) -> Result<DiskShape, String> {
    let image = disk.image().ok_or("a disk of the machine is in no image file, and so cannot be named")?;
    let name = image.file.display();
    if image.snapshot && !image.read_only {
        return Err(format!("disk image {name} was given with snapshot=on: its changes cannot be moved"));
    }
    let file = std::fs::canonicalize(&image.file).map_err(|error| format!("disk image {name}: {error}"))?;
    let qcow2 = image.format == Some(Format::Qcow2);
    let passage = match (image.read_only, with_disks) {
        (true, _) => Passage::ReadOnly,
        (false, true) => Passage::Copied,
        (false, false) => Passage::HandedOver,
    };
    Ok(DiskShape { file, qcow2, passage, bytes: disk.size() })
}

/// Those of a machine's `disks` that are copied, or those that are not.
fn split(shape: &Shape, disks: &[SharedDisk], copied: bool) -> Vec<SharedDisk> {
    let disks =
        shape.disks.iter().zip(disks).filter(|(shape, _)| (shape.passage == Passage::Copied) == copied);
    disks.map(|(_, disk)| disk.clone()).collect()
}

/// How long disks are tried to be taken back.
const TAKING_BACK: Duration = Duration::from_secs(5);

/// Takes all disks that are not held; says which cannot be, and why.
fn take_disks(disks: &[SharedDisk]) -> Result<(), String> {
    disks.iter().try_for_each(SharedDisk::take).map_err(|error| sentence(&error))
}

/// A machine that leaves.
pub struct Leaving<'a> {
    snapshots: &'a Snapshots,
    name: String,
    shape: Shape,
    /// Kept so that nobody else watches memory meanwhile.
    _watch: MutexGuard<'a, Option<Identity>>,
    /// Whether memory is watched already.
    begun: bool,
    /// The disks that are copied.
    copied: Vec<(SharedDisk, Watch)>,
    /// The disks that are not.
    shared: Vec<SharedDisk>,
    hold: Option<Hold<Vcpu>>,
    brake: Option<Brake>,
}

impl<'a> Leaving<'a> {
    /// The machine of `snapshots`, which was built from `config` and is called `name`. When it resets, it boots again if
    /// it `reboots`. The disks that it can change are copied if they are to go `with_disks`.
    ///
    /// # Errors
    /// Says why it cannot leave.
    pub fn new(
        snapshots: &'a Snapshots,
        config: &Config,
        name: &str,
        reboots: bool,
        with_disks: bool,
    ) -> Result<Self, String> {
        let mut watch = snapshots.watch().ok_or("the machine is just being saved or moved")?;
        // What was clean since then is known no longer.
        *watch = None;
        let shape = Shape::of(config, reboots, with_disks, &snapshots.shared.machine)?;
        let disks = &snapshots.shared.disks;
        let copied =
            split(&shape, disks, true).into_iter().map(|disk| (disk.clone(), disk.watch())).collect();
        Ok(Self {
            snapshots,
            name: name.to_owned(),
            _watch: watch,
            begun: false,
            copied,
            shared: split(&shape, disks, false),
            shape,
            hold: None,
            brake: None,
        })
    }

    fn ram(&self) -> &Arc<Ram> {
        &self.snapshots.shared.machine.ram
    }

    fn take_changed(&mut self, hold: &Hold<Vcpu>) -> Result<Vec<Place>, String> {
        let mut places = self.take_blocks()?;
        let dirty = begin_watch(&self.snapshots.shared.machine, hold, None);
        if std::mem::replace(&mut self.begun, true) {
            places.extend(dirty.into_iter().map(|pa| Place::page(0, pa)));
            return Ok(places);
        }
        let populated = snapshots::populated(self.ram(), &dirty);
        let banks = pages(self.ram().banks()).filter(|pa| populated[pa.page_number() as usize]);
        places.extend(banks.map(|pa| Place::page(0, pa)));
        Ok(places)
    }

    fn take_blocks(&mut self) -> Result<Vec<Place>, String> {
        let mut places = Vec::new();
        for (number, (disk, watch)) in (0..).zip(&mut self.copied) {
            let changed = watch.changed();
            let changed = changed.map_err(|error| format!("disk image {}: {error}", disk.name()))?;
            places.extend(changed.into_iter().map(|at| Place::block(number, at)));
        }
        Ok(places)
    }
}

impl migrate::Leaving for Leaving<'_> {
    fn hello(&self) -> Hello {
        Hello {
            identity: Identity::default(),
            version: env!("CARGO_PKG_VERSION").into(),
            name: self.name.clone(),
            kind: KIND.into(),
            memories: vec![self.ram().banks().iter().map(|bank| (bank.base.0, bank.size)).collect()],
            disks: self.copied.iter().map(|(disk, _)| disk.size()).collect(),
            shape: wire::encode(&self.shape),
        }
    }

    fn areas(&self) -> Areas {
        let disks = self.copied.iter().map(|(disk, _)| disk.clone()).collect();
        Areas { memories: vec![Arc::clone(self.ram())], disks }
    }

    fn changed(&mut self) -> Result<Vec<Place>, String> {
        // So that little is left for when the guest stands still; then it is told if it fails.
        self.shared.iter().for_each(|disk| drop(disk.flush()));
        let hold = self.snapshots.shared.vcpus.hold();
        self.take_changed(&hold)
    }

    fn throttle(&mut self, percent: u32) {
        match &self.brake {
            Some(brake) if percent > 0 => brake.set(percent),
            None if percent > 0 => self.brake = Brake::new(&self.snapshots.shared.vcpus, percent).ok(),
            _ => self.brake = None,
        }
    }

    fn stop(&mut self) -> Result<Standing, String> {
        let vcpus = &self.snapshots.shared.vcpus;
        let hold = vcpus.hold();
        if self.snapshots.shared.machine.control.ending().is_some() {
            return Err("the machine has ended".into());
        }
        let places = self.take_changed(&hold)?;
        let state = self.snapshots.state(&hold, Identity::default(), Vec::new()).finish();
        self.hold = Some(hold);
        Ok(Standing { places, state, paused: vcpus.is_paused() })
    }

    fn let_go(&mut self) -> Result<(), String> {
        self.shared.iter().try_for_each(SharedDisk::hand_over).map_err(|error| sentence(&error))
    }

    /// What was copied is left as it was when the guest stood still.
    fn gone(&mut self) {
        self.copied.iter().for_each(|(disk, _)| drop(disk.flush()));
        self.snapshots.shared.machine.control.end(Ending::Moved);
    }

    /// A target that has just heard that the guest stays may still have the disks. A machine that cannot have them back
    /// is paused.
    fn go_on(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        while let Err(error) = take_disks(&self.snapshots.shared.disks) {
            if begun.elapsed() > TAKING_BACK {
                self.snapshots.shared.vcpus.pause();
                return Err(error);
            }
            thread::sleep(TAKING_BACK / 100);
        }
        self.hold = None;
        Ok(())
    }
}

/// A machine that arrives. Until it is dropped, the machine stands still.
pub struct Arriving {
    snapshots: Snapshots,
    hold: Hold<Vcpu>,
    /// The disks that are copied.
    copied: Vec<SharedDisk>,
    /// What the guest's clock showed when it was announced, and what it showed at last.
    announced: Duration,
    left: Duration,
    sliced: bool,
}

/// A guest that stood still for longer was paused, and its clock does not make up for that.
const LONGEST_MOVE: Duration = Duration::from_secs(5);
/// A century: no guest lives longer.
const LONGEST_LIFE: u64 = 100 * 366 * 24 * 3600 * 1_000_000_000;

impl Arriving {
    /// Builds a machine of `shape` for what comes; everything else is as `config` says. What the guest prints goes to
    /// `output`.
    ///
    /// # Errors
    /// Fails as [`Vm::build`] does.
    pub fn new(
        shape: &Shape,
        config: &Config,
        output: Box<dyn std::io::Write + Send>,
    ) -> Result<(Vm, Self), VmError> {
        let sliced = config.schedule != Schedule::Threads;
        let vm = Vm::blank(config, !sliced, output)?;
        let (hold, snapshots) = (vm.handle.hold(), vm.snapshots());
        let announced = Duration::from_nanos(shape.elapsed);
        let copied = split(shape, &config.disks, true);
        Ok((vm, Self { snapshots, hold, copied, announced, left: announced, sliced }))
    }
}

impl migrate::Arriving for Arriving {
    fn areas(&self) -> Areas {
        Areas { memories: vec![Arc::clone(&self.snapshots.shared.machine.ram)], disks: self.copied.clone() }
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), String> {
        let mut reader = Reader::new(state).map_err(|error| error.to_string())?;
        let machine = machine_state(&mut reader).map_err(|error| error.to_string())?;
        let here = &self.snapshots.shared.machine;
        if machine.model != here.model.name
            || machine.orders.len() != self.hold.count()
            || machine.elapsed > LONGEST_LIFE
        {
            return Err("the state is of another machine than was announced".into());
        }
        self.left = Duration::from_nanos(machine.elapsed);
        let restored = self.snapshots.restore_state(&self.hold, machine, reader);
        restored.map_err(|error| error.to_string())
    }

    /// The guest's clock goes on as if it had run all the time, if it keeps the host's time.
    fn take_over(&mut self, age: Duration) -> Result<(), String> {
        if let Err(why) = take_disks(&self.snapshots.shared.disks) {
            self.give_back();
            return Err(why);
        }
        let ran = self.left.saturating_sub(self.announced);
        let missed = age.saturating_sub(ran);
        if !self.sliced && missed < LONGEST_MOVE {
            self.snapshots.shared.machine.set_run_time((self.left + missed).as_nanos() as u64);
        }
        Ok(())
    }

    /// A disk that cannot be given back is when the process ends, which it then does.
    fn give_back(&mut self) {
        self.snapshots.shared.disks.iter().for_each(|disk| drop(disk.give_back()));
    }
}
