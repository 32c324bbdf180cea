//! The host's apt as an ordinary user sees it: with directories, a package list and a configuration of its own, so
//! that the host's own packages are never touched. Proxies and the like stay as the host has them.
//! This file knows no package by name and nothing of what they hold.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::debian::{ARCHITECTURE, SUITE};
use crate::program::{APT_CACHE, APT_GET};
use crate::store;
use crate::{Error, Progress};

/// Where Debian's own package puts the archive's keys.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One package of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version, with the epoch.
    pub version: String,
    /// The guest's architecture, or `all`.
    pub architecture: String,
    /// The size of its file in bytes.
    pub size: u64,
    /// The names of the packages it needs, without versions; of alternatives only the first.
    pub depends: Vec<String>,
}

impl Package {
    /// The name that apt gives to the package's file.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}_{}_{}.deb", self.name, self.version.replace(':', "%3a"), self.architecture)
    }

    /// Reads the first stanza of what `apt-cache show` prints.
    fn parse(stanza: &str) -> Option<Self> {
        let field = |name: &str| {
            let lines = stanza.lines().take_while(|line| !line.is_empty());
            lines
                .filter_map(|line| line.split_once(": "))
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value)
        };
        let name = field("Package")?.to_owned();
        let version = field("Version")?.to_owned();
        let architecture = field("Architecture")?.to_owned();
        let size = field("Size")?.parse().ok()?;
        let depends =
            field("Depends").unwrap_or("").split(',').filter_map(|one| one.split_whitespace().next());
        Some(Self { name, version, architecture, size, depends: depends.map(str::to_owned).collect() })
    }
}

/// The file of a package, by apt's name for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFile {
    /// The name.
    pub name: String,
    /// The size in bytes.
    pub size: u64,
}

impl PackageFile {
    /// Reads a line of what apt prints of what it would get: address, name, size and checksum.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix('\'')?.split_once('\'')?.1.split_whitespace();
        Some(Self { name: words.next()?.to_owned(), size: words.next()?.parse().ok()? })
    }
}

/// A package client for the guest's architecture.
#[derive(Debug)]
pub struct Apt {
    directory: PathBuf,
}

impl Apt {
    /// A client that keeps all of its files in `directory`.
    ///
    /// # Errors
    /// [`Error::MissingKeyring`]; [`Error::File`] if the directory cannot be written.
    pub fn open(directory: PathBuf) -> Result<Self, Error> {
        if !Path::new(KEYRING).exists() {
            return Err(Error::MissingKeyring { looked: KEYRING.into() });
        }
        let apt = Self { directory };
        for part in ["state/lists/partial", "cache/archives/partial"] {
            let path = apt.directory.join(part);
            fs::create_dir_all(&path).map_err(Error::file("create", &path))?;
        }
        store::write(&apt.directory.join("state/status"), b"")?;
        let configuration = configuration(&apt.directory)?;
        store::write(&apt.configuration(), configuration.as_bytes())?;
        Ok(apt)
    }

    fn configuration(&self) -> PathBuf {
        self.directory.join("apt.conf")
    }

    /// Gets the list of packages from the first of `mirrors` that has it.
    ///
    /// # Errors
    /// What the first mirror failed with, if all failed.
    pub fn update(&self, mirrors: &[String], progress: &mut dyn Progress) -> Result<(), Error> {
        let mut first_error = None;
        for mirror in mirrors {
            match self.update_from(mirror, progress) {
                Ok(()) => return Ok(()),
                Err(error @ (Error::MissingProgram { .. } | Error::DiskFull { .. })) => return Err(error),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or(Error::NoMirror))
    }

    fn update_from(&self, mirror: &str, progress: &mut dyn Progress) -> Result<(), Error> {
        let source =
            format!("deb [arch={ARCHITECTURE} target=Packages signed-by={KEYRING}] {mirror} {SUITE} main\n");
        store::write(&self.directory.join("sources.list"), source.as_bytes())?;
        let what = "getting the list of Debian packages";
        let mut command = APT_GET.command();
        command.arg("-c").arg(self.configuration()).args(["-o", "APT::Status-Fd=1", "update"]);
        APT_GET.run(&mut command, what, &self.directory, |line| {
            if let Some(share) = downloaded(line) {
                progress.step(what, share, Some(WHOLE));
            }
        })
    }

    /// Looks `name` up in the list of packages.
    ///
    /// # Errors
    /// [`Error::NoPackage`] if it is not there.
    pub fn show(&self, name: &str) -> Result<Package, Error> {
        let mut command = APT_CACHE.command();
        command.arg("-c").arg(self.configuration()).args(["--no-all-versions", "show", name]);
        let shown = APT_CACHE.output(&mut command, "looking up a package", &self.directory);
        let stanza = match shown {
            Err(Error::Program { .. }) => String::new(),
            shown => shown?,
        };
        Package::parse(&stanza).ok_or_else(|| Error::NoPackage { package: name.to_owned() })
    }

    /// The files of the packages that `wanted` says, as words for apt, and of all that they need.
    ///
    /// # Errors
    /// Apt's own words, as if there is no such package.
    pub fn resolve(&self, wanted: &[&str]) -> Result<Vec<PackageFile>, Error> {
        let mut command = self.install(wanted);
        command.args(["-qq", "--print-uris"]);
        let listing = APT_GET.output(&mut command, "choosing Debian packages", &self.directory)?;
        Ok(listing.lines().filter_map(PackageFile::parse).collect())
    }

    /// Downloads the files that [`resolve`](Self::resolve) gives for `wanted`, in all `total` bytes, into `directory`
    /// unless they are there; apt checks each against the signed list.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::DiskFull`], or apt's own words.
    pub fn download_all(
        &self,
        wanted: &[&str],
        total: u64,
        directory: &Path,
        progress: &mut dyn Progress,
    ) -> Result<(), Error> {
        fs::create_dir_all(directory.join("partial")).map_err(Error::file("create", directory))?;
        let mut command = self.install(wanted);
        command.args(["--download-only", "-o", "APT::Status-Fd=1", "-o"]);
        command.arg(format!("Dir::Cache::archives={}/", directory.display()));
        APT_GET.run(&mut command, DOWNLOADING, directory, |line| {
            if let Some(share) = downloaded(line) {
                progress.step(DOWNLOADING, total / WHOLE * share, Some(total));
            }
        })
    }

    fn install(&self, wanted: &[&str]) -> Command {
        let mut command = APT_GET.command();
        command.arg("-c").arg(self.configuration()).args(["--yes", "--no-install-recommends", "install"]);
        command.args(wanted);
        command
    }

    /// Downloads `packages` into `directory`; apt checks each against the signed list.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::DiskFull`], or apt's own words.
    pub fn download(
        &self,
        packages: &[Package],
        directory: &Path,
        progress: &mut dyn Progress,
    ) -> Result<(), Error> {
        let total: u64 = packages.iter().map(|package| package.size).sum();
        let mut command = APT_GET.command();
        command.arg("-c").arg(self.configuration()).args(["-o", "APT::Status-Fd=1", "download"]);
        command.args(packages.iter().map(|package| format!("{}={}", package.name, package.version)));
        APT_GET.run(command.current_dir(directory), DOWNLOADING, directory, |line| {
            if let Some(share) = downloaded(line) {
                progress.step(DOWNLOADING, total / WHOLE * share, Some(total));
            }
        })
    }
}

/// The share that [`downloaded`] gives when all is there: apt tells hundredths of a per cent.
const WHOLE: u64 = 10_000;

const DOWNLOADING: &str = "downloading Debian packages";

/// Reads a line of apt's status: which part of the download is done, in hundredths of a per cent.
fn downloaded(line: &str) -> Option<u64> {
    let mut fields = line.strip_prefix("dlstatus:")?.split(':').skip(1);
    let (whole, fraction) = fields.next()?.split_once('.')?;
    let hundredths: u64 = fraction.get(..2)?.parse().ok()?;
    Some((whole.parse::<u64>().ok()? * 100 + hundredths).min(WHOLE))
}

/// The text of apt's configuration. It is read after the host's own, so what it says holds; what the host's says of
/// hooks is cleared, because those would change the host.
fn configuration(directory: &Path) -> Result<String, Error> {
    let quotable = |text: &&str| !text.contains(|letter: char| letter.is_control() || letter == '"');
    let path = directory.to_str().filter(quotable);
    let path = path.ok_or_else(|| Error::BadCacheDirectory(directory.to_owned()))?;
    Ok(format!(
        r#"#clear APT::Architectures;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
APT::Architecture "{ARCHITECTURE}";
APT::Architectures {{ "{ARCHITECTURE}"; }};
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "2";
Dir::State "{path}/state";
Dir::State::lists "lists/";
Dir::State::status "{path}/state/status";
Dir::Cache "{path}/cache";
Dir::Cache::archives "archives/";
Dir::Etc::sourcelist "{path}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
"#
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stanza_is_read() {
        let stanza = "Package: linux-image-x\nVersion: 1:6.1-2\nArchitecture: mips64el\nDepends: linux-image-6 (= 6.1), kmod | a\nSize: 1428\n\
            \nPackage: other\nVersion: 0\nSize: 1\n";
        let package = Package::parse(stanza).unwrap();
        assert_eq!(package.file_name(), "linux-image-x_1%3a6.1-2_mips64el.deb");
        assert_eq!(package.size, 1428);
        assert_eq!(package.depends, ["linux-image-6", "kmod"]);
        let common = Package::parse("Package: x-common\nVersion: 1\nArchitecture: all\nSize: 1\n").unwrap();
        assert_eq!(common.file_name(), "x-common_1_all.deb");
        assert_eq!(Package::parse("N: Unable to locate package x\n"), None);
    }

    #[test]
    fn what_apt_would_get_is_read() {
        let line = "'http://a/b/apt_2.6.1_mips64el.deb' apt_2.6.1_mips64el.deb 1342720 MD5Sum:ab";
        let file = PackageFile { name: "apt_2.6.1_mips64el.deb".into(), size: 1_342_720 };
        assert_eq!(PackageFile::parse(line), Some(file));
        assert_eq!(PackageFile::parse("Reading package lists..."), None);
    }

    #[test]
    fn status_lines_tell_the_share() {
        assert_eq!(downloaded("dlstatus:2:54.7757:Retrieving file 2 of 3"), Some(5477));
        assert_eq!(downloaded("dlstatus:3:100.0000:Retrieving"), Some(WHOLE));
        for other in ["Get:1 some file", "dlstatus:", "dlstatus:1:x.y:z", "pmstatus:a:1.00:b"] {
            assert_eq!(downloaded(other), None);
        }
    }

    #[test]
    fn a_path_cannot_break_out_of_the_configuration() {
        assert!(configuration(Path::new("/a b/c")).unwrap().contains(r#"Dir::Cache "/a b/c/cache";"#));
        for bad in ["/a\"b", "/a\nb"] {
            assert!(matches!(configuration(Path::new(bad)), Err(Error::BadCacheDirectory(_))));
        }
    }
}
