//! Boards: which devices a machine has and where. One list, the [`plan::Plan`], makes both the bus
//! and the device tree, so that no address is written twice.

pub mod fdt;
pub mod plan;
pub mod virt;
