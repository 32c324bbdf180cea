//! Guest images made from Debian packages: the stock MIPS64 kernel and a small userland.
//!
//! [`debian::prepare`] gets the packages with the host's own apt, as an ordinary user and without touching the host's
//! packages, and lays a kernel and an initramfs into a cache; from then on it only looks whether they are still there.
//! [`root::prepare`] does the same for a whole Debian system, which a machine installs on a disk by itself.
//! [`InitramfsBuilder`] makes other initramfs, as for a test that brings its own programs, [`add_packages`] adds those
//! of other packages, and [`run_word`] makes a
//! guest run a script and end. The crate prints nothing, and depends on nothing else of the project.
#![forbid(unsafe_code)]

pub mod addition;
pub mod apt;
mod archive;
mod base64;
pub mod busybox;
pub mod cpio;
pub mod debian;
mod error;
pub mod initramfs;
mod mirror;
pub mod module;
mod program;
mod progress;
pub mod root;
mod store;

pub use addition::add_packages;
pub use debian::{Flavour, Guest, Request};
pub use error::Error;
pub use initramfs::{BOOT_DISK_WORD, InitramfsBuilder, key_word, run_word};
pub use progress::{Progress, Silent};
pub use store::default_cache;
