//! The hypervisor stubs that generated code calls: names and order. The runtime gives each a body;
//! a stub either finishes its instruction or turns it into a guest exception.

macro_rules! stubs {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A hypervisor stub.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Stub {
            $($(#[$doc])* $name,)*
        }

        impl Stub {
            /// Every stub.
            pub const ALL: &'static [Stub] = &[$(Stub::$name,)*];
            /// The number of stubs.
            pub const COUNT: usize = Self::ALL.len();

            /// The name that dumps and statistics show.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Stub::$name => stringify!($name),)*
                }
            }
        }
    };
}

stubs! {
    /// Load that missed the soft TLB, or whose guard failed ([`GUARDED`]). Arguments: address, access;
    /// gives the value.
    Load,
    /// Load that missed the soft TLB and comes before a store to the same word.
    LoadForStore,
    /// Store that missed the soft TLB. Arguments: address, value, access.
    Store,
    /// Load at a site that met a device. Arguments: address, access; gives the value.
    DeviceLoad,
    /// Store at a site that met a device. Arguments: address, value, access.
    DeviceStore,
    /// Load linked that missed the soft TLB. Arguments: address, access; gives the value.
    LoadLinked,
    /// Store conditional that missed the soft TLB. Arguments: address, value, access; gives 1 or 0.
    StoreConditional,
    /// Raise the exception whose index is the immediate.
    Raise,
    /// Read a coprocessor 0 register that has effects. Immediate: register; gives the value.
    ReadCp0,
    /// Write a coprocessor 0 register that has effects. Argument: value; immediate: register.
    WriteCp0,
    /// An interrupt is pending and no longer masked.
    Interrupt,
    /// TLBP.
    TlbProbe,
    /// TLBR.
    TlbRead,
    /// TLBWI.
    TlbWriteIndexed,
    /// TLBWR.
    TlbWriteRandom,
    /// TLBINV.
    TlbInvalidate,
    /// TLBINVF.
    TlbInvalidateAll,
    /// ERET.
    ExceptionReturn,
    /// WAIT.
    Wait,
    /// RDHWR of a register that is not a plain field. Immediate: register; gives the value.
    ReadHardware,
    /// HYPCALL. Immediate: code.
    Hypercall,
    /// A floating-point instruction by the exact rules. Immediate: its word.
    Float,
    /// A floating-point instruction that cannot use the host's FPU begins: the unit is unusable, or
    /// the rest of the block must be interpreted.
    NeedFpu,
    /// The delay slot on the next page is perhaps not what the block was made from. Immediate: that word.
    CheckSlot,
    /// CFC1. Immediate: register; gives the value.
    ReadFloatControl,
    /// CTC1. Argument: value; immediate: register.
    WriteFloatControl,
    /// The block at the program counter is not in the jump cache. Gives its host address.
    Find,
    /// A jump went to another target than it was patched for. Argument: the target; gives the host address
    /// of the block there.
    Retarget,
    /// Memory differs from the bytes that the block was made from. Gives the host address of the block
    /// that is there now.
    Recheck,
    /// A link is not joined. Argument: the address after its stub's call; gives the host address of the
    /// block at the program counter.
    Join,
}

/// Set in the immediate of [`Stub::Load`] if the site was patched and its guard failed.
pub const GUARDED: u32 = 1 << 8;

impl Stub {
    /// Whether the stub looks for the way on between blocks, and belongs to no instruction.
    pub const fn is_between_blocks(self) -> bool {
        matches!(self, Stub::Find | Stub::Retarget | Stub::Recheck | Stub::Join)
    }

    /// Whether the mode or a mapping may be another after the stub.
    pub const fn may_change_mode(self) -> bool {
        matches!(
            self,
            Stub::WriteCp0
                | Stub::TlbRead
                | Stub::TlbWriteIndexed
                | Stub::TlbWriteRandom
                | Stub::TlbInvalidate
                | Stub::TlbInvalidateAll
        )
    }
}

/// What generated code does after a stub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Flow {
    /// Goes on with the next instruction.
    Next = 0,
    /// Goes to the block at [`Cpu::pc`](crate::cpu::Cpu::pc), in whatever mode now holds.
    Redispatch = 1,
    /// Leaves to the run loop; `Cpu::pc` is where to go on.
    Leave = 2,
    /// Goes to the host address that the stub gave: the block at `Cpu::pc`.
    Enter = 3,
}
