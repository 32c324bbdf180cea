//! Each `*.s` beside this file says in its first comments what must come of it, under every engine and in slices of
//! every size:
//!
//! ```text
//! # cpu: mips64r2         # endian: big (both without this)        # compat: spim
//! # input: 12\n           what is typed
//! # output: Hello\n       what is printed; lines of output are put together
//! # ends: exit 7          or a part of what is reported
//! # $t0 = 0x2a            a register at the end
//! ```

use std::fs;
use std::path::Path;

use runtime::program::ProgramVm;
use translator::asm::{Compat, Cpu, Endian, Options};
use translator::isa::text::GPR_NAMES_O32;

use crate::harness::{ENGINES, Memory, assemble, ending, run};

/// More than any of them needs.
const PATIENCE: u64 = 3_000_000;

#[derive(Default)]
struct Expected {
    options: Options,
    /// Whether `options.endian` is asked for.
    one_endian: bool,
    input: String,
    output: String,
    ends: String,
    registers: Vec<(String, u64)>,
}

fn unescape(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\t", "\t")
}

fn expected(source: &str) -> Expected {
    let mut expected = Expected::default();
    for line in source.lines().map_while(|line| line.strip_prefix("# ")) {
        if let Some((name, value)) = line.strip_prefix('$').and_then(|line| line.split_once(" = ")) {
            let value = value.trim();
            let digits = value.strip_prefix("0x").map(|hex| u64::from_str_radix(hex, 16).unwrap());
            expected.registers.push((name.into(), digits.unwrap_or_else(|| value.parse().unwrap())));
            continue;
        }
        let Some((name, value)) = line.split_once(": ") else { continue };
        match (name, value) {
            ("cpu", "mips64r2") => expected.options.cpu = Cpu::Mips64r2,
            ("endian", order) => {
                expected.options.endian = if order == "big" { Endian::Big } else { Endian::Little };
                expected.one_endian = true;
            }
            ("compat", "spim") => expected.options.compat = Compat::Spim,
            ("compat", "gas") => expected.options.compat = Compat::Gas,
            ("input", text) => expected.input.push_str(&unescape(text)),
            ("output", text) => expected.output.push_str(&unescape(text)),
            ("ends", text) => expected.ends = text.into(),
            _ => {}
        }
    }
    expected
}

fn check(path: &Path) {
    let source = fs::read_to_string(path).unwrap();
    let expected = expected(&source);
    check_with(path, &source, &expected, expected.options);
    if !expected.one_endian {
        check_with(path, &source, &expected, Options { endian: Endian::Big, ..expected.options });
    }
}

fn check_with(path: &Path, source: &str, expected: &Expected, options: Options) {
    let name = format!("{} ({:?})", path.file_name().unwrap().to_string_lossy(), options.endian);
    let image = assemble(&name, source, options);
    let mut counts = Vec::new();
    for engine in ENGINES {
        for slice in [1, 7, 100, PATIENCE] {
            let case = format!("{name}, {engine:?}, slices of {slice}");
            let mut vm = ProgramVm::new(image.clone(), engine).unwrap();
            let mut console = Memory { input: expected.input.clone().into(), output: Vec::new() };
            run(&mut vm, &mut console, slice, PATIENCE);
            assert_eq!(String::from_utf8_lossy(&console.output), expected.output, "{case}");
            let end = ending(&vm);
            assert!(end.contains(&expected.ends) && end != "runs", "{case}: {end}");
            let registers = vm.registers();
            for (register, value) in &expected.registers {
                let number = GPR_NAMES_O32.iter().position(|name| name == register).unwrap();
                let found = registers.gpr[number];
                let found = if registers.wide { found } else { u64::from(found as u32) };
                assert_eq!(found, *value, "{case}: ${register} is {found:#x}");
            }
            counts.push(vm.retired());
        }
    }
    assert!(counts.windows(2).all(|pair| pair[0] == pair[1]), "{name}: {counts:?} instructions");
}

#[test]
fn every_file_does_what_it_says() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program");
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut programs: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "s")).collect();
    programs.sort();
    assert!(programs.len() >= 10, "{} programs", programs.len());
    programs.iter().for_each(|path| check(path));
}
