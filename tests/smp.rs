//! Machines with several vCPUs: that a stock kernel brings all of them up, keeps time with them, and runs programs that
//! race. `tests/soak/run` does the last for hours, with more programs.

mod host;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use host::{myvmm, text};

/// What the guest is asked. Every vCPU must be online, run something, and agree with the others about the time: the
/// kernel takes a counter that is behind another for one that went round, which is 43 seconds.
const SCRIPT: &str = r#"
echo "online $(cat /sys/devices/system/cpu/online)"
start=$(cut -d. -f1 /proc/uptime)
for cpu in 0 1 2 3 4 5 6 7 8 9; do
    (for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do date > /dev/null; done) &
done
wait
echo "took $(($(cut -d. -f1 /proc/uptime) - start))"
echo "ran $(awk '/^cpu[0-9]/ && $2 + $4 > 0' /proc/stat | wc -l)"
dmesg | grep -E 'stall|lockup|BUG|blocked for'
exit 7
"#;

#[test]
fn debian_runs_on_four_vcpus() {
    let begin = Instant::now();
    let output = myvmm(["debian", "--smp", "4", "--run", SCRIPT]).output().unwrap();
    let (shown, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(7), "{said}\n{shown}");
    for line in ["online 0-3", "ran 4"] {
        assert!(shown.contains(line), "no `{line}` in:\n{shown}");
    }
    let took = shown.lines().find_map(|line| line.strip_prefix("took ")?.trim().parse::<u64>().ok());
    let most = begin.elapsed().as_secs() + 1;
    assert!(took.is_some_and(|seconds| seconds <= most), "the guest's clock has jumped:\n{shown}");
    for word in ["stall", "lockup", "BUG", "blocked for"] {
        assert!(!shown.contains(word), "{word} in:\n{shown}");
    }
}

/// What a machine in slices is asked: all that depends on time, on what runs when, and on what is random.
const REPEATED: &str = r#"
nproc
for i in 1 2 3 4; do (md5sum /bin/busybox; cat /proc/uptime) & done
wait
sleep 0.1
date
dmesg
cat /proc/interrupts
head -c 8 /dev/random | md5sum
"#;

#[test]
fn in_slices_every_run_is_like_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let run = |name: &str| {
        let file = directory.path().join(name);
        let arguments = ["debian", "--smp", "2", "--schedule", "slices", "--run", REPEATED, "--stats-file"];
        let output = myvmm(arguments).arg(&file).output().unwrap();
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{}\n{shown}", text(&output.stderr));
        let statistics: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let vcpus = statistics["vcpus"].as_array().unwrap();
        let instructions: Vec<u64> =
            vcpus.iter().map(|vcpu| vcpu["instructions"].as_u64().unwrap()).collect();
        (shown, instructions)
    };
    let ((shown, instructions), again) = (run("first"), run("second"));
    assert!(instructions.iter().all(|count| *count > 1_000_000), "{instructions:?}");
    assert_eq!((shown, instructions), again);
}

/// CPUs leave and come back while programs run on all of them.
const PLUGGED: &str = r#"
online=/sys/devices/system/cpu/online
for n in 1 2 3 4 5 6; do
    (while [ ! -e /tmp/over ]; do md5sum /bin/busybox; done | sort -u > /tmp/sum$n) &
done
for round in 1 2 3; do
    for n in 0 1; do
        for cpu in 1 2; do
            echo $n > /sys/devices/system/cpu/cpu$cpu/online || echo refused
        done
        echo "online $(cat $online)"
    done
done
> /tmp/over
wait
echo "sums $(cat /tmp/sum* | sort -u | wc -l)"
for cpu in 1 2; do
    taskset -p $((1 << cpu)) $$ > /dev/null && echo "on $cpu"
done
dmesg | grep -E 'WARNING|stall|lockup|BUG|powered down'
exit 7
"#;

fn vcpus_are_unplugged_and_plugged(schedule: &str) {
    let arguments = ["debian", "--smp", "3", "--schedule", schedule, "--run", PLUGGED];
    let output = myvmm(arguments).output().unwrap();
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(7), "{}\n{shown}", text(&output.stderr));
    let lines: Vec<&str> = shown.lines().map(str::trim_end).filter(|line| !line.starts_with('[')).collect();
    let expected = ["online 0", "online 0-2"].repeat(3);
    assert_eq!(lines[..6], expected, "{shown}");
    assert_eq!(lines[6..9], ["sums 1", "on 1", "on 2"], "{shown}");
    assert!(lines[9..] == ["myvmm: exit 7"], "{shown}");
}

#[test]
fn vcpus_are_unplugged_and_plugged_on_threads() {
    vcpus_are_unplugged_and_plugged("threads");
}

#[test]
fn vcpus_are_unplugged_and_plugged_in_slices() {
    vcpus_are_unplugged_and_plugged("slices");
}

/// Runs a program of the host to its end.
fn run(program: &str, package: &str, arguments: &[&std::ffi::OsStr]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; install the package {package}"));
    let shown = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{program}: {shown} (it may need the package {package})");
}

/// Makes a disk's image with the racing program on it.
fn litmus_disk(directory: &Path) -> std::path::PathBuf {
    let (files, image) = (directory.join("files"), directory.join("files.img"));
    std::fs::create_dir(&files).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/soak/litmus.c");
    let flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-static", "-pthread", "-mips64r2", "-o"];
    let program = files.join("litmus");
    let arguments: Vec<_> =
        flags.iter().map(AsRef::as_ref).chain([program.as_ref(), source.as_ref()]).collect();
    run("mips64el-linux-gnuabi64-gcc", "libc6-dev-mips64el-cross", &arguments);
    std::fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    let words = ["-q", "-F", "-t", "ext4", "-d"].map(AsRef::as_ref);
    run("mke2fs", "e2fsprogs", &[&words[..], &[files.as_ref(), image.as_ref()]].concat());
    image
}

/// Runs the racing program on four vCPUs.
fn programs_race(schedule: &str, rounds: u32) {
    let directory = tempfile::tempdir().unwrap();
    let disk = format!("{},ro,format=raw", litmus_disk(directory.path()).display());
    let script = format!("mount -o ro -t ext4 /dev/vda /mnt && exec /mnt/litmus 4 {rounds}");
    let arguments = ["debian", "--smp", "4", "--schedule", schedule, "--disk", &disk, "--run", &script];
    let output = myvmm(arguments).output().unwrap();
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}\n{shown}", text(&output.stderr));
    let last = format!("litmus: code: {} functions on 3 CPUs", rounds / 100);
    assert!(shown.contains(&last) && !shown.contains("WRONG"), "{shown}");
}

#[test]
fn programs_race_on_threads() {
    programs_race("threads", 50_000);
}

#[test]
fn programs_race_in_slices() {
    programs_race("slices=997", 20_000);
}
