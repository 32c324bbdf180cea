//! Boots the Malta guest in QEMU, another emulator than ours, to show that the image itself is right.
//! Skipped, loudly, where QEMU is not installed.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use image::{Flavour, Request, Silent, debian, run_word};

const EMULATOR: &str = "qemu-system-mips64el";
/// Several times what a boot takes on a slow and busy host.
const PATIENCE: Duration = Duration::from_secs(180);

/// In a file, because QEMU's Malta board cuts the kernel's command line at 256 bytes.
const CHECK: &str = "#!/bin/sh
uname -a
ls /
id -un
tty
modprobe ext4 && grep -c ext4 /proc/filesystems
modprobe virtio_net && lsmod | grep -c ^virtio
exit 3
";

fn emulator(kernel: &Path, initramfs: &Path, words: &str) -> Command {
    let mut command = Command::new(EMULATOR);
    command.args(["-M", "malta", "-cpu", "MIPS64R2-generic", "-m", "512", "-nographic", "-no-reboot"]);
    command.args(["-nic", "none", "-vga", "none", "-append", &format!("console=ttyS0 quiet {words}")]);
    command.arg("-kernel").arg(kernel).arg("-initrd").arg(initramfs);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

/// What the guest wrote on its console until it turned itself off.
fn console(mut child: Child) -> String {
    let mut output = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        output.read_to_end(&mut bytes).map(|_| String::from_utf8_lossy(&bytes).into_owned())
    });
    let start = Instant::now();
    let ended = loop {
        if child.try_wait().unwrap().is_some() {
            break true;
        }
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            break false;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let text = reader.join().unwrap().unwrap();
    assert!(ended, "the guest did not turn itself off within {PATIENCE:?}; it wrote:\n{text}");
    text
}

#[test]
fn the_guest_boots_runs_a_script_and_turns_itself_off() {
    if Command::new(EMULATOR).arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("SKIPPED: {EMULATOR} is not installed, so nothing shows that the image boots");
        return;
    }
    let request = Request::new(image::default_cache().unwrap(), Flavour::Malta);
    let guest = debian::prepare(&request, &mut Silent).unwrap_or_else(|error| panic!("no guest: {error}"));
    let mut builder = guest.builder().unwrap();
    builder.add_file("/usr/bin/check", 0o755, CHECK).unwrap();
    let initramfs = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(initramfs.path(), builder.build().unwrap()).unwrap();

    let words = run_word("check").unwrap();
    let text = console(emulator(&guest.kernel, initramfs.path(), &words).spawn().unwrap());
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let expected = [
        format!("Linux myvmm {} #1 SMP", guest.release).as_str(),
        "bin   etc   lib",
        "root",
        "/dev/ttyS0",
        "1",
        "3",
        "myvmm: exit 3",
    ]
    .map(str::to_owned);
    let mut rest = lines.iter();
    for expected in expected {
        assert!(rest.any(|line| line.starts_with(&expected)), "no `{expected}` in its place in:\n{text}");
    }
}
