//! Lays Debian packages into one tar archive as dpkg leaves them when it has unpacked them but not yet configured any:
//! their files, its database, and the triggers that they wait for. So no program of the packages has to run on the
//! host, and owners, links and permissions are in the archive without anyone being root. This file knows no package
//! by name and no guest.
//!
//! What dpkg keeps is described in deb-conffiles(5), deb-triggers(5) and, of its database, in the source of dpkg:
//! `lib/dpkg/dump.c`, `src/main/unpack.c`, `src/main/trigproc.c`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use crate::Error;
use crate::program::DPKG_DEB;

/// The directories that are links into `usr` in every Debian system of today, while packages may still name them.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// Directories that no package ships, but without which dpkg or a boot does not begin.
const DIRECTORIES: [(&str, u32); 12] = [
    ("dev", 0o755),
    ("proc", 0o555),
    ("run", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var", 0o755),
    ("var/lib", 0o755),
    ("var/lib/dpkg", 0o755),
    ("var/lib/dpkg/info", 0o755),
    ("var/lib/dpkg/triggers", 0o755),
    ("var/lib/dpkg/updates", 0o755),
];

/// An archive of packages that are unpacked and not configured.
pub struct Archive<W: Write> {
    tar: Builder<W>,
    directories: BTreeSet<String>,
    status: String,
    /// Who waits for which trigger, each as dpkg writes it.
    interests: BTreeMap<String, Vec<String>>,
    path: PathBuf,
}

/// What a package says of itself.
struct Control {
    /// The stanza of the file `control`.
    stanza: String,
    /// What its files in the database are called by, before the dot.
    stem: String,
    name: String,
    /// The other files: scripts, lists of checksums and so on, with their permissions.
    files: BTreeMap<String, (Vec<u8>, u32)>,
}

impl<W: Write> Archive<W> {
    /// An archive that is written to `to`, which is the file at `path`.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be written.
    pub fn new(to: W, path: &Path) -> Result<Self, Error> {
        let mut archive = Self {
            tar: Builder::new(to),
            directories: BTreeSet::new(),
            status: String::new(),
            interests: BTreeMap::new(),
            path: path.to_owned(),
        };
        for (directory, mode) in DIRECTORIES {
            archive.add_directory(directory, mode)?;
        }
        for directory in MERGED {
            archive.add_directory(&format!("usr/{directory}"), 0o755)?;
            archive.add_link(directory, &format!("usr/{directory}"))?;
        }
        Ok(archive)
    }

    /// Adds the package in the file `package`.
    ///
    /// # Errors
    /// [`Error::MissingProgram`], [`Error::BadPackage`], [`Error::File`].
    pub fn add_package(&mut self, package: &Path) -> Result<(), Error> {
        let control = stream(package, "--ctrl-tarfile", |tar| Control::read(tar, package))?;
        let conffiles = control.conffiles();
        let mut list = String::new();
        stream(package, "--fsys-tarfile", |tar| {
            let mut tar = tar::Archive::new(tar);
            for entry in tar.entries().map_err(damaged(package))? {
                let entry = entry.map_err(damaged(package))?;
                self.add_entry(entry, &conffiles, &mut list, package)?;
            }
            Ok(())
        })?;
        self.add_to_database(&control, &conffiles, &list)
    }

    /// Adds one entry of a package, and its path to `list`.
    fn add_entry(
        &mut self,
        mut entry: tar::Entry<'_, impl Read>,
        conffiles: &BTreeSet<String>,
        list: &mut String,
        package: &Path,
    ) -> Result<(), Error> {
        let path = text(&entry.path_bytes(), package)?;
        let path = path.trim_start_matches("./").trim_matches('/').to_owned();
        list.push_str(&format!("/{}\n", if path.is_empty() { "." } else { &path }));
        if path.is_empty() {
            return Ok(());
        }
        let mut place = merged(&path);
        // Dpkg puts a configuration file aside when it unpacks it and in its place when it configures it.
        if conffiles.contains(&path) {
            place.push_str(".dpkg-new");
        }
        let mut header = entry.header().clone();
        let target = entry.link_name_bytes().map(|target| text(&target, package)).transpose()?;
        let done = match (header.entry_type(), target) {
            (EntryType::Directory, _) if !self.directories.insert(place.clone()) => Ok(()),
            (EntryType::Symlink, Some(target)) => self.tar.append_link(&mut header, &place, target),
            (EntryType::Link, Some(target)) => {
                let target = merged(target.trim_start_matches("./").trim_start_matches('/'));
                self.tar.append_link(&mut header, &place, target)
            }
            (EntryType::Regular | EntryType::Directory, _) => {
                self.tar.append_data(&mut header, &place, &mut entry)
            }
            _ => return Err(damaged(package)(io::Error::other("a special file"))),
        };
        done.map_err(Error::file("write", &self.path))
    }

    fn add_to_database(
        &mut self,
        control: &Control,
        conffiles: &BTreeSet<String>,
        list: &str,
    ) -> Result<(), Error> {
        self.status.push_str(&control.status(conffiles));
        for (trigger, waiter) in control.interests() {
            self.interests.entry(trigger).or_default().push(waiter);
        }
        let place = |kind: &str| format!("var/lib/dpkg/info/{}.{kind}", control.stem);
        self.add_file(&place("list"), 0o644, list.as_bytes())?;
        for (kind, (bytes, mode)) in &control.files {
            self.add_file(&place(kind), *mode, bytes)?;
        }
        Ok(())
    }

    /// Adds a file of root's. The directories above must be there, or be made by what comes before.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be written.
    pub fn add_file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<(), Error> {
        let mut header = header(EntryType::Regular, mode);
        header.set_size(bytes.len() as u64);
        self.tar.append_data(&mut header, path, bytes).map_err(Error::file("write", &self.path))
    }

    /// Adds a directory of root's, unless there is one.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be written.
    pub fn add_directory(&mut self, path: &str, mode: u32) -> Result<(), Error> {
        if !self.directories.insert(path.to_owned()) {
            return Ok(());
        }
        let mut header = header(EntryType::Directory, mode);
        self.tar.append_data(&mut header, path, io::empty()).map_err(Error::file("write", &self.path))
    }

    fn add_link(&mut self, path: &str, target: &str) -> Result<(), Error> {
        let mut header = header(EntryType::Symlink, 0o777);
        self.tar.append_link(&mut header, path, target).map_err(Error::file("write", &self.path))
    }

    /// Writes dpkg's database and the end; gives back what was written to.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be written.
    pub fn finish(mut self) -> Result<W, Error> {
        let (status, interests) = (std::mem::take(&mut self.status), std::mem::take(&mut self.interests));
        self.add_file("var/lib/dpkg/status", 0o644, status.as_bytes())?;
        // The names of the files in `info` have the architecture where it tells packages apart.
        self.add_file("var/lib/dpkg/info/format", 0o644, b"1\n")?;
        for empty in ["available", "diversions", "statoverride"] {
            self.add_file(&format!("var/lib/dpkg/{empty}"), 0o644, b"")?;
        }
        let mut of_files = String::new();
        for (trigger, waiters) in interests {
            if trigger.starts_with('/') {
                waiters.iter().for_each(|waiter| of_files.push_str(&format!("{trigger} {waiter}\n")));
            } else {
                let lines: String = waiters.iter().map(|waiter| format!("{waiter}\n")).collect();
                self.add_file(&format!("var/lib/dpkg/triggers/{trigger}"), 0o644, lines.as_bytes())?;
            }
        }
        self.add_file("var/lib/dpkg/triggers/File", 0o644, of_files.as_bytes())?;
        self.tar.into_inner().map_err(Error::file("write", &self.path))
    }
}

impl Control {
    /// Reads the tar archive that a package has of itself.
    fn read(tar: &mut dyn Read, package: &Path) -> Result<Self, Error> {
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(tar).entries().map_err(damaged(package))? {
            let mut entry = entry.map_err(damaged(package))?;
            let path = text(&entry.path_bytes(), package)?;
            if entry.header().entry_type().is_file() {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).map_err(damaged(package))?;
                let mode = entry.header().mode().map_err(damaged(package))?;
                files.insert(path.trim_start_matches("./").to_owned(), (bytes, mode));
            }
        }
        let (stanza, _) = files.remove("control").unwrap_or_default();
        let stanza = text(&stanza, package)?.trim_end().to_owned();
        let lacks =
            || Error::BadPackage { package: package.to_owned(), missing: "a description of itself".into() };
        let name = field(&stanza, "Package").ok_or_else(lacks)?.to_owned();
        let stem = match (field(&stanza, "Multi-Arch"), field(&stanza, "Architecture")) {
            (Some("same"), Some(architecture)) => format!("{name}:{architecture}"),
            _ => name.clone(),
        };
        Ok(Self { stanza, stem, name, files })
    }

    /// The lines of one of its files.
    fn lines(&self, file: &str) -> impl Iterator<Item = &str> {
        let bytes = self.files.get(file).map_or(&[][..], |(bytes, _)| bytes);
        std::str::from_utf8(bytes).unwrap_or("").lines()
    }

    /// The paths of its configuration files, without the first slash.
    fn conffiles(&self) -> BTreeSet<String> {
        self.lines("conffiles")
            .filter_map(|line| Some(line.strip_prefix('/')?.trim_end().to_owned()))
            .collect()
    }

    /// Its stanza in the list of packages.
    fn status(&self, conffiles: &BTreeSet<String>) -> String {
        let mut text = format!("Status: install ok unpacked\n{}\n", self.stanza);
        if !conffiles.is_empty() {
            text.push_str("Conffiles:\n");
            conffiles.iter().for_each(|path| text.push_str(&format!(" /{path} newconffile\n")));
        }
        text.push('\n');
        text
    }

    /// The triggers that it waits for, and how dpkg writes down that it does.
    fn interests(&self) -> Vec<(String, String)> {
        let interest = |line: &str| {
            let mut words = line.split('#').next()?.split_whitespace();
            let waiter = match words.next()? {
                "interest" | "interest-await" => self.name.clone(),
                "interest-noawait" => format!("{}/noawait", self.name),
                _ => return None,
            };
            Some((words.next()?.to_owned(), waiter))
        };
        self.lines("triggers").filter_map(interest).collect()
    }
}

/// Where a path of a package is in a system whose top directories are links into `usr`.
fn merged(path: &str) -> String {
    let top = path.split('/').next().unwrap_or("");
    if MERGED.contains(&top) { format!("usr/{path}") } else { path.to_owned() }
}

/// The value of a field that is one line.
fn field<'a>(stanza: &'a str, name: &str) -> Option<&'a str> {
    let fields = stanza.lines().filter_map(|line| line.split_once(": "));
    fields.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.trim())
}

fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(0);
    header
}

fn text(bytes: &[u8], package: &Path) -> Result<String, Error> {
    String::from_utf8(bytes.to_vec()).map_err(|error| damaged(package)(io::Error::other(error)))
}

fn damaged(package: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::File { action: "read the package", path: package.to_owned(), source }
}

/// Reads one of the two archives in a package.
fn stream<T>(
    package: &Path,
    which: &str,
    read: impl FnOnce(&mut dyn Read) -> Result<T, Error>,
) -> Result<T, Error> {
    let what = format!("unpacking {}", package.display());
    let directory = package.parent().unwrap_or(package);
    DPKG_DEB.stream(DPKG_DEB.command().arg(which).arg(package), &what, directory, read)
}
