//! The host side of devices: streams, later disks and networks. It must not know any device.

pub mod output;
