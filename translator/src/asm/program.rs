//! What an assembly makes: bytes at addresses, and what is known about them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::diagnostics::Diagnostics;
use super::layout::{EXCEPTION_VECTOR, Section};
use super::source::Place;
use crate::addr::Va;

/// A run of bytes of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The section that it belongs to.
    pub section: Section,
    /// The address of its first byte.
    pub base: Va,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Segment {
    /// Whether the byte at `address` is in it.
    pub fn contains(&self, address: Va) -> bool {
        address.0.checked_sub(self.base.0).is_some_and(|offset| offset < self.bytes.len() as u64)
    }
}

/// A para-instruction: a request to the hypervisor. It is assembled to `hypcall` with a code of which
/// [`Program::para`] gives the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Para {
    /// `DUMP_PROCESSOR_STATE`: print every register.
    DumpProcessorState,
    /// `SNAPSHOT file`: write a snapshot and go on.
    Snapshot(String),
    /// `MIGRATE host[:port]`: move to another host.
    Migrate(String),
}

impl fmt::Display for Para {
    /// As the source has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Para::DumpProcessorState => f.write_str("DUMP_PROCESSOR_STATE"),
            Para::Snapshot(file) => write!(f, "SNAPSHOT {file}"),
            Para::Migrate(host) => write!(f, "MIGRATE {host}"),
        }
    }
}

/// Which statement the instructions at an address come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines {
    /// The address of each statement, the number of its instructions and its place, by address.
    pub(super) statements: Vec<(Va, u32, Place)>,
}

impl Lines {
    /// The statement that the instruction at `address` comes from.
    pub fn at(&self, address: Va) -> Option<&Place> {
        let after = self.statements.partition_point(|(start, _, _)| *start <= address);
        let (start, count, place) = self.statements.get(after.checked_sub(1)?)?;
        (address.0 - start.0 < u64::from(*count) * 4).then_some(place)
    }

    /// All statements with instructions: the address, the number of instructions and the place.
    pub fn iter(&self) -> impl Iterator<Item = (Va, u32, &Place)> {
        self.statements.iter().map(|(start, count, place)| (*start, *count, place))
    }
}

/// An assembled program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its bytes, by address; no two segments overlap.
    pub segments: Vec<Segment>,
    /// Where it starts: `__start`, else `main`, else its first instruction.
    pub entry: Va,
    /// The addresses of all labels.
    pub symbols: BTreeMap<String, Va>,
    /// The names that `.globl` lists.
    pub globals: BTreeSet<String>,
    /// Which statement each instruction comes from.
    pub lines: Lines,
    /// The requests to the hypervisor; the code of the first is 1.
    pub hypercalls: Vec<Para>,
    /// What the program may not have meant; told when it is assembled, and kept no longer.
    #[serde(skip)]
    pub warnings: Diagnostics,
}

impl Program {
    /// The request that `hypcall code` stands for.
    pub fn para(&self, code: u32) -> Option<&Para> {
        self.hypercalls.get((code as usize).checked_sub(1)?)
    }

    /// Whether the program has an exception handler of its own.
    pub fn has_handler(&self) -> bool {
        self.segments.iter().any(|segment| segment.contains(EXCEPTION_VECTOR))
    }

    /// The label at, or last before, an address of the same segment, and the distance from it.
    pub fn nearest_label(&self, address: Va) -> Option<(&str, u64)> {
        let segment = self.segments.iter().find(|segment| segment.contains(address))?;
        let before = self.symbols.iter().filter(|(_, va)| segment.contains(**va) && **va <= address);
        before.max_by_key(|(_, va)| **va).map(|(name, va)| (name.as_str(), address.0 - va.0))
    }
}
