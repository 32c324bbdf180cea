//! The command line of programs: the forms of `-v`, `-s` and `-c`, and what is refused.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const TALKER: &str = "main: li $s0, 3\nnext: la $a0, text\nli $v0, 4\nsyscall\nli $t1, 60\nwait1: addiu $t1, $t1, -1\n\
                      bnez $t1, wait1\naddiu $s0, $s0, -1\nbnez $s0, next\nli $a0, CODE\nli $v0, 17\nsyscall\n\
                      .data\ntext: .asciiz \"NAME\\n\"\n";

fn directory() -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, code) in [("a", "5"), ("b", "0")] {
        let text = TALKER.replace("CODE", code).replace("NAME", name);
        fs::write(directory.path().join(format!("{name}.s")), text).unwrap();
    }
    directory
}

fn myvmm(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_myvmm"));
    command.current_dir(directory).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn assert_refused(directory: &Path, arguments: &[&str], words: &str) {
    let output = myvmm(directory, arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert!(said.contains(words), "{arguments:?}: no `{words}` in {said}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
}

#[test]
fn two_programs_take_turns() {
    let directory = directory();
    fs::write(
        directory.path().join("two"),
        "# turns\nvm_exec_slice_in_instructions=100\nvm_binary=a.s\nvm_binary=b.s\n",
    )
    .unwrap();
    let turns = "a.s| a\nb.s| b\na.s| a\nb.s| b\na.s| a\nb.s| b\n";
    for form in [&["-c", "two"][..], &["-v", "two"], &["-v", "a.s", "-v", "b.s", "--slice", "100"]] {
        for engine in ["interp", "jit"] {
            let output = myvmm(directory.path(), &[form, &["--prefix", "--engine", engine]].concat());
            assert_eq!(text(&output.stdout), turns, "{form:?}: {}", text(&output.stderr));
            assert_eq!(output.status.code(), Some(5), "the code of the first that is not 0");
        }
    }
    let output = myvmm(directory.path(), &["-v", "b.s", "--stats"]);
    assert!(text(&output.stderr).contains("instructions"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_snapshot_belongs_to_the_program_before_it() {
    let directory = directory();
    let path = directory.path();
    let source = fs::read_to_string(path.join("b.s"))
        .unwrap()
        .replace("li $t1, 60", "SNAPSHOT b.snapshot\nli $t1, 60");
    fs::write(path.join("b.s"), source).unwrap();
    let whole = myvmm(path, &["-v", "b.s", "--engine", "jit"]);
    assert_eq!((text(&whole.stdout).as_str(), whole.status.code()), ("b\nb\nb\n", Some(0)));
    // The last snapshot was taken after the last line was printed; a fresh one keeps the first.
    let resumed = myvmm(path, &["-v", "b.s", "-s", "b.snapshot", "-v", "a.s", "--engine", "interp"]);
    assert_eq!(text(&resumed.stdout), "a\na\na\n", "{}", text(&resumed.stderr));
    assert_eq!(resumed.status.code(), Some(5));
    assert_refused(path, &["-v", "a.s", "-s", "b.snapshot"], "another program");
    assert_refused(path, &["-v", "b.s", "-s", "a.s"], "no snapshot of myvmm");
    assert_refused(path, &["-v", "b.s", "-s", "b.snapshot", "--endian", "big"], "big-endian");
    assert_refused(path, &["-s", "b.snapshot", "-v", "b.s"], "no -v before it");
}

#[test]
fn what_cannot_be_run_is_refused_with_its_place() {
    let directory = directory();
    let path = directory.path();
    fs::create_dir(path.join("directory")).unwrap();
    fs::write(path.join("junk.s"), [0u8, 1, 2, 255]).unwrap();
    fs::write(path.join("bad.s"), "main: adx $t0\nb nowhere\n").unwrap();
    fs::write(path.join("bad.conf"), "vm_binary=a.s\nvm_slice=3\n").unwrap();
    fs::write(path.join("zero.conf"), "vm_exec_slice_in_instructions=0\n").unwrap();
    for (arguments, words) in [
        (&["-v", "missing.s"][..], "Cannot read missing.s: No such file"),
        (&["-v", "directory"], "it is a directory"),
        (&["-v", "junk.s"], "neither assembly nor ELF"),
        (&["-v", "a.s", "-v", "bad.s"], "bad.s:2:3"),
        (&["-v", "bad.conf"], "bad.conf:2: there is no parameter `vm_slice`"),
        (&["-c", "zero.conf"], "at least one instruction"),
        (&["-c", "missing.conf"], "No such file"),
        (&["-v", "a.s", "--slice", "0"], "at least one instruction"),
        (&["-v", "a.s", "--slice", "ten"], "no number of instructions"),
        (&["-v", "a.s", "-s", "x", "-s", "y"], "two snapshots"),
        (&["-v", "a.s", "-s", "missing"], "Cannot read missing"),
        (&["-v", "a.s", "run"], "cannot be used with"),
        (&["--prefix"], "no program to run"),
    ] {
        assert_refused(path, arguments, words);
    }
}

#[test]
fn a_failing_snapshot_or_program_does_not_stop_the_others() {
    let directory = directory();
    let path = directory.path();
    fs::create_dir(path.join("directory")).unwrap();
    let source = "main: SNAPSHOT missing/file\nSNAPSHOT directory\nSNAPSHOT /dev/full\nli $a0, 'x'\nli $v0, 11\n\
                  syscall\njr $ra\n";
    fs::write(path.join("stubborn.s"), source).unwrap();
    let output = myvmm(path, &["-v", "stubborn.s", "-v", "b.s"]);
    assert_eq!(text(&output.stdout), "xb\nb\nb\n");
    assert_eq!(output.status.code(), Some(2));
    for place in ["stubborn.s:1:7", "stubborn.s:2:1", "stubborn.s:3:1"] {
        assert!(text(&output.stderr).contains(place), "{}", text(&output.stderr));
    }
    assert_eq!(fs::read_dir(path).unwrap().count(), 4, "nothing half-written is left");
    fs::write(path.join("wild.s"), "main: lw $t0, 1($zero)\n").unwrap();
    let output = myvmm(path, &["-v", "wild.s", "-v", "b.s"]);
    assert_eq!((text(&output.stdout).as_str(), output.status.code()), ("b\nb\nb\n", Some(3)));
    assert!(text(&output.stderr).contains("wild.s:1:7"), "{}", text(&output.stderr));
}
