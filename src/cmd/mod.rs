//! The subcommands, one file each.

pub mod bench;
pub mod control;
pub mod debian;
pub mod dump;
pub mod inspect;
pub mod migrate;
pub mod program;
pub mod ps;
pub mod receive;
pub mod run;
pub mod snapshot;
