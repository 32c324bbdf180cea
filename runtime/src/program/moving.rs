//! How programs leave and arrive while they run: all of a session together, or one that asks for it itself. It must
//! not know how they are sent.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::image::Image;
use super::vm::{Execution, ProgramError, ProgramVm};
use crate::machine::Ending;
use crate::memory::{Ram, pages};
use crate::migrate::{self, Areas, Hello, Identity, Place, Standing};
use crate::pause::{Brake, Hold, Member, Pausable};
use crate::snapshot::Reader;
use crate::wire::{self, WireError};

/// What moved programs are called.
pub const KIND: &str = "programs";
/// The most programs that move together.
const MOST: usize = 1024;

/// Programs as machines that stand still together. They have no devices, and count their time in instructions.
pub fn pausable(vms: Vec<ProgramVm>) -> Arc<Pausable<ProgramVm>> {
    let members = vms.into_iter().map(|vm| Member { control: vm.control(), cell: vm, number: 0 });
    Pausable::new(members, Box::new(|_| {}))
}

/// What the target must know to run programs like those that come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shape {
    /// The programs, in the order of their turns.
    pub images: Vec<Image>,
    /// How whoever runs them runs them, encoded.
    pub session: Vec<u8>,
}

/// Why programs that come cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ShapeError {
    /// They are no programs.
    #[error("what is said of the programs makes no sense: {0}")]
    Wire(#[from] WireError),
    /// Their memory is impossible.
    #[error("what is said of the programs makes no sense")]
    Unsound,
}

impl Shape {
    /// What a source says.
    ///
    /// # Errors
    /// Refuses what are no programs.
    pub fn decode(hello: &Hello) -> Result<Self, ShapeError> {
        let mut shape: Self = wire::decode(&hello.shape)?;
        let count = shape.images.len();
        if count == 0 || count > MOST || !shape.images.iter().all(Image::is_sound) {
            return Err(ShapeError::Unsound);
        }
        for image in &mut shape.images {
            image.name = image.name.replace(char::is_control, "\u{fffd}");
        }
        Ok(shape)
    }
}

/// Who leaves.
enum Guests<'a> {
    /// A program that asks for it, and so stands still already.
    One(&'a mut ProgramVm),
    /// All of a session.
    All { vms: Arc<Pausable<ProgramVm>>, hold: Option<Hold<ProgramVm>> },
}

impl Guests<'_> {
    /// Looks at each while all stand still.
    fn each<T>(&mut self, mut look: impl FnMut(&mut ProgramVm) -> T) -> Vec<T> {
        match self {
            Self::One(vm) => vec![look(vm)],
            Self::All { vms, .. } => {
                let hold = vms.hold();
                (0..hold.count()).map(|number| look(&mut hold.member(number))).collect()
            }
        }
    }
}

/// Programs that leave.
pub struct Leaving<'a> {
    guests: Guests<'a>,
    name: String,
    rams: Vec<Arc<Ram>>,
    shape: Vec<u8>,
    begun: bool,
    brake: Option<Brake>,
}

impl<'a> Leaving<'a> {
    /// A program that asks to be moved. `session` says how it is run.
    pub fn one(vm: &'a mut ProgramVm, session: Vec<u8>) -> Self {
        let name = vm.image().name.clone();
        Self::new(Guests::One(vm), name, session)
    }

    /// All programs of a session called `name`.
    ///
    /// # Errors
    /// Says that there is nothing to move any more.
    pub fn all(vms: &Arc<Pausable<ProgramVm>>, name: String, session: Vec<u8>) -> Result<Self, String> {
        let mut leaving = Self::new(Guests::All { vms: Arc::clone(vms), hold: None }, name, session);
        let ended = leaving.guests.each(|vm| vm.has_ended());
        if ended.into_iter().all(|ended| ended) { Err("all programs have ended".into()) } else { Ok(leaving) }
    }

    fn new(mut guests: Guests<'a>, name: String, session: Vec<u8>) -> Self {
        let (rams, images) =
            guests.each(|vm| (Arc::clone(&vm.machine.ram), Image::clone(&vm.image))).into_iter().unzip();
        let shape = wire::encode(&Shape { images, session });
        Self { guests, name, rams, shape, begun: false, brake: None }
    }

    /// The pages that changed, and everything but memory of those that have not ended.
    fn look(&mut self) -> (Vec<Place>, Vec<Option<Vec<u8>>>) {
        let first = !std::mem::replace(&mut self.begun, true);
        let looked = self.guests.each(|vm| {
            let parts = (!vm.has_ended()).then(|| vm.save_parts().finish());
            (vm.changed(first), parts)
        });
        let mut places = Vec::new();
        let mut states = Vec::new();
        for (number, (changed, parts)) in (0..).zip(looked) {
            places.extend(changed.into_iter().map(|pa| Place::page(number, pa)));
            states.push(parts);
        }
        (places, states)
    }
}

impl ProgramVm {
    /// Whether it has ended, or runs elsewhere.
    fn has_ended(&self) -> bool {
        self.end().is_some() || self.control().ending().is_some()
    }

    /// The pages that changed since the last call, or, at the `first`, all that were ever touched.
    fn changed(&mut self, first: bool) -> Vec<translator::addr::Pa> {
        let machine = &self.machine;
        self.vcpu.forget_writes();
        let dirty = machine.write_watch.begin(&machine.pages, machine.ram.banks(), None);
        if first { pages(&machine.ram.populated()).collect() } else { dirty }
    }
}

impl migrate::Leaving for Leaving<'_> {
    fn hello(&self) -> Hello {
        let banks = |ram: &Arc<Ram>| ram.banks().iter().map(|bank| (bank.base.0, bank.size)).collect();
        Hello {
            identity: Identity::default(),
            version: env!("CARGO_PKG_VERSION").into(),
            name: self.name.clone(),
            kind: KIND.into(),
            memories: self.rams.iter().map(banks).collect(),
            disks: Vec::new(),
            shape: self.shape.clone(),
        }
    }

    fn areas(&self) -> Areas {
        Areas { memories: self.rams.clone(), disks: Vec::new() }
    }

    fn changed(&mut self) -> Result<Vec<Place>, String> {
        Ok(self.look().0)
    }

    fn throttle(&mut self, percent: u32) {
        // One that asks for it stands still anyway.
        let Guests::All { vms, .. } = &self.guests else { return };
        match &self.brake {
            Some(brake) if percent > 0 => brake.set(percent),
            None if percent > 0 => self.brake = Brake::new(vms, percent).ok(),
            _ => self.brake = None,
        }
    }

    fn stop(&mut self) -> Result<Standing, String> {
        let mut is_paused = false;
        if let Guests::All { vms, hold } = &mut self.guests {
            *hold = Some(vms.hold());
            is_paused = vms.is_paused();
        }
        let (places, states) = self.look();
        if states.iter().all(Option::is_none) {
            return Err("all programs have ended".into());
        }
        Ok(Standing { places, state: wire::encode(&states), paused: is_paused })
    }

    fn let_go(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn gone(&mut self) {
        self.guests.each(|vm| vm.control().end(Ending::Moved));
    }

    fn go_on(&mut self) -> Result<(), String> {
        if let Guests::All { hold, .. } = &mut self.guests {
            *hold = None;
        }
        Ok(())
    }
}

/// Programs that arrive. Until it is dropped, they stand still.
pub struct Arriving {
    vms: Arc<Pausable<ProgramVm>>,
    hold: Hold<ProgramVm>,
}

impl Arriving {
    /// Builds programs for those that come.
    ///
    /// # Errors
    /// Fails if the host gives no memory.
    pub fn new(
        shape: Shape,
        execution: &Execution,
    ) -> Result<(Arc<Pausable<ProgramVm>>, Self), ProgramError> {
        let vm = |image| ProgramVm::new(Arc::new(image), execution.clone());
        let vms: Result<Vec<_>, _> = shape.images.into_iter().map(vm).collect();
        let vms = pausable(vms?);
        let hold = vms.hold();
        Ok((Arc::clone(&vms), Self { vms, hold }))
    }

    /// They are to stand still until someone lets them go on.
    pub fn pause(&self) {
        self.vms.pause();
    }

    fn each<T>(&self, look: impl FnMut(MutexGuard<'_, ProgramVm>) -> T) -> Vec<T> {
        (0..self.hold.count()).map(|number| self.hold.member(number)).map(look).collect()
    }
}

impl migrate::Arriving for Arriving {
    fn areas(&self) -> Areas {
        Areas { memories: self.each(|vm| Arc::clone(&vm.machine.ram)), disks: Vec::new() }
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), String> {
        let states: Vec<Option<Vec<u8>>> = wire::decode(state).map_err(|error| error.to_string())?;
        if states.len() != self.hold.count() || states.iter().all(Option::is_none) {
            return Err("the state is of other programs than were announced".into());
        }
        let mut states = states.into_iter();
        let restored = self.each(|mut vm| match states.next().flatten() {
            Some(state) => vm.restore_state(&state),
            None => {
                vm.control().end(Ending::Quit);
                Ok(())
            }
        });
        restored.into_iter().collect()
    }

    fn take_over(&mut self, _age: Duration) -> Result<(), String> {
        Ok(())
    }

    fn give_back(&mut self) {}
}

impl ProgramVm {
    fn restore_state(&mut self, state: &[u8]) -> Result<(), String> {
        let mut reader = Reader::new(state).map_err(|error| error.to_string())?;
        self.restore_parts(&mut reader).map_err(|error| error.to_string())?;
        reader.finish().map_err(|error| error.to_string())
    }
}
