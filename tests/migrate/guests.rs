//! Machines that leave and arrive within this process.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use runtime::backend::disk::{DiskError, Format, Image, SharedDisk};
use runtime::device::uart::SerialInput;
use runtime::machine::Ending;
use runtime::migrate::{
    self, Areas, ArriveError, Connect, Departure, House, Knock, Outcome, Register, Stream, Terms, Waiting,
};
use runtime::vcpu::Engine;
use runtime::vm::moving::{Arriving, DiskShape, Leaving, Passage, Shape};
use runtime::vm::snapshots::Snapshots;
use runtime::vm::{Config, Handle, Vm};
use tempfile::{NamedTempFile, TempDir};

use crate::host::guest::{self, Guest};
use crate::host::machine::{Printed, config};

pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something is so.
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A machine that runs.
pub struct Running {
    pub printed: Printed,
    pub handle: Handle,
    config: Config,
    input: SerialInput,
    snapshots: Snapshots,
    thread: JoinHandle<Ending>,
}

impl Running {
    fn new(vm: Vm, printed: Printed, config: Config) -> Self {
        let (input, snapshots, handle) = (vm.serial_input(), vm.snapshots(), vm.handle());
        let thread = thread::spawn(move || vm.run().unwrap().0);
        Self { printed, handle, config, input, snapshots, thread }
    }

    pub fn boot(guest: &Guest, engine: Engine) -> Self {
        Self::boot_with(guest, engine, Vec::new())
    }

    pub fn boot_with(guest: &Guest, engine: Engine, disks: Vec<SharedDisk>) -> Self {
        let config = Config { disks, ..config(guest.path(), engine) };
        let printed = Printed::default();
        let vm = Vm::build(&config, Box::new(printed.clone())).unwrap();
        let running = Self::new(vm, printed, config);
        running.expect(guest::GREETING);
        running
    }

    pub fn expect(&self, text: &str) {
        let begun = Instant::now();
        while !self.printed.text().ends_with(text) {
            assert!(begun.elapsed() < PATIENCE, "no `{text}` at the end of `{}`", self.printed.text());
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Types `keys`, which the guest prints back.
    pub fn talk(&self, keys: &str) {
        self.input.push(keys.as_bytes()).unwrap();
        self.expect(keys);
    }

    pub fn departure(&self, terms: Terms) -> Arc<Departure> {
        Departure::new(terms, Box::new(|_| ()))
    }

    pub fn run(&self, departure: &Departure, way: &Arc<dyn Connect>) -> Outcome {
        let with_disks = departure.terms().with_disks;
        let leaving = Leaving::new(&self.snapshots, &self.config, "test", false, with_disks);
        departure.run(&mut leaving.unwrap(), way)
    }

    pub fn depart(&self, way: &Arc<dyn Connect>, terms: Terms) -> Outcome {
        self.run(&self.departure(terms), way)
    }

    /// Whether the guest stands still: it would print back what is typed.
    pub fn is_still(&self) -> bool {
        let (before, input) = (self.printed.text(), self.input.clone());
        // What is typed waits until the guest goes on.
        thread::spawn(move || input.push(b"s"));
        thread::sleep(Duration::from_millis(50));
        self.printed.text() == before
    }

    pub fn has_ended(&self) -> bool {
        self.handle.ending().is_some()
    }

    pub fn power_off(self) {
        self.input.push(&[guest::POWER_OFF]).unwrap();
        assert_eq!(self.thread.join().unwrap(), Ending::PowerOff);
    }

    pub fn quit(self) {
        self.handle.quit();
        self.thread.join().unwrap();
    }
}

/// The way to an address.
pub struct Way(pub SocketAddr);

impl Connect for Way {
    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(self.0)?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// A guest that is whole and waits.
pub struct Whole {
    pub waiting: Arc<Waiting>,
}

/// An image of a disk that moves, which only one side may use at a time.
pub struct SharedImage {
    file: NamedTempFile,
}

impl SharedImage {
    pub fn new() -> Self {
        let file = NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        file.as_file().write_all_at(&[7; 10_000], 300_000).unwrap();
        // On a busy host this takes longer than some tests have patience later.
        file.as_file().sync_all().unwrap();
        Self { file }
    }

    fn image(&self) -> Image {
        Image { file: self.file.path().into(), format: Some(Format::Raw), read_only: false, snapshot: false }
    }

    pub fn open(&self) -> Vec<SharedDisk> {
        vec![SharedDisk::open(&self.image()).unwrap()]
    }

    /// Whether `file` has the same content.
    pub fn is_like(&self, file: &Path) -> bool {
        std::fs::read(self.file.path()).unwrap() == std::fs::read(file).unwrap()
    }

    /// Whether somebody has it to change it.
    pub fn is_in_use(&self) -> bool {
        match SharedDisk::open_to_take(&self.image()) {
            Ok(_) => true,
            Err(DiskError::Another { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }
}

/// A guest whose disks another takes at the last moment.
struct Robbed(Arriving, Vec<SharedDisk>);

impl migrate::Arriving for Robbed {
    fn areas(&self) -> Areas {
        self.0.areas()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), String> {
        self.0.restore(state)
    }

    fn take_over(&mut self, age: Duration) -> Result<(), String> {
        let disks = std::mem::take(&mut self.1);
        disks.iter().for_each(|disk| disk.take().unwrap());
        self.0.take_over(age)
    }

    fn give_back(&mut self) {
        self.0.give_back();
    }
}

/// Where machines arrive.
pub struct Arrivals {
    pub address: SocketAddr,
    arrived: Receiver<Running>,
    failures: Arc<Mutex<Vec<ArriveError>>>,
    whole: Arc<Mutex<Vec<Whole>>>,
    _directory: TempDir,
    copies: TempDir,
}

struct Reception {
    house: House,
    /// Where disks go that come with their guests.
    copies: PathBuf,
    engine: Engine,
    /// Whether another takes the guests' disks.
    robs: bool,
    arrived: Sender<Running>,
    failures: Arc<Mutex<Vec<ArriveError>>>,
    whole: Arc<Mutex<Vec<Whole>>>,
}

impl Arrivals {
    pub fn new(engine: Engine) -> Self {
        Self::patient(engine, PATIENCE)
    }

    /// A house in which nobody waits for a source longer than `patience`.
    pub fn patient(engine: Engine, patience: Duration) -> Self {
        Self::with(engine, patience, false)
    }

    /// A house in which disks cannot be taken.
    pub fn robbed(engine: Engine) -> Self {
        Self::with(engine, PATIENCE, true)
    }

    fn with(engine: Engine, patience: Duration, robs: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let register = Register::open(directory.path()).unwrap();
        let house = House { register, patience, most_memory: 64 << 20, most_disk: 64 << 20 };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, arrived) = channel();
        let (failures, whole) = <(Arc<Mutex<_>>, Arc<Mutex<_>>)>::default();
        let copies = tempfile::tempdir().unwrap();
        let reception = Reception {
            house,
            copies: copies.path().to_owned(),
            engine,
            robs,
            arrived: sender,
            failures: Arc::clone(&failures),
            whole: Arc::clone(&whole),
        };
        let reception = Arc::new(reception);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let reception = Arc::clone(&reception);
                thread::spawn(move || reception.receive(stream.unwrap()));
            }
        });
        Self { address, arrived, failures, whole, _directory: directory, copies }
    }

    /// The images that have names here.
    pub fn copies(&self) -> Vec<PathBuf> {
        self.copies.path().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    pub fn way(&self) -> Arc<dyn Connect> {
        Arc::new(Way(self.address))
    }

    /// The next guest that runs here.
    pub fn next(&self) -> Running {
        self.arrived.recv_timeout(PATIENCE).expect("a guest arrives")
    }

    /// A guest that runs here by now.
    pub fn try_next(&self) -> Option<Running> {
        self.arrived.try_recv().ok()
    }

    /// How many did not arrive.
    pub fn failures(&self) -> usize {
        self.failures.lock().unwrap().len()
    }

    /// The guests that are whole, or were, and have lost their source.
    pub fn whole(&self) -> std::sync::MutexGuard<'_, Vec<Whole>> {
        self.whole.lock().unwrap()
    }
}

impl Reception {
    fn receive(&self, stream: TcpStream) {
        let result = match self.house.greet(Box::new(stream)) {
            Ok(Some(knock)) => self.admit(knock),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            self.failures.lock().unwrap().push(error);
        }
    }

    fn admit(&self, knock: Knock) -> Result<(), ArriveError> {
        let shape = Shape::decode(knock.hello()).expect("a source that is well");
        let disk = |disk: &DiskShape| {
            let image = |file| Image { file, format: Some(Format::Raw), read_only: false, snapshot: false };
            match disk.passage {
                Passage::Copied => {
                    let file = self.copies.join(disk.file.file_name().unwrap());
                    SharedDisk::create(&image(file), disk.bytes).unwrap()
                }
                _ => SharedDisk::open_to_take(&image(disk.file.clone())).unwrap(),
            }
        };
        let open = || shape.disks.iter().map(disk).collect();
        let name = knock.hello().name.clone();
        let config = Config { name, disks: open(), ..config(Path::new("none"), self.engine) };
        let printed = Printed::default();
        let (vm, arriving) = Arriving::new(&shape, &config, Box::new(printed.clone())).unwrap();
        let mut arriving = Robbed(arriving, if self.robs { open() } else { Vec::new() });
        let arrival = knock.welcome(None);
        let waiting = arrival.waiting();
        let arrived = arrival.receive(&mut arriving, |_| {
            self.whole.lock().unwrap().push(Whole { waiting: Arc::clone(&waiting) });
        })?;
        if arrived.paused {
            vm.handle().pause();
        }
        drop(arriving);
        // The test may be over.
        let _ = self.arrived.send(Running::new(vm, printed, config));
        Ok(())
    }
}
