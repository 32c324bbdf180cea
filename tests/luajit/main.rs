//! A just-in-time compiler in the guest: Debian's LuaJIT on the stock kernel. It writes, patches and frees machine code
//! as it goes, so stale code would show in what its programs print. With the feature `self-check` every block is
//! compared with memory besides.

#[path = "../host/mod.rs"]
mod host;

use host::{myvmm, text};
use image::{Flavour, Request, Silent};

const PROGRAMS: &str = include_str!("programs.lua");
const SCRIPT: &str = "
luajit /programs.lua > compiled && luajit -joff /programs.lua > interpreted || exit 1
cmp compiled interpreted && cat compiled
exit 7
";

#[test]
fn luajit_computes_what_its_interpreter_does() {
    let request = Request::new(image::default_cache().unwrap(), Flavour::Generic);
    let guest = image::debian::prepare(&request, &mut Silent).unwrap();
    let mut builder = guest.builder().unwrap();
    image::add_packages(&mut builder, &request, &["luajit"], &mut Silent).unwrap();
    builder.add_file("programs.lua", 0o644, PROGRAMS).unwrap();
    let initramfs = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(initramfs.path(), builder.build().unwrap()).unwrap();
    let words = format!("console=ttyS0 quiet {}", image::run_word(SCRIPT).unwrap());
    for engine in ["auto", "jit"] {
        let mut command = myvmm(["run", "--engine", engine, "--append", &words, "--no-reboot", "--kernel"]);
        let output = command.arg(&guest.kernel).arg("--initrd").arg(initramfs.path()).output().unwrap();
        let (shown, said) = (text(&output.stdout), text(&output.stderr));
        // Known without any Lua: the 24th Fibonacci number, and how many primes there are below 100,000.
        for line in ["fib\t46368", "sieve\t9592", "myvmm: exit 7"] {
            assert!(shown.contains(line), "no `{line}` with {engine} in:\n{said}\n{shown}");
        }
    }
}
