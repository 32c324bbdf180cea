//! Snapshots of whole machines: what belongs into one, how it is taken while the guest runs, and how a machine
//! goes on from one. A snapshot does not say which engine runs the guest.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use translator::addr::{PAGE_SIZE, Pa};

use crate::backend::disk::{Format, Image, SharedDisk};
use crate::device::lock;
use crate::device::virtio::DeviceKind;
use crate::machine::{Clock, Machine, NANOSECONDS_PER_TICK, PowerOrder};
use crate::memory::{PageKeeper, pages};
use crate::pause::{Hold, Pausable};
use crate::persist::{DeviceState, Persist};
use crate::snapshot::{Capture, Reader, SnapshotError, Writer, file, format, write_image};
use crate::vcpu::{Vcpu, VcpuState};
use crate::wire;

const MACHINE: &str = "machine";
const MACHINE_VERSION: u16 = 2;
const PARENT: &str = "parent";
const PARENT_VERSION: u16 = 1;
/// The parts that a snapshot begins with: `machine` and perhaps `parent`.
const BEGINNING: usize = 2;
/// How many incremental snapshots may stand on one another.
const MOST_ANCESTORS: usize = 64;

/// How often it is looked whether a snapshot is written.
const REST: Duration = Duration::from_millis(2);

/// What tells one snapshot from all others.
pub type Identity = [u8; 16];

/// A disk image as it was when the snapshot was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskState {
    /// The file, by its absolute name.
    pub file: PathBuf,
    /// How it is stored; if nothing was said, raw.
    pub format: Option<Format>,
    /// Whether changes are refused.
    pub read_only: bool,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was last changed: seconds and nanoseconds since 1970.
    pub changed: (i64, i64),
}

/// Which machine it is, and what belongs to none of its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineState {
    /// The snapshot's own identity.
    pub identity: Identity,
    /// The CPU model.
    pub model: String,
    /// Bytes of RAM.
    pub ram: u64,
    /// What each vCPU has been told and not done yet.
    pub orders: Vec<Option<PowerOrder>>,
    /// Nanoseconds for which the guest has lived, by the clock of its vCPUs.
    pub elapsed: u64,
    /// The disks, in the order of their names in the guest.
    pub disks: Vec<DiskState>,
    /// How many network cards there are.
    pub cards: u64,
    /// Whether there is a source of random bytes.
    pub entropy: bool,
}

impl DiskState {
    /// The image, to be opened again.
    pub fn image(&self) -> Image {
        let Self { file, format, read_only, .. } = self;
        Image { file: file.clone(), format: *format, read_only: *read_only, snapshot: false }
    }
}

/// The snapshot on which an incremental one stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Parent {
    identity: Identity,
    file: PathBuf,
}

/// How RAM is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// As an image that is mapped when the machine goes on, so that it does so at once.
    #[default]
    Mapped,
    /// Compressed.
    Compressed,
    /// Only the pages that changed since this machine's last snapshot, or since it went on from one: the file.
    Since(PathBuf),
}

/// What to do about a host that does not allow to write.
fn allowance(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            " (a confined machine writes only below the directory that --snapshots named)"
        }
        _ => "",
    }
}

/// Why a snapshot was not taken. The machine goes on, and a file of that name is as it was.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The machine has ended.
    #[error("the machine has ended")]
    Ended,
    /// Somebody else watches its memory.
    #[error("the machine is just being saved or moved")]
    Busy,
    /// The host refused.
    #[error("cannot write the snapshot{}", allowance(.0))]
    Host(#[from] io::Error),
    /// The parent is no good.
    #[error("its parent {}", file.display())]
    Parent {
        /// The parent's file.
        file: PathBuf,
        /// What is wrong with it.
        source: SnapshotError,
    },
    /// Nobody knows what changed since the parent.
    #[error("{} is not this machine's last snapshot, so what changed since is not known; take a full one", .0.display())]
    Stranger(PathBuf),
    /// A disk that is not in a file.
    #[error("a disk of the machine is in no image file, so a snapshot could not name it")]
    Nameless,
    /// A disk whose contents the snapshot cannot name.
    #[error("cannot look at disk image {}", file.display())]
    Disk {
        /// The image.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A disk that forgets its changes when the machine ends.
    #[error("disk image {} was given with snapshot=on: its changes would be lost, and the snapshot useless", .0.display())]
    Forgetful(PathBuf),
}

/// What came of taking a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// How long the guest stood still.
    pub pause: Duration,
    /// How long it took until the file was on the disk.
    pub took: Duration,
    /// The bytes that the file takes on the disk.
    pub bytes: u64,
}

/// Why a machine cannot go on from a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file cannot be opened.
    #[error("it cannot be opened")]
    Open(#[source] io::Error),
    /// The file is no good.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// It is for another CPU.
    #[error("it is of a machine with CPU {0}, which this myvmm does not have")]
    Model(String),
    /// The number of disks differs.
    #[error("its machine has {saved} disks and this one {here}; give the same --disk options")]
    Disks {
        /// Disks in the snapshot.
        saved: usize,
        /// Disks of the machine.
        here: usize,
    },
    /// The number of network cards differs.
    #[error(
        "its machine has {saved} network cards and this one {here}; give as many --net options, or --net none"
    )]
    Cards {
        /// Cards in the snapshot.
        saved: u64,
        /// Cards of the machine.
        here: usize,
    },
    /// A disk is another, or was changed.
    #[error("disk image {} has changed since the snapshot was taken, and so does not belong to it; put back the copy that was made with the snapshot", .0.display())]
    DiskChanged(PathBuf),
    /// The parent is another snapshot.
    #[error("its parent {} is another snapshot than it was", .0.display())]
    Parent(PathBuf),
    /// Too many parents.
    #[error("it stands on more than {MOST_ANCESTORS} others")]
    Depth,
}

/// What threads of the machine and takers of snapshots share.
pub(super) struct Shared {
    pub(super) machine: Arc<Machine>,
    pub(super) vcpus: Arc<Pausable<Vcpu>>,
    /// In the order in which they are restored: the interrupt controller comes last.
    devices: Vec<Arc<dyn DeviceState>>,
    pub(super) disks: Vec<SharedDisk>,
    /// The last snapshot, since which clean pages are known. Locked while one is taken.
    last: Mutex<Option<Identity>>,
    /// What is being written, until the file is whole or gone.
    writing: Mutex<Option<Arc<Capture>>>,
}

/// Takes snapshots of a machine, from any thread. Clones are the same.
#[derive(Clone)]
pub struct Snapshots {
    pub(super) shared: Arc<Shared>,
}

/// What is kept of a machine that stands still, besides its RAM.
struct Kept {
    writer: Writer,
    capture: Arc<Capture>,
    /// The pages written since the last watch began.
    dirty: Vec<Pa>,
}

impl Snapshots {
    pub(super) fn new(
        machine: Arc<Machine>,
        vcpus: Arc<Pausable<Vcpu>>,
        devices: Vec<Arc<dyn DeviceState>>,
        disks: Vec<SharedDisk>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                machine,
                vcpus,
                devices,
                disks,
                last: Mutex::default(),
                writing: Mutex::default(),
            }),
        }
    }

    /// Takes a snapshot into `path`. The guest stands still for a moment only, and goes on while its RAM is
    /// written.
    ///
    /// # Errors
    /// See [`SaveError`].
    pub fn save(&self, path: &Path, form: &Form) -> Result<Saved, SaveError> {
        let begun = Instant::now();
        let mut last = self.watch().ok_or(SaveError::Busy)?;
        let parent = self.parent(form, last.as_ref())?;
        let mut identity = Identity::default();
        rustix::rand::getrandom(&mut identity, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| SaveError::Host(error.into()))?;
        let capture = Capture::new(Arc::clone(&self.shared.machine.ram));
        // Whoever ends the machine finds this, or it is found that the machine has ended.
        *lock(&self.shared.writing) = Some(Arc::clone(&capture));
        let still = Instant::now();
        let kept = self.keep(identity, parent, Arc::clone(&capture));
        let pause = still.elapsed();
        let written = kept.and_then(|kept| {
            *last = None;
            let written = file::replace(path, |file| self.write(file, kept, form));
            let is_given_up = capture.is_over();
            // First, so that nobody waits with the watch's lock.
            capture.end();
            self.shared.machine.write_watch.release();
            if is_given_up && written.is_err() { Err(SaveError::Ended) } else { Ok(written?) }
        });
        *lock(&self.shared.writing) = None;
        written?;
        *last = Some(identity);
        let bytes = std::fs::metadata(path).map_or(0, |file| file.blocks() * 512);
        Ok(Saved { pause, took: begun.elapsed(), bytes })
    }

    /// Has whoever saves the machine, which has ended, give that up, and waits, at most `limit`, until no half of a file
    /// is left.
    pub fn give_up(&self, limit: Duration) {
        let begun = Instant::now();
        while let Some(capture) = lock(&self.shared.writing).clone()
            && begun.elapsed() < limit
        {
            capture.end();
            thread::sleep(REST);
        }
    }

    /// The parent that `form` asks for, which must be the last snapshot.
    fn parent(&self, form: &Form, last: Option<&Identity>) -> Result<Option<Parent>, SaveError> {
        let Form::Since(file) = form else { return Ok(None) };
        let wrong = |source| SaveError::Parent { file: file.clone(), source };
        let opened = File::open(file).map_err(|error| wrong(SnapshotError::Unreadable(error)))?;
        let state = machine_state(&mut Reader::open(&opened).map_err(wrong)?).map_err(wrong)?;
        if last != Some(&state.identity) {
            return Err(SaveError::Stranger(file.clone()));
        }
        Ok(Some(Parent { identity: state.identity, file: std::fs::canonicalize(file)? }))
    }

    /// Makes the machine stand still for a moment: keeps everything but RAM, and begins the watch over that.
    fn keep(
        &self,
        identity: Identity,
        parent: Option<Parent>,
        capture: Arc<Capture>,
    ) -> Result<Kept, SaveError> {
        let machine = &self.shared.machine;
        let hold = self.shared.vcpus.hold();
        if machine.control.ending().is_some() {
            return Err(SaveError::Ended);
        }
        let disks = self.shared.disks.iter().map(disk_state).collect::<Result<_, _>>()?;
        let mut writer = self.state(&hold, identity, disks);
        if let Some(parent) = parent {
            writer.add(PARENT, PARENT_VERSION, &wire::encode(&parent));
        }
        let keeper: Arc<dyn PageKeeper> = Arc::clone(&capture) as _;
        let dirty = begin_watch(machine, &hold, Some(keeper));
        Ok(Kept { writer, capture, dirty })
    }

    /// The parts of the vCPUs and devices, which stand still.
    pub(super) fn state(&self, hold: &Hold<Vcpu>, identity: Identity, disks: Vec<DiskState>) -> Writer {
        let (shared, machine) = (&*self.shared, &self.shared.machine);
        let mut writer = Writer::default();
        let state = MachineState {
            identity,
            model: machine.model.name.into(),
            ram: machine.ram.banks().iter().map(|bank| bank.size).sum(),
            orders: (0..hold.count()).map(|vcpu| machine.control.order(vcpu)).collect(),
            elapsed: elapsed(machine, hold),
            disks,
            cards: self.count(DeviceKind::Network) as u64,
            entropy: self.count(DeviceKind::Entropy) > 0,
        };
        writer.add(MACHINE, MACHINE_VERSION, &wire::encode(&state));
        for number in 0..hold.count() {
            writer.save(&mut *hold.member(number));
        }
        for device in &shared.devices {
            writer.save_device(&**device);
        }
        writer
    }

    /// The watch over RAM, if nobody has it: with it, the last snapshot, since which clean pages are known.
    pub(super) fn watch(&self) -> Option<MutexGuard<'_, Option<Identity>>> {
        match self.shared.last.try_lock() {
            Ok(last) => Some(last),
            Err(TryLockError::Poisoned(last)) => Some(last.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn count(&self, kind: DeviceKind) -> usize {
        self.shared.devices.iter().filter(|device| device.kind() == kind.name()).count()
    }

    fn write(&self, file: &mut File, kept: Kept, form: &Form) -> io::Result<()> {
        let ram = &self.shared.machine.ram;
        let Kept { mut writer, capture, dirty } = kept;
        let take = |pa: Pa, page: &mut [u8]| capture.take(pa, page);
        let populated = populated(ram, &dirty);
        let is_populated = |pa: &Pa| populated[pa.page_number() as usize];
        let goes_on = |_: &Pa| !capture.is_over();
        let start = match form {
            Form::Mapped => write_image(file, &mut writer, (ram, &capture), |pa| is_populated(&pa))?,
            Form::Compressed => {
                let pages = pages(ram.banks()).filter(is_populated);
                writer.save_pages(ram, pages.take_while(goes_on), false, take);
                format::HEAD
            }
            Form::Since(_) => {
                writer.save_pages(ram, dirty.into_iter().take_while(goes_on), true, take);
                format::HEAD
            }
        };
        if capture.is_over() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        file.write_all_at(&format::head(start), 0)?;
        file.write_all_at(&writer.parts(), start)
    }

    /// Lets the machine, which has not run yet, go on from `opened`.
    pub(super) fn restore(&self, opened: Opened) -> Result<(), RestoreError> {
        let Opened { file, mut reader, state } = opened;
        let machine = &self.shared.machine;
        self.check_disks(&state.disks)?;
        let hold = self.shared.vcpus.hold();
        restore_memory(machine, &mut reader, &file, MOST_ANCESTORS)?;
        *lock(&self.shared.last) = Some(state.identity);
        self.restore_state(&hold, state, reader)?;
        begin_watch(machine, &hold, None);
        Ok(())
    }

    /// Takes over the parts of the vCPUs and devices; memory is there already.
    pub(super) fn restore_state(
        &self,
        hold: &Hold<Vcpu>,
        state: MachineState,
        mut reader: Reader,
    ) -> Result<(), SnapshotError> {
        let machine = &self.shared.machine;
        restore_vcpus(hold, &mut reader)?;
        machine.set_run_time(state.elapsed);
        for (number, order) in state.orders.into_iter().enumerate() {
            if machine.clock == Clock::Instructions {
                hold.member(number).set_ticks(state.elapsed / NANOSECONDS_PER_TICK);
            }
            machine.control.set_order(number, order);
        }
        for device in &self.shared.devices {
            reader.restore_device(&**device)?;
        }
        reader.finish()
    }

    fn check_disks(&self, saved: &[DiskState]) -> Result<(), RestoreError> {
        let here = &self.shared.disks;
        if saved.len() != here.len() {
            return Err(RestoreError::Disks { saved: saved.len(), here: here.len() });
        }
        for (saved, disk) in saved.iter().zip(here) {
            // Changes that are forgotten later may be made to a copy.
            let file = disk.image().map_or(&saved.file, |image| &image.file);
            let same =
                Facts::of(file).is_ok_and(|here| (here.bytes, here.changed) == (saved.bytes, saved.changed));
            if !same {
                return Err(RestoreError::DiskChanged(file.clone()));
            }
        }
        Ok(())
    }
}

/// What the clock of the vCPUs, which stand still, shows, in nanoseconds.
fn elapsed(machine: &Machine, hold: &Hold<Vcpu>) -> u64 {
    match machine.clock {
        Clock::Host => machine.run_time().as_nanos() as u64,
        Clock::Instructions => {
            let ticks = (0..hold.count()).map(|number| hold.member(number).ticks()).max();
            ticks.unwrap_or(0).saturating_mul(NANOSECONDS_PER_TICK)
        }
    }
}

/// Gives `vcpus` of `machine`, which has not run, the memory and the registers that `opened` has; devices are left out.
pub(super) fn restore_sight(
    machine: &Machine,
    vcpus: &Arc<Pausable<Vcpu>>,
    opened: Opened,
) -> Result<(), RestoreError> {
    let Opened { file, mut reader, .. } = opened;
    restore_memory(machine, &mut reader, &file, MOST_ANCESTORS)?;
    Ok(restore_vcpus(&vcpus.hold(), &mut reader)?)
}

fn restore_vcpus(hold: &Hold<Vcpu>, reader: &mut Reader) -> Result<(), SnapshotError> {
    for number in 0..hold.count() {
        reader.restore(&mut *hold.member(number))?;
    }
    Ok(())
}

/// Makes all pages clean, for vCPUs that stand still; gives those that were not.
pub(super) fn begin_watch(
    machine: &Machine,
    hold: &Hold<Vcpu>,
    keeper: Option<Arc<dyn PageKeeper>>,
) -> Vec<Pa> {
    for number in 0..hold.count() {
        hold.member(number).forget_writes();
    }
    machine.write_watch.begin(&machine.pages, machine.ram.banks(), keeper)
}

/// By page number, whether a page may be other than zero.
pub(super) fn populated(ram: &crate::memory::Ram, dirty: &[Pa]) -> Vec<bool> {
    let mut populated = vec![false; (ram.top() / PAGE_SIZE) as usize];
    let windows = ram.populated();
    // Of memory that is not an image, the host knows all that was ever touched.
    let changed = dirty.iter().copied().filter(|_| ram.has_image());
    for page in pages(&windows).chain(changed) {
        populated[page.page_number() as usize] = true;
    }
    populated
}

fn disk_state(disk: &SharedDisk) -> Result<DiskState, SaveError> {
    let image = disk.image().ok_or(SaveError::Nameless)?;
    let failed = |source| SaveError::Disk { file: image.file.clone(), source };
    if image.snapshot && !image.read_only {
        return Err(SaveError::Forgetful(image.file.clone()));
    }
    disk.flush().map_err(failed)?;
    let file = std::fs::canonicalize(&image.file).map_err(failed)?;
    let Facts { bytes, changed } = Facts::of(&file).map_err(failed)?;
    Ok(DiskState { file, format: image.format, read_only: image.read_only, bytes, changed })
}

/// What tells an image from what it was.
struct Facts {
    bytes: u64,
    /// When it was changed last, in seconds and nanoseconds.
    changed: (i64, i64),
}

impl Facts {
    fn of(file: &Path) -> std::io::Result<Self> {
        let facts = std::fs::metadata(file)?;
        Ok(Self { bytes: facts.len(), changed: (facts.mtime(), facts.mtime_nsec()) })
    }
}

/// Which machine a snapshot is of; its part is taken out.
///
/// # Errors
/// Refuses snapshots of programs, and what does not decode.
pub fn machine_state(reader: &mut Reader) -> Result<MachineState, SnapshotError> {
    reader.decode(MACHINE, MACHINE_VERSION)
}

/// The files that a machine needs that goes on from the one in `file`: itself and those that it stands on, as far
/// as they can be read.
pub fn files(file: &Path) -> Vec<PathBuf> {
    let mut files = vec![file.to_owned()];
    while files.len() <= MOST_ANCESTORS
        && let Some(Ok(opened)) = files.last().map(File::open)
        && let Ok(mut reader) = Reader::beginning(&opened, BEGINNING)
        && let Ok(Some(parent)) = reader.take(PARENT, PARENT_VERSION)
        && let Ok(Parent { file, .. }) = wire::decode(&parent)
    {
        files.push(file);
    }
    files
}

/// Which machine the snapshot in `file` is of, without a look at the rest of it.
///
/// # Errors
/// Refuses what is no snapshot of a machine, as far as that can be seen.
pub fn state_of(file: &Path) -> Result<MachineState, RestoreError> {
    let opened = File::open(file).map_err(RestoreError::Open)?;
    Ok(machine_state(&mut Reader::beginning(&opened, BEGINNING)?)?)
}

/// A snapshot whose parts are whole.
pub struct Opened {
    file: File,
    /// Its parts, but for that of [`Opened::state`].
    pub reader: Reader,
    /// Which machine it is of.
    pub state: MachineState,
}

impl Opened {
    /// Opens the snapshot in `path`.
    ///
    /// # Errors
    /// Refuses what is no whole snapshot of a machine.
    pub fn new(path: &Path) -> Result<Self, RestoreError> {
        let file = File::open(path).map_err(RestoreError::Open)?;
        let mut reader = Reader::open(&file)?;
        let state = machine_state(&mut reader)?;
        Ok(Self { file, reader, state })
    }

    /// Whether the machine has `here` network cards.
    pub(super) fn check_cards(&self, here: usize) -> Result<(), RestoreError> {
        let saved = self.state.cards;
        if saved == here as u64 { Ok(()) } else { Err(RestoreError::Cards { saved, here }) }
    }

    /// The state of each vCPU; their parts are taken out.
    ///
    /// # Errors
    /// Refuses parts that do not decode.
    pub fn vcpus(&mut self) -> Result<Vec<VcpuState>, SnapshotError> {
        let vcpus = 0..self.state.orders.len();
        vcpus.map(|_| self.reader.decode(Vcpu::KIND, Vcpu::VERSION)).collect()
    }

    /// Compares every byte of the RAM image, if there is one, with its checksums; the parts are whole already.
    ///
    /// # Errors
    /// Names what is damaged.
    pub fn verify(&mut self) -> Result<(), SnapshotError> {
        match self.reader.take_image(&self.file)? {
            Some(image) => image.verify(&self.file),
            None => Ok(()),
        }
    }
}

fn restore_memory(
    machine: &Machine,
    reader: &mut Reader,
    file: &File,
    ancestors: usize,
) -> Result<(), RestoreError> {
    let Some(plain) = reader.take(PARENT, PARENT_VERSION)? else {
        return Ok(reader.restore_memory(&machine.ram, file)?);
    };
    let damaged = |error: wire::WireError| format::damaged(PARENT, &error.to_string());
    let parent: Parent = wire::decode(&plain).map_err(damaged)?;
    let ancestors = ancestors.checked_sub(1).ok_or(RestoreError::Depth)?;
    let file = File::open(&parent.file).map_err(|_| RestoreError::Parent(parent.file.clone()))?;
    let mut older = Reader::open(&file)?;
    if machine_state(&mut older)?.identity != parent.identity {
        return Err(RestoreError::Parent(parent.file));
    }
    restore_memory(machine, &mut older, &file, ancestors)?;
    Ok(reader.restore_pages(&machine.ram)?)
}
