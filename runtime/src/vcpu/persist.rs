//! What a snapshot keeps of a vCPU: the architectural state, and how its clock stands. Caches of it,
//! such as soft TLBs and translations, are built anew.

use serde::{Deserialize, Serialize};
use translator::cp0::Cp0;
use translator::cpu::Cpu;

use super::Vcpu;
use crate::mmu::tlb::Entry;
use crate::persist::Persist;

/// Higher counts would take centuries; they come from damaged files.
const MAX_TICKS: u64 = 1 << 62;

/// The state of a vCPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VcpuState {
    started: bool,
    waits: bool,
    gpr: [u64; 32],
    fpr: [u64; 32],
    pc: u64,
    hi: u64,
    lo: u64,
    fcsr: u32,
    /// Coprocessor 0 registers by name.
    cp0: Vec<(String, u64)>,
    /// The address and value of the last load linked, if the link holds.
    link: Option<(u64, u64)>,
    /// EntryHi, PageMask and both EntryLo of each TLB entry.
    tlb: Vec<(u64, u64, [u64; 2])>,
    /// The entry that was replaced last.
    tlb_random: u64,
    count_offset: u32,
    count_read: u32,
    deadline: Option<u64>,
    retired: u64,
    idle: u64,
}

impl VcpuState {
    /// Whether it is out of reset.
    pub fn is_started(&self) -> bool {
        self.started
    }

    /// The program counter.
    pub fn pc(&self) -> u64 {
        self.pc
    }

    /// The general registers.
    pub fn registers(&self) -> &[u64; 32] {
        &self.gpr
    }

    /// The registers of coprocessor 0 by name.
    pub fn cp0(&self) -> &[(String, u64)] {
        &self.cp0
    }
}

/// Why a state does not fit a vCPU.
#[derive(Debug, thiserror::Error)]
pub enum VcpuStateError {
    /// A register that this myvmm does not know.
    #[error("there is no register {0}")]
    Register(String),
    /// The TLB has another size.
    #[error("its TLB has {found} entries, and this CPU's {wanted}")]
    Tlb {
        /// Entries in the snapshot.
        found: usize,
        /// Entries of the CPU.
        wanted: usize,
    },
    /// The clock is absurd.
    #[error("its clock has run for centuries")]
    Clock,
}

impl Persist for Vcpu {
    const KIND: &'static str = "vcpu";
    const VERSION: u16 = 3;
    type State = VcpuState;
    type Error = VcpuStateError;

    fn save(&mut self) -> VcpuState {
        self.settle_float();
        let cpu = &self.cpu;
        let linked = cpu.link_address != Cpu::NO_LINK;
        VcpuState {
            started: self.started,
            waits: self.waits,
            gpr: cpu.gpr,
            fpr: cpu.fpr,
            pc: cpu.pc,
            hi: cpu.hi,
            lo: cpu.lo,
            fcsr: cpu.fcsr,
            cp0: Cp0::ALL.iter().map(|r| (r.row().name.to_owned(), cpu.cp0(*r))).collect(),
            link: linked.then_some((cpu.link_address, cpu.link_value)),
            tlb: self.tlb.entries().iter().map(|e| (e.hi, e.mask, e.lo)).collect(),
            tlb_random: self.tlb.last_random() as u64,
            count_offset: self.count_offset,
            count_read: self.count_read,
            deadline: self.deadline,
            retired: self.retired(),
            idle: self.idle,
        }
    }

    fn restore(&mut self, state: VcpuState) -> Result<(), VcpuStateError> {
        self.check(&state)?;
        for (name, value) in &state.cp0 {
            let register = Cp0::ALL.iter().find(|r| r.row().name == name);
            self.cpu.set_cp0(*register.ok_or_else(|| VcpuStateError::Register(name.clone()))?, *value);
        }
        (self.started, self.waits) = (state.started, state.waits);
        self.cpu.gpr = state.gpr;
        self.cpu.gpr[0] = 0;
        self.cpu.fpr = state.fpr;
        (self.cpu.pc, self.cpu.hi, self.cpu.lo) = (state.pc, state.hi, state.lo);
        (self.cpu.fcsr, self.cpu.float_word) = (state.fcsr, 0);
        (self.cpu.link_address, self.cpu.link_value) = state.link.unwrap_or((Cpu::NO_LINK, 0));
        for (index, (hi, mask, lo)) in state.tlb.into_iter().enumerate() {
            self.tlb.write(index, Entry { hi, mask, lo });
        }
        self.tlb.set_last_random(state.tlb_random as usize);
        (self.count_offset, self.count_read) = (state.count_offset, state.count_read);
        self.machine.set_count_offset(state.count_offset);
        self.deadline = state.deadline;
        self.set_alarm_clock();
        (self.granted, self.idle) = (state.retired, state.idle);
        self.cpu.budget = 0;
        // Status gives the mode, and FCSR the host's rounding.
        let status = self.cpu.status();
        self.cpu.set_status(status);
        self.soft.flush_all();
        self.forget_recent();
        self.select_tables();
        Ok(())
    }
}

impl Vcpu {
    fn check(&self, state: &VcpuState) -> Result<(), VcpuStateError> {
        let (found, wanted) = (state.tlb.len(), self.tlb.entries().len());
        if found != wanted {
            return Err(VcpuStateError::Tlb { found, wanted });
        }
        let clocks = [state.retired, state.idle, state.deadline.unwrap_or(0)];
        if clocks.into_iter().any(|ticks| ticks > MAX_TICKS) {
            return Err(VcpuStateError::Clock);
        }
        Ok(())
    }
}
