//! Makes a bootable Debian guest from packages: gets them, takes out the kernel, the modules and busybox, and lays a
//! kernel and an initramfs into the cache. What is there already is found again by its stamp, without any network.
//! This file knows which packages and modules a guest needs, but not how apt, archives or modules work.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::apt::{Apt, Package};
use crate::initramfs::{self, InitramfsBuilder};
use crate::module::{self, Module, Modules};
use crate::program::DPKG_DEB;
use crate::store::{self, Lock};
use crate::{Error, Progress, mirror};

/// Debian's name for the guest's processor: little-endian MIPS64 with 64-bit user programs.
pub const ARCHITECTURE: &str = "mips64el";
/// The newest release of Debian that has packages for the guest's processor.
pub const SUITE: &str = "bookworm";

/// To be raised when the meaning of the files in a guest's directory changes; their content is compared anyway.
const LAYOUT: u32 = 1;

/// The modules in the initramfs; what they need comes along.
const MODULES: [&str; 7] =
    ["virtio_mmio", "virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "virtio_rng", "ext4"];
/// Those of them loaded at boot if the machine has virtio devices; the kernel asks for ext4 itself.
const MODULES_AT_BOOT: [&str; 6] =
    ["virtio_mmio", "virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "virtio_rng"];

const USERLAND: &str = "busybox-static";

const KERNEL_FILE: &str = "vmlinuz";
const INITRAMFS_FILE: &str = "initramfs.cpio";
const BUSYBOX_FILE: &str = "busybox";
const STAMP_FILE: &str = "stamp";
const CURRENT_FILE: &str = "current";

/// Which of Debian's kernels for the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// For any machine that describes itself by a device tree, and so for myvmm's boards.
    Generic,
    /// For MIPS's Malta board, which other emulators have: to compare with.
    Malta,
}

impl Flavour {
    /// All flavours.
    pub const ALL: [Self; 2] = [Self::Generic, Self::Malta];

    /// The name in commands and in the cache: `generic` or `malta`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Malta => "malta",
        }
    }

    /// The package that always needs the newest kernel of this flavour.
    fn metapackage(self) -> &'static str {
        match self {
            Self::Generic => "linux-image-mips64r2el",
            Self::Malta => "linux-image-5kc-malta",
        }
    }
}

/// What to prepare, and where.
#[derive(Debug, Clone)]
pub struct Request {
    /// The directory of the cache; see [`default_cache`](crate::default_cache).
    pub cache: PathBuf,
    /// The kernel.
    pub flavour: Flavour,
    /// The address of a Debian mirror; that of the host's own apt if there is none.
    pub mirror: Option<String>,
    /// Whether to look for newer packages even if the cache has some.
    pub refresh: bool,
}

impl Request {
    /// The usual guest, with its files in `cache`.
    #[must_use]
    pub fn new(cache: PathBuf, flavour: Flavour) -> Self {
        Self { cache, flavour, mirror: None, refresh: false }
    }

    fn guests(&self) -> PathBuf {
        self.cache.join("debian").join(self.flavour.name())
    }
}

/// A guest that is ready to boot: files in the cache. They are never changed, only replaced by others in a directory
/// of another name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// The directory that holds all of the guest's files.
    pub directory: PathBuf,
    /// The kernel's release, as `uname -r` prints it.
    pub release: String,
    /// The packages it was made of: the name and version of each.
    pub packages: Vec<(String, String)>,
    /// The kernel as Debian ships it: an ELF file that unpacks itself when started.
    pub kernel: PathBuf,
    /// The initramfs, not compressed.
    pub initramfs: PathBuf,
}

impl Guest {
    /// Starts an initramfs like this guest's own, for the caller to add files to.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::BadPackage`] if the cache is damaged.
    pub fn builder(&self) -> Result<InitramfsBuilder, Error> {
        let modules = files_below(&self.directory.join("modules"))?;
        let modules: BTreeMap<String, PathBuf> =
            modules.iter().filter_map(|path| module_name(path)).collect();
        let mut builder = InitramfsBuilder::new(read(&self.directory.join(BUSYBOX_FILE))?)?;
        builder.add_modules(&self.release, &gather(&modules)?, &MODULES_AT_BOOT)?;
        Ok(builder)
    }

    /// The guest in `directory`, if all of its files are there as its stamp says.
    fn ready(directory: PathBuf) -> Option<Self> {
        let stamp = Stamp::parse(&fs::read_to_string(directory.join(STAMP_FILE)).ok()?)?;
        let size = |name: &String| fs::metadata(directory.join(name)).ok().map(|file| file.len());
        stamp.files.iter().all(|(name, expected)| size(name) == Some(*expected)).then(|| Self {
            kernel: directory.join(KERNEL_FILE),
            initramfs: directory.join(INITRAMFS_FILE),
            release: stamp.release,
            packages: stamp.packages.into_iter().map(|(name, version, _)| (name, version)).collect(),
            directory,
        })
    }
}

/// Gives the guest that `request` asks for, from the cache if it is there. The first time this takes some 45 MB of
/// downloads and 400 MB of disk for a while.
///
/// # Errors
/// Each variant of [`Error`] says what is missing and what to do.
pub fn prepare(request: &Request, progress: &mut dyn Progress) -> Result<Guest, Error> {
    let current = || (!request.refresh).then(|| ready(request)).flatten();
    if let Some(guest) = current() {
        return Ok(guest);
    }
    let _lock = Lock::take(&request.cache, progress)?;
    // Another process may have made it while this one waited.
    if let Some(guest) = current() {
        return Ok(guest);
    }
    let archives = request.cache.join("archives");
    let known = (!request.refresh).then(|| known_packages(request, &archives)).flatten();
    let packages = match known {
        Some(packages) => packages,
        None => fetch(request, &archives, progress)?,
    };
    assemble(request, &archives, &packages, progress)
}

/// The guest made last, if it is whole and was made as this version makes it.
fn ready(request: &Request) -> Option<Guest> {
    let guests = request.guests();
    let name = fs::read_to_string(guests.join(CURRENT_FILE)).ok()?;
    let ours = name.trim().ends_with(&format!("_{:016x}", fingerprint()));
    ours.then(|| Guest::ready(guests.join(name.trim()))).flatten()
}

/// The packages of the guest made last, if all of their files are still there.
fn known_packages(request: &Request, archives: &Path) -> Option<Vec<Package>> {
    let guests = request.guests();
    let name = fs::read_to_string(guests.join(CURRENT_FILE)).ok()?;
    let stamp = Stamp::parse(&fs::read_to_string(guests.join(name.trim()).join(STAMP_FILE)).ok()?)?;
    let packages = stamp.packages.into_iter();
    // A kernel and a static busybox are made for one architecture.
    let package = |(name, version, size)| {
        let architecture = ARCHITECTURE.to_owned();
        Package { name, version, architecture, size, depends: Vec::new() }
    };
    let packages: Vec<Package> = packages.map(package).collect();
    packages.iter().all(|package| is_there(package, archives)).then_some(packages)
}

fn is_there(package: &Package, archives: &Path) -> bool {
    fs::metadata(archives.join(package.file_name())).is_ok_and(|file| file.len() == package.size)
}

/// A package client with the newest list of packages.
pub(crate) fn open_apt(request: &Request, progress: &mut dyn Progress) -> Result<Apt, Error> {
    let mirrors = mirrors(request)?;
    // Better now than after a long download.
    DPKG_DEB.output(DPKG_DEB.command().arg("--version"), "looking for dpkg-deb", &request.cache)?;
    let apt = Apt::open(request.cache.join("apt"))?;
    apt.update(&mirrors, progress)?;
    Ok(apt)
}

/// Chooses the packages and brings their files into `archives`.
fn fetch(request: &Request, archives: &Path, progress: &mut dyn Progress) -> Result<Vec<Package>, Error> {
    let apt = open_apt(request, progress)?;
    let packages = choose(&apt, request.flavour)?;
    download_missing(&apt, &packages, archives, progress)?;
    Ok(packages)
}

/// The mirrors to ask, in their order.
pub(crate) fn mirrors(request: &Request) -> Result<Vec<String>, Error> {
    match &request.mirror {
        Some(mirror) => {
            mirror::check(mirror)?;
            Ok(vec![mirror.clone()])
        }
        None => mirror::of_host(),
    }
}

/// Brings the files of those of `packages` into `archives` that are not there.
pub(crate) fn download_missing(
    apt: &Apt,
    packages: &[Package],
    archives: &Path,
    progress: &mut dyn Progress,
) -> Result<(), Error> {
    let missing: Vec<Package> =
        packages.iter().filter(|package| !is_there(package, archives)).cloned().collect();
    if missing.is_empty() { Ok(()) } else { download(apt, &missing, archives, progress) }
}

/// The newest kernel of the flavour and the userland.
fn choose(apt: &Apt, flavour: Flavour) -> Result<Vec<Package>, Error> {
    let newest = apt.show(flavour.metapackage())?;
    let kernel = newest.depends.iter().find(|name| name.starts_with("linux-image-"));
    let no_kernel = || Error::NoPackage { package: format!("that {} asks for", newest.name) };
    Ok(vec![apt.show(kernel.ok_or_else(no_kernel)?)?, apt.show(USERLAND)?])
}

/// Downloads into a directory of its own first, so that `archives` holds whole files only.
fn download(
    apt: &Apt,
    packages: &[Package],
    archives: &Path,
    progress: &mut dyn Progress,
) -> Result<(), Error> {
    let aside = archives.join("partial");
    store::fresh(&aside)?;
    apt.download(packages, &aside, progress)?;
    for package in packages {
        let (from, to) = (aside.join(package.file_name()), archives.join(package.file_name()));
        fs::rename(&from, &to).map_err(Error::file("keep the download", &to))?;
    }
    store::remove(&aside)
}

/// Unpacks the packages and makes the guest's directory from them.
fn assemble(
    request: &Request,
    archives: &Path,
    packages: &[Package],
    progress: &mut dyn Progress,
) -> Result<Guest, Error> {
    let guests = request.guests();
    let (unpacked, aside) = (request.cache.join("unpacked"), guests.join("unfinished"));
    store::fresh(&unpacked)?;
    store::fresh(&aside)?;
    for (done, package) in (0..).zip(packages) {
        progress.step("unpacking Debian packages", done, Some(packages.len() as u64));
        unpack(&archives.join(package.file_name()), &unpacked)?;
    }
    progress.step("making the initramfs", 0, None);
    let release = fill(&unpacked, &aside)?;
    let kernel_version = packages.first().map_or("", |package| package.version.as_str());
    let name = format!("{release}_{}_{:016x}", kernel_version.replace(':', "%"), fingerprint());
    Stamp::of(release, packages, &aside)?.write(&aside)?;
    store::place(&aside, &guests.join(&name))?;
    store::write(&guests.join(CURRENT_FILE), format!("{name}\n").as_bytes())?;
    store::remove(&unpacked)?;
    let directory = guests.join(name);
    Guest::ready(directory.clone())
        .ok_or(Error::BadPackage { package: directory, missing: "its files".into() })
}

pub(crate) fn unpack(package: &Path, into: &Path) -> Result<(), Error> {
    let what = format!("unpacking {}", package.display());
    let mut command = DPKG_DEB.command();
    DPKG_DEB.run(command.arg("-x").arg(package).arg(into), &what, into, |_| {})
}

/// Fills the guest's directory from the unpacked packages, and gives the kernel's release.
fn fill(unpacked: &Path, aside: &Path) -> Result<String, Error> {
    let lacks = |missing: &str| Error::BadPackage { package: unpacked.to_owned(), missing: missing.into() };
    let files = files_below(unpacked)?;
    let (kernel, release) =
        files.iter().find_map(|path| kernel_release(path)).ok_or_else(|| lacks("a kernel"))?;
    let busybox = files.iter().find(|path| path.ends_with("bin/busybox")).ok_or_else(|| lacks("busybox"))?;
    let all: BTreeMap<String, PathBuf> = files.iter().filter_map(|path| module_name(path)).collect();

    store::write(&aside.join(KERNEL_FILE), &read(kernel)?)?;
    store::write(&aside.join(BUSYBOX_FILE), &read(busybox)?)?;
    let modules = gather(&all)?;
    store::fresh(&aside.join("modules"))?;
    for module in modules.iter() {
        store::write(&aside.join("modules").join(format!("{}.ko", module.name)), &module.bytes)?;
    }
    let mut builder = InitramfsBuilder::new(read(busybox)?)?;
    builder.add_modules(&release, &modules, &MODULES_AT_BOOT)?;
    store::write(&aside.join(INITRAMFS_FILE), &builder.build()?)?;
    Ok(release)
}

/// The modules of [`MODULES`] and what they need, out of `all`: the file of each name.
fn gather(all: &BTreeMap<String, PathBuf>) -> Result<Modules, Error> {
    let load = |name: &str| {
        let Some(path) = all.get(name) else { return Ok(None) };
        Module::parse(name, read(path)?).map(Some)
    };
    // The kernel asks for an algorithm by this alias, and every processor can do it by the generic module.
    let supplier = |alias: &str| Some(format!("{}_generic", alias.strip_prefix("crypto-")?));
    Modules::gather(&MODULES, load, supplier)
}

/// A module's name and file, if `path` is one.
fn module_name(path: &Path) -> Option<(String, PathBuf)> {
    let name = path.file_name()?.to_str()?.strip_suffix(".ko")?;
    Some((module::canonical(name), path.to_owned()))
}

/// The file and release of a kernel, if `path` is one.
fn kernel_release(path: &Path) -> Option<(&Path, String)> {
    let release = path.file_name()?.to_str()?.strip_prefix("vmlinuz-")?;
    path.parent()?.ends_with("boot").then(|| (path, release.to_owned()))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(Error::file("read", path))
}

/// All regular files in `directory` and the directories below, in order. Links are not followed.
fn files_below(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let failed = || Error::file("list", &directory);
        for entry in fs::read_dir(&directory).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let kind = entry.file_type().map_err(failed())?;
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// A number that differs if this version would make another guest out of the same packages (FNV-1a).
fn fingerprint() -> u64 {
    let recipe = format!("{LAYOUT}{MODULES:?}{MODULES_AT_BOOT:?}{USERLAND}{}", initramfs::recipe());
    recipe
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What a guest's directory says of itself, one thing a line: `release R`, `package NAME VERSION SIZE`,
/// `file SIZE NAME`. It is written last, so a directory with one is whole.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stamp {
    release: String,
    packages: Vec<(String, String, u64)>,
    files: Vec<(String, u64)>,
}

impl Stamp {
    fn of(release: String, packages: &[Package], directory: &Path) -> Result<Self, Error> {
        let packages = packages.iter().map(|one| (one.name.clone(), one.version.clone(), one.size)).collect();
        let mut files = Vec::new();
        for path in files_below(directory)? {
            let size = fs::metadata(&path).map_err(Error::file("read", &path))?.len();
            let name = path.strip_prefix(directory).unwrap_or(&path);
            files.push((name.to_string_lossy().into_owned(), size));
        }
        Ok(Self { release, packages, files })
    }

    fn write(&self, directory: &Path) -> Result<(), Error> {
        let packages =
            self.packages.iter().map(|(name, version, size)| format!("package {name} {version} {size}\n"));
        let files = self.files.iter().map(|(name, size)| format!("file {size} {name}\n"));
        let text: String =
            [format!("release {}\n", self.release)].into_iter().chain(packages).chain(files).collect();
        store::write(&directory.join(STAMP_FILE), text.as_bytes())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut stamp = Self::default();
        for line in text.lines() {
            let mut words = line.splitn(4, ' ');
            match words.next()? {
                "release" => stamp.release = words.next()?.to_owned(),
                "package" => {
                    let (name, version) = (words.next()?.to_owned(), words.next()?.to_owned());
                    stamp.packages.push((name, version, words.next()?.parse().ok()?));
                }
                "file" => {
                    let size = words.next()?.parse().ok()?;
                    stamp.files.push((words.next()?.to_owned(), size));
                }
                _ => return None,
            }
        }
        (!stamp.release.is_empty()).then_some(stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> Stamp {
        Stamp {
            release: "6.1.0-1-x".into(),
            packages: vec![("linux-image-x".into(), "1:6.1-2".into(), 7)],
            files: vec![("modules/a.ko".into(), 3)],
        }
    }

    #[test]
    fn a_stamp_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        stamp().write(directory.path()).unwrap();
        let text = fs::read_to_string(directory.path().join(STAMP_FILE)).unwrap();
        assert_eq!(Stamp::parse(&text), Some(stamp()));
        for bad in ["", "release", "release x\npackage y", "release x\nfile y z", "release x\nother"] {
            assert_eq!(Stamp::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_guest_with_a_short_file_is_not_ready() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        stamp().write(&path).unwrap();
        assert_eq!(Guest::ready(path.clone()), None);
        fs::create_dir(path.join("modules")).unwrap();
        for (content, whole) in [("ab", false), ("abc", true)] {
            fs::write(path.join("modules/a.ko"), content).unwrap();
            assert_eq!(Guest::ready(path.clone()).is_some(), whole);
        }
    }

    #[test]
    fn names_are_taken_from_paths() {
        let kernel = Path::new("/u/boot/vmlinuz-6.1.0-1-x");
        assert_eq!(kernel_release(kernel), Some((kernel, "6.1.0-1-x".to_owned())));
        assert_eq!(kernel_release(Path::new("/u/share/vmlinuz-x")), None);
        assert_eq!(module_name(Path::new("/u/virtio-rng.ko")).unwrap().0, "virtio_rng");
        assert_eq!(module_name(Path::new("/u/modules.order")), None);
    }
}
