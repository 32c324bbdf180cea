//! The state of one vCPU as generated code sees it. Generated code names these fields; it never
//! writes an offset. Fields that other threads touch are in [`Shared`], behind an address.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::cp0::{Cp0, Status};
use crate::float::Fcsr;
use crate::mode::Mode;
use crate::model::Model;
use crate::stub::Stub;

/// How far the register that points to [`Cpu`] points past its start. A one-byte displacement then
/// reaches the general registers from `$a3` on, and [`Cpu::pc`] to the second of [`Cpu::pages`]: of the
/// registers before, compilers use what has a host register.
pub const CPU_BIAS: i32 = 184;

/// How many shared values can be kept at once.
pub const SPILL_SLOTS: usize = 32;

/// How many pages a block can keep at once for accesses that are near each other.
pub const PAGE_SLOTS: usize = 8;

/// The number of entries of each soft-TLB array and of a jump cache; powers of two.
pub const SOFT_TLB_ENTRIES: usize = 1024;
/// See [`SOFT_TLB_ENTRIES`].
pub const JUMP_CACHE_ENTRIES: usize = 16384;
/// An address is looked up in the jump cache by its low half, exclusive-ored with itself rotated right by so many bits.
/// Segments of programs and libraries begin at multiples of 64 KB, as far as the cache reaches by the low bits alone,
/// so that those would often want the same entry.
pub const JUMP_ROTATION: u32 = 14;

/// An entry of the soft TLB: `tag` is the virtual page if the entry is good for plain accesses, and
/// the host address is then the virtual address plus `addend`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SoftEntry {
    /// The virtual page, or [`SoftEntry::EMPTY`]'s tag, which no aligned access equals.
    pub tag: u64,
    /// Host address less guest virtual address.
    pub addend: u64,
}

impl SoftEntry {
    /// Matches nothing: bits 4 to 11 of a real tag are zero, and an access keeps at most bits 0 to 2.
    pub const EMPTY: SoftEntry = SoftEntry { tag: 0x10, addend: 0 };
}

/// A set of soft-TLB entries for loads and one for stores. Generated code finds both from one base.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct SoftTlb {
    /// Pages that can be read.
    pub load: [SoftEntry; SOFT_TLB_ENTRIES],
    /// Pages that can be written without notice to anyone.
    pub store: [SoftEntry; SOFT_TLB_ENTRIES],
}

/// An entry of a jump cache: the host entry point of the block at a guest address.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct JumpEntry {
    /// The guest virtual address; odd when the entry is empty.
    pub va: u64,
    /// The host address of the block.
    pub host: u64,
}

impl JumpEntry {
    /// What matches nothing in slot `slot`. A guest may jump to any address, so the one that stands here is looked up in
    /// another slot: 1 in the first, 5 in the second.
    pub const fn empty(slot: usize) -> JumpEntry {
        JumpEntry { va: if slot == 0 { 5 } else { 1 }, host: 0 }
    }
}

/// The state of one vCPU. The general registers come first: see [`CPU_BIAS`].
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Cpu {
    /// The general registers; the first is always zero.
    pub gpr: [u64; 32],
    /// The address of the next instruction at a settled point; while generated code runs, some
    /// address in the page of the running block.
    pub pc: u64,
    /// The guest instructions that may still run before the vCPU must leave; used by counted blocks.
    pub budget: i64,
    /// The host address of the vCPU's [`Shared::alarm`].
    pub alarm_address: u64,
    /// The host address of guest physical address 0.
    pub ram_base: u64,
    /// The host address of the jump cache of the current view.
    pub jump_cache: u64,
    /// Host address less guest virtual address in the pages that a block has looked up for more than one
    /// access, or 0 for one that each access is to look up.
    pub pages: [u64; PAGE_SLOTS],
    /// The host address of the [`SoftTlb`] of the current view.
    pub soft_tlb: u64,
    /// The multiply-divide unit's HI.
    pub hi: u64,
    /// The multiply-divide unit's LO.
    pub lo: u64,
    /// Where the stub that runs was called; see [`Place`](crate::emit::Place).
    pub place: u32,
    /// 0 if floating-point instructions may use the host's FPU: the guest's is usable, traps nothing
    /// and flushes nothing.
    pub float_state: u32,
    /// Values that an instruction shares between its parts.
    pub spill: [u64; SPILL_SLOTS],
    /// The condition or target of a branch while its delay slot runs.
    pub kept: u64,
    /// The floating-point instruction that FCSR.Cause is still to be worked out for, or 0, and its
    /// operands.
    pub float_word: u32,
    /// See [`Cpu::float_word`].
    pub float_operands: [u64; 2],
    /// The physical address and value of the last load linked; the address is [`Cpu::NO_LINK`] when
    /// the link is broken.
    pub link_address: u64,
    /// See [`Cpu::link_address`].
    pub link_value: u64,
    /// The floating-point registers.
    pub fpr: [u64; 32],
    /// The floating-point control and status register.
    pub fcsr: u32,
    /// The MXCSR image that the host uses while guest code runs: the guest's rounding mode.
    pub mxcsr: u32,
    /// The MXCSR of the host, kept while guest code runs.
    pub host_mxcsr: u32,
    /// How often code that waits for memory to change may still look before it leaves.
    pub polls: i64,
    /// The mode, from Status.
    pub mode: Mode,
    /// The coprocessor 0 registers in the order of [`Cp0`].
    pub cp0: [u64; Cp0::COUNT],
    /// The host addresses of the stubs in the order of [`Stub`].
    pub stubs: [u64; Stub::COUNT],
}

impl Cpu {
    /// The link address when no load linked is in force: no physical address is odd and this wide.
    pub const NO_LINK: u64 = u64::MAX;

    /// A vCPU of `model` as after reset, number `number` of its machine. Host addresses are zero.
    pub fn new(model: &Model, number: u32) -> Cpu {
        let mut cpu = Cpu {
            gpr: [0; 32],
            pc: 0xffff_ffff_bfc0_0000,
            budget: 0,
            alarm_address: 0,
            ram_base: 0,
            jump_cache: 0,
            pages: [0; PAGE_SLOTS],
            soft_tlb: 0,
            hi: 0,
            lo: 0,
            place: 0,
            float_state: 1,
            spill: [0; SPILL_SLOTS],
            kept: 0,
            float_word: 0,
            float_operands: [0; 2],
            link_address: Self::NO_LINK,
            link_value: 0,
            fpr: [0; 32],
            fcsr: 0,
            mxcsr: mxcsr::MASKED,
            host_mxcsr: 0,
            polls: 0,
            mode: Mode::empty(),
            cp0: std::array::from_fn(|i| Cp0::ALL[i].row().reset as i64 as u64),
            stubs: [0; Stub::COUNT],
        };
        for (register, value) in model.registers {
            cpu.cp0[*register as usize] = *value;
        }
        cpu.cp0[Cp0::EBase as usize] = (0x8000_0000u32 | number) as i32 as u64;
        cpu.cp0[Cp0::IntCtl as usize] = cpu.cp0[Cp0::IntCtl as usize] as i32 as u64;
        cpu.set_status(Status::BEV | Status::ERL);
        cpu
    }

    /// The coprocessor 0 register `register`.
    #[inline]
    pub fn cp0(&self, register: Cp0) -> u64 {
        self.cp0[register as usize]
    }

    /// Sets coprocessor 0 register `register`, all bits, without effects.
    #[inline]
    pub fn set_cp0(&mut self, register: Cp0, value: u64) {
        self.cp0[register as usize] = value;
    }

    /// The Status register.
    #[inline]
    pub fn status(&self) -> Status {
        Status::from_bits_retain(self.cp0(Cp0::Status))
    }

    /// Sets Status and what follows from it.
    pub fn set_status(&mut self, status: Status) {
        self.set_cp0(Cp0::Status, status.bits() as i32 as u64);
        self.mode = self.mode.with_status(status);
        self.refresh_float_state();
    }

    /// Works out [`Cpu::float_state`] and the rounding mode in [`Cpu::mxcsr`] after FCSR or Status
    /// changed.
    pub fn refresh_float_state(&mut self) {
        let fcsr = Fcsr(self.fcsr);
        let plain = self.status().contains(Status::CU1) && fcsr.enables().is_empty() && !fcsr.flush();
        self.float_state = u32::from(!plain);
        self.mxcsr = self.mxcsr & !mxcsr::ROUNDING | mxcsr::rounding(fcsr.rounding_mode());
    }

    /// Moves the flags that the host's FPU has raised to FCSR. Invalid is never taken from the host,
    /// whose signalling NaNs are the guest's quiet ones: whatever is invalid goes the exact way.
    pub fn collect_float_flags(&mut self) {
        self.fcsr |= mxcsr::flags(self.mxcsr).bits() << 2;
        self.mxcsr &= !mxcsr::STICKY;
    }

    /// The address space identifier.
    #[inline]
    pub fn asid(&self) -> u8 {
        self.cp0(Cp0::EntryHi) as u8
    }
}

/// The control and status register of the host's SSE unit.
pub mod mxcsr {
    use crate::float::{Exceptions, RoundingMode};

    /// All exceptions masked, nothing flushed, rounding to nearest.
    pub const MASKED: u32 = 0x1f80;
    /// The sticky flags.
    pub const STICKY: u32 = 0x3f;
    /// The rounding mode.
    pub const ROUNDING: u32 = 3 << 13;

    const DIVIDE_BY_ZERO: u32 = 1 << 2;
    const OVERFLOW: u32 = 1 << 3;
    const UNDERFLOW: u32 = 1 << 4;
    const PRECISION: u32 = 1 << 5;

    /// The rounding-mode field for `mode`.
    pub const fn rounding(mode: RoundingMode) -> u32 {
        let field = match mode {
            RoundingMode::Nearest => 0,
            RoundingMode::Down => 1,
            RoundingMode::Up => 2,
            RoundingMode::Zero => 3,
        };
        field << ROUNDING.trailing_zeros()
    }

    /// The sticky flags of `mxcsr`, without Invalid.
    pub fn flags(mxcsr: u32) -> Exceptions {
        let pairs = [
            (DIVIDE_BY_ZERO, Exceptions::DIVIDE_BY_ZERO),
            (OVERFLOW, Exceptions::OVERFLOW),
            (UNDERFLOW, Exceptions::UNDERFLOW),
            (PRECISION, Exceptions::INEXACT),
        ];
        pairs.into_iter().filter(|(bit, _)| mxcsr & bit != 0).map(|(_, e)| e).collect()
    }
}

/// The reasons in [`Shared::alarm`].
pub mod alarm {
    /// An interrupt may have become pending.
    pub const INTERRUPT: u32 = 1 << 0;
    /// Someone wants the vCPU at a settled point.
    pub const ATTENTION: u32 = 1 << 1;
}

/// What other threads may touch of a vCPU.
#[derive(Debug, Default)]
pub struct Shared {
    /// Reasons to leave generated code at the next check; see [`alarm`].
    pub alarm: AtomicU32,
    /// The levels of the hardware interrupt inputs, in the positions of Cause.IP.
    pub interrupt_lines: AtomicU64,
}

impl Shared {
    /// Raises a reason to leave generated code.
    pub fn raise(&self, reason: u32) {
        self.alarm.fetch_or(reason, Ordering::Release);
    }
}
