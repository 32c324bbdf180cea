//! The subcommands, one file each.

pub mod debian;
pub mod run;
