//! Machines with several vCPUs: that a stock kernel brings all of them up and keeps time with them.

mod host;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

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

/// What a machine in slices prints, with the snapshots that were taken of it meanwhile.
fn run_and_save(directory: &Path, snapshots: usize) -> (String, Vec<PathBuf>) {
    let mut machine = myvmm(["debian", "--name", "sliced", "--smp", "2", "--schedule", "slices"]);
    machine.args(["--mem", "128M", "--run", REPEATED, "--snapshots"]).arg(directory);
    let machine = machine.env("XDG_RUNTIME_DIR", directory).spawn().unwrap();
    let ended = thread::spawn(move || machine.wait_with_output().unwrap());
    let mut files = Vec::new();
    while files.len() < snapshots && !ended.is_finished() {
        // No moment is better than another.
        thread::sleep(Duration::from_millis(700));
        let file = directory.join(format!("{}.snap", files.len()));
        let mut save = myvmm(["snapshot", "sliced"]);
        // It may not listen yet, or no longer.
        if save.arg(&file).env("XDG_RUNTIME_DIR", directory).output().unwrap().status.success() {
            files.push(file);
        }
    }
    let output = ended.join().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    (text(&output.stdout), files)
}

#[test]
fn in_slices_snapshots_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (alone, _) = run_and_save(directory.path(), 0);
    let (saved, files) = run_and_save(directory.path(), 4);
    assert_eq!(alone, saved);
    assert!(files.len() >= 2, "{files:?}");
    for (file, engine) in files.iter().zip(["auto", "interp", "jit", "auto"]) {
        let mut again =
            myvmm(["run", "--schedule", "slices", "--engine", engine, "--net", "none", "--restore"]);
        let output = again.arg(file).output().unwrap();
        let rest = text(&output.stdout);
        assert!(!rest.is_empty() && alone.ends_with(&rest), "{engine}:\n{rest}\n{}", text(&output.stderr));
    }
}

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
