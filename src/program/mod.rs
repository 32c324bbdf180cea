//! Programs in assembly on the console: loading them, running them in turns, and telling what became of them. It must
//! not know the command line.

pub mod config;
mod dialect;
mod input;
pub mod load;
pub mod once;
mod output;
mod player;
mod session;

pub use dialect::Dialect;
pub use load::Request;
pub use player::DumpFormat;
pub use session::Session;
