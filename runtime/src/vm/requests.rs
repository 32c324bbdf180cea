//! What a machine's guest may ask of the hypervisor by HYPCALL: that the machine be saved. The guest is not trusted: it
//! gets a few new files in one directory that the user has set aside for it. It must not know how vCPUs take turns.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use translator::addr::Va;

use super::snapshots::{Form, SaveError, Saved, Snapshots};
use crate::device::lock;
use crate::vcpu::Vcpu;

/// `hypcall 1`: save the machine. $a0 has the address of the file's name, which ends with a zero byte.
const SNAPSHOT: u32 = 1;
/// $v0: done, and this is the machine that asked.
const DONE: u64 = 0;
/// $v0: this is a machine that went on from a snapshot.
const RESTORED: u64 = 1;

/// Error numbers as Linux has them on MIPS (arch/mips/include/uapi/asm/errno.h); $v0 has them negated.
const EPERM: i64 = 1;
const EIO: i64 = 5;
const EFAULT: i64 = 14;
const EBUSY: i64 = 16;
const EEXIST: i64 = 17;
const EINVAL: i64 = 22;
const ENOSPC: i64 = 28;
const ENOSYS: i64 = 89;

const RESULT: usize = 2;
const ARGUMENT: usize = 4;

/// The longest name of a file.
const LONGEST_NAME: usize = 64;
/// How many files a guest may have made.
const MOST_FILES: usize = 16;

/// Told of each snapshot that was asked for, with its file.
pub type Told = Box<dyn Fn(&Path, &Result<Saved, SaveError>) + Send + Sync>;

/// Where a guest may have its machine saved. It outlives a machine that resets: a guest that boots over and over is not
/// allowed more than one that does not.
pub struct Place {
    directory: PathBuf,
    told: Told,
    /// The files that the guest had made, which it may replace.
    files: Mutex<BTreeSet<String>>,
}

impl Place {
    /// The `directory`, which must exist and has nothing of the guest's yet. `told` is told of each snapshot.
    pub fn new(directory: PathBuf, told: Told) -> Self {
        Self { directory, told, files: Mutex::default() }
    }
}

/// Answers the requests of one machine's guest.
pub struct Requests {
    snapshots: Snapshots,
    place: Option<Arc<Place>>,
}

/// A request that is understood.
pub(crate) struct Request {
    name: String,
}

impl Requests {
    /// Requests to a machine that may be saved in `place`, if anywhere.
    pub(super) fn new(snapshots: Snapshots, place: Option<Arc<Place>>) -> Self {
        Self { snapshots, place }
    }

    /// Reads request `code`, which `vcpu` has just made. Its answer is either already given, or comes from
    /// [`Requests::fulfil`] when the vCPU does not run; who saves the machine before sees it as it will be restored.
    pub(crate) fn read(&self, vcpu: &mut Vcpu, code: u32) -> Option<Request> {
        let request = match code {
            SNAPSHOT if self.place.is_none() => Err(EPERM),
            SNAPSHOT => read_name(vcpu).map(|name| Request { name }),
            _ => Err(ENOSYS),
        };
        vcpu.cpu.gpr[RESULT] = match request {
            Ok(_) => RESTORED,
            Err(error) => negated(error),
        };
        request.ok()
    }

    /// Does what `request` asks; gives the answer. The machine runs meanwhile, but for the vCPU that asked.
    pub(crate) fn fulfil(&self, request: &Request) -> u64 {
        match self.save(&request.name) {
            Ok(()) => DONE,
            Err(error) => negated(error),
        }
    }

    /// Gives `answer` to `vcpu`, which waited for it.
    pub(crate) fn answer(vcpu: &mut Vcpu, answer: u64) {
        vcpu.cpu.gpr[RESULT] = answer;
    }

    fn save(&self, name: &str) -> Result<(), i64> {
        let place = self.place.as_ref().ok_or(EPERM)?;
        let file = place.directory.join(name);
        let mut files = lock(&place.files);
        if !files.contains(name) {
            if files.len() >= MOST_FILES {
                return Err(ENOSPC);
            }
            // A link, even to nowhere, is somebody's.
            if file.symlink_metadata().is_ok() {
                return Err(EEXIST);
            }
        }
        let saved = self.snapshots.save(&file, &Form::Mapped);
        (place.told)(&file, &saved);
        match saved {
            Ok(_) => {
                files.insert(name.to_owned());
                Ok(())
            }
            Err(SaveError::Host(error)) if error.kind() == std::io::ErrorKind::StorageFull => Err(ENOSPC),
            Err(SaveError::Busy) => Err(EBUSY),
            Err(_) => Err(EIO),
        }
    }
}

const fn negated(error: i64) -> u64 {
    -error as u64
}

/// The name that the vCPU's argument points to.
fn read_name(vcpu: &mut Vcpu) -> Result<String, i64> {
    let address = Va(vcpu.cpu.gpr[ARGUMENT]);
    let mut name = String::new();
    for at in (address.0..).take(LONGEST_NAME + 1) {
        match vcpu.peek(Va(at)).ok_or(EFAULT)? {
            0 => return if is_plain(&name) { Ok(name) } else { Err(EINVAL) },
            byte => name.push(byte.into()),
        }
    }
    Err(EINVAL)
}

/// Whether `name` is that of a file in a directory, and says no more than that.
fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    name.bytes().all(plain) && name.starts_with(|first: char| first.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_taken() {
        assert!(["a", "a.snap", "2020-01-01_b.snap"].into_iter().all(is_plain));
        let bad = ["", ".", "..", ".hidden", "-x", "a/b", "/etc/passwd", "a b", "a\n", "\u{e4}", "a\\b"];
        assert!(!bad.into_iter().any(is_plain));
    }
}
