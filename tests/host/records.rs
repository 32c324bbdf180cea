//! A guest that writes records to a file system on its disk, and what must be found there whatever becomes of its machine.
//! It must not know how the machine is run, nor what happens to it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::text;

/// The guest appends records to a file, and prints the number of each when `fsync` has returned. Beside that it changes
/// the directory and other files all the while, so that the journal has something to do.
pub const WRITER: &str = "
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

/// Runs a program of the host, which must end well.
pub fn run_well(program: &str, package: &str, arguments: &[&str]) -> Output {
    let output = run(program, package, arguments);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    output
}

/// A raw image with an empty file system.
pub fn make_file_system(path: &str) {
    fs::File::create(path).unwrap().set_len(256 << 20).unwrap();
    run_well("mke2fs", "e2fsprogs", &["-q", "-F", "-t", "ext4", path]);
}

/// The number of the record that the guest tells of in this line.
pub fn record(line: &str) -> Option<u64> {
    line.trim_end().strip_prefix("record ")?.parse().ok()
}

/// Makes a raw copy of an image in qcow2, which must be sound.
pub fn qcow2_to_raw(image: &str, raw: &str) {
    // Clusters that are taken and not used are no damage; QEMU leaves them after a kill, too.
    let checked = run("qemu-img", "qemu-utils", &["check", image]);
    assert!(matches!(checked.status.code(), Some(0 | 3)), "{}", text(&checked.stdout));
    run_well("qemu-img", "qemu-utils", &["convert", "-f", "qcow2", "-O", "raw", image, raw]);
}

/// Looks at the file system in a raw image: after its journal and its orphans, nothing is wrong; gives the log.
pub fn check(image: &Path) -> Vec<u64> {
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
