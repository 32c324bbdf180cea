//! Everything about a vCPU's state that changes what an instruction means or how an address is read.
//! It is computed in one place, when Status changes, and only read elsewhere.

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

use crate::cp0::Status;

bitflags! {
    /// The part of the state that a translation depends on.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
    pub struct Mode: u32 {
        /// User privilege.
        const USER = 1 << 0;
        /// Supervisor privilege.
        const SUPERVISOR = 1 << 1;
        /// Addresses are 64 bits wide; otherwise sums wrap at 32 bits and are sign-extended.
        const WIDE_ADDRESSES = 1 << 2;
        /// 64-bit operations are allowed.
        const WIDE_OPERATIONS = 1 << 3;
        /// Coprocessor 0 is usable.
        const CP0_USABLE = 1 << 4;
        /// Status.FR: 32 FPU registers of 64 bits.
        const WIDE_FPU = 1 << 5;
        /// Status.ERL: kuseg is unmapped.
        const ERROR_LEVEL = 1 << 6;
        /// Memory is big-endian.
        const BIG_ENDIAN = 1 << 7;
        /// Blocks count the instructions that they run against the vCPU's budget.
        const COUNTED = 1 << 8;
        /// The block was fetched through the TLB, so its virtual address is not a constant.
        const MAPPED = 1 << 9;
        /// Memory is flat, as bare programs expect it: 32-bit virtual addresses are physical ones, and
        /// nothing is privileged.
        const FLAT = 1 << 10;
        /// Blocks count how often they are entered.
        const PROFILED = 1 << 11;
        /// Only one thread of the host uses the machine's memory, so that no access to it need be atomic
        /// or ordered.
        const ALONE = 1 << 12;
    }
}

impl Mode {
    /// The bits that choose which translation of an address applies.
    pub const VIEW: Mode =
        Mode::USER.union(Mode::SUPERVISOR).union(Mode::WIDE_ADDRESSES).union(Mode::ERROR_LEVEL);
    /// The bits that stay as they are when Status changes.
    const FIXED: Mode =
        Mode::BIG_ENDIAN.union(Mode::COUNTED).union(Mode::FLAT).union(Mode::PROFILED).union(Mode::ALONE);

    /// The mode after Status became `status`; what Status does not say is kept from `self`.
    pub fn with_status(self, status: Status) -> Mode {
        let mut mode = self & Self::FIXED;
        let kernel = self.contains(Mode::FLAT)
            || status.intersects(Status::EXL | Status::ERL)
            || !status.intersects(Status::KSU_USER | Status::KSU_SUPERVISOR);
        let (wide_addresses, wide_operations) = if kernel {
            (status.contains(Status::KX), true)
        } else if status.contains(Status::KSU_USER) {
            mode |= Mode::USER;
            (status.contains(Status::UX), status.intersects(Status::UX | Status::PX))
        } else {
            mode |= Mode::SUPERVISOR;
            (status.contains(Status::SX), status.contains(Status::SX))
        };
        mode.set(Mode::WIDE_ADDRESSES, wide_addresses);
        mode.set(Mode::WIDE_OPERATIONS, wide_operations);
        mode.set(Mode::CP0_USABLE, kernel || status.contains(Status::CU0));
        mode.set(Mode::WIDE_FPU, status.contains(Status::FR));
        mode.set(Mode::ERROR_LEVEL, status.contains(Status::ERL));
        mode
    }

    /// Whether this is kernel privilege.
    pub const fn is_kernel(self) -> bool {
        !self.intersects(Mode::USER.union(Mode::SUPERVISOR))
    }
}
