//! A machine as it is controlled, over any number of reboots. It must not know who controls it.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::Builder;
use std::time::Duration;

use runtime::backend::disk::SharedDisk;
use runtime::migrate::{Connect, Departure, Outcome};
use runtime::vm::moving::Leaving;
use runtime::vm::snapshots::{Form, Saved, Snapshots};
use runtime::vm::{Config, Handle};
use serde_json::{Value, json};
use translator::cp0::Cp0;
use translator::listing::Listing;

use super::protocol::Failure;
use super::target::{Target, lock};
use crate::excerpt::Excerpt;
use crate::exit::Refused;
use crate::guest_code::GuestCode;
use crate::naming::Naming;
use crate::observed::Observed;

/// What a command for a machine that is being built is told.
const ABSENT: &str = "The machine is not yet there";

/// How long it may take until nothing is left of a snapshot that is given up.
const GIVING_UP: Duration = Duration::from_secs(5);

/// A machine.
pub struct Machine {
    plug: Mutex<Plug>,
    saving: Arc<Mutex<Saving>>,
    config: Config,
    reboots: bool,
    quit: Box<dyn Fn() + Send + Sync>,
    moved: Box<dyn Fn() + Send + Sync>,
}

/// The machine that runs, and what outlasts it.
#[derive(Default)]
struct Plug {
    current: Option<Current>,
    /// Whether the next machine is to stand still.
    next_paused: bool,
}

impl Plug {
    /// The machine knows it itself: one that cannot go on after a move is paused by that.
    fn is_paused(&self) -> bool {
        self.current.as_ref().map_or(self.next_paused, |machine| machine.handle.is_paused())
    }
}

/// A machine, and what saves it.
#[derive(Clone)]
struct Current {
    handle: Handle,
    snapshots: Snapshots,
}

/// The last snapshot that was asked for.
#[derive(Default)]
enum Saving {
    /// None was.
    #[default]
    None,
    /// It is being taken, on a thread of its own, so that other clients need not wait.
    Active,
    /// It was taken, or not.
    Over(Result<Saved, Refused>),
}

impl Saving {
    fn status(&self) -> Value {
        match self {
            Self::None => json!({ "status": "none" }),
            Self::Active => json!({ "status": "active" }),
            Self::Over(Ok(saved)) => json!({
                "status": "completed",
                "pause": saved.pause.as_secs_f64(),
                "total-time": saved.took.as_secs_f64(),
                "bytes": saved.bytes,
            }),
            Self::Over(Err(error)) => json!({ "status": "failed", "error-desc": error.to_string() }),
        }
    }
}

impl Machine {
    /// A machine like `config` that is yet to be built, and when it resets, again if it `reboots`; `quit` ends the session,
    /// `moved` when the guest runs elsewhere.
    pub fn new(
        config: &Config,
        reboots: bool,
        quit: Box<dyn Fn() + Send + Sync>,
        moved: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self { plug: Mutex::default(), saving: Arc::default(), config: config.clone(), reboots, quit, moved }
    }

    /// The next machine, before it runs. If the one before was paused, this one is.
    pub fn connect(&self, handle: Handle, snapshots: Snapshots) {
        let mut plug = self.lock();
        if plug.next_paused {
            handle.pause();
        }
        plug.current = Some(Current { handle, snapshots });
    }

    /// The machine has ended. Nobody holds it any more, so that it can be taken apart.
    pub fn disconnect(&self) {
        let mut plug = self.lock();
        plug.next_paused = plug.is_paused();
        plug.current = None;
    }

    /// Ends the machine, if there is one. A snapshot of it that is not yet written is given up.
    pub fn end(&self) {
        if let Some(machine) = self.current() {
            machine.handle.quit();
            machine.snapshots.give_up(GIVING_UP);
        }
    }

    /// Saves the machine that runs to `file`.
    ///
    /// # Errors
    /// Fails if none runs, and for what keeps it from being saved.
    pub fn save(&self, file: &Path, form: &Form) -> Result<Saved, Refused> {
        let machine = self.current().ok_or_else(|| Refused(ABSENT.into()))?;
        machine.snapshots.save(file, form).map_err(Refused::because)
    }

    fn lock(&self) -> MutexGuard<'_, Plug> {
        lock(&self.plug)
    }

    /// The machine, if it is there: one that is being reset is not until the next is built.
    fn current(&self) -> Option<Current> {
        self.lock().current.clone().filter(|machine| machine.handle.ending().is_none())
    }

    fn handle(&self) -> Option<Handle> {
        self.current().map(|machine| machine.handle)
    }
}

impl Target for Machine {
    fn kind(&self) -> &'static str {
        "machine"
    }

    fn memory(&self) -> u64 {
        self.config.ram
    }

    fn set_paused(&self, paused: bool) -> Result<bool, Failure> {
        let mut plug = self.lock();
        if plug.is_paused() && !paused {
            // One that could not go on after a move has let go of them.
            let taken = self.config.disks.iter().try_for_each(SharedDisk::take);
            taken.map_err(|error| Failure::new(Refused::because(error).to_string()))?;
        }
        Ok(match &plug.current {
            Some(machine) if paused => machine.handle.pause(),
            Some(machine) => machine.handle.resume(),
            None => std::mem::replace(&mut plug.next_paused, paused) != paused,
        })
    }

    fn is_paused(&self) -> bool {
        self.lock().is_paused()
    }

    fn reset(&self) -> Result<(), Failure> {
        let machine = self.handle().ok_or_else(|| Failure::new(ABSENT))?;
        machine.reset();
        Ok(())
    }

    fn quit(&self) {
        (self.quit)();
    }

    fn threads(&self) -> Vec<i32> {
        self.handle().map_or_else(|| vec![0; self.config.vcpus], |machine| machine.threads())
    }

    fn instructions(&self) -> Option<u64> {
        let hold = self.handle().filter(|_| self.config.watching.counted)?.hold();
        Some((0..hold.count()).map(|vcpu| hold.member(vcpu).statistics.instructions).sum())
    }

    fn statistics(&self) -> Value {
        let Some(machine) = self.handle() else { return json!([]) };
        let hold = machine.hold();
        (0..hold.count()).map(|vcpu| json!(hold.member(vcpu).statistics)).collect()
    }

    fn registers(&self, vcpu: usize) -> Option<Value> {
        let hold = self.handle()?.hold();
        let vcpu = (vcpu < hold.count()).then(|| hold.member(vcpu))?;
        let cpu = &vcpu.cpu;
        let cp0: serde_json::Map<_, _> = Cp0::ALL
            .iter()
            .map(|register| (register.row().name.to_owned(), hex(cpu.cp0(*register))))
            .collect();
        let words = |registers: &[u64]| -> Value { registers.iter().map(|value| hex(*value)).collect() };
        Some(json!({
            "pc": hex(cpu.pc), "hi": hex(cpu.hi), "lo": hex(cpu.lo),
            "gpr": words(&cpu.gpr), "fpr": words(&cpu.fpr), "cp0": cp0,
        }))
    }

    fn disks(&self) -> Value {
        let disk = |(number, disk): (usize, &SharedDisk)| {
            json!({
                "device": format!("disk{number}"),
                "type": "unknown",
                "removable": false,
                "locked": false,
                "x-myvmm-bytes": disk.size(),
                "x-myvmm-read-only": disk.is_read_only(),
            })
        };
        self.config.disks.iter().enumerate().map(disk).collect()
    }

    fn snapshot(&self, file: &Path, form: &Form) -> Result<(), Failure> {
        if !file.is_absolute() {
            return Err(Failure::new("The file must have an absolute name"));
        }
        let machine = self.current().ok_or_else(|| Failure::new(ABSENT))?;
        let mut saving = lock(&self.saving);
        if matches!(*saving, Saving::Active) {
            return Err(Failure::new("The machine is being saved already; see x-myvmm-query-snapshot"));
        }
        let (shared, file, form) = (Arc::clone(&self.saving), file.to_owned(), form.clone());
        let save = move || {
            let result = machine.snapshots.save(&file, &form).map_err(Refused::because);
            *lock(&shared) = Saving::Over(result);
        };
        let started = Builder::new().name("save".into()).spawn(save);
        started
            .map_err(|error| Failure::new(format!("Cannot start a thread to save the machine: {error}")))?;
        *saving = Saving::Active;
        Ok(())
    }

    fn snapshot_status(&self) -> Value {
        lock(&self.saving).status()
    }

    fn depart(&self, name: &str, departure: &Departure, way: &Arc<dyn Connect>) -> Result<Outcome, String> {
        let machine = self.current().ok_or(ABSENT)?;
        let with_disks = departure.terms().with_disks;
        let mut leaving = Leaving::new(&machine.snapshots, &self.config, name, self.reboots, with_disks)?;
        let outcome = departure.run(&mut leaving, way);
        if matches!(outcome, Outcome::Moved) {
            (self.moved)();
        }
        Ok(outcome)
    }

    fn blocks(&self, index: usize, excerpt: &Excerpt) -> Result<Vec<Listing>, Failure> {
        let machine = self.handle().ok_or_else(|| Failure::new(ABSENT))?;
        let observer = machine.observer();
        if let Some(count) = excerpt.hot {
            if !self.config.watching.profiled {
                let what = "The machine does not count its blocks; start it with --hot or --perf-map";
                return Err(Failure::new(what));
            }
            return Ok(Observed::machine(observer, None).hottest(count));
        }
        let naming = Naming::of_kernel(observer.symbols(None));
        let hold = machine.hold();
        let vcpu = hold.get(index).ok_or_else(|| Failure::new(format!("There is no vCPU {index}")))?;
        let mut code = GuestCode::of_machine("the machine".to_owned(), &vcpu, naming, Some(observer));
        excerpt.of(&mut code).map_err(|error| Failure::new(error.to_string()))
    }
}

/// A register: JSON's numbers have too few digits for some readers.
fn hex(value: u64) -> Value {
    format!("{value:#018x}").into()
}
