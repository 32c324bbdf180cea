//! Guest addresses as types, so that a virtual address never reaches a place that wants a physical one.

use std::fmt;
use std::ops::Add;

use serde::{Deserialize, Serialize};

/// Bytes in the smallest guest page; blocks, soft-TLB entries and page flags all use this unit.
pub const PAGE_SIZE: u64 = 4096;
/// The bits of an address inside a page.
pub const PAGE_OFFSET_MASK: u64 = PAGE_SIZE - 1;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[repr(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The first address of the page that holds this one.
            #[inline]
            pub const fn page(self) -> Self {
                Self(self.0 & !PAGE_OFFSET_MASK)
            }

            /// The offset of this address in its page.
            #[inline]
            pub const fn page_offset(self) -> u64 {
                self.0 & PAGE_OFFSET_MASK
            }

            /// The number of the page that holds this address.
            #[inline]
            pub const fn page_number(self) -> u64 {
                self.0 / PAGE_SIZE
            }
        }

        impl Add<u64> for $name {
            type Output = Self;
            #[inline]
            fn add(self, bytes: u64) -> Self {
                Self(self.0.wrapping_add(bytes))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:#x})", stringify!($name), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

address! {
    /// A guest virtual address, 64 bits wide; 32-bit addresses are held sign-extended.
    Va
}
address! {
    /// A guest physical address.
    Pa
}
