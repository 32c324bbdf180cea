//! The host side of devices: streams, later disks and networks. It must not know any device.

pub mod disk;
pub mod events;
pub mod net;
pub mod output;
