//! What can go wrong while a guest image is made, each as a sentence that names the thing, the place and what to do.
//! This file knows no step of the work itself.

use std::io;
use std::path::{Path, PathBuf};

/// Why an image could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program of the host is not installed.
    #[error(
        "this needs the program {program}, which is not installed: install the package {package} \
         (on a host other than Debian or its kin, make the images on one and copy the cache directory)"
    )]
    MissingProgram {
        /// The program's name.
        program: &'static str,
        /// The Debian package that holds it.
        package: &'static str,
    },
    /// The keys that sign the Debian archive are not on this host.
    #[error(
        "the keys of the Debian archive are not at {}: install the package debian-archive-keyring, \
         without which the packages' signatures cannot be checked", .looked.display()
    )]
    MissingKeyring {
        /// Where they were looked for.
        looked: PathBuf,
    },
    /// The host's apt knows no archive of Debian.
    #[error(
        "the apt configuration of this host names no archive of Debian, so there is nowhere to get guest packages"
    )]
    NoMirror,
    /// A mirror's address cannot be written in apt's sources.
    #[error("`{mirror}` is not the address of a mirror: write it as scheme://host/directory, without spaces")]
    BadMirror {
        /// The address as it was given.
        mirror: String,
    },
    /// The archive could not be reached.
    #[error(
        "{what} failed because the archive could not be reached; check the network and apt's proxy: {detail}"
    )]
    Network {
        /// The step that failed.
        what: String,
        /// What apt said.
        detail: String,
    },
    /// A signature of the archive could not be checked.
    #[error(
        "{what} failed because a signature did not check; update debian-archive-keyring, or try another mirror: {detail}"
    )]
    Signature {
        /// The step that failed.
        what: String,
        /// What apt said.
        detail: String,
    },
    /// The disk of the cache is full.
    #[error("{what} failed because the disk of {} is full: free 400 MB there or choose another cache directory", .directory.display())]
    DiskFull {
        /// The step that failed.
        what: String,
        /// The directory on the full disk.
        directory: PathBuf,
    },
    /// A program of the host ended with an error of no known kind.
    #[error("{what} failed: {detail}")]
    Program {
        /// The step that failed.
        what: String,
        /// What the program said, or its exit status if it said nothing.
        detail: String,
    },
    /// The archive does not have a package.
    #[error(
        "the archive has no package {package} for {}; try again with a fresh package list",
        crate::debian::ARCHITECTURE
    )]
    NoPackage {
        /// The package's name, or what it should have begun with.
        package: String,
    },
    /// A package does not hold what it should.
    #[error("{} lacks {missing}: Debian's packages have changed, or the file is damaged; remove it and try again", .package.display())]
    BadPackage {
        /// The package file or the directory it was unpacked in.
        package: PathBuf,
        /// What was looked for.
        missing: String,
    },
    /// The user has neither a home nor a cache directory.
    #[error("neither XDG_CACHE_HOME nor HOME is set to an absolute path, so there is no cache directory")]
    NoCacheDirectory,
    /// A file or directory of the cache could not be used.
    #[error("could not {action} {}; check that you may write there and that the disk is not full", .path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A path cannot stand in an initramfs.
    #[error("`{path}` cannot be put in an initramfs: {problem}")]
    BadPath {
        /// The path as it was given.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A file is too large for the cpio format.
    #[error("`{path}` cannot be put in an initramfs: a file there must be smaller than 4 GiB")]
    TooLarge {
        /// The file's path in the initramfs.
        path: String,
    },
    /// A script does not fit the kernel's command line.
    #[error("the script is {size} bytes, but only {limit} fit the kernel's command line")]
    LongScript {
        /// The script's length in bytes.
        size: usize,
        /// The longest possible, in bytes.
        limit: usize,
    },
    /// A path cannot stand in apt's configuration.
    #[error("{} cannot be a cache directory: apt takes no control characters or quotes in a path", .0.display())]
    BadCacheDirectory(PathBuf),
    /// A file that should be an ELF kernel module is not one.
    #[error("the kernel module {module} is damaged: it has no .modinfo section")]
    BadModule {
        /// The module's name.
        module: String,
    },
}

impl Error {
    /// For `map_err`: turns the failure to do `action` to `path` into an [`Error::File`].
    pub(crate) fn file<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| {
            if source.kind() == io::ErrorKind::StorageFull {
                let what = format!("the attempt to {action} {}", path.display());
                let directory = path.parent().unwrap_or(path).to_owned();
                return Self::DiskFull { what, directory };
            }
            Self::File { action, path: path.to_owned(), source }
        }
    }
}
