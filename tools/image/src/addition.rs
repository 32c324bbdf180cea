//! Packages of Debian that are added to an initramfs, with what they depend on: for tests and benches that need more
//! than a busybox. They are put in as they are, without their maintainers' scripts and without what is only for people
//! to read. This file knows no package by name.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::apt::{Apt, Package};
use crate::debian::{self, Request};
use crate::initramfs::InitramfsBuilder;
use crate::store::{self, Lock};
use crate::{Error, Progress};

/// Dependencies that are only for maintainers' scripts, which do not run here.
const FOR_SCRIPTS: [&str; 4] = ["adduser", "debconf", "dpkg", "install-info"];

/// Directories of files that no program reads.
const FOR_PEOPLE: [&str; 5] =
    ["usr/share/bash-completion", "usr/share/doc", "usr/share/info", "usr/share/lintian", "usr/share/man"];

/// Adds the packages `names` and what they depend on to `builder`. What is not in the cache of `request` yet is
/// downloaded.
///
/// # Errors
/// Each variant of [`Error`] says what is missing and what to do.
pub fn add_packages(
    builder: &mut InitramfsBuilder,
    request: &Request,
    names: &[&str],
    progress: &mut dyn Progress,
) -> Result<(), Error> {
    let _lock = Lock::take(&request.cache, progress)?;
    let apt = Apt::open(request.cache.join("apt"))?;
    let packages = match closure(names, |name| apt.show(name)) {
        // The list of packages may be old, or not there if the cache came from elsewhere.
        Err(Error::NoPackage { .. }) => {
            let apt = debian::open_apt(request, progress)?;
            closure(names, |name| apt.show(name))?
        }
        packages => packages?,
    };
    let archives = request.cache.join("archives");
    debian::download_missing(&apt, &packages, &archives, progress)?;
    let unpacked = request.cache.join("unpacked");
    store::fresh(&unpacked)?;
    for (done, package) in (0..).zip(&packages) {
        progress.step("unpacking Debian packages", done, Some(packages.len() as u64));
        debian::unpack(&archives.join(package.file_name()), &unpacked)?;
    }
    add_directory(builder, &unpacked)?;
    store::remove(&unpacked)
}

/// The packages `names` and all that they need, each once.
fn closure(
    names: &[&str],
    mut show: impl FnMut(&str) -> Result<Package, Error>,
) -> Result<Vec<Package>, Error> {
    let mut wanted: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut seen: BTreeSet<String> = FOR_SCRIPTS.map(str::to_owned).into();
    let mut packages = Vec::new();
    while let Some(name) = wanted.pop() {
        if seen.insert(name.clone()) {
            let package = show(&name)?;
            wanted.extend(package.depends.iter().cloned());
            packages.push(package);
        }
    }
    Ok(packages)
}

/// Adds all files and links in `root` and the directories below.
fn add_directory(builder: &mut InitramfsBuilder, root: &Path) -> Result<(), Error> {
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        let full = root.join(&directory);
        for entry in fs::read_dir(&full).map_err(Error::file("list", &full))? {
            let entry = entry.map_err(Error::file("list", &full))?;
            let path = directory.join(entry.file_name());
            if FOR_PEOPLE.iter().any(|skipped| path.starts_with(skipped)) {
                continue;
            }
            if entry.file_type().map_err(Error::file("list", &full))?.is_dir() {
                directories.push(path);
            } else {
                add_entry(builder, root, &path)?;
            }
        }
    }
    Ok(())
}

/// Adds the file or link at `path` below `root`.
fn add_entry(builder: &mut InitramfsBuilder, root: &Path, path: &Path) -> Result<(), Error> {
    let full = root.join(path);
    let bad = |problem| Error::BadPath { path: path.display().to_string(), problem };
    let name = path.to_str().ok_or_else(|| bad("it is not in UTF-8"))?;
    let metadata = fs::symlink_metadata(&full).map_err(Error::file("read", &full))?;
    if metadata.is_symlink() {
        let target = fs::read_link(&full).map_err(Error::file("read", &full))?;
        builder.add_link(name, target.to_str().ok_or_else(|| bad("its target is not in UTF-8"))?)?;
    } else if metadata.is_file() {
        let bytes = fs::read(&full).map_err(Error::file("read", &full))?;
        builder.add_file(name, metadata.permissions().mode(), bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_package_that_is_needed_comes_once() {
        let depends = |name: &str| match name {
            "tool" => vec!["lib", "debconf", "other"],
            "other" => vec!["lib"],
            "lib" => vec!["tool"],
            _ => panic!("{name} was not asked for"),
        };
        let show = |name: &str| {
            let depends = depends(name).into_iter().map(str::to_owned).collect();
            let (name, version, architecture) = (name.to_owned(), "1".to_owned(), "all".to_owned());
            Ok(Package { name, version, architecture, size: 1, depends })
        };
        let mut names: Vec<_> =
            closure(&["tool"], show).unwrap().into_iter().map(|package| package.name).collect();
        names.sort();
        assert_eq!(names, ["lib", "other", "tool"]);
    }

    #[test]
    fn files_and_links_are_added_and_manuals_are_not() {
        let directory = tempfile::tempdir().unwrap();
        for path in ["usr/bin/tool", "usr/share/doc/tool/README", "lib/a.so.1.2"] {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        std::os::unix::fs::symlink("a.so.1.2", directory.path().join("lib/a.so.1")).unwrap();
        let applets: Vec<String> = (0..30).map(|number| format!("applet{number}")).collect();
        let applets: Vec<&str> = applets.iter().map(String::as_str).collect();
        let busybox = crate::busybox::tests::binary(&applets);
        let mut builder = InitramfsBuilder::new(busybox).unwrap();
        add_directory(&mut builder, directory.path()).unwrap();
        let listed = crate::cpio::tests::list(&builder.build().unwrap());
        let find = |path: &str| listed.iter().find(|entry| entry.path == path);
        assert!(find("bin/tool").is_some() && find("lib/a.so.1.2").is_some());
        assert_eq!(find("lib/a.so.1").unwrap().content, b"a.so.1.2");
        assert!(find("usr/share/doc/tool/README").is_none());
    }
}
