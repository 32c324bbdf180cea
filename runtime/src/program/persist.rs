//! Snapshots of programs: what belongs into one, and what a program must be to go on from one. A
//! snapshot does not say which engine runs the program.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use translator::asm::{Compat, Cpu, Endian};

use super::image::{Image, Options};
use super::service::ReopenError;
use super::vm::{Execution, ProgramError, ProgramVm};
use crate::snapshot::{Reader, SnapshotError, Writer};

const PROGRAM: &str = "program";
const PROGRAM_VERSION: u16 = 1;
const SERVICES: &str = "services";
const SERVICES_VERSION: u16 = 1;

/// Whose snapshot it is, and what lies between the processor and the services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ProgramState {
    name: String,
    identity: u64,
    cpu: String,
    endian: String,
    compat: String,
    due: u64,
    asked: bool,
}

/// Why a program cannot go on from a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file is no good.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// It is for another kind of machine.
    #[error("the snapshot is of {name} on a {found} machine; this one is {wanted}")]
    Machine {
        /// The program.
        name: String,
        /// What it ran on.
        found: String,
        /// What it would run on.
        wanted: String,
    },
    /// It is of another program.
    #[error("the snapshot is of another program, {0}, or that program was changed since")]
    Program(String),
    /// The program had files open.
    #[error(transparent)]
    Reopen(#[from] ReopenError),
    /// There is no machine to restore to.
    #[error(transparent)]
    Build(#[from] ProgramError),
}

fn cpu(cpu: Cpu) -> &'static str {
    match cpu {
        Cpu::Mips32r2 => "mips32r2",
        Cpu::Mips64r2 => "mips64r2",
    }
}

fn endian(endian: Endian) -> &'static str {
    match endian {
        Endian::Little => "little-endian",
        Endian::Big => "big-endian",
    }
}

fn compat(compat: Compat) -> &'static str {
    match compat {
        Compat::Mars => "mars",
        Compat::Spim => "spim",
        Compat::Gas => "gas",
    }
}

fn machine(state: &ProgramState) -> String {
    format!("{} {} {}", state.endian, state.cpu, state.compat)
}

impl ProgramVm {
    /// The bytes of a snapshot, which can be taken whenever the program does not run.
    pub fn snapshot(&mut self) -> Vec<u8> {
        let mut writer = self.save_parts();
        writer.save_ram(&self.machine.ram);
        writer.finish()
    }

    /// Everything but what is in memory.
    pub(super) fn save_parts(&mut self) -> Writer {
        let mut writer = Writer::default();
        let state = self.state();
        writer.add(PROGRAM, PROGRAM_VERSION, &crate::wire::encode(&state));
        writer.save(&mut self.vcpu);
        writer.add(SERVICES, SERVICES_VERSION, &crate::wire::encode(&self.services.save()));
        writer
    }

    /// A program that goes on where the snapshot was taken.
    ///
    /// # Errors
    /// Refuses everything but a whole snapshot of this program on this kind of machine.
    pub fn resume(
        image: Arc<Image>,
        execution: impl Into<Execution>,
        snapshot: &[u8],
    ) -> Result<Self, RestoreError> {
        let mut reader = Reader::new(snapshot)?;
        let mut vm = Self::new(image, execution)?;
        vm.restore_parts(&mut reader)?;
        reader.restore_ram(&vm.machine.ram)?;
        reader.finish()?;
        Ok(vm)
    }

    /// Takes over everything but what is in memory.
    pub(super) fn restore_parts(&mut self, reader: &mut Reader) -> Result<(), RestoreError> {
        let saved: ProgramState = reader.decode(PROGRAM, PROGRAM_VERSION)?;
        self.check(&saved)?;
        reader.restore(&mut self.vcpu)?;
        self.services.restore(reader.decode(SERVICES, SERVICES_VERSION)?)?;
        (self.due, self.asked) = (saved.due, saved.asked);
        Ok(())
    }

    fn state(&self) -> ProgramState {
        let Options { cpu: on, endian: order, compat: dialect } = self.image.options;
        let name = Path::new(&self.image.name).file_name().unwrap_or_default();
        ProgramState {
            name: name.to_string_lossy().into_owned(),
            identity: self.image.identity(),
            cpu: cpu(on).into(),
            endian: endian(order).into(),
            compat: compat(dialect).into(),
            due: self.due,
            asked: self.asked,
        }
    }

    fn check(&self, saved: &ProgramState) -> Result<(), RestoreError> {
        let own = self.state();
        if machine(&own) != machine(saved) {
            let (found, wanted) = (machine(saved), machine(&own));
            return Err(RestoreError::Machine { name: saved.name.clone(), found, wanted });
        }
        if own.identity != saved.identity {
            return Err(RestoreError::Program(saved.name.clone()));
        }
        Ok(())
    }
}
