//! Snapshots: taken anywhere, they lead to the same end under either engine, and nothing but a whole snapshot of the
//! same program is taken.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use fuzzing::Numbers;
use runtime::program::{Image, ProgramVm};
use runtime::vcpu::Engine;
use tempfile::TempDir;
use translator::asm::{Compat, Cpu, Endian, Options};

use crate::harness::{ENGINES, Memory, assemble, ending, run, setting};
use crate::spim::generate;

const PATIENCE: u64 = 200_000;

pub struct Result {
    output: Vec<u8>,
    end: String,
    pub registers: runtime::program::Registers,
    memory: Vec<u8>,
}

pub fn finish(vm: &mut ProgramVm, mut console: Memory) -> Result {
    run(vm, &mut console, 1000, PATIENCE);
    let memory = vm.read(translator::addr::Va(0x1001_0000), 4096).unwrap();
    Result { output: console.output, end: ending(vm), registers: vm.registers(), memory }
}

pub fn assert_same(case: &str, found: &Result, expected: &Result) {
    assert_eq!(String::from_utf8_lossy(&found.output), String::from_utf8_lossy(&expected.output), "{case}");
    assert_eq!(found.end, expected.end, "{case}");
    assert_eq!(found.registers, expected.registers, "{case}");
    assert!(found.memory == expected.memory, "{case}: memory differs");
}

pub fn options(numbers: &mut Numbers) -> Options {
    Options {
        cpu: numbers.one_of(&[Cpu::Mips32r2, Cpu::Mips64r2]),
        endian: numbers.one_of(&[Endian::Little, Endian::Big]),
        compat: Compat::Spim,
        ..Options::default()
    }
}

/// A program that is stopped somewhere, with the rest of its input and the file that it works on.
struct Stopped {
    snapshot: Vec<u8>,
    console: Memory,
    file: Option<Vec<u8>>,
}

impl Stopped {
    /// Runs in short slices to the settled point after about `at` instructions.
    fn new(vm: &mut ProgramVm, console: &mut Memory, slice: u64, at: u64, directory: &Path) -> Self {
        run(vm, console, slice, at);
        let file = fs::read(directory.join(generate::FILE)).ok();
        Self { snapshot: vm.snapshot(), console: console.clone(), file }
    }

    /// Makes the file what it was.
    fn put_back(&self, directory: &Path) {
        if let Some(bytes) = &self.file {
            fs::write(directory.join(generate::FILE), bytes).unwrap();
        }
    }
}

/// A random program, and what it comes to if nobody disturbs it.
pub struct Sample {
    pub image: Arc<Image>,
    pub expected: Result,
    input: String,
    /// Where its file is.
    directory: TempDir,
}

impl Sample {
    pub fn new(seed: u64, numbers: &mut Numbers) -> Self {
        let options = options(numbers);
        let directory = TempDir::new().unwrap();
        let program = generate::program(seed);
        let image = assemble("random.s", &program.text_in(directory.path()), options);
        let input = program.input;
        let console = Memory { input: input.clone().into(), output: Vec::new() };
        let expected = finish(&mut ProgramVm::new(image.clone(), Engine::Interpreter).unwrap(), console);
        Self { image, expected, input, directory }
    }

    /// A console with all of its input.
    pub fn console(&self) -> Memory {
        Memory { input: self.input.clone().into(), output: Vec::new() }
    }

    /// How many instructions it runs.
    pub fn length(&self) -> u64 {
        self.expected.registers.instructions
    }
}

fn check(seed: u64) {
    let mut numbers = Numbers::new(seed);
    let sample = Sample::new(seed, &mut numbers);
    let (length, image, directory) = (sample.length(), &sample.image, sample.directory.path());
    for _ in 0..4 {
        let (at, first, second) =
            (numbers.below(length.max(1)), numbers.one_of(&ENGINES), numbers.one_of(&ENGINES));
        let case = format!("seed {seed}, snapshot after {at} of {length} by {first:?}, then {second:?}");
        let mut console = sample.console();
        let mut vm = ProgramVm::new(image.clone(), first).unwrap();
        let stopped = Stopped::new(&mut vm, &mut console, 1 + numbers.below(50), at, directory);
        assert_same(&case, &finish(&mut vm, console), &sample.expected);
        stopped.put_back(directory);
        let mut resumed = ProgramVm::resume(image.clone(), second, &stopped.snapshot).unwrap();
        assert_same(&case, &finish(&mut resumed, stopped.console), &sample.expected);
    }
}

#[test]
fn a_snapshot_anywhere_leads_to_the_same_end() {
    (1..=setting("MYVMM_PROGRAM_SNAPSHOTS", 40)).for_each(check);
}

/// The program with a request for a snapshot before its last instructions.
fn with_snapshot_at_end(text: &str, path: &Path) -> String {
    let request = format!("        SNAPSHOT {}\n", path.display());
    let text = text.replace("        jr $s7\n", &format!("{request}        jr $s7\n"));
    text.replace("        li $v0, 10\n", &format!("{request}        li $v0, 10\n"))
}

/// Stops a random program anywhere, and lets a new process with another engine run the rest, which takes a snapshot at
/// the end. That must be what the program is at its end if nothing stops it.
fn check_in_new_process(seed: u64) {
    let mut numbers = Numbers::new(seed);
    let options = options(&mut numbers);
    let directory = TempDir::new().unwrap();
    let (source, start, end) = (
        directory.path().join("random.s"),
        directory.path().join("start.snapshot"),
        directory.path().join("end.snapshot"),
    );
    let program = generate::program(seed);
    let text = with_snapshot_at_end(&program.text_in(directory.path()), &end);
    fs::write(&source, &text).unwrap();
    let image = assemble("random.s", &text, options);
    let fresh = || Memory { input: program.input.clone().into(), output: Vec::new() };
    let expected = finish(&mut ProgramVm::new(image.clone(), Engine::Interpreter).unwrap(), fresh());
    let (first, second, name) = numbers
        .one_of(&[(Engine::Interpreter, Engine::Jit, "jit"), (Engine::Jit, Engine::Interpreter, "interp")]);
    // The request for the snapshot and what comes behind it are left to the new process.
    let at = numbers.below(expected.registers.instructions - 6);
    let case = format!("seed {seed}, snapshot after {at} by {first:?}, then a process with {name}");

    let mut vm = ProgramVm::new(image.clone(), first).unwrap();
    let stopped = Stopped::new(&mut vm, &mut fresh(), 1 + numbers.below(50), at, directory.path());
    fs::write(&start, &stopped.snapshot).unwrap();
    fs::write(directory.path().join("input"), &stopped.console.input).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_myvmm"))
        .args(["-v".as_ref(), source.as_os_str(), "-s".as_ref(), start.as_os_str()])
        .args(["--cpu", if options.cpu == Cpu::Mips64r2 { "mips64r2" } else { "mips32r2" }])
        .args(["--endian", if options.endian == Endian::Big { "big" } else { "little" }])
        .args(["--compat", "spim", "--engine", name, "--slice", &(1 + numbers.below(1000)).to_string()])
        .stdin(fs::File::open(directory.path().join("input")).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{case}: {}", String::from_utf8_lossy(&output.stderr));
    let printed = [stopped.console.output, output.stdout].concat();
    let mut resumed = ProgramVm::resume(image, second, &fs::read(end).unwrap()).unwrap();
    assert_same(&case, &finish(&mut resumed, Memory { input: Vec::new(), output: printed }), &expected);
}

#[test]
fn a_new_process_goes_on_from_a_snapshot_anywhere() {
    (1..=setting("MYVMM_PROGRAM_SNAPSHOTS", 40)).for_each(check_in_new_process);
}

fn small(text: &str, options: Options) -> Arc<Image> {
    assemble("small.s", text, options)
}

#[test]
fn damaged_and_foreign_snapshots_are_refused() {
    const TEXT: &str = "main: li $t0, 5\n sw $t0, 0($gp)\n jr $ra";
    let image = small(TEXT, Options::default());
    let mut vm = ProgramVm::new(image.clone(), Engine::Jit).unwrap();
    run(&mut vm, &mut Memory::default(), 1, 2);
    let good = vm.snapshot();
    assert!(good.len() < 4096, "{} bytes", good.len());
    let refused = |image: &Arc<Image>, bytes: &[u8]| {
        ProgramVm::resume(image.clone(), Engine::Jit, bytes).err().expect("refused").to_string()
    };
    for length in (0..good.len()).step_by(7) {
        refused(&image, &good[..length]);
    }
    for index in (0..good.len()).step_by(3) {
        let mut bad = good.clone();
        bad[index] ^= 1 << (index % 8);
        refused(&image, &bad);
    }
    assert!(refused(&image, b"main: nop\n").contains("no snapshot"));
    let other = small("main: li $t0, 6\n jr $ra", Options::default());
    assert!(refused(&other, &good).contains("another program"));
    let big = small(TEXT, Options { endian: Endian::Big, ..Options::default() });
    assert!(refused(&big, &good).contains("big-endian"));
    assert!(ProgramVm::resume(image, Engine::Jit, &good).is_ok());
}
