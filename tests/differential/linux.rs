//! What Linux would make of the exceptions of our machine, so that they can be compared with the
//! signals that QEMU gives.

use translator::cp0::Cp0;

use crate::qemu::signal;
use crate::state::{End, State};

/// Exception codes of Cause.
mod code {
    pub const TLB_LOAD: u64 = 2;
    pub const TLB_STORE: u64 = 3;
    pub const ADDRESS_LOAD: u64 = 4;
    pub const ADDRESS_STORE: u64 = 5;
    pub const BREAKPOINT: u64 = 9;
    pub const RESERVED: u64 = 10;
    pub const COPROCESSOR: u64 = 11;
    pub const OVERFLOW: u64 = 12;
    pub const TRAP: u64 = 13;
    pub const FLOAT: u64 = 15;
}

/// What is compared of a state with one from elsewhere: the end as a signal.
pub fn comparable(state: State) -> State {
    let end = match state.end {
        End::Exception { cause } => signal_of(cause, state.cp0[Cp0::BadVAddr as usize]),
        end => end,
    };
    State { end: of_aligned_unit(without_segments(end)), cp0: Vec::new(), ..state }
}

/// QEMU's user mode has no segments: what is an address error for us, and SIGBUS from Linux, is a
/// page that it does not find, unless it is also misaligned.
fn without_segments(end: End) -> End {
    const KERNEL_HALF: u64 = 1 << 63;
    match end {
        End::Signal { number: signal::BUS, address: Some(address) } if address & KERNEL_HALF != 0 => {
            End::Signal { number: signal::SEGV, address: Some(address) }
        }
        end => end,
    }
}

/// QEMU stores the parts of SWL and its like byte by byte, we by one aligned access.
fn of_aligned_unit(end: End) -> End {
    match end {
        End::Signal { number: signal::SEGV, address: Some(address) } => {
            End::Signal { number: signal::SEGV, address: Some(address & !7) }
        }
        end => end,
    }
}

fn signal_of(cause: u64, address: u64) -> End {
    let (number, address) = match cause >> 2 & 31 {
        code::TLB_LOAD | code::TLB_STORE => (signal::SEGV, Some(address)),
        code::ADDRESS_LOAD | code::ADDRESS_STORE => (signal::BUS, Some(address)),
        code::BREAKPOINT | code::TRAP => (signal::TRAP, None),
        code::RESERVED | code::COPROCESSOR => (signal::ILL, None),
        code::OVERFLOW | code::FLOAT => (signal::FPE, None),
        _ => (0, None),
    };
    End::Signal { number, address }
}
