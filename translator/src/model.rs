//! CPU models as rows: which instructions a model has and what its identity registers say.

use crate::cp0::Cp0;
use crate::isa::{Classes, Insn, Level};

/// A CPU model.
#[derive(Debug)]
pub struct Model {
    /// The name on the command line.
    pub name: &'static str,
    /// The instruction set.
    pub level: Level,
    /// Whether the model has 64-bit registers.
    pub wide: bool,
    /// Classes of instructions that the model lacks.
    pub lacks: Classes,
    /// The values of identity registers after reset.
    pub registers: &'static [(Cp0, u64)],
    /// The floating-point implementation register, FIR.
    pub fir: u32,
    /// The number of TLB entries.
    pub tlb_entries: usize,
}

/// Sign-extends a 32-bit register value to the form in which it is held.
const fn word(value: u32) -> u64 {
    value as i32 as u64
}

/// The CPU that stock 64-bit Linux asks little of: a page walker, a large TLB, scratch registers.
///
/// What each value tells Linux 6.1 (`arch/mips/kernel/cpu-probe.c`): PRId is QEMU's generic
/// processor, which needs no errata; Config says MIPS64 R2, a TLB, and K0 = 5, a coherent cache
/// attribute, from reset; Config1 an FPU and 4 KB direct-mapped caches with 128-byte lines, so that
/// cache loops are short; Config3 a coherence manager (bit 29), page walker (24), UserLocal (13) and
/// RI/XI (12); Config4 TLBINVF (IE = 2), KScratch 1 to 6 and 1024 TLB entries.
pub static MIPS64R2: Model = Model { lacks: Classes::PAIRED.union(Classes::HYPERCALL), ..WIDE };

/// [`MIPS64R2`] for guests that may call the hypervisor.
pub static PROGRAM_MIPS64R2: Model = WIDE;

const WIDE: Model = Model {
    name: "mips64r2",
    level: Level::R2,
    wide: true,
    lacks: Classes::PAIRED,
    registers: &[
        (Cp0::PRId, word(0x0001_0000)),
        (Cp0::Config, word(0x8000_4485)),
        (Cp0::Config1, word(0xfff0_f801)),
        (Cp0::Config2, word(0x8000_0000)),
        (Cp0::Config3, word(0xa100_3000)),
        (Cp0::Config4, word(0xc0fc_400f)),
    ],
    fir: 0x0073_8900,
    tlb_entries: 1024,
};

/// A 32-bit CPU for bare programs, which is what MARS and SPIM show: a fixed mapping (Config.MT = 3),
/// an FPU, and calls of the hypervisor.
pub static PROGRAM_MIPS32R2: Model = Model {
    name: "mips32r2",
    level: Level::R2,
    wide: false,
    lacks: Classes::PAIRED,
    registers: &[
        (Cp0::PRId, word(0x0001_9300)),
        (Cp0::Config, word(0x8000_0582)),
        (Cp0::Config1, word(0x8000_0001)),
        (Cp0::Config2, word(0x8000_0000)),
    ],
    fir: 0x0073_9300,
    tlb_entries: 16,
};

impl Model {
    /// Whether the model has `insn` at all, apart from modes.
    pub fn has(&self, insn: Insn) -> bool {
        let row = insn.op.row();
        row.level <= self.level
            && !row.classes.intersects(self.lacks)
            && (self.wide || !row.classes.contains(Classes::WIDE))
    }
}
