//! What a vCPU did, counted for people. It must not know who reads it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};
use translator::block::Block;
use translator::code::Code;
use translator::exception::Exception;
use translator::isa::Classes;
use translator::nature::{Change, Nature};
use translator::stub::Stub;

/// Of how many calls of a stub one is timed: looking at the clock takes longer than a short stub.
pub const TIMED_STUBS: u32 = 64;

/// What happened how often, for people.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Statistics {
    /// Guest instructions that ran.
    pub instructions: u64,
    /// Blocks that were translated.
    pub translated: u64,
    /// Guest bytes that were translated.
    pub guest_bytes: u64,
    /// Bytes of host code that they became.
    pub host_bytes: u64,
    /// The time that translation took, in nanoseconds in a file.
    #[serde(rename = "translation_nanoseconds", serialize_with = "nanoseconds")]
    pub translation_time: Duration,
    /// The time in generated code and the stubs that it called, in nanoseconds in a file.
    #[serde(rename = "code_nanoseconds", serialize_with = "nanoseconds")]
    pub code_time: Duration,
    /// The time in stubs, worked out from every so many calls of each, in nanoseconds in a file.
    #[serde(rename = "stub_nanoseconds", serialize_with = "nanoseconds")]
    pub stub_time: Duration,
    /// The time in devices, in nanoseconds in a file.
    #[serde(rename = "device_nanoseconds", serialize_with = "nanoseconds")]
    pub device_time: Duration,
    /// What was done with the sensitive instructions of translated blocks, and how often.
    #[serde(serialize_with = "as_list")]
    pub plans: BTreeMap<Planned, u64>,
    /// What was done with sites that have shown what they are, and how often.
    #[serde(serialize_with = "as_list")]
    pub sites: BTreeMap<Repatch, u64>,
    /// Calls of stubs by generated code.
    #[serde(serialize_with = "by_name")]
    pub stub_calls: StubCalls,
    /// Times that generated code came back to the run loop, by reason.
    pub exits: BTreeMap<&'static str, u64>,
    /// Blocks that were decoded.
    pub decoded: u64,
    /// Blocks that were dropped because their bytes were written.
    pub invalidated: u64,
    /// Exceptions by the number of their kind.
    #[serde(serialize_with = "exceptions_by_name")]
    pub exceptions: ExceptionCounts,
    /// Pairs of pages that the page walker put into the TLB.
    pub walks: u64,
    /// Accesses that went to a device.
    pub device_accesses: u64,
    /// Loads and stores that missed the soft TLB.
    pub soft_misses: u64,
}

/// Calls by the number of the stub.
pub type StubCalls = [u64; Stub::COUNT];

/// Exceptions by the number of their kind.
pub type ExceptionCounts = [u64; Exception::NAMES.len()];

/// What was done with a sensitive instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Planned {
    /// How many actions replace it.
    pub kind: &'static str,
    /// Its mnemonic.
    pub instruction: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// What was done with a site that has shown what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Repatch {
    /// Whether it was patched, patched again, or patched back.
    pub change: &'static str,
    /// What the site has shown to be.
    pub nature: &'static str,
}

impl Statistics {
    /// Counts that a site was made something else.
    pub fn count_change(&mut self, change: Change, nature: Nature) {
        *self.sites.entry(Repatch { change: change.name(), nature: nature.name() }).or_default() += 1;
    }

    /// Counts a translation of `block` to `code`, which took `time`.
    pub fn count_translation(&mut self, block: &Block, code: &Code, time: Duration) {
        self.translated += 1;
        self.guest_bytes += block.bytes();
        self.host_bytes += code.bytes.len() as u64;
        self.translation_time += time;
        for step in &block.steps {
            let Some(insn) = step.insn else { continue };
            let planned = Planned {
                kind: step.plan.kind().name(),
                instruction: insn.op.row().name,
                reason: step.plan.reason,
            };
            if insn.classes().contains(Classes::SENSITIVE) || !step.is_kept() {
                *self.plans.entry(planned).or_default() += 1;
            }
        }
    }

    /// Calls of stubs by generated code, of all stubs.
    pub fn all_stub_calls(&self) -> u64 {
        self.stub_calls.iter().sum()
    }

    /// The exceptions that there were, by name.
    pub fn named_exceptions(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Exception::NAMES.iter().copied().zip(self.exceptions).filter(|(_, count)| *count > 0)
    }

    /// Times that generated code came back to the run loop, for all reasons.
    pub fn all_exits(&self) -> u64 {
        self.exits.values().sum()
    }

    /// Adds what another vCPU did. Names every field, so that a new one is not forgotten.
    pub fn add(&mut self, other: &Self) {
        let Statistics {
            instructions,
            translated,
            guest_bytes,
            host_bytes,
            translation_time,
            code_time,
            stub_time,
            device_time,
            plans,
            sites,
            stub_calls,
            exits,
            decoded,
            invalidated,
            exceptions,
            walks,
            device_accesses,
            soft_misses,
        } = other;
        self.instructions += instructions;
        self.translated += translated;
        self.guest_bytes += guest_bytes;
        self.host_bytes += host_bytes;
        self.translation_time += *translation_time;
        self.code_time += *code_time;
        self.stub_time += *stub_time;
        self.device_time += *device_time;
        self.decoded += decoded;
        self.invalidated += invalidated;
        self.walks += walks;
        self.device_accesses += device_accesses;
        self.soft_misses += soft_misses;
        add_maps(&mut self.plans, plans);
        add_maps(&mut self.sites, sites);
        add_maps(&mut self.exits, exits);
        for (sum, calls) in self.stub_calls.iter_mut().zip(stub_calls) {
            *sum += calls;
        }
        for (sum, count) in self.exceptions.iter_mut().zip(exceptions) {
            *sum += count;
        }
    }
}

fn add_maps<K: Ord + Copy>(sum: &mut BTreeMap<K, u64>, other: &BTreeMap<K, u64>) {
    for (name, count) in other {
        *sum.entry(*name).or_default() += count;
    }
}

fn nanoseconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

fn as_list<K: Serialize, S: Serializer>(counts: &BTreeMap<K, u64>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Row<'a, K> {
        #[serde(flatten)]
        what: &'a K,
        count: u64,
    }
    serializer.collect_seq(counts.iter().map(|(what, count)| Row { what, count: *count }))
}

fn by_name<S: Serializer>(calls: &StubCalls, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(Stub::ALL.iter().zip(calls).map(|(stub, count)| (stub.name(), count)))
}

fn exceptions_by_name<S: Serializer>(counts: &ExceptionCounts, serializer: S) -> Result<S::Ok, S::Error> {
    let named = Exception::NAMES.iter().zip(counts);
    serializer.collect_map(named.filter(|(_, count)| **count > 0))
}
