//! Coprocessor 0 registers as a table: number, select, name, width, what software may write and what
//! a read or write disturbs. The values live in [`Cpu::cp0`](crate::cpu::Cpu::cp0); the effects that
//! the table names are carried out by the runtime's stubs.
//!
//! Source: MIPS64 Architecture For Programmers, volume III (MD00091, revision 5.03), chapter 9.

use bitflags::bitflags;

/// The hardware register of RDHWR that is [`Cp0::UserLocal`] (MIPS64 volume II-A, RDHWR); its bit of
/// [`Cp0::HWREna`] has the same number.
pub const HARDWARE_USER_LOCAL: u8 = 29;

/// How software reaches a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// The stored value is the whole truth.
    Plain,
    /// The value comes from, or goes to, something that moves by itself or that others depend on.
    Effect,
}

/// One coprocessor 0 register.
#[derive(Debug)]
pub struct Row {
    /// The register number, 0 to 31.
    pub number: u8,
    /// The select, 0 to 7.
    pub select: u8,
    /// The name in the manual.
    pub name: &'static str,
    /// Whether the register is 64 bits wide; a 32-bit one is held sign-extended.
    pub wide: bool,
    /// The bits that software may write.
    pub writable: u64,
    /// The value after reset, before the CPU model's own values.
    pub reset: u64,
    /// Whether a read is plain.
    pub read: Touch,
    /// Whether a write is plain.
    pub write: Touch,
}

macro_rules! registers {
    ($($(#[$doc:meta])* $variant:ident = ($number:literal, $select:literal), $wide:literal, $writable:expr,
        $reset:expr, $read:ident, $write:ident;)*) => {
        /// A coprocessor 0 register that this table has.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Cp0 {
            $($(#[$doc])* $variant,)*
        }

        impl Cp0 {
            /// Every register, in table order.
            pub const ALL: &'static [Cp0] = &[$(Cp0::$variant,)*];
            /// The number of registers.
            pub const COUNT: usize = Self::ALL.len();

            /// The register's row.
            pub const fn row(self) -> &'static Row {
                &ROWS[self as usize]
            }
        }

        static ROWS: [Row; Cp0::COUNT] = [$(Row {
            number: $number,
            select: $select,
            name: stringify!($variant),
            wide: $wide == 64,
            writable: $writable,
            reset: $reset,
            read: Touch::$read,
            write: Touch::$write,
        },)*];
    };
}

/// Every bit of a register.
const ALL_BITS: u64 = u64::MAX;
/// The bits of an EntryLo that a CPU with 40 physical address bits and RI/XI has; the upper bits of
/// the frame number read as zero, which is how Linux (`tlbex.c: check_pabits`) learns PABITS.
pub const ENTRY_LO_BITS: u64 = 3 << 62 | 0x3_ffff_ffff;
/// EntryHi: R, VPN2 of a 40-bit segment, EHINV and ASID.
pub const ENTRY_HI_BITS: u64 = 3 << 62 | 0xff_ffff_e000 | ENTRY_HI_EHINV | ENTRY_HI_ASID;
/// EntryHi.ASID.
pub const ENTRY_HI_ASID: u64 = 0xff;
/// EntryHi.EHINV: a TLB write makes an entry that never matches.
pub const ENTRY_HI_EHINV: u64 = 1 << 10;
/// PWCtl.PWEn: the page walker is on.
pub const PWCTL_PWEN: u64 = 1 << 31;
/// PWCtl.XU: the walker serves the 64-bit user segment.
pub const PWCTL_XU: u64 = 1 << 26;
/// IntCtl.IPTI: the timer is on IP7.
const INTCTL_IPTI: u64 = 7 << 29;
/// PageGrain: RIE, XIE and IEC can be written.
const PAGE_GRAIN_BITS: u64 = 1 << 31 | 1 << 30 | 1 << 27;

registers! {
    /// Selects a TLB entry.
    Index = (0, 0), 32, 0x3ff, 0, Plain, Plain;
    /// The entry that the next TLBWR takes.
    Random = (1, 0), 32, 0, 0, Effect, Plain;
    /// The even page of a TLB entry.
    EntryLo0 = (2, 0), 64, ENTRY_LO_BITS, 0, Effect, Effect;
    /// The odd page of a TLB entry.
    EntryLo1 = (3, 0), 64, ENTRY_LO_BITS, 0, Effect, Effect;
    /// Pointer into a page table of 32-bit kernels.
    Context = (4, 0), 64, !0x7f_ffff, 0, Plain, Plain;
    /// A value for user code, read by RDHWR 29.
    UserLocal = (4, 2), 64, ALL_BITS, 0, Plain, Plain;
    /// The page size of a TLB entry.
    PageMask = (5, 0), 32, 0x1fff_e000, 0, Plain, Effect;
    /// Page protection features.
    PageGrain = (5, 1), 32, PAGE_GRAIN_BITS, 0, Plain, Plain;
    /// The page walker's root table.
    PWBase = (5, 5), 64, ALL_BITS, 0, Plain, Plain;
    /// The page walker's index positions. Zero at reset, because Linux (`tlbex.c: config_htw_params`)
    /// ors the position of its G bit into what it finds and wants to read just that back.
    PWField = (5, 6), 64, 0x3f_ffff_ffff, 0, Plain, Plain;
    /// The page walker's index sizes.
    PWSize = (5, 7), 64, 0x3f_7fff_ffff, 0, Plain, Plain;
    /// The first entry that TLBWR may take.
    Wired = (6, 0), 32, 0x3ff, 0, Plain, Plain;
    /// The page walker's switches.
    PWCtl = (6, 6), 32, PWCTL_PWEN | 0x1f << 26 | 0xff, 0, Plain, Plain;
    /// Which hardware registers user code may read.
    HWREna = (7, 0), 32, 0x2000_000f, 0, Plain, Plain;
    /// The address of the last address exception.
    BadVAddr = (8, 0), 64, 0, 0, Plain, Plain;
    /// The timer's counter.
    Count = (9, 0), 32, 0xffff_ffff, 0, Effect, Effect;
    /// The virtual page and address space of a TLB entry.
    EntryHi = (10, 0), 64, ENTRY_HI_BITS, 0, Plain, Effect;
    /// The timer's deadline.
    Compare = (11, 0), 32, 0xffff_ffff, 0, Plain, Effect;
    /// Mode, privilege and interrupt masks.
    Status = (12, 0), 32, 0x34c0_ffff, 0, Plain, Effect;
    /// Interrupt set-up.
    IntCtl = (12, 1), 32, 0x3e0, INTCTL_IPTI, Plain, Plain;
    /// Shadow register sets: there is one.
    SRSCtl = (12, 2), 32, 0, 0, Plain, Plain;
    /// The cause of the last exception and the pending interrupts.
    Cause = (13, 0), 32, 0x0080_0300, 0, Effect, Effect;
    /// Where ERET goes.
    Epc = (14, 0), 64, ALL_BITS, 0, Plain, Plain;
    /// Which processor this is.
    PRId = (15, 0), 32, 0, 0, Plain, Plain;
    /// The base of the exception vectors and the vCPU's number.
    EBase = (15, 1), 32, 0x3fff_f000, 0x8000_0000, Plain, Plain;
    /// The physical address of the coherence manager, shifted right by 4.
    CMGCRBase = (15, 3), 64, 0, 0, Plain, Plain;
    /// Configuration; K0 can be written.
    Config = (16, 0), 32, 7, 0, Plain, Plain;
    /// Caches, TLB size, FPU.
    Config1 = (16, 1), 32, 0, 0, Plain, Plain;
    /// Secondary caches.
    Config2 = (16, 2), 32, 0, 0, Plain, Plain;
    /// Optional features.
    Config3 = (16, 3), 32, 0, 0, Plain, Plain;
    /// TLB extension, KScratch.
    Config4 = (16, 4), 32, 0, 0, Plain, Plain;
    /// More optional features.
    Config5 = (16, 5), 32, 0, 0, Plain, Plain;
    /// Implementation-defined.
    Config6 = (16, 6), 32, 0, 0, Plain, Plain;
    /// Implementation-defined.
    Config7 = (16, 7), 32, 0, 0, Plain, Plain;
    /// The physical address of the last load linked.
    LLAddr = (17, 0), 64, 0, 0, Plain, Plain;
    /// Pointer into a page table of 64-bit kernels.
    XContext = (20, 0), 64, !0x1_ffff_ffff, 0, Plain, Plain;
    /// Where DERET goes.
    Depc = (24, 0), 64, ALL_BITS, 0, Plain, Plain;
    /// Error checking of caches: there is nothing to check.
    ErrCtl = (26, 0), 32, 0, 0, Plain, Plain;
    /// Cache tags, low half.
    TagLo = (28, 0), 32, 0xffff_ffff, 0, Plain, Plain;
    /// Cache data, low half.
    DataLo = (28, 1), 32, 0xffff_ffff, 0, Plain, Plain;
    /// Cache tags, high half.
    TagHi = (29, 0), 32, 0xffff_ffff, 0, Plain, Plain;
    /// Where ERET goes when Status.ERL is set.
    ErrorEpc = (30, 0), 64, ALL_BITS, 0, Plain, Plain;
    /// Scratch of a debugger.
    Desave = (31, 0), 64, ALL_BITS, 0, Plain, Plain;
    /// Scratch of the kernel.
    KScratch1 = (31, 2), 64, ALL_BITS, 0, Plain, Plain;
    /// Scratch of the kernel.
    KScratch2 = (31, 3), 64, ALL_BITS, 0, Plain, Plain;
    /// Scratch of the kernel.
    KScratch3 = (31, 4), 64, ALL_BITS, 0, Plain, Plain;
    /// Scratch of the kernel.
    KScratch4 = (31, 5), 64, ALL_BITS, 0, Plain, Plain;
    /// Scratch of the kernel.
    KScratch5 = (31, 6), 64, ALL_BITS, 0, Plain, Plain;
    /// Scratch of the kernel.
    KScratch6 = (31, 7), 64, ALL_BITS, 0, Plain, Plain;
}

impl Cp0 {
    /// The register with this number and select; `None` reads as zero and ignores writes.
    pub fn find(number: u8, select: u8) -> Option<Cp0> {
        Self::ALL.iter().copied().find(|r| r.row().number == number && r.row().select == select)
    }

    /// Whether EntryLo's RI and XI bits move between bits 63..62 and 31..30 in a 32-bit access.
    pub fn is_entry_lo(self) -> bool {
        matches!(self, Cp0::EntryLo0 | Cp0::EntryLo1)
    }
}

bitflags! {
    /// The Status register.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Status: u64 {
        /// Interrupts are enabled.
        const IE = 1 << 0;
        /// An exception is being handled.
        const EXL = 1 << 1;
        /// An error or reset is being handled.
        const ERL = 1 << 2;
        /// Supervisor mode (KSU = 1).
        const KSU_SUPERVISOR = 1 << 3;
        /// User mode (KSU = 2).
        const KSU_USER = 1 << 4;
        /// User mode has 64-bit addresses and operations.
        const UX = 1 << 5;
        /// Supervisor mode has 64-bit addresses and operations.
        const SX = 1 << 6;
        /// Kernel mode has 64-bit addresses.
        const KX = 1 << 7;
        /// The interrupt mask.
        const IM = 0xff << 8;
        /// Exceptions use the boot vectors.
        const BEV = 1 << 22;
        /// User mode has 64-bit operations.
        const PX = 1 << 23;
        /// The FPU has 32 registers of 64 bits.
        const FR = 1 << 26;
        /// Coprocessor 0 is usable in user mode.
        const CU0 = 1 << 28;
        /// Coprocessor 1 is usable.
        const CU1 = 1 << 29;
        const _ = !0;
    }
}

bitflags! {
    /// The Cause register.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Cause: u64 {
        /// Software interrupts 0 and 1.
        const IP_SOFTWARE = 3 << 8;
        /// The timer's interrupt, on IP7.
        const IP7 = 1 << 15;
        /// The exception code.
        const EXC_CODE = 0x1f << 2;
        /// Interrupts use the special vector.
        const IV = 1 << 23;
        /// The timer's interrupt is pending.
        const TI = 1 << 30;
        /// The number of the unusable coprocessor.
        const CE = 3 << 28;
        /// The exception was in a delay slot.
        const BD = 1 << 31;
        const _ = !0;
    }
}

/// The lowest interrupt-pending bit of Cause and interrupt-mask bit of Status.
pub const IP_SHIFT: u32 = 8;
