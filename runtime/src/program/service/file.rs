//! The files that a program has open: host files by name, with numbers from 3 up. It must not know the
//! guest's memory.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use translator::asm::Compat;

/// The first number that a file can have; below are input, output and errors.
const FIRST: i32 = 3;
/// The most files a program can have open, as in MARS (`SystemIO.SYSCALL_MAXFILES`).
const MAX_FILES: usize = 32;

/// What a file is open for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Way {
    read: bool,
    write: bool,
    append: bool,
}

struct Open {
    name: Vec<u8>,
    way: Way,
    file: File,
}

/// What a snapshot keeps of an open file: its name and how far it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedFile {
    number: i32,
    name: Vec<u8>,
    way: Way,
    offset: u64,
}

/// A file that a snapshot had open cannot be opened again.
#[derive(Debug, thiserror::Error)]
#[error("the program had {} open, which cannot be opened again", .name.display())]
pub struct ReopenError {
    /// The file.
    name: PathBuf,
    /// Why not.
    source: io::Error,
}

/// Open files by number.
#[derive(Default)]
pub struct Files {
    open: BTreeMap<i32, Open>,
}

fn path(name: &[u8]) -> PathBuf {
    std::ffi::OsStr::from_bytes(name).into()
}

/// What the flags ask for: the way, and whether the file is made new. MARS has 0 to read, 1 to write
/// anew and 9 to append (its help page); SPIM hands them to the host's open(2).
fn way(flags: u32, compat: Compat) -> Option<(Way, OpenOptions)> {
    const CREATE: u32 = 0o100;
    const TRUNCATE: u32 = 0o1000;
    const APPEND: u32 = 0o2000;
    let (access, create, truncate, append) = match (compat, flags) {
        (Compat::Mars, 0) => (0, false, false, false),
        (Compat::Mars, 1) => (1, true, true, false),
        (Compat::Mars, 9) => (1, true, false, true),
        (Compat::Mars, _) => return None,
        _ => (flags & 3, flags & CREATE != 0, flags & TRUNCATE != 0, flags & APPEND != 0),
    };
    let way = Way { read: access != 1, write: access != 0, append };
    let mut options = way.options();
    options.create(create).truncate(truncate && !append);
    Some((way, options))
}

impl Way {
    fn options(self) -> OpenOptions {
        let mut options = OpenOptions::new();
        options.read(self.read).write(self.write && !self.append).append(self.append);
        options
    }
}

impl Files {
    /// Opens a file. Gives its number, or -1.
    pub fn open(&mut self, name: &[u8], flags: u32, compat: Compat) -> i32 {
        let Some((way, options)) = way(flags, compat) else { return -1 };
        let Ok(file) = options.open(path(name)) else { return -1 };
        let mut free = (FIRST..).take(MAX_FILES).filter(|number| !self.open.contains_key(number));
        let Some(number) = free.next() else { return -1 };
        self.open.insert(number, Open { name: name.to_vec(), way, file });
        number
    }

    /// Reads at most `length` bytes; `None` if that fails.
    pub fn read(&mut self, number: i32, length: usize) -> Option<Vec<u8>> {
        let file = &mut self.open.get_mut(&number)?.file;
        let mut bytes = Vec::new();
        Read::take(&*file, length as u64).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Writes bytes. Gives their number, or -1.
    pub fn write(&mut self, number: i32, bytes: &[u8]) -> i32 {
        let Some(open) = self.open.get_mut(&number) else { return -1 };
        open.file.write_all(bytes).map_or(-1, |()| bytes.len() as i32)
    }

    /// Closes a file, if it is open.
    pub fn close(&mut self, number: i32) {
        self.open.remove(&number);
    }

    /// What a snapshot keeps.
    pub fn save(&mut self) -> Vec<SavedFile> {
        let save = |(number, open): (&i32, &mut Open)| SavedFile {
            number: *number,
            name: open.name.clone(),
            way: open.way,
            // A pipe has no place to go back to.
            offset: open.file.stream_position().unwrap_or(0),
        };
        self.open.iter_mut().map(save).collect()
    }

    /// Opens again what a snapshot kept.
    ///
    /// # Errors
    /// Fails if a file is no longer there, or may no longer be opened.
    pub fn reopen(saved: Vec<SavedFile>) -> Result<Self, ReopenError> {
        let mut files = Self::default();
        for saved in saved {
            let failed = |source| ReopenError { name: path(&saved.name), source };
            let mut file = saved.way.options().open(path(&saved.name)).map_err(failed)?;
            file.seek(SeekFrom::Start(saved.offset)).map_err(failed)?;
            files.open.insert(saved.number, Open { name: saved.name, way: saved.way, file });
        }
        Ok(files)
    }
}
