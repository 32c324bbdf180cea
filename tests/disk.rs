//! Disks whose machine is killed in the middle of writes: what the guest was told is on the disk is there, and the file
//! system needs no more than its journal. `MYVMM_KILLS` says how often each kind of image is tried (three times if it
//! does not).

mod host;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use host::{myvmm, text};

/// The guest appends records to a file, and prints the number of each when `fsync` has returned. Beside that it changes
/// the directory and other files all the while, so that the journal has something to do.
const WRITER: &str = "
    mount -t ext4 /dev/vda /mnt
    last=$(tail -n 1 /mnt/log)
    n=${last:-0}
    (i=0; while :; do i=$((i+1)); echo $i > /mnt/x$((i % 50)); mv /mnt/x$((i % 50)) /mnt/y$((i % 50)); done) &
    while :; do
        n=$((n+1))
        echo $n | dd of=/mnt/log bs=64 conv=fsync,notrunc oflag=append 2> /dev/null
        echo record $n
    done";

/// Runs a program of the host, which must be installed.
fn run(program: &str, package: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}; install the package {package}"))
}

fn run_well(program: &str, package: &str, arguments: &[&str]) -> Output {
    let output = run(program, package, arguments);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    output
}

/// Runs the writer and kills its machine after some records and a while that differs from run to run. Gives the last
/// record that the guest saw on the disk.
fn write_and_kill(disk: &str, run: u64) -> u64 {
    let mut child = myvmm(["debian", "--disk", disk, "--net", "none", "--run", WRITER]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut record = || {
        let number = lines.find_map(|line| line.trim_end().strip_prefix("record ")?.parse().ok());
        number.expect("the guest writes records")
    };
    let mut last: u64 = record();
    let end = Instant::now() + Duration::from_millis(100 + run * 373 % 900);
    while Instant::now() < end {
        last = record();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What was printed before the kill was on the disk before.
    lines.filter_map(|line| line.trim_end().strip_prefix("record ")?.parse().ok()).last().unwrap_or(last)
}

/// Looks at the file system in a raw image: after its journal and its orphans, nothing is wrong; gives the log.
fn check(image: &Path) -> Vec<u64> {
    let path = image.to_str().unwrap();
    let replayed = run("e2fsck", "e2fsprogs", &["-p", path]);
    let said = text(&replayed.stdout);
    assert!(matches!(replayed.status.code(), Some(0 | 1)), "{said}{}", text(&replayed.stderr));
    // A file that was deleted while it was open is an orphan until it is closed; ext4 keeps a list of them for this.
    let allowed = |line: &str| {
        ["recovering journal", "Clearing orphaned inode", "clean,", " files ("]
            .iter()
            .any(|it| line.contains(it))
    };
    assert!(said.lines().all(allowed), "more than the journal: {said}");
    run_well("e2fsck", "e2fsprogs", &["-f", "-n", path]);
    let log = run_well("debugfs", "e2fsprogs", &["-R", "cat /log", path]);
    text(&log.stdout).lines().map(|line| line.parse().expect("a whole record")).collect()
}

/// Kills machines on one image again and again. `to_raw` checks the image and makes a raw copy of it.
fn kill_again_and_again(disk: &str, to_raw: impl Fn() -> PathBuf) {
    let kills = std::env::var("MYVMM_KILLS").map_or(3, |kills| kills.parse().expect("a number"));
    for run in 0..kills {
        let last = write_and_kill(disk, run);
        let records = check(&to_raw());
        let whole: Vec<u64> = (1..=records.len() as u64).collect();
        assert_eq!(records, whole, "records are missing or doubled");
        assert!(records.len() as u64 >= last, "record {last} was on the disk and is not: {}", records.len());
        eprintln!("kill {run}: {last} records, {} in the log", records.len());
    }
}

/// A raw image with an empty file system.
fn make_file_system(path: &str) {
    fs::File::create(path).unwrap().set_len(256 << 20).unwrap();
    run_well("mke2fs", "e2fsprogs", &["-q", "-F", "-t", "ext4", path]);
}

#[test]
fn a_raw_disk_survives_kills() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("disk.img");
    let path = file.to_str().unwrap();
    make_file_system(path);
    kill_again_and_again(&format!("{path},format=raw"), || {
        let copy = directory.path().join("copy.img");
        run_well("cp", "coreutils", &["--sparse=always", path, copy.to_str().unwrap()]);
        copy
    });
}

#[test]
fn a_qcow2_disk_survives_kills() {
    let directory = tempfile::tempdir().unwrap();
    let [raw, file] = ["disk.img", "disk.qcow2"].map(|name| directory.path().join(name));
    let path = file.to_str().unwrap();
    make_file_system(raw.to_str().unwrap());
    run_well("qemu-img", "qemu-utils", &["convert", "-f", "raw", "-O", "qcow2", raw.to_str().unwrap(), path]);
    kill_again_and_again(&format!("{path},format=qcow2"), || {
        // Clusters that are taken and not used are no damage; QEMU leaves them after a kill, too.
        let checked = run("qemu-img", "qemu-utils", &["check", path]);
        assert!(matches!(checked.status.code(), Some(0 | 3)), "{}", text(&checked.stdout));
        let copy = directory.path().join("copy.img");
        run_well(
            "qemu-img",
            "qemu-utils",
            &["convert", "-f", "qcow2", "-O", "raw", path, copy.to_str().unwrap()],
        );
        copy
    });
}
