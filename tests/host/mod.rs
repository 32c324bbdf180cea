//! What tests of the whole program share: guests, a terminal, clients and the program itself. It must not know what is tested.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod control;
pub mod guest;
pub mod machine;
pub mod pty;
pub mod records;

use std::io::{self, Write as _};
use std::process::{Command, Output, Stdio};

/// The program, with these arguments and nothing to read.
pub fn myvmm<I: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = I>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_myvmm"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the program with `input` on a pipe.
pub fn run_with_input(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // The pipe stays open until the program has ended, as that of a person who says no more.
    let mut pipe = child.stdin.take().unwrap();
    match pipe.write_all(input) {
        // One that refuses to begin has perhaps ended by now.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.unwrap(),
    }
    let output = child.wait_with_output().unwrap();
    drop(pipe);
    output
}

/// What was printed, as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
