//! Guests that take their disks along to hosts with which they share no storage: the copy has all that was written, and where
//! a move fails nothing is left of it. And a guest that writes to a disk that is shared while it moves.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use tempfile::TempDir;

use crate::guests::wait_until;
use crate::host::guest::Guest;
use crate::host::records::{WRITER, check, make_file_system, qcow2_to_raw, record, run_well};
use crate::host::{myvmm, text};
use crate::processes::{Machine, Receiver, guests, kill, listed, start};

const BYTES: usize = 8 << 20;

/// A disk on one host, with something on it, and the directory for disks of another.
pub struct Copying {
    here: TempDir,
    there: TempDir,
    disk: String,
    directory: String,
}

impl Copying {
    /// A disk in an image of `format`.
    pub fn new(format: &str) -> Self {
        let [here, there] = [0; 2].map(|_| tempfile::tempdir().unwrap());
        let (image, raw) = (here.path().join("disk.img"), here.path().join("raw"));
        let mut content = vec![0; BYTES];
        // So that it is not sent in a moment.
        let mut noise = 1u64;
        for byte in content[BYTES / 2..].chunks_mut(8) {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            byte.copy_from_slice(&noise.rotate_left(17).to_le_bytes());
        }
        fs::write(&raw, content).unwrap();
        let [from, to] = [&raw, &image].map(|path| path.to_str().unwrap());
        run_well("qemu-img", "qemu-utils", &["convert", "-f", "raw", "-O", format, from, to]);
        let disk = format!("{to},format={format}");
        let directory = there.path().to_str().unwrap().to_owned();
        Self { here, there, disk, directory }
    }

    /// The options of the machine, of the receiver and of the move.
    pub fn options(&self) -> [Vec<&str>; 3] {
        [vec!["--disk", &self.disk], vec!["--disks", &self.directory], vec!["--with-disk"]]
    }

    fn image(&self) -> PathBuf {
        self.here.path().join("disk.img")
    }

    fn copy(&self) -> PathBuf {
        self.there.path().join("disk.img")
    }

    /// There must be a copy, with all that the disk has, or nothing at all.
    pub fn expect_copy(&self, is_there: bool, case: &str) {
        let count = |directory: &Path| directory.read_dir().unwrap().count();
        wait_until(case, || count(self.there.path()) == usize::from(is_there));
        if is_there {
            let [image, copy] = [self.image(), self.copy()];
            let [image, copy] = [&image, &copy].map(|path| path.to_str().unwrap());
            // They may be in use.
            run_well("qemu-img", "qemu-utils", &["compare", "-U", image, copy]);
        }
    }
}

/// What the command says that moves `demo` from `here` to `there`, with whether it moved.
fn migrate(here: &Receiver, there: &str, options: &[&str]) -> (bool, String) {
    let output = here.run(&[&["migrate", "demo", there], options].concat());
    (output.status.success(), text(&output.stderr))
}

/// `demo` is here, and can be moved from here.
fn expect_here(here: &Receiver, copying: &Copying) {
    assert_eq!(listed(here, "demo").expect("it is here")["state"], "running");
    let [_, of_target, of_move] = copying.options();
    let there = Receiver::with(&of_target);
    let (moved, said) = migrate(here, &there.place, &of_move);
    assert!(moved, "{said}");
    assert_eq!(listed(&there, "demo").expect("it is there")["state"], "running");
    copying.expect_copy(true, "after all");
}

#[test]
fn a_machine_goes_with_its_disk_and_comes_back() {
    for format in ["raw", "qcow2"] {
        let copying = Copying::new(format);
        let before = fs::read(copying.image()).unwrap();
        let [of_source, of_target, of_move] = copying.options();
        let (here, there) = (Receiver::new(), Receiver::with(&of_target));
        let guest = Guest::monitor();
        let mut first = start(&here, &guest, &[&["--movable"], &of_source[..]].concat());
        let (moved, said) = migrate(&here, &there.place, &of_move);
        assert!(moved, "{said}");
        let old =
            format!("a copy of {}; this one is old now", copying.image().canonicalize().unwrap().display());
        assert!(said.contains(&old), "{said}");
        assert_eq!(first.wait().unwrap().code(), Some(0));
        assert!(fs::read(copying.image()).unwrap() == before, "the old image has changed");
        copying.expect_copy(true, format);
        let image = copying.copy();
        let image = image.to_str().unwrap();
        let described = run_well("qemu-img", "qemu-utils", &["info", "-U", image]);
        assert!(text(&described.stdout).contains(&format!("file format: {format}")));
        let other = there.run(&["run", "--kernel", "none", "--disk", &format!("{image},format={format}")]);
        assert!(text(&other.stderr).contains("is in use"), "{}", text(&other.stderr));
        // The way back is the same, to a directory without the old image.
        let home = tempfile::tempdir().unwrap();
        let back = Receiver::with(&["--disks", home.path().to_str().unwrap()]);
        let (moved, said) = migrate(&there, &back.place, &of_move);
        assert!(moved, "{said}");
        assert_eq!(listed(&back, "demo").expect("it is back")["state"], "running");
        assert!(home.path().join("disk.img").exists());
    }
}

#[test]
fn a_receiver_that_cannot_have_the_disk_refuses_and_the_guest_stays() {
    let copying = Copying::new("raw");
    let [of_source, of_target, of_move] = copying.options();
    let here = Receiver::new();
    let guest = Guest::monitor();
    let _machine = start(&here, &guest, &[&["--movable"], &of_source[..]].concat());
    let small = [&of_target[..], &["--max-disk", "7M"]].concat();
    for (options, why) in [(&[][..], "by --disks"), (&small[..], "8 MB of disks")] {
        let there = Receiver::with(options);
        let (moved, said) = migrate(&here, &there.place, &of_move);
        assert!(!moved && said.contains(why), "{said}");
    }
    let there = Receiver::with(&of_target);
    fs::write(copying.copy(), "mine").unwrap();
    let (moved, said) = migrate(&here, &there.place, &of_move);
    assert!(!moved && said.contains("exists"), "{said}");
    assert_eq!(fs::read(copying.copy()).unwrap(), b"mine");
    fs::remove_file(copying.copy()).unwrap();
    expect_here(&here, &copying);
}

#[test]
fn a_receiver_without_room_for_the_disk_says_so_and_the_guest_stays() {
    for format in ["raw", "qcow2"] {
        let copying = Copying::new(format);
        let [of_source, of_target, of_move] = copying.options();
        let here = Receiver::new();
        let guest = Guest::monitor();
        let _machine = start(&here, &guest, &[&["--movable"], &of_source[..]].concat());
        // In a name space of its own, the receiver has a small file system there.
        let script = "mount -t tmpfs -o size=2M none \"$0\" && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", script, &copying.directory]);
        command.arg(myvmm([""; 0]).get_program());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let there = Receiver::started(command, &of_target);
        let (moved, said) = migrate(&here, &there.place, &of_move);
        assert!(!moved && said.contains("refuses") && said.contains("No space"), "{said}");
        let seen = format!("/proc/{}/root{}", there.child.id(), copying.directory);
        assert_eq!(fs::read_dir(seen).unwrap().count(), 0);
        expect_here(&here, &copying);
    }
}

#[test]
fn a_move_that_is_cancelled_leaves_nothing_of_the_disk() {
    let copying = Copying::new("raw");
    let [of_source, of_target, of_move] = copying.options();
    let (here, there) = (Receiver::new(), Receiver::with(&of_target));
    let guest = Guest::monitor();
    let _machine = start(&here, &guest, &[&["--movable"], &of_source[..]].concat());
    // It takes a minute.
    let slowly = [&of_move[..], &["--max-bandwidth", "64K"]].concat();
    thread::scope(|scope| {
        let moving = scope.spawn(|| migrate(&here, &there.place, &slowly));
        let sent = || {
            let query = here.run(&["control", "demo", "query-migrate"]);
            let info: serde_json::Value = serde_json::from_slice(&query.stdout).unwrap_or_default();
            info["disk"]["normal-bytes"].as_u64().unwrap_or(0) > 0
        };
        wait_until("the disk is on its way", sent);
        here.run(&["control", "demo", "migrate_cancel"]);
        let (moved, said) = moving.join().unwrap();
        assert!(!moved && said.contains("cancelled"), "{said}");
    });
    copying.expect_copy(false, "cancelled");
    expect_here(&here, &copying);
}

/// A Debian guest moves while it writes records to its disk, which is shared with the target or copied there.
fn move_a_writer(format: &str, is_copied: bool) {
    let case = format!("{format}, {}", if is_copied { "copied" } else { "shared" });
    let [home, abroad] = [0; 2].map(|_| tempfile::tempdir().unwrap());
    let [raw, image] = ["raw", "disk.img"].map(|name| home.path().join(name));
    let [raw, image] = [&raw, &image].map(|path| path.to_str().unwrap());
    make_file_system(raw);
    run_well("qemu-img", "qemu-utils", &["convert", "-f", "raw", "-O", format, raw, image]);
    let disks = if is_copied { &abroad } else { &home };
    let (here, there) = (Receiver::new(), Receiver::with(&["--disks", disks.path().to_str().unwrap()]));
    let mut command = here.command(&["debian", "--net", "none", "--movable", "--name", "demo", "--disk"]);
    let mut first =
        Machine(command.arg(format!("{image},format={format}")).args(["--run", WRITER]).spawn().unwrap());
    let mut lines = BufReader::new(first.stdout.take().unwrap()).lines().map_while(Result::ok);
    lines.find(|line| record(line) == Some(20)).expect("the guest writes records");
    // How long it stands still depends on what else the host's disk has to do.
    let with_disk = is_copied.then_some("--with-disk");
    let options: Vec<_> = ["--downtime-limit", "5000"].into_iter().chain(with_disk).collect();
    let (moved, said) = migrate(&here, &there.place, &options);
    assert!(moved, "{case}: {said}");
    assert_eq!(first.wait().unwrap().code(), Some(0), "{case}");
    let left = lines.filter_map(|line| record(&line)).last().unwrap_or(20);
    let last = || there.log("demo").lines().filter_map(record).next_back().unwrap_or(0);
    wait_until(&case, || last() > left + 20);
    guests(there.child.id()).into_iter().for_each(kill);
    wait_until(&case, || guests(there.child.id()).is_empty());
    let whole = |image: &str| {
        let copy = home.path().join("checked");
        let copy = copy.to_str().unwrap();
        match format {
            "raw" => drop(run_well("cp", "coreutils", &["--sparse=always", image, copy])),
            _ => qcow2_to_raw(image, copy),
        }
        let records = check(Path::new(copy));
        assert!(records.iter().copied().eq(1..=records.len() as u64), "{case}: {records:?}");
        records.len() as u64
    };
    assert!(whole(disks.path().join("disk.img").to_str().unwrap()) >= last(), "{case}: records are lost");
    // The old image is as the guest left it.
    assert!(!is_copied || whole(image) >= left, "{case}");
}

#[test]
fn a_debian_that_writes_moves_with_its_raw_disk() {
    move_a_writer("raw", true);
}

#[test]
fn a_debian_that_writes_moves_with_its_qcow2_disk() {
    move_a_writer("qcow2", true);
}

#[test]
fn a_debian_that_writes_moves_between_hosts_that_share_its_disk() {
    move_a_writer("qcow2", false);
}
