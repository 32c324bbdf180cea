//! Guest images made from Debian packages: the stock MIPS64 kernel and a small userland.
//!
//! [`debian::prepare`] gets the packages with the host's own apt, as an ordinary user and without touching the host's
//! packages, and lays a kernel and an initramfs into a cache; from then on it only looks whether they are still there.
//! [`InitramfsBuilder`] makes other initramfs, as for a test that brings its own programs or those of other packages, and [`run_word`] makes a
//! guest run a script and end. The crate prints nothing, and depends on nothing else of the project.
#![forbid(unsafe_code)]

pub mod addition;
pub mod apt;
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
mod store;

pub use addition::add_packages;
pub use debian::{Flavour, Guest, Request};
pub use error::Error;
pub use initramfs::{InitramfsBuilder, run_word};
pub use progress::{Progress, Silent};
pub use store::default_cache;
