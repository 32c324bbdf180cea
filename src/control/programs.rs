//! The programs of a session as they are controlled, all together. It must not know who controls them.

use std::path::Path;
use std::sync::Arc;

use runtime::migrate::{Connect, Departure, Outcome};
use runtime::pause::Pausable;
use runtime::program::ProgramVm;
use runtime::program::moving::Leaving;
use runtime::vm::snapshots::Form;
use serde_json::{Value, json};
use translator::listing::Listing;

use super::protocol::Failure;
use super::target::Target;
use crate::excerpt::Excerpt;
use crate::guest_code::GuestCode;
use crate::observed::{Observed, hottest};

/// Programs that are paused and go on together.
pub struct Programs {
    /// How they are run, for those that they move to.
    pub shape: Vec<u8>,
    /// The programs.
    pub vms: Arc<Pausable<ProgramVm>>,
    /// Whether they count their blocks.
    pub profiled: bool,
    /// Ends the session.
    pub quit: Box<dyn Fn() + Send + Sync>,
}

impl Programs {
    fn each<T>(&self, look: impl Fn(&mut ProgramVm) -> T) -> Vec<T> {
        let hold = self.vms.hold();
        (0..hold.count()).map(|number| look(&mut hold.member(number))).collect()
    }
}

impl Target for Programs {
    fn kind(&self) -> &'static str {
        "programs"
    }

    fn memory(&self) -> u64 {
        self.each(|vm| vm.memory()).into_iter().sum()
    }

    fn set_paused(&self, paused: bool) -> Result<bool, Failure> {
        Ok(if paused { self.vms.pause() } else { self.vms.resume() })
    }

    fn is_paused(&self) -> bool {
        self.vms.is_paused()
    }

    fn reset(&self) -> Result<(), Failure> {
        Err(Failure::new("Programs cannot be reset; quit, and start them anew"))
    }

    fn quit(&self) {
        (self.quit)();
    }

    fn threads(&self) -> Vec<i32> {
        self.vms.threads()
    }

    fn instructions(&self) -> Option<u64> {
        Some(self.each(|vm| vm.retired()).into_iter().sum())
    }

    fn statistics(&self) -> Value {
        self.each(|vm| json!(vm.statistics())).into()
    }

    fn registers(&self, number: usize) -> Option<Value> {
        let hold = self.vms.hold();
        let vm = (number < hold.count()).then(|| hold.member(number))?;
        serde_json::from_str(&vm.registers().json(None)).ok()
    }

    fn disks(&self) -> Value {
        json!([])
    }

    fn snapshot(&self, _file: &Path, _form: &Form) -> Result<(), Failure> {
        Err(Failure::new("Programs are saved from inside, by SNAPSHOT"))
    }

    fn snapshot_status(&self) -> Value {
        json!({ "status": "none" })
    }

    fn depart(&self, name: &str, departure: &Departure, way: &Arc<dyn Connect>) -> Result<Outcome, String> {
        let mut leaving = Leaving::all(&self.vms, name.to_owned(), self.shape.clone())?;
        Ok(departure.run(&mut leaving, way))
    }

    fn blocks(&self, index: usize, excerpt: &Excerpt) -> Result<Vec<Listing>, Failure> {
        if let Some(count) = excerpt.hot {
            if !self.profiled {
                let what = "The programs do not count their blocks; start them with --hot or --perf-map";
                return Err(Failure::new(what));
            }
            return Ok(hottest(&self.each(|vm| Observed::program(vm, None)), count));
        }
        let hold = self.vms.hold();
        let vm = hold.get(index).ok_or_else(|| Failure::new(format!("There is no program {index}")))?;
        let mut code = GuestCode::of_program(&vm, None, true);
        excerpt.of(&mut code).map_err(|error| Failure::new(error.to_string()))
    }
}
