//! Machines with several vCPUs: that a stock kernel brings all of them up and keeps time with them.

mod host;

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
