//! Guest exceptions as values: what happened, its code, and which vector it takes. Entering the
//! handler is the runtime's work.

use crate::addr::Va;

/// What an access wanted to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Read data.
    Load,
    /// Write data.
    Store,
    /// Read an instruction.
    Fetch,
}

/// A guest exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// An enabled interrupt is pending.
    Interrupt,
    /// A store to a page that is valid but not dirty.
    TlbModified(Va),
    /// No TLB entry matches: the refill vector.
    TlbRefill(Va, Intent),
    /// The matching TLB entry is not valid.
    TlbInvalid(Va, Intent),
    /// The page may not be read (and PageGrain.IEC asks for a code of its own).
    TlbReadInhibit(Va),
    /// The page may not be executed (and PageGrain.IEC asks for a code of its own).
    TlbExecuteInhibit(Va),
    /// A misaligned or forbidden address.
    AddressError(Va, Intent),
    /// Nothing answers at the physical address.
    BusError(Intent),
    /// SYSCALL.
    Syscall,
    /// BREAK.
    Breakpoint,
    /// An encoding that this CPU does not have.
    ReservedInstruction,
    /// Coprocessor 0 to 3 is not usable.
    CoprocessorUnusable(u8),
    /// Signed arithmetic overflowed.
    Overflow,
    /// A trap instruction's condition held.
    Trap,
    /// A floating-point exception that FCSR enables, or an unimplemented operation.
    FloatingPoint,
}

impl Exception {
    /// The value of Cause.ExcCode.
    ///
    /// Source: MD00091, table "Cause Register ExcCode Field".
    pub const fn code(self) -> u64 {
        use Exception as E;
        match self {
            E::Interrupt => 0,
            E::TlbModified(_) => 1,
            E::TlbRefill(_, Intent::Store) | E::TlbInvalid(_, Intent::Store) => 3,
            E::TlbRefill(..) | E::TlbInvalid(..) => 2,
            E::AddressError(_, Intent::Store) => 5,
            E::AddressError(..) => 4,
            E::BusError(Intent::Fetch) => 6,
            E::BusError(_) => 7,
            E::Syscall => 8,
            E::Breakpoint => 9,
            E::ReservedInstruction => 10,
            E::CoprocessorUnusable(_) => 11,
            E::Overflow => 12,
            E::Trap => 13,
            E::FloatingPoint => 15,
            E::TlbReadInhibit(_) => 19,
            E::TlbExecuteInhibit(_) => 20,
        }
    }

    /// The address that BadVAddr takes, if the exception has one.
    pub const fn bad_address(self) -> Option<Va> {
        use Exception as E;
        match self {
            E::TlbModified(va) | E::TlbRefill(va, _) | E::TlbInvalid(va, _) => Some(va),
            E::TlbReadInhibit(va) | E::TlbExecuteInhibit(va) | E::AddressError(va, _) => Some(va),
            _ => None,
        }
    }

    /// Whether Context, XContext and EntryHi also take the address.
    pub const fn is_tlb(self) -> bool {
        self.bad_address().is_some() && !matches!(self, Exception::AddressError(..))
    }

    /// The name that traces and listings show.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self.kind()]
    }
}

macro_rules! kinds {
    ($($variant:ident = $name:literal;)*) => {
        /// The kinds of exceptions, whatever comes with them.
        enum Kind {
            $($variant,)*
        }

        impl Exception {
            /// The names of all kinds of exceptions.
            pub const NAMES: &'static [&'static str] = &[$($name,)*];

            /// The number of the kind of exception in [`Exception::NAMES`].
            pub const fn kind(self) -> usize {
                let kind = match self {
                    $(Exception::$variant { .. } => Kind::$variant,)*
                };
                kind as usize
            }
        }
    };
}

kinds! {
    Interrupt = "interrupt";
    TlbModified = "TLB modified";
    TlbRefill = "TLB refill";
    TlbInvalid = "TLB invalid";
    TlbReadInhibit = "TLB read inhibit";
    TlbExecuteInhibit = "TLB execute inhibit";
    AddressError = "address error";
    BusError = "bus error";
    Syscall = "system call";
    Breakpoint = "breakpoint";
    ReservedInstruction = "reserved instruction";
    CoprocessorUnusable = "coprocessor unusable";
    Overflow = "arithmetic overflow";
    Trap = "trap";
    FloatingPoint = "floating-point exception";
}
