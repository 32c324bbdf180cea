//! The guest programs of the benchmark: their sources, what they compute and how often, and the assembler's result for
//! myvmm and for Linux. It must not know who runs them.

use std::sync::Arc;

use anyhow::Context as _;
use runtime::program::{Image, Options};
use translator::asm::{self, Cpu, Program};

use super::native;

/// A guest program. Its source has a function `unit`, which leaves `result` in `$v0`.
pub struct Workload {
    /// The name.
    pub name: &'static str,
    /// What it does, for people.
    pub about: &'static str,
    source: &'static str,
    result: i32,
    /// How often `unit` is called where it is fast: about a tenth of a second.
    repeats: u64,
    /// The same in Rust, if there is such a thing.
    pub native: Option<fn() -> i32>,
    /// Whether it runs in user mode of Linux too.
    pub is_portable: bool,
}

/// How many times as often a program is repeated where it is fast as where it is slow.
const SLOW_SHARE: u64 = 20;

/// What all programs have around `unit`.
const FRAME: &str = include_str!("programs/frame.s");

const PROGRAM_EXIT: u32 = 17;
/// `exit` of the n64 interface (`arch/mips/kernel/syscalls/syscall_n64.tbl`).
const LINUX_EXIT: u32 = 5058;

/// A row of [`WORKLOADS`]: the file, what it is about, result, repeats, native equivalent, portability.
macro_rules! workload {
    ($name:literal, $about:literal, $result:literal, $repeats:literal, $native:expr, $portable:literal) => {
        Workload {
            name: $name,
            about: $about,
            source: include_str!(concat!("programs/", $name, ".s")),
            result: $result,
            repeats: $repeats,
            native: $native,
            is_portable: $portable,
        }
    };
}

/// All programs.
pub const WORKLOADS: [Workload; 13] = [
    workload!(
        "integer",
        "a loop of dependent integer operations",
        758349436,
        200,
        Some(native::integer),
        true
    ),
    workload!("stream", "three passes over 256 KB", 134324224, 400, Some(native::stream), true),
    workload!("sieve", "primes by the sieve of Eratosthenes", 6542, 100, Some(native::sieve), true),
    workload!("recursion", "calls and returns: Fibonacci", 6765, 300, Some(native::recursion), true),
    workload!("chase", "a list in random order", -524288, 40, Some(native::chase), true),
    workload!("matrix", "a product of matrices of doubles", 2793472, 300, Some(native::matrix), true),
    workload!("sort", "the sort of Shell", -962575636, 40, Some(native::sort), true),
    workload!("strings", "bytes as text", 424565, 400, Some(native::strings), true),
    workload!("dispatch", "an interpreter: jumps by a table", 1067214693, 80, Some(native::dispatch), true),
    workload!("atomics", "load-linked and store-conditional", 200010000, 200, Some(native::atomics), true),
    workload!("hash", "64-bit products: FNV-1a", -1906777314, 400, Some(native::hash), true),
    workload!("exceptions", "traps to the program's own handler", 5000, 200, None, false),
    workload!("selfmodify", "code that is written anew before each call", 20100, 60, None, true),
];

impl Workload {
    /// How often `unit` is called by what is fast, or by what is slow.
    pub fn repeats(&self, slow: bool) -> u64 {
        if slow { self.repeats.div_ceil(SLOW_SHARE) } else { self.repeats }
    }

    /// The program for myvmm.
    ///
    /// # Errors
    /// Fails if the source is wrong, which a test rules out.
    pub fn image(&self, repeats: u64) -> anyhow::Result<Arc<Image>> {
        let options = Options { cpu: Cpu::Mips64r2, ..Options::default() };
        Ok(Arc::new(Image::assembled(self.name, self.assemble(repeats, PROGRAM_EXIT)?, options)?))
    }

    /// The program for Linux.
    ///
    /// # Errors
    /// As [`Workload::image`].
    pub fn linux_program(&self, repeats: u64) -> anyhow::Result<Program> {
        self.assemble(repeats, LINUX_EXIT)
    }

    fn assemble(&self, repeats: u64, exit: u32) -> anyhow::Result<Program> {
        let (name, result, source) = (self.name, self.result, self.source);
        let text = format!(
            ".eqv REPEATS {repeats}\n.eqv RESULT {result}\n.eqv EXIT {exit}\n.text\n{FRAME}\n{source}"
        );
        let options = asm::Options { cpu: Cpu::Mips64r2, ..asm::Options::default() };
        asm::assemble(name, &[(name, text.as_str())], &options)
            .map_err(|errors| anyhow::anyhow!("{errors}"))
            .with_context(|| format!("The benchmark {name} cannot be assembled"))
    }

    /// Whether `result` is that of `unit`.
    pub fn is_right(&self, result: i32) -> bool {
        result == self.result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_equivalents_give_the_same_results() {
        for workload in &WORKLOADS {
            if let Some(native) = workload.native {
                assert!(workload.is_right(native()), "{}", workload.name);
            }
        }
    }
}
