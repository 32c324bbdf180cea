//! Machines that leave and arrive within this process.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use runtime::device::uart::SerialInput;
use runtime::drive::Schedule;
use runtime::machine::Ending;
use runtime::migrate::{
    ArriveError, Connect, Departure, House, Knock, Outcome, Register, Stream, Terms, Waiting,
};
use runtime::observe::Watching;
use runtime::vcpu::Engine;
use runtime::vm::moving::{Arriving, Leaving, Shape};
use runtime::vm::snapshots::Snapshots;
use runtime::vm::{Config, Handle, Vm};
use tempfile::TempDir;

use crate::host::guest::{self, Guest};
use crate::host::text;

pub const PATIENCE: Duration = Duration::from_secs(30);
pub const RAM: u64 = 2 << 20;

/// What a guest has printed.
#[derive(Clone, Default)]
pub struct Printed(Arc<Mutex<Vec<u8>>>);

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Printed {
    pub fn text(&self) -> String {
        text(&self.0.lock().unwrap())
    }
}

fn config(kernel: &Path, engine: Engine) -> Config {
    Config {
        name: "test".to_owned(),
        kernel: kernel.into(),
        initrd: None,
        command_line: String::new(),
        ram: RAM,
        vcpus: 2,
        model: &translator::model::MIPS64R2,
        schedule: Schedule::Threads,
        engine,
        watching: Watching::default(),
        disks: Vec::new(),
        cards: Vec::new(),
    }
}

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
        let (config, printed) = (config(guest.path(), engine), Printed::default());
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
        departure.run(&mut Leaving::new(&self.snapshots, &self.config).unwrap(), way)
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

/// Where machines arrive.
pub struct Arrivals {
    pub address: SocketAddr,
    arrived: Receiver<Running>,
    failures: Arc<Mutex<Vec<ArriveError>>>,
    whole: Arc<Mutex<Vec<Whole>>>,
    _directory: TempDir,
}

struct Reception {
    house: House,
    engine: Engine,
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
        let directory = tempfile::tempdir().unwrap();
        let register = Register::open(directory.path()).unwrap();
        let house = House { register, patience, most_memory: 64 << 20 };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, arrived) = channel();
        let (failures, whole) = <(Arc<Mutex<_>>, Arc<Mutex<_>>)>::default();
        let reception = Reception {
            house,
            engine,
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
        Self { address, arrived, failures, whole, _directory: directory }
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
        let shape = Shape::decode(&knock.hello().shape).expect("a source that is well");
        let config = Config { name: knock.hello().name.clone(), ..config(Path::new("none"), self.engine) };
        let printed = Printed::default();
        let (vm, mut arriving) = Arriving::new(&shape, &config, Box::new(printed.clone())).unwrap();
        let arrival = knock.welcome();
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
