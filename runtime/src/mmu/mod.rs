//! Address translation: segments, the architectural TLB with its page walker, and the soft TLBs that
//! generated code reads.

pub mod segment;
pub mod soft;
pub mod tlb;
pub mod walk;
