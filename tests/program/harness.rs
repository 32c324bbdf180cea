//! Programs in this process: a console in memory, and runs to the end in slices.

use std::io;
use std::sync::Arc;

use runtime::program::{Console, End, Image, Options, ProgramVm, Turn, Until};
use runtime::vcpu::Engine;
use translator::asm::{self, Para};

/// The engines that must agree.
pub const ENGINES: [Engine; 3] = [Engine::Interpreter, Engine::Jit, Engine::Auto];

/// A console in memory.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub input: Vec<u8>,
    pub output: Vec<u8>,
}

impl Console for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.extend(bytes);
        Ok(())
    }

    fn read(&mut self, until: Until) -> io::Result<Option<Vec<u8>>> {
        let there = self.input.len();
        let length = match until {
            Until::Newline(limit) => {
                let line = self.input.iter().position(|byte| *byte == b'\n').map_or(there, |index| index + 1);
                line.min(limit)
            }
            Until::Count(limit) => there.min(limit),
        };
        Ok(Some(self.input.drain(..length).collect()))
    }
}

pub fn assemble(name: &str, source: &str, options: asm::Options) -> Arc<Image> {
    let program = asm::assemble(name, &[(name, source)], &options);
    let program = program.unwrap_or_else(|errors| panic!("{name}:\n{errors}"));
    let options = Options { cpu: options.cpu, endian: options.endian, compat: options.compat };
    Arc::new(Image::assembled(name, program, options).unwrap())
}

/// Runs at most `limit` instructions in slices. Requests for snapshots and migration are left out.
pub fn run(vm: &mut ProgramVm, console: &mut Memory, slice: u64, limit: u64) {
    while vm.end().is_none() && vm.retired() < limit {
        vm.grant(slice.min(limit - vm.retired()));
        loop {
            match vm.run(console) {
                Turn::Slice | Turn::Ended => break,
                Turn::Called => {}
                Turn::Para(Para::DumpProcessorState) => {
                    vm.dump();
                }
                Turn::Para(_) | Turn::Notice(_) => {}
                Turn::Waiting(limit) => std::thread::sleep(limit.unwrap_or_default()),
            }
        }
    }
}

/// How it ended, in words that a test can compare.
pub fn ending(vm: &ProgramVm) -> String {
    match vm.end() {
        Some(End::Exit(code)) => format!("exit {code}"),
        Some(End::Returned) => "returned".into(),
        Some(End::RanOff(_)) => "ran off".into(),
        Some(End::Fault(fault) | End::Halted(fault)) => fault.to_string(),
        Some(End::Console(error)) => error.to_string(),
        None => "runs".into(),
    }
}

/// A number from the environment.
pub fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")),
        Err(_) => default,
    }
}
