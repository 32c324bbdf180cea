//! The host side of devices: disks, networks, consoles. It must not know any device.

pub mod disk;
pub mod events;
pub mod listener;
pub mod net;
pub mod output;
pub mod terminal;
