//! `myvmm dump` as a person and a shell see it: what each form shows of a program and of a kernel, and what is refused.

mod host;

use std::io::Write as _;
use std::process::Output;

use host::guest::{self, Guest};
use host::{myvmm, run_with_input, text};
use tempfile::NamedTempFile;

const PROGRAM: &str = "\
        .text
main:   li    $t0, 3
loop:   addi  $t0, $t0, -1
        bnez  $t0, loop
        ll    $t1, 0($sp)
        li    $v0, 10
        syscall
        .ktext 0x80000180
        mfc0  $k0, $13
        eret
";

fn program() -> NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".s").tempfile().unwrap();
    file.write_all(PROGRAM.as_bytes()).unwrap();
    file
}

fn dump(arguments: &[&str]) -> Output {
    let file = program();
    let path = file.path().to_str().unwrap();
    myvmm(["dump", path]).args(arguments).output().unwrap()
}

fn shown(arguments: &[&str]) -> String {
    let output = dump(arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

#[test]
fn a_program_shows_every_stage() {
    let all = shown(&[]);
    for words in
        ["loop", "one to one: always an exception", "one to many: the link is an address", "stub.LoadLinked"]
    {
        assert!(all.contains(words), "no `{words}` in {all}");
    }
    let plan = shown(&["--stage", "plan", "--symbol", "loop"]);
    assert!(plan.contains("raise Syscall") && plan.contains("kept: innocuous"), "{plan}");
    assert!(!plan.contains("[cpu.") && !plan.contains("main"), "{plan}");
}

/// A program with a load from one bank of RAM, and a call by register that goes to one place for a while and then to
/// another.
const SITES: &str = "\
        .data
buffer: .word 7
        .text
main:   li    $s0, 60
        la    $s1, buffer
        la    $t9, one
        la    $t8, two
loop:   lw    $a0, 0($s1)
        jalr  $t9
        li    $t1, 30
        bne   $s0, $t1, next
        move  $t9, $t8
next:   addiu $s0, $s0, -1
        bnez  $s0, loop
        li    $v0, 1
        syscall
        DUMP_PROCESSOR_STATE
        li    $v0, 10
        syscall
unused: nop
one:    jr    $ra
two:    jr    $ra
";

fn sites() -> NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".s").tempfile().unwrap();
    file.write_all(SITES.as_bytes()).unwrap();
    file
}

#[test]
fn after_a_run_blocks_are_as_they_then_are() {
    let file = sites();
    let path = file.path().to_str().unwrap();
    let shown = |arguments: &[&str]| {
        let output = myvmm(["dump", path]).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        (text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
    };
    for engine in ["auto", "jit"] {
        let (all, printed) = shown(&["--run", "--stage=plan", "--engine", engine]);
        assert!(printed.starts_with("7\n") && printed.contains("after 671 instructions"), "{printed}");
        let mut words = vec!["* patched: one target 0x", "* patched back: plain", "entered 59 times"];
        if engine == "auto" {
            words = vec![
                "the site met only RAM that no TLB maps",
                "* patched: unmapped RAM at 0x10000000..=0x1fffffff",
                "* patched back: plain",
                "(link, joined)",
                "without host code",
            ];
        }
        words.iter().for_each(|words| assert!(all.contains(words), "{engine}: no `{words}` in {all}"));
    }
    // In the middle of its run, one place is all that the call has gone to.
    let (middle, printed) = shown(&["--run=100", "--stage=plan", "--symbol=loop"]);
    assert!(middle.contains("the jump went to one place only") && printed.is_empty(), "{middle}{printed}");
    assert!(!middle.contains("patched back"), "{middle}");
    let (hot, _) = shown(&["--run", "--hot=2", "--stage=decode"]);
    let entered: Vec<_> = hot.lines().filter(|line| line.contains("; entered ")).collect();
    assert_eq!(entered.len(), 2, "{hot}");
    let (plain, _) = shown(&["--stage=plan"]);
    assert!(!plain.contains("patched") && !plain.contains("entered"), "{plain}");
}

#[test]
fn programs_tell_what_they_did_as_machines_do() {
    let (one, other) = (sites(), program());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let mut command = myvmm(["-v", one.path().to_str().unwrap(), "-v", other.path().to_str().unwrap()]);
    command.args([
        format!("--hot=50={}", file("hot")),
        format!("--trace=patch,exit={}", file("trace")),
        format!("--stats-file={}", file("stats")),
    ]);
    let output = command.output().unwrap();
    assert!(text(&output.stdout).starts_with('7'), "{}", text(&output.stdout));
    let read = |name: &str| std::fs::read_to_string(file(name)).unwrap();
    let title = format!("{}:loop", one.path().display());
    assert!(read("hot").contains(&title), "{}", read("hot"));
    assert!(read("trace").contains("lw $a0, 0($s1): patched: unmapped RAM"), "{}", read("trace"));
    assert!(read("trace").lines().any(|line| line.starts_with("1 ")), "{}", read("trace"));
    assert!(read("stats").contains("\"nature\": \"one target\""), "{}", read("stats"));
}

#[test]
fn the_mode_decides_what_a_privileged_instruction_is() {
    let place = ["--stage", "plan", "--address", "80000180"];
    let kernel = shown(&place);
    assert!(kernel.contains("call ReadCp0") && kernel.contains("call ExceptionReturn"), "{kernel}");
    let user = shown(&[&place[..], &["--mode", "user"]].concat());
    assert!(user.contains("raise Coprocessor0"), "{user}");
}

#[test]
fn pages_and_arrays_are_whole() {
    let page = shown(&["--format", "html"]);
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    assert!(page.contains("<svg") && !page.contains("<script") && !page.contains("src="));
    let array = shown(&["--format", "json", "--range", "400000..400008"]);
    assert!(array.starts_with('[') && array.ends_with("]\n"));
    assert!(array.contains("\"address\": \"0x400000\""), "{array}");
}

#[test]
fn places_that_are_not_there_are_refused() {
    let refused: [(&[&str], &str); 6] = [
        (&["--address", "10"], "0x10 is not in"),
        (&["--address", "400002"], "no multiple of 4"),
        (&["--symbol", "nobody"], "no symbol nobody"),
        (&["--range", "400000..500000"], "0x4ffffc is not in"),
        (&["--range", "400008..400008"], "nothing"),
        (&["--symbols", "/dev/null"], "/dev/null has no symbols"),
    ];
    for (arguments, words) in refused {
        let output = dump(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.starts_with("myvmm: ") && said.contains(words), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
    }
    for arguments in [&["--address", "main"][..], &["--range", "1-2"], &["--stage", "all", "--mode", "hyper"]]
    {
        assert_eq!(dump(arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert_eq!(myvmm(["dump"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn a_run_writes_its_hottest_blocks_its_trace_and_its_statistics() {
    let guest = Guest::monitor();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let options = [
        // The guest is too short to become warm.
        "--engine=jit".to_owned(),
        format!("--dump-hot=50={}", file("hot.json")),
        format!("--trace=patch,block,exit={}", file("trace")),
        format!("--stats-file={}", file("stats.json")),
    ];
    let mut command = myvmm(["run", "--kernel"]);
    command.arg(guest.path()).args(options);
    let output = run_with_input(command, &[b'x', b'y', b'z', guest::POWER_OFF]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let read = |name: &str| std::fs::read_to_string(file(name)).unwrap();
    assert!(read("hot.json").contains("\"executions\""), "{}", read("hot.json"));
    // The guest's console is a device, which the site that waits for it has shown.
    assert!(read("hot.json").contains("call DeviceLoad"), "{}", read("hot.json"));
    assert!(read("trace").contains(": patched: device"), "{}", read("trace"));
    assert!(read("stats.json").contains("\"nature\": \"device\""), "{}", read("stats.json"));
    assert!(read("trace").contains(" block "), "{}", read("trace"));
    assert!(read("stats.json").contains("\"instructions_per_exit\""));
}
