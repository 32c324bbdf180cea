//! Writes the "newc" cpio format, the one a Linux kernel unpacks as its first root file system, from entries in memory.
//! An archive made here is the same bytes every time: all owners are root and all times are zero.
//! This file knows no guest, no package and no path of the host.

use crate::Error;

/// What a path in the archive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory,
    /// A regular file and its bytes.
    File(Vec<u8>),
    /// A symbolic link and the path it points to.
    Link(String),
    /// A character device, which a cpio can hold without anyone being root.
    CharacterDevice {
        /// The driver's number.
        major: u32,
        /// The device's number within the driver.
        minor: u32,
    },
}

impl Node {
    /// The file type bits of `st_mode`.
    fn type_bits(&self) -> u32 {
        match self {
            Self::Directory => 0o040_000,
            Self::File(_) => 0o100_000,
            Self::Link(_) => 0o120_000,
            Self::CharacterDevice { .. } => 0o020_000,
        }
    }

    fn content(&self) -> &[u8] {
        match self {
            Self::File(bytes) => bytes,
            Self::Link(target) => target.as_bytes(),
            Self::Directory | Self::CharacterDevice { .. } => &[],
        }
    }

    fn device(&self) -> (u32, u32) {
        match *self {
            Self::CharacterDevice { major, minor } => (major, minor),
            _ => (0, 0),
        }
    }
}

/// One path of the archive with its permission bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Permission bits, `0o7777` at most.
    pub mode: u32,
    /// What the path is.
    pub node: Node,
}

const MAGIC: &str = "070701";
const TRAILER: &str = "TRAILER!!!";
/// The kernel wants every header and every file's data to start at a multiple of four bytes.
const ALIGNMENT: usize = 4;

/// The kernel skips entries with longer paths without a word.
const LONGEST_PATH: usize = 4094;

/// Collects entries into the bytes of an archive.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    entries: u32,
}

impl Writer {
    /// Appends `path`, written without a leading slash. Parents must come before what they hold.
    ///
    /// # Errors
    /// [`Error::BadPath`] if the kernel could not have such a path; [`Error::TooLarge`] if the content does not fit
    /// the format's 32-bit size.
    pub fn append(&mut self, path: &str, entry: &Entry) -> Result<(), Error> {
        if path.is_empty() || path.len() > LONGEST_PATH || path.contains('\0') {
            return Err(Error::BadPath { path: path.to_owned(), problem: "the kernel takes no such name" });
        }
        let content = entry.node.content();
        let size = u32::try_from(content.len()).map_err(|_| Error::TooLarge { path: path.to_owned() })?;
        self.entries += 1;
        self.header(path, entry.node.type_bits() | entry.mode & 0o7777, size, entry.node.device());
        self.bytes.extend_from_slice(content);
        self.align();
        Ok(())
    }

    /// Ends the archive and gives its bytes.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.entries = 0;
        self.header(TRAILER, 0, 0, (0, 0));
        self.bytes
    }

    fn header(&mut self, path: &str, mode: u32, size: u32, device: (u32, u32)) {
        let name_size = path.len() as u32 + 1;
        let links = 1;
        let (owner, group, time, checksum) = (0, 0, 0, 0);
        let (host_major, host_minor) = (0, 0);
        let fields = [
            self.entries,
            mode,
            owner,
            group,
            links,
            time,
            size,
            host_major,
            host_minor,
            device.0,
            device.1,
            name_size,
            checksum,
        ];
        self.bytes.extend_from_slice(MAGIC.as_bytes());
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    //! Reads archives back, so that the tests need no `cpio` on the host.

    use super::*;

    pub(crate) struct Listed {
        pub path: String,
        pub mode: u32,
        pub content: Vec<u8>,
        pub device: (u32, u32),
    }

    fn field(header: &[u8], index: usize) -> u32 {
        let text = std::str::from_utf8(&header[6 + index * 8..14 + index * 8]).unwrap();
        u32::from_str_radix(text, 16).unwrap()
    }

    /// The entries of `archive` in order, without the trailer.
    pub(crate) fn list(archive: &[u8]) -> Vec<Listed> {
        let mut listed = Vec::new();
        let mut at = 0;
        loop {
            let header = &archive[at..at + 110];
            assert_eq!(&header[..6], MAGIC.as_bytes());
            let name_size = field(header, 11) as usize;
            let path = String::from_utf8(archive[at + 110..at + 110 + name_size - 1].to_vec()).unwrap();
            assert_eq!(archive[at + 110 + name_size - 1], 0, "the name ends in a zero byte");
            let start = (at + 110 + name_size).next_multiple_of(ALIGNMENT);
            let end = start + field(header, 6) as usize;
            if path == TRAILER {
                assert_eq!(end, archive.len());
                return listed;
            }
            let device = (field(header, 9), field(header, 10));
            listed.push(Listed {
                path,
                mode: field(header, 1),
                content: archive[start..end].to_vec(),
                device,
            });
            at = end.next_multiple_of(ALIGNMENT);
        }
    }

    fn sample() -> Vec<u8> {
        let mut writer = Writer::default();
        let entries = [
            ("dev", 0o755, Node::Directory),
            ("dev/console", 0o600, Node::CharacterDevice { major: 5, minor: 1 }),
            ("hello", 0o4755, Node::File(b"five!".to_vec())),
            ("link", 0o777, Node::Link("hello".into())),
        ];
        for (path, mode, node) in entries {
            writer.append(path, &Entry { mode, node }).unwrap();
        }
        writer.finish()
    }

    #[test]
    fn what_is_written_reads_back() {
        let listed = list(&sample());
        let modes: Vec<_> = listed.iter().map(|entry| (entry.path.as_str(), entry.mode)).collect();
        assert_eq!(
            modes,
            [("dev", 0o040_755), ("dev/console", 0o020_600), ("hello", 0o104_755), ("link", 0o120_777)]
        );
        assert_eq!(listed[1].device, (5, 1));
        assert_eq!(listed[2].content, b"five!");
        assert_eq!(listed[3].content, b"hello");
    }

    #[test]
    fn cpio_of_the_host_lists_the_same() {
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        let spawned = Command::new("cpio").arg("-t").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut child) = spawned else {
            eprintln!("skipped: this host has no cpio to compare with");
            return;
        };
        child.stdin.take().unwrap().write_all(&sample()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "dev\ndev/console\nhello\nlink\n");
    }
}
