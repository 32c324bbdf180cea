//! Disks whose machine is killed in the middle of writes: what the guest was told is on the disk is there, and the file
//! system needs no more than its journal. `MYVMM_KILLS` says how often each kind of image is tried (three times if it
//! does not). And disks that QEMU uses too, or for which the host has no room.

mod host;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use host::records::{WRITER, check, make_file_system, qcow2_to_raw, record, run_well};
use host::{myvmm, text};
use image::{Flavour, Request, Silent};

/// Runs the writer and kills its machine after some records and a while that differs from run to run. Gives the last
/// record that the guest saw on the disk.
fn write_and_kill(disk: &str, run: u64) -> u64 {
    let mut child = myvmm(["debian", "--disk", disk, "--net", "none", "--run", WRITER]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut next = || {
        let number = lines.find_map(|line| record(&line));
        number.expect("the guest writes records")
    };
    let mut last = next();
    let end = Instant::now() + Duration::from_millis(100 + run * 373 % 900);
    while Instant::now() < end {
        last = next();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What was printed before the kill was on the disk before.
    lines.filter_map(|line| record(&line)).last().unwrap_or(last)
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
        let copy = directory.path().join("copy.img");
        qcow2_to_raw(path, copy.to_str().unwrap());
        copy
    });
}

/// Runs a script of at most some hundred bytes on QEMU's Malta board with a disk behind virtio.
fn in_qemu(disk: &str, format: &str, script: &str) -> String {
    let request = Request::new(image::default_cache().unwrap(), Flavour::Malta);
    let guest = image::debian::prepare(&request, &mut Silent).unwrap();
    let [kernel, initramfs] = [&guest.kernel, &guest.initramfs].map(|file| file.to_str().unwrap());
    let drive = format!("file={disk},format={format},if=none,id=disk");
    let words = format!("console=ttyS0 quiet {}", image::run_word(script).unwrap());
    let board =
        ["-M", "malta", "-cpu", "MIPS64R2-generic", "-m", "256", "-nographic", "-no-reboot", "-nic", "none"];
    let rest = [
        ["-vga", "none", "-drive", &drive, "-device", "virtio-blk-pci,drive=disk"],
        ["-kernel", kernel, "-initrd", initramfs, "-append", &words],
    ];
    let arguments: Vec<&str> = board.into_iter().chain(rest.into_iter().flatten()).collect();
    text(&run_well("qemu-system-mips64el", "qemu-system-mips", &arguments).stdout)
}

#[test]
fn qemu_goes_on_with_an_image_and_gives_it_back() {
    let directory = tempfile::tempdir().unwrap();
    let [raw, qcow2] = ["disk.img", "disk.qcow2"].map(|name| directory.path().join(name));
    let [raw, qcow2] = [&raw, &qcow2].map(|file| file.to_str().unwrap());
    make_file_system(raw);
    run_well("qemu-img", "qemu-utils", &["convert", "-f", "raw", "-O", "qcow2", raw, qcow2]);
    for (file, format) in [(raw, "raw"), (qcow2, "qcow2")] {
        let here = |script: &str| {
            let disk = format!("{file},format={format}");
            let output =
                myvmm(["debian", "--disk", &disk, "--net", "none", "--run", script]).output().unwrap();
            let shown = text(&output.stdout);
            assert_eq!(output.status.code(), Some(0), "{}{shown}", text(&output.stderr));
            shown
        };
        here(
            "mount -t ext4 /dev/vda /mnt && head -c 5000000 /dev/urandom > /mnt/a && md5sum /mnt/a > /mnt/s && umount /mnt",
        );
        let there = in_qemu(
            file,
            format,
            "mount -t ext4 /dev/vda /mnt;md5sum -c /mnt/s;echo from QEMU>/mnt/b;umount /mnt",
        );
        assert!(there.contains("/mnt/a: OK"), "{format}: {there}");
        let back = here("mount -t ext4 /dev/vda /mnt && md5sum -c /mnt/s && cat /mnt/b");
        assert!(back.contains("/mnt/a: OK") && back.contains("from QEMU"), "{format}: {back}");
    }
}

#[test]
fn where_the_host_has_no_room_the_guest_has_an_io_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("disk.img");
    fs::File::create(&file).unwrap().set_len(1 << 30).unwrap();
    let script = "
        write() { dd if=/dev/zero of=/dev/vda bs=1M count=1 seek=$1 conv=fsync 2>&1; echo \"at $1: $?\"; }
        write 600; write 100";
    let disk = format!("{},format=raw", file.display());
    // The memory of the machine is a file, too, and smaller than the limit: 400 MB in units of 512 bytes.
    let limited = "ulimit -f 800000; exec \"$0\" \"$@\"";
    let output = Command::new("sh")
        .args(["-c", limited, env!("CARGO_BIN_EXE_myvmm"), "debian", "--mem", "256M", "--net", "none"])
        .args(["--disk", &disk, "--run", script])
        .output()
        .unwrap();
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{}{shown}", text(&output.stderr));
    for line in ["dd: /dev/vda: Input/output error", "at 600: 1", "at 100: 0"] {
        assert!(shown.lines().any(|it| it.trim_end() == line), "no `{line}` in {shown}");
    }
}
