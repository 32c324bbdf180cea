//! One vCPU: its registers, its TLB, and what its instructions do beyond registers. Each file has one
//! concern; `run` is the loop that drives them.

mod check;
mod cp0;
mod enter;
mod exception;
mod interp;
mod jit;
mod look;
mod memory;
mod persist;
mod run;
mod sites;
mod statistics;
mod stub;
mod timer;
mod trace;

use std::sync::Arc;

use translator::addr::Va;
use translator::block::{Block, Key};
use translator::cp0::Cp0;
use translator::cpu::Cpu;
use translator::exception::Exception;
use translator::float::Rules;
use translator::interp::Site;
use translator::mode::Mode;

use crate::cache::OpenLink;
use crate::doorbell::{Doorbell, Patience};
use crate::machine::Machine;
use crate::mmu::soft::SoftTables;
use crate::mmu::tlb::Tlb;
use sites::{SLOW_COUNTERS, Watch};

pub use persist::{VcpuState, VcpuStateError};
pub use run::{Engine, Outcome};
pub use statistics::{Planned, Statistics, StubCalls};

/// Why an instruction did not simply go on to the next. The program counter is already where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The instruction raised an exception, whose handler the program counter is at.
    Exception,
    /// The instruction finished, and what comes next must be looked up.
    Redispatch,
    /// Leave to the run loop.
    Leave(Leave),
}

/// Why a vCPU left to its run loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// The guest waits for an interrupt.
    Wait,
    /// The guest called the hypervisor.
    Hypercall(u32),
    /// The guest asks for a service; the program counter is after the instruction.
    SystemCall,
    /// The instruction raised an exception that is not the guest's to handle. The program counter is
    /// where an exception return would go: at the instruction, or at the branch before it.
    Exception(Exception),
    /// The instruction has not run, and the block that begins with it must be interpreted.
    Interpret,
    /// The block at the program counter has no host code.
    Untranslated,
}

impl Stop {
    /// Whether the instruction that stopped did all it does.
    const fn is_finished(self) -> bool {
        !matches!(
            self,
            Stop::Exception | Stop::Leave(Leave::Exception(_) | Leave::Interpret | Leave::Untranslated)
        )
    }
}

/// Which of the instructions that the budget has paid for have run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Paid {
    /// All, and no others.
    All,
    /// All, and the interpreter is in the block that began here, which is paid for at its end.
    Before(Va),
    /// All but so many of the running block.
    AllBut(u32),
}

impl Leave {
    /// The name that statistics show.
    pub const fn name(self) -> &'static str {
        match self {
            Leave::Wait => "wait",
            Leave::Hypercall(_) => "hypercall",
            Leave::SystemCall => "service",
            Leave::Exception(_) => "exception",
            Leave::Interpret => "interpret",
            Leave::Untranslated => "untranslated",
        }
    }
}

/// A block that ran lately, found by virtual address.
struct Recent {
    va: u64,
    mode: Mode,
    block: Arc<Block>,
}

/// One vCPU. The registers come first, so that a pointer to them is a pointer to this.
#[repr(C)]
pub struct Vcpu {
    /// What generated code sees.
    pub cpu: Cpu,
    /// The number of the vCPU in its machine.
    pub number: usize,
    /// What it shares with the others.
    pub machine: Arc<Machine>,
    doorbell: Arc<Doorbell>,
    tlb: Tlb,
    soft: SoftTables,
    site: Site,
    rules: Rules,
    /// Added to the clock's ticks to give Count.
    count_offset: u32,
    /// The Count that the guest read last.
    count_read: u32,
    /// The tick at which the timer interrupts, if it is set.
    deadline: Option<u64>,
    recent: Vec<Option<Recent>>,
    /// The epoch in which `recent` is good.
    recent_epoch: u64,
    /// Why the last stub left generated code.
    left: Option<Leave>,
    /// The link that led to a block without host code, to be joined once it has some.
    open_link: Option<OpenLink>,
    /// The jump by register, as a step of a block, that the run loop has just entered to see where it goes.
    first_jump: Option<(Key, u8)>,
    /// Whether blocks go on to each other by links and jump caches.
    joined: bool,
    /// Which step of its block called the running stub, if generated code did.
    running: Option<u32>,
    /// What the sites of the block show that the interpreter runs, if someone wants to know.
    watch: Option<Watch>,
    /// How often sites were slow, by a hash of their addresses.
    slow: Box<[u8; SLOW_COUNTERS]>,
    /// The arena's state in which the jump caches are good.
    arena_epoch: u64,
    /// How many of the machine's code pages this vCPU has no write entries for any more.
    code_pages_seen: usize,
    /// How many instructions were granted in all; what is left is in `cpu.budget`.
    granted: u64,
    /// How far the running block is.
    paid: Paid,
    /// Ticks of the clock of instructions that passed while the guest waited.
    idle: u64,
    /// Whether it is out of reset.
    started: bool,
    /// How long it looks for an interrupt before it sleeps.
    patience: Patience,
    /// What happened how often.
    pub statistics: Statistics,
}

/// Entries of the table of recent blocks; a power of two.
const RECENT: usize = 4096;

impl Vcpu {
    /// vCPU `number` of `machine`, as after reset. It stands still until it is run.
    pub fn new(machine: Arc<Machine>, number: usize) -> Self {
        let mut cpu = Cpu::new(machine.model, number as u32);
        cpu.mode |= machine.fixed_mode;
        cpu.ram_base = machine.ram.host_base();
        let doorbell = Arc::clone(machine.control.doorbell(number));
        cpu.alarm_address = std::ptr::from_ref(&doorbell.shared) as u64;
        let rules = Rules::LEGACY;
        cpu.fcsr = rules.reset().0;
        cpu.stubs = enter::stub_addresses();
        let mut vcpu = Self {
            soft: SoftTables::new(cpu.mode, 0),
            tlb: Tlb::new(machine.model.tlb_entries),
            cpu,
            number,
            doorbell,
            site: Site::default(),
            rules,
            count_offset: 0,
            count_read: 0,
            deadline: None,
            recent: std::iter::repeat_with(|| None).take(RECENT).collect(),
            recent_epoch: 0,
            left: None,
            open_link: None,
            first_jump: None,
            joined: true,
            running: None,
            watch: None,
            slow: Box::new([0; SLOW_COUNTERS]),
            arena_epoch: 0,
            code_pages_seen: 0,
            granted: 0,
            paid: Paid::All,
            idle: 0,
            started: number == 0,
            patience: Patience::default(),
            statistics: Statistics::default(),
            machine,
        };
        vcpu.select_tables();
        vcpu
    }

    /// Makes the soft TLB and jump cache those of the current mode and address space.
    fn select_tables(&mut self) {
        let (soft_tlb, jump_cache) = self.soft.select(self.cpu.mode, self.cpu.asid());
        self.cpu.soft_tlb = soft_tlb;
        self.cpu.jump_cache = jump_cache;
    }

    /// Sets coprocessor 0 register `register` from outside, for a boot protocol or a debugger.
    pub fn set_cp0(&mut self, register: Cp0, value: u64) {
        self.cpu.set_cp0(register, value);
        if register == Cp0::Status {
            self.cpu.set_status(self.cpu.status());
        }
        self.select_tables();
    }

    /// The tables of recent blocks are no longer good: a mapping or a block has changed.
    fn forget_recent(&mut self) {
        self.recent_epoch = u64::MAX;
    }

    /// Takes back write entries for pages that have become code pages. Called while the vCPU may not
    /// store, and before it may again.
    fn refresh_writes(&mut self) {
        if self.code_pages_seen == self.machine.code_pages.count() {
            return;
        }
        let (count, pages) = self.machine.code_pages.after(self.code_pages_seen);
        match pages {
            Some(pages) => {
                for page in pages {
                    self.soft.revoke_writes(self.machine.ram.host_base() + page.0);
                }
            }
            None => self.soft.flush_all(),
        }
        self.code_pages_seen = count;
    }

    /// Gives up all write entries: the pages have become clean.
    pub(crate) fn forget_writes(&mut self) {
        self.soft.forget_writes();
    }

    /// The address after the current instruction. In a delay slot it is not known: what goes on works
    /// out the branch again ([`Vcpu::go_on_after_slot`]).
    fn next_pc(&self) -> u64 {
        self.site.pc.0.wrapping_add(4)
    }

    /// Goes on after the current instruction by a fresh look-up, unless a branch is about to do that.
    fn redispatch_after(&mut self) -> Result<(), Stop> {
        if self.site.in_slot {
            return Ok(());
        }
        self.cpu.pc = self.next_pc();
        Err(Stop::Redispatch)
    }
}
