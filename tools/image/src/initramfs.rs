//! The small system that lives in memory: busybox, a console shell and a few kernel modules, as an archive that the
//! kernel unpacks at boot. What it does at boot is written in the files of `guest/`, which stand in it as they are.
//! The archive is not compressed: measured in an emulator, a guest boots as fast from it as from a gzip'd one of a
//! third of the size, and a tenth slower from one of xz; so there is nothing to win by the extra step.
//! This file knows no package, no cache and no path of the host.

use std::collections::BTreeMap;

use crate::Error;
use crate::base64;
use crate::busybox;
use crate::cpio::{self, Entry, Node};
use crate::module::Modules;

/// The word for the kernel's command line that makes the initramfs give the machine over to the system on its first
/// disk, which [`root`](crate::root) makes.
pub const BOOT_DISK_WORD: &str = "rdinit=/etc/boot-disk";

/// The word that lets the holder of an SSH key into the system on the disk for the time of one boot: `key` is a line
/// as in `authorized_keys`.
#[must_use]
pub fn key_word(key: &str) -> String {
    format!("myvmm.key={}", base64::encode(key.as_bytes()))
}

/// The kernel takes a command line of 4095 bytes; this leaves room for other words.
const LONGEST_ENCODED_SCRIPT: usize = 3500;

const BUSYBOX: &str = "bin/busybox";

const DIRECTORIES: [(&str, u32); 11] = [
    ("bin", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("lib/modules", 0o755),
    ("mnt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("var", 0o755),
];

/// All commands are in one directory, whatever name a script calls it by.
const LINKS: [(&str, &str); 7] = [
    ("init", "bin/busybox"),
    ("sbin", "bin"),
    ("usr/bin", "../bin"),
    ("usr/sbin", "../bin"),
    ("etc/mtab", "../proc/mounts"),
    ("var/run", "../run"),
    ("var/tmp", "../tmp"),
];

/// The devices that must be there before `/dev` is mounted: the kernel gives the first process `/dev/console`.
const DEVICES: [(&str, u32, (u32, u32)); 2] = [("dev/console", 0o600, (5, 1)), ("dev/null", 0o666, (1, 3))];

const FILES: [(&str, u32, &str); 15] = [
    ("etc/inittab", 0o644, include_str!("../guest/inittab")),
    ("etc/fstab", 0o644, include_str!("../guest/fstab")),
    ("etc/profile", 0o644, include_str!("../guest/profile")),
    ("etc/motd", 0o644, include_str!("../guest/motd")),
    ("etc/rc", 0o755, include_str!("../guest/rc")),
    ("etc/run", 0o755, include_str!("../guest/run")),
    ("etc/boot-disk", 0o755, include_str!("../guest/boot-disk")),
    ("etc/install", 0o755, include_str!("../guest/install")),
    ("etc/udhcpc/default.script", 0o755, include_str!("../guest/udhcpc")),
    ("etc/hostname", 0o644, "myvmm\n"),
    ("etc/hosts", 0o644, "127.0.0.1 localhost myvmm\n"),
    ("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\n"),
    ("etc/group", 0o644, "root:x:0:\ntty:x:5:\n"),
    ("etc/nsswitch.conf", 0o644, "passwd: files\ngroup: files\nhosts: files dns\n"),
    ("etc/shells", 0o644, "/bin/sh\n"),
];

/// Puts an initramfs together.
#[derive(Debug, Clone)]
pub struct InitramfsBuilder {
    entries: BTreeMap<String, Entry>,
}

impl InitramfsBuilder {
    /// Starts with a system whose commands all are the statically linked `busybox`.
    ///
    /// # Errors
    /// [`Error::BadPackage`] if the bytes are not a busybox.
    pub fn new(busybox: Vec<u8>) -> Result<Self, Error> {
        let mut builder = Self { entries: BTreeMap::new() };
        for (path, mode) in DIRECTORIES {
            builder.insert(path, mode, Node::Directory)?;
        }
        for (path, target) in LINKS {
            builder.add_link(path, target)?;
        }
        for (path, mode, (major, minor)) in DEVICES {
            builder.insert(path, mode, Node::CharacterDevice { major, minor })?;
        }
        for (path, mode, text) in FILES {
            builder.add_file(path, mode, text)?;
        }
        builder.add_busybox(busybox)?;
        Ok(builder)
    }

    fn add_busybox(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        let applets = busybox::applets(&bytes).ok_or_else(|| Error::BadPackage {
            package: BUSYBOX.into(),
            missing: "a table of the commands that busybox knows".into(),
        })?;
        for applet in applets.into_iter().filter(|applet| *applet != "busybox") {
            self.add_link(&format!("bin/{applet}"), "busybox")?;
        }
        self.add_file(BUSYBOX, 0o755, bytes)?;
        Ok(())
    }

    /// Puts a file at `path` with the permission bits `mode`, instead of what was there. The directories above are
    /// made; `path` may start with a slash.
    ///
    /// # Errors
    /// [`Error::BadPath`] if the path names nothing, leads upwards or through a file.
    pub fn add_file(&mut self, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) -> Result<&mut Self, Error> {
        self.insert(path, mode, Node::File(bytes.into()))
    }

    /// Puts a symbolic link to `target` at `path`, instead of what was there.
    ///
    /// # Errors
    /// As [`add_file`](Self::add_file).
    pub fn add_link(&mut self, path: &str, target: &str) -> Result<&mut Self, Error> {
        self.insert(path, 0o777, Node::Link(target.to_owned()))
    }

    /// Adds kernel modules for the kernel `release` (what `uname -r` prints), and the lists that `modprobe` reads.
    /// Those named in `at_boot` are loaded at boot if the machine has virtio devices.
    ///
    /// # Errors
    /// As [`add_file`](Self::add_file).
    pub fn add_modules(
        &mut self,
        release: &str,
        modules: &Modules,
        at_boot: &[&str],
    ) -> Result<&mut Self, Error> {
        let directory = format!("lib/modules/{release}");
        for module in modules.iter() {
            self.add_file(&format!("{directory}/{}.ko", module.name), 0o644, module.bytes.as_slice())?;
        }
        self.add_file(&format!("{directory}/modules.dep"), 0o644, modules.dependencies())?;
        self.add_file(&format!("{directory}/modules.alias"), 0o644, modules.aliases())?;
        let lines: String = at_boot.iter().map(|name| format!("{name}\n")).collect();
        self.add_file("etc/modules", 0o644, lines)
    }

    /// The archive's bytes: the same for the same content.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if a file is 4 GiB or more; [`Error::BadPath`] if a path is too long for the kernel.
    pub fn build(&self) -> Result<Vec<u8>, Error> {
        let mut writer = cpio::Writer::default();
        for (path, entry) in &self.entries {
            writer.append(path, entry)?;
        }
        Ok(writer.finish())
    }

    fn insert(&mut self, path: &str, mode: u32, node: Node) -> Result<&mut Self, Error> {
        let bad = |problem| Error::BadPath { path: path.to_owned(), problem };
        let mut place = String::new();
        let mut parts = parts(path).map_err(bad)?.into_iter().peekable();
        while let Some(part) = parts.next() {
            place = if place.is_empty() { part.to_owned() } else { format!("{place}/{part}") };
            if parts.peek().is_some() {
                place = self.enter(place).map_err(bad)?;
            }
        }
        if matches!(self.entries.get(&place), Some(Entry { node: Node::Directory, .. }))
            && node != Node::Directory
        {
            return Err(bad("there is a directory of that name"));
        }
        self.entries.insert(place, Entry { mode: mode & 0o7777, node });
        Ok(self)
    }

    /// The directory that `place` is, made if there is none, or that the link at `place` leads to.
    fn enter(&mut self, place: String) -> Result<String, &'static str> {
        let directory = Entry { mode: 0o755, node: Node::Directory };
        let entry = self.entries.entry(place.clone()).or_insert(directory);
        match &entry.node {
            Node::Directory => Ok(place),
            Node::Link(target) => {
                let followed = follow(&place, target)?;
                match self.entries.get(&followed) {
                    Some(Entry { node: Node::Directory, .. }) => Ok(followed),
                    _ => Err("a link on the way does not lead to a directory"),
                }
            }
            Node::File(_) | Node::CharacterDevice { .. } => Err("a file stands where it needs a directory"),
        }
    }
}

/// The names between the slashes of `path`.
fn parts(path: &str) -> Result<Vec<&str>, &'static str> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.is_empty() {
        return Err("it names nothing");
    }
    if parts.contains(&"..") {
        return Err("it leads upwards");
    }
    if path.contains('\0') {
        return Err("it holds a zero byte");
    }
    Ok(parts)
}

/// Where the link at `place` leads that says `target`, if nothing on that way is a link itself.
fn follow(place: &str, target: &str) -> Result<String, &'static str> {
    let mut way: Vec<&str> = place.split('/').collect();
    way.pop();
    if target.starts_with('/') {
        way.clear();
    }
    for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            way.pop().ok_or("a link on the way leads out of the system")?;
        } else {
            way.push(part);
        }
    }
    Ok(way.join("/"))
}

/// The word for the kernel's command line that makes the initramfs run the shell `script` instead of a shell at the
/// console. It then prints `myvmm: exit <status>` on a line of its own and turns the machine off; the status is 126
/// if the word arrived cut, as by QEMU's Malta board, which passes no more than 255 bytes.
///
/// # Errors
/// [`Error::LongScript`] if the script does not fit.
pub fn run_word(script: &str) -> Result<String, Error> {
    let encoded = base64::encode(script.as_bytes());
    if encoded.len() > LONGEST_ENCODED_SCRIPT {
        return Err(Error::LongScript { size: script.len(), limit: LONGEST_ENCODED_SCRIPT / 4 * 3 });
    }
    Ok(format!("myvmm.run={encoded}"))
}

/// All that is written into every initramfs, so that a change of it can be told from what was made before.
pub(crate) fn recipe() -> String {
    format!("{DIRECTORIES:?}{LINKS:?}{DEVICES:?}{FILES:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpio::tests::{Listed, list};
    use crate::module::{Module, tests::file};

    fn builder() -> InitramfsBuilder {
        let names: Vec<String> = (0..30).map(|number| format!("applet{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        InitramfsBuilder::new(busybox::tests::binary(&names)).unwrap()
    }

    fn find<'a>(listed: &'a [Listed], path: &str) -> &'a Listed {
        listed.iter().find(|entry| entry.path == path).unwrap_or_else(|| panic!("no {path}"))
    }

    #[test]
    fn every_parent_comes_before_what_it_holds() {
        let listed = list(&builder().build().unwrap());
        for (index, entry) in listed.iter().enumerate() {
            let Some((parent, _)) = entry.path.rsplit_once('/') else { continue };
            let found = listed[..index].iter().find(|earlier| earlier.path == parent);
            assert_eq!(found.map(|found| found.mode & 0o170_000), Some(0o040_000), "above {}", entry.path);
        }
    }

    #[test]
    fn the_kernel_finds_its_first_process_and_console() {
        let listed = list(&builder().build().unwrap());
        assert_eq!(find(&listed, "init").content, b"bin/busybox");
        assert_eq!(find(&listed, "bin/applet7").content, b"busybox");
        assert_eq!(find(&listed, "dev/console").device, (5, 1));
        assert_eq!(find(&listed, "bin/busybox").mode, 0o100_755);
    }

    #[test]
    fn a_file_goes_through_links_and_makes_directories() {
        let mut builder = builder();
        builder.add_file("/usr/bin/tool", 0o755, "x").unwrap().add_file("opt/a/b", 0o600, "y").unwrap();
        builder.add_file("etc/hostname", 0o644, "other\n").unwrap();
        let listed = list(&builder.build().unwrap());
        assert_eq!(find(&listed, "bin/tool").content, b"x");
        assert_eq!(find(&listed, "opt/a").mode, 0o040_755);
        assert_eq!(find(&listed, "opt/a/b").mode, 0o100_600);
        assert_eq!(find(&listed, "etc/hostname").content, b"other\n");
    }

    #[test]
    fn bad_paths_are_refused() {
        for path in ["", "/", "a/../b", "etc/hostname/x", "etc", "a\0b"] {
            assert!(matches!(builder().add_file(path, 0o644, ""), Err(Error::BadPath { .. })), "{path:?}");
        }
    }

    #[test]
    fn modules_come_with_their_lists() {
        let module = Module::parse("virtio-rng", file(&["depends=", "alias=virtio:d4v*"])).unwrap();
        let modules = Modules::gather(&["virtio-rng"], |_| Ok(Some(module.clone())), |_| None).unwrap();
        let mut builder = builder();
        builder.add_modules("6.1.0", &modules, &["virtio_rng"]).unwrap();
        let listed = list(&builder.build().unwrap());
        assert_eq!(find(&listed, "lib/modules/6.1.0/virtio_rng.ko").content, module.bytes);
        assert_eq!(find(&listed, "lib/modules/6.1.0/modules.dep").content, b"virtio_rng.ko:\n");
        assert_eq!(find(&listed, "etc/modules").content, b"virtio_rng\n");
    }

    #[test]
    fn the_run_word_has_no_space_and_an_end() {
        assert_eq!(run_word("uname -a").unwrap(), "myvmm.run=dW5hbWUgLWE=");
        assert!(matches!(run_word(&"x".repeat(3000)), Err(Error::LongScript { .. })));
    }
}
