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
        (&["-c", "missing.conf"], "Cannot read missing.conf: No such file"),
        (&["-v", "/dev/zero"], "Cannot read /dev/zero: it is larger than 256 MB"),
        (&["-c", "/dev/zero"], "Cannot read /dev/zero: it is larger than 256 MB"),
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

/// Writes a snapshot between two parts of a file, and reads the file at the end.
const WRITER: &str = "main: la $a0, name\nli $a1, 1\nli $v0, 13\nsyscall\nmove $s0, $v0\nla $a1, first\nli $a2, 6\n\
                      jal write\nSNAPSHOT writer.snapshot\nla $a1, second\nli $a2, 7\njal write\nmove $a0, $s0\n\
                      li $v0, 16\nsyscall\nli $v0, 10\nsyscall\nwrite: move $a0, $s0\nli $v0, 15\nsyscall\n\
                      jr $ra\n.data\nname: .asciiz \"out\"\nfirst: .ascii \"first\\n\"\nsecond: .ascii \"second\\n\"\n";

#[test]
fn a_snapshot_opens_files_again_where_they_were() {
    let directory = directory();
    let path = directory.path();
    fs::write(path.join("writer.s"), WRITER).unwrap();
    assert_eq!(myvmm(path, &["-v", "writer.s"]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(path.join("out")).unwrap(), "first\nsecond\n");
    fs::write(path.join("out"), "FIRST\n......").unwrap();
    let resume = ["-v", "writer.s", "-s", "writer.snapshot"];
    assert_eq!(myvmm(path, &resume).status.code(), Some(0));
    assert_eq!(fs::read_to_string(path.join("out")).unwrap(), "FIRST\nsecond\n");
    fs::remove_file(path.join("out")).unwrap();
    assert_refused(path, &resume, "out open, which cannot be opened again: No such file");
}

#[test]
fn a_full_disk_harms_nobody() {
    let directory = directory();
    let path = directory.path();
    let source = "main: SNAPSHOT kept\nla $t0, room\nli $t1, 8000\nfill: mul $t2, $t1, 1103515245\n\
                  sw $t2, ($t0)\naddiu $t0, $t0, 4\naddi $t1, $t1, -1\nbnez $t1, fill\nSNAPSHOT kept\n\
                  SNAPSHOT fresh\nli $a0, 'x'\nli $v0, 11\nsyscall\njr $ra\n.data\nroom: .space 32000\n";
    fs::write(path.join("large.s"), source).unwrap();
    fs::create_dir(path.join("full")).unwrap();
    // A disk of four pages: for both programs, the first snapshot, which is small, and no other.
    let script = "mount -t tmpfs -o size=16k none full && cp large.s b.s full && cd full || exit 99\n\
                  \"$0\" -v large.s -v b.s; echo code $?; echo $(ls -A); exec \"$0\" -v large.s -s kept";
    let shell = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_myvmm")])
        .current_dir(path)
        .output();
    let output = shell.expect("`unshare` of Debian's package `util-linux` runs");
    let said = text(&output.stderr);
    assert_ne!(output.status.code(), Some(99), "the host mounts no file systems for this user: {said}");
    assert_eq!(text(&output.stdout), "xb\nb\nb\ncode 2\nb.s kept large.s\nx", "{said}");
    for name in ["kept", "fresh"] {
        assert!(said.contains(&format!("SNAPSHOT {name}: No space left on device")), "{said}");
    }
}

#[test]
fn included_files_are_beside_the_file_that_names_them() {
    let directory = directory();
    let path = directory.path();
    fs::create_dir(path.join("library")).unwrap();
    fs::write(
        path.join("main.s"),
        "main: li $a0, 7\njal square\nmove $a0, $v0\nli $v0, 17\nsyscall\n\
              .include \"library/all.s\"\n",
    )
    .unwrap();
    fs::write(path.join("library/all.s"), ".include \"square.s\"\n").unwrap();
    fs::write(path.join("library/square.s"), "square: mul $v0, $a0, $a0\njr $ra\n").unwrap();
    let output = myvmm(path, &["-v", "main.s"]);
    assert_eq!(output.status.code(), Some(49), "{}", text(&output.stderr));
    fs::write(path.join("library/square.s"), "square: mull $v0, $a0\n").unwrap();
    assert_refused(path, &["-v", "main.s"], "library/square.s:1:9");
    assert_refused(path, &["-v", "main.s"], "library/all.s:1:10");
    fs::write(path.join("library/square.s"), ".include \"all.s\"\n").unwrap();
    assert_refused(path, &["-v", "main.s"], "includes itself");
}

#[test]
fn text_in_latin_1_is_understood() {
    let directory = TempDir::new().unwrap();
    let source = b"main: la $a0, t # \xe9\nli $v0, 4\nsyscall\njr $ra\n.data\nt: .asciiz \"\xe9t\xe9\\n\"\n";
    fs::write(directory.path().join("old.s"), source).unwrap();
    let output = myvmm(directory.path(), &["-v", "old.s"]);
    assert_eq!(text(&output.stdout), "\u{e9}t\u{e9}\n", "{}", text(&output.stderr));
}

#[test]
fn dumps_are_json_and_colours_are_for_terminals() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let source = "main: li $t0, -5\nli.d $f2, 1.5\nDUMP_PROCESSOR_STATE\naddi $t0, $t0, 1\nDUMP_PROCESSOR_STATE\njr $ra\n";
    fs::write(path.join("a \"b\".s"), source).unwrap();
    for cpu in ["mips32r2", "mips64r2"] {
        let output = myvmm(path, &["-v", "a \"b\".s", "--dump-format", "json", "--cpu", cpu]);
        let said = text(&output.stdout);
        let dumps: Vec<serde_json::Value> =
            said.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
        assert_eq!(dumps.len(), 2);
        assert_eq!(dumps[0]["program"], "a \"b\".s");
        let wanted = if cpu == "mips32r2" { "0xfffffffc" } else { "0xfffffffffffffffc" };
        assert_eq!(dumps[1]["gpr"]["t0"], wanted);
        let output = myvmm(path, &["-v", "a \"b\".s", "--cpu", cpu]);
        assert!(!output.stdout.contains(&0x1b), "no colours in a pipe");
        assert!(text(&output.stdout).contains("*$t0"), "what changed is marked");
    }
}
