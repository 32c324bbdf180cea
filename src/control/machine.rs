//! A machine as it is controlled, over any number of reboots. It must not know who controls it.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use runtime::backend::disk::SharedDisk;
use runtime::vm::snapshots::{Form, Snapshots};
use runtime::vm::{Config, Handle};
use serde_json::{Value, json};
use translator::cp0::Cp0;

use super::protocol::Failure;
use super::target::Target;
use crate::exit::Refused;
use crate::observed::Observed;

/// A machine.
pub struct Machine {
    plug: Mutex<Plug>,
    memory: u64,
    counted: bool,
    profiled: bool,
    vcpus: usize,
    disks: Vec<SharedDisk>,
    quit: Box<dyn Fn() + Send + Sync>,
}

/// The machine that runs, and what outlasts it.
#[derive(Default)]
struct Plug {
    current: Option<Handle>,
    /// What saves the current machine.
    snapshots: Option<Snapshots>,
    paused: bool,
}

impl Machine {
    /// A machine like `config` that is yet to be built; `quit` ends the session.
    pub fn new(config: &Config, quit: Box<dyn Fn() + Send + Sync>) -> Self {
        Self {
            plug: Mutex::default(),
            memory: config.ram,
            counted: config.watching.counted,
            profiled: config.watching.profiled,
            vcpus: config.vcpus,
            disks: config.disks.clone(),
            quit,
        }
    }

    /// The next machine, before it runs. If the one before was paused, this one is.
    pub fn connect(&self, machine: Handle, snapshots: Snapshots) {
        let mut plug = self.lock();
        if plug.paused {
            machine.pause();
        }
        (plug.current, plug.snapshots) = (Some(machine), Some(snapshots));
    }

    /// The machine has ended. Nobody holds it any more, so that it can be taken apart.
    pub fn disconnect(&self) {
        let mut plug = self.lock();
        (plug.current, plug.snapshots) = (None, None);
    }

    /// Ends the machine, if there is one.
    pub fn end(&self) {
        if let Some(machine) = self.current() {
            machine.quit();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Plug> {
        self.plug.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> Option<Handle> {
        self.lock().current.clone()
    }
}

impl Target for Machine {
    fn kind(&self) -> &'static str {
        "machine"
    }

    fn memory(&self) -> u64 {
        self.memory
    }

    fn set_paused(&self, paused: bool) -> bool {
        let mut plug = self.lock();
        match &plug.current {
            Some(machine) if paused => machine.pause(),
            Some(machine) => machine.resume(),
            None => false,
        };
        std::mem::replace(&mut plug.paused, paused) != paused
    }

    fn is_paused(&self) -> bool {
        self.lock().paused
    }

    fn reset(&self) -> Result<(), Failure> {
        let machine = self.current().ok_or_else(|| Failure::new("The machine is not yet there"))?;
        machine.reset();
        Ok(())
    }

    fn quit(&self) {
        (self.quit)();
    }

    fn threads(&self) -> Vec<i32> {
        self.current().map_or_else(|| vec![0; self.vcpus], |machine| machine.threads())
    }

    fn instructions(&self) -> Option<u64> {
        let hold = self.current().filter(|_| self.counted)?.hold();
        Some((0..hold.count()).map(|vcpu| hold.member(vcpu).statistics.instructions).sum())
    }

    fn statistics(&self) -> Value {
        let Some(machine) = self.current() else { return json!([]) };
        let hold = machine.hold();
        (0..hold.count()).map(|vcpu| json!(hold.member(vcpu).statistics)).collect()
    }

    fn registers(&self, vcpu: usize) -> Option<Value> {
        let hold = self.current()?.hold();
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
        self.disks.iter().enumerate().map(disk).collect()
    }

    fn snapshot(&self, file: &Path, form: &Form) -> Result<Value, Failure> {
        let snapshots = self.lock().snapshots.clone();
        let snapshots = snapshots.ok_or_else(|| Failure::new("The machine is not yet there"))?;
        if !file.is_absolute() {
            return Err(Failure::new("The file must have an absolute name"));
        }
        let saved =
            snapshots.save(file, form).map_err(|error| Failure::new(Refused::because(error).to_string()))?;
        Ok(json!({
            "pause": saved.pause.as_secs_f64(),
            "total-time": saved.took.as_secs_f64(),
            "bytes": saved.bytes,
        }))
    }

    fn hottest(&self, count: usize) -> Result<Value, Failure> {
        let machine = self.current().filter(|_| self.profiled);
        let machine = machine.ok_or_else(|| {
            Failure::new("The machine does not count its blocks; start it with --hot or --perf-map")
        })?;
        Ok(json!(Observed::machine(machine.observer(), None).hottest(count)))
    }
}

/// A register: JSON's numbers have too few digits for some readers.
fn hex(value: u64) -> Value {
    format!("{value:#018x}").into()
}
