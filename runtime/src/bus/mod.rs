//! The physical address space outside RAM: which device answers at which address.

pub mod irq;
