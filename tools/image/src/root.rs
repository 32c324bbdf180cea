//! Prepares the installation of a Debian system on a disk: gets the packages, lays them into an archive, and makes an
//! empty disk. A machine that boots the guest of [`debian`] with both as its disks and runs [`SCRIPT`]
//! then makes the system, so that every program of it runs where it belongs. This file knows which packages and
//! settings such a system has, but not how a machine is run.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use crate::apt::PackageFile;
use crate::archive::Archive;
use crate::debian::{self, Request, SUITE, open_apt};
use crate::store::{self, Lock};
use crate::{Error, Progress};

/// What a machine runs to install the system: the empty disk is its first, the archive its second.
pub const SCRIPT: &str = "/etc/install";
/// What that prints before the name of each of its steps.
pub const STEP: &str = "myvmm: step ";
/// What it prints before how much of the step is done and how much there is to do.
pub const SHARE: &str = "myvmm: share ";
/// What it prints when the system is whole.
pub const DONE: &str = "myvmm: installed";

/// Bytes of the disk as the guest sees it. The host gives storage only for what is written, some 300 MB at first.
const DISK_SIZE: u64 = 8 << 30;

/// A small Debian: what every Debian has, an init, a network, a way in by SSH.
const PACKAGES: [&str; 18] = [
    "?essential",
    "apt",
    "curl",
    "e2fsprogs",
    "ifupdown",
    "initscripts",
    "iproute2",
    "iputils-ping",
    "kmod",
    "less",
    "nano",
    "netbase",
    "openssh-server",
    "procps",
    "sysv-rc",
    "sysvinit-core",
    "udhcpc",
    // Without it, one that moves directories in a running system is chosen, and Perl with it.
    "usr-is-merged",
];

/// The settings of the system, and the script that configures its packages.
const FILES: [(&str, u32, &str); 10] = [
    ("etc/fstab", 0o644, include_str!("../guest/root/fstab")),
    ("etc/hostname", 0o644, "myvmm\n"),
    ("etc/hosts", 0o644, "127.0.0.1 localhost\n127.0.1.1 myvmm\n"),
    ("etc/inittab", 0o644, include_str!("../guest/root/inittab")),
    ("etc/motd", 0o644, include_str!("../guest/root/motd")),
    ("etc/network/interfaces", 0o644, include_str!("../guest/root/interfaces")),
    ("etc/profile.d/myvmm.sh", 0o644, include_str!("../guest/root/profile.sh")),
    ("etc/ssh/sshd_config.d/myvmm.conf", 0o644, include_str!("../guest/root/sshd.conf")),
    ("usr/local/sbin/console", 0o755, include_str!("../guest/root/console")),
    ("var/lib/myvmm/configure", 0o755, include_str!("../guest/root/configure")),
];

/// Directories of those files that no package has.
const DIRECTORIES: [&str; 2] = ["var/lib/myvmm", "etc/profile.d"];

/// A system on a disk.
#[derive(Debug)]
pub enum Root {
    /// It is there: the image of its disk.
    Ready(PathBuf),
    /// It is to be installed.
    ToInstall(Installation),
}

/// What a machine needs to install a system. As long as it is there, no other process makes images in the cache.
#[derive(Debug)]
pub struct Installation {
    directory: PathBuf,
    _lock: Lock,
}

impl Installation {
    /// The image of the empty disk, raw.
    #[must_use]
    pub fn disk(&self) -> PathBuf {
        self.directory.join("unfinished.img")
    }

    /// The archive: a tar file, to be read only.
    #[must_use]
    pub fn archive(&self) -> PathBuf {
        self.directory.join("unfinished.tar")
    }

    /// A file for what the machine prints.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.directory.join("install.log")
    }

    /// Takes the disk, on which the machine has installed the system, for what [`prepare`] gives from now on, and gives
    /// its image.
    ///
    /// # Errors
    /// [`Error::File`] if the cache cannot be written.
    pub fn finish(self) -> Result<PathBuf, Error> {
        let finished = image(&self.directory);
        store::replace(&self.disk(), &finished)?;
        store::remove_file(&self.archive())?;
        Ok(finished)
    }

    /// Makes the empty disk and the archive of the packages in the files `packages`, for a system whose apt asks
    /// `mirrors`.
    fn fill(
        &self,
        packages: &[PathBuf],
        mirrors: &[String],
        progress: &mut dyn Progress,
    ) -> Result<(), Error> {
        let disk = self.disk();
        let empty = File::create(&disk).and_then(|file| file.set_len(DISK_SIZE));
        empty.map_err(Error::file("create", &disk))?;
        let path = self.archive();
        let file = File::create(&path).map_err(Error::file("create", &path))?;
        let mut archive = Archive::new(BufWriter::new(file), &path)?;
        for (done, package) in (0..).zip(packages) {
            progress.step("unpacking Debian packages", done, Some(packages.len() as u64));
            archive.add_package(package)?;
        }
        for directory in DIRECTORIES {
            archive.add_directory(directory, 0o755)?;
        }
        for (path, mode, text) in FILES {
            archive.add_file(path, mode, text.as_bytes())?;
        }
        archive.add_file("etc/apt/sources.list", 0o644, sources(mirrors).as_bytes())?;
        let file = archive.finish()?;
        file.into_inner().map(drop).map_err(|error| Error::file("write", &path)(error.into_error()))
    }
}

/// Where the system's apt gets packages: from where these came. Which servers have security fixes is the user's to say.
fn sources(mirrors: &[String]) -> String {
    mirrors
        .iter()
        .map(|mirror| format!("deb {mirror} {SUITE} main\ndeb {mirror} {SUITE}-updates main\n"))
        .collect()
}

fn image(directory: &Path) -> PathBuf {
    directory.join("system.img")
}

/// Gives the system in the cache that `request` names, or what is needed to install it if there is none, or if it is
/// to be a `fresh` one. The first time this takes some 40 MB of downloads. A system that is installed has the packages
/// `more`, too.
///
/// # Errors
/// Each variant of [`Error`] says what is missing and what to do.
pub fn prepare(
    request: &Request,
    fresh: bool,
    more: &[String],
    progress: &mut dyn Progress,
) -> Result<Root, Error> {
    let directory = request.cache.join("debian").join("disk");
    let ready = || image(&directory).exists().then(|| Root::Ready(image(&directory)));
    if let Some(root) = ready().filter(|_| !fresh) {
        return Ok(root);
    }
    let lock = Lock::take(&request.cache, progress)?;
    // Another process may have made it while this one waited.
    if let Some(root) = ready().filter(|_| !fresh) {
        return Ok(root);
    }
    fs::create_dir_all(&directory).map_err(Error::file("create", &directory))?;
    let packages = fetch(request, &directory, more, progress)?;
    let installation = Installation { directory, _lock: lock };
    installation.fill(&packages, &debian::mirrors(request)?, progress)?;
    Ok(Root::ToInstall(installation))
}

/// The files of the packages, from the archive if they are not all in the cache.
fn fetch(
    request: &Request,
    directory: &Path,
    more: &[String],
    progress: &mut dyn Progress,
) -> Result<Vec<PathBuf>, Error> {
    let (archives, list) = (request.cache.join("archives"), directory.join("packages"));
    let wanted: Vec<&str> = PACKAGES.into_iter().chain(more.iter().map(String::as_str)).collect();
    let is_there = |file: &PackageFile| {
        fs::metadata(archives.join(&file.name)).is_ok_and(|found| found.len() == file.size)
    };
    let known = fs::read_to_string(&list).ok().and_then(|text| parse(&text, &wanted));
    let known = known.filter(|files| !request.refresh && files.iter().all(is_there));
    let files = match known {
        Some(files) => files,
        None => {
            let apt = open_apt(request, progress)?;
            let files = apt.resolve(&wanted)?;
            let total = files.iter().map(|file| file.size).sum();
            apt.download_all(&wanted, total, &archives, progress)?;
            store::write(&list, print(&files, &wanted).as_bytes())?;
            files
        }
    };
    Ok(files.iter().map(|file| archives.join(&file.name)).collect())
}

/// The text of the list of files: what was asked for, then a size and a name a line.
fn print(files: &[PackageFile], wanted: &[&str]) -> String {
    let lines = files.iter().map(|file| format!("{} {}\n", file.size, file.name));
    [format!("{wanted:?}\n")].into_iter().chain(lines).collect()
}

/// Reads what [`print`] wrote, unless something else was asked for.
fn parse(text: &str, wanted: &[&str]) -> Option<Vec<PackageFile>> {
    let rest = text.strip_prefix(&format!("{wanted:?}\n"))?;
    let file = |line: &str| {
        let (size, name) = line.split_once(' ')?;
        Some(PackageFile { name: name.to_owned(), size: size.parse().ok()? })
    };
    rest.lines().map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_packages_is_read_again() {
        let files = vec![PackageFile { name: "a_1%3a2_all.deb".into(), size: 7 }];
        assert_eq!(parse(&print(&files, &["a"]), &["a"]), Some(files.clone()));
        assert_eq!(parse(&print(&files, &["a"]), &["a", "b"]), None);
        assert_eq!(parse("[\"a\"]\nseven a\n", &["a"]), None);
    }
}
