//! `myvmm debian --persist`: a Debian system is installed on a disk, keeps what is changed, and can be logged into. The
//! packages come from the cache, or by apt.

mod host;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use host::{myvmm, text};

/// Nothing answers at this address, so what starts with it needed no network.
const NOWHERE: &str = "http://127.0.0.1:9/debian";

/// A cache of its own with the packages of the user's.
fn cache() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let user = image::default_cache().unwrap();
    std::fs::create_dir_all(user.join("archives")).unwrap();
    std::os::unix::fs::symlink(user.join("archives"), directory.path().join("archives")).unwrap();
    directory
}

fn guest(cache: &Path, arguments: &[&str], script: &str) -> String {
    let common = ["debian", "--persist", "--cache", cache.to_str().unwrap(), "--run", script];
    let output = myvmm(common).args(arguments).output().unwrap();
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{printed}\n{}", text(&output.stderr));
    printed
}

#[test]
fn a_system_is_installed_keeps_what_is_changed_and_is_logged_into() {
    let cache = cache();
    let first = guest(
        cache.path(),
        &[],
        "dpkg-query -W -f '${db:Status-Abbrev}\\n' | sort | uniq -c | sed 's/^ *[0-9]* *//; s/^/status /'
        findmnt -n -o SOURCE,FSTYPE /
        ip -4 -o addr show eth0
        stat -c '%a %U:%G' /etc/shadow /usr/bin/su
        echo kept > /root/file; sync",
    );
    let lines: Vec<&str> = first.lines().map(str::trim_end).collect();
    assert_eq!(
        lines.iter().filter(|line| line.starts_with("status ")).collect::<Vec<_>>(),
        [&"status ii"],
        "{first}"
    );
    for expected in ["640 root:shadow", "4755 root:root"] {
        assert!(lines.contains(&expected), "no {expected}: {first}");
    }
    assert!(lines.iter().any(|line| line.starts_with("/dev/vda") && line.ends_with("ext4")), "{first}");
    assert!(first.contains("inet 10.0.2.15/24"), "{first}");

    let image = cache.path().join("debian/disk/system.img");
    let checked = Command::new("e2fsck").args(["-f", "-n"]).arg(&image).output();
    let checked = checked.expect("e2fsck runs: install e2fsprogs");
    assert!(checked.status.success(), "{}", text(&checked.stdout));

    let second = guest(cache.path(), &["--mirror", NOWHERE], "cat /root/file");
    assert!(second.lines().any(|line| line.trim_end() == "kept"), "{second}");
    log_in(cache.path());
}

/// Logs in by SSH with a key of its own, and turns the machine off from there.
fn log_in(cache: &Path) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let option = format!("--ssh={port}");
    let mut command = myvmm(["debian", "--cache", cache.to_str().unwrap(), &option]);
    // Without a home, the user has no key.
    let mut machine = command.env("HOME", cache).stdout(Stdio::null()).spawn().unwrap();
    let known = format!("UserKnownHostsFile={}", cache.join("known").display());
    let key = cache.join("ssh/id_ed25519");
    let start = Instant::now();
    let output = loop {
        assert!(start.elapsed() < Duration::from_secs(300), "nobody answers");
        let mut ssh = Command::new("ssh");
        ssh.args(["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new", "-o", &known, "-p"]);
        ssh.arg(port.to_string()).arg("-i").arg(&key).args(["root@127.0.0.1", "cat /root/file; poweroff"]);
        let output = ssh.output().expect("ssh runs: install openssh-client");
        if output.status.success() {
            break output;
        }
        assert!(machine.try_wait().unwrap().is_none(), "the machine ended");
        std::thread::sleep(Duration::from_millis(500));
    };
    assert_eq!(text(&output.stdout), "kept\n");
    assert!(machine.wait().unwrap().success());
}
