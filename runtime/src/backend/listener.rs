//! A socket with a name in the file system, at which this process waits for peers. It must not know what they say.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The socket; its name goes with it.
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Waits at `path`, in the place of a myvmm that ended there without cleaning up.
    ///
    /// # Errors
    /// Fails if something else is there, or the host does not let it wait there.
    pub fn at(path: &Path) -> io::Result<Self> {
        let failed = |kind: ErrorKind, why: &str| {
            io::Error::new(kind, format!("Cannot wait for a peer at {}: {why}", path.display()))
        };
        let failed_by = |error: io::Error| failed(error.kind(), &error.to_string());
        // Whoever answers is alive and keeps its place; the attempt to take it then says so. What is no socket
        // refuses as well (unix(7)), but is somebody's file.
        let is_socket = path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket());
        let refuses = |error: io::Error| error.kind() == ErrorKind::ConnectionRefused;
        if is_socket && UnixStream::connect(path).is_err_and(refuses) {
            std::fs::remove_file(path).map_err(failed_by)?;
        }
        let socket = UnixListener::bind(path).map_err(|error| match error.kind() {
            kind @ ErrorKind::AddrInUse if is_socket => failed(kind, "another process waits there"),
            kind @ ErrorKind::AddrInUse => failed(kind, "a file that is no socket has this name"),
            _ => failed_by(error),
        })?;
        socket.set_nonblocking(true).map_err(failed_by)?;
        Ok(Self { socket, path: path.to_owned() })
    }

    /// The next peer that knocks, if there is one, which is not waited for either.
    pub fn accept(&self) -> Option<UnixStream> {
        let (peer, _) = self.socket.accept().ok()?;
        peer.set_nonblocking(true).ok()?;
        Some(peer)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_kept_from_the_living_and_taken_from_the_dead() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("place");
        drop(UnixListener::bind(&path).unwrap());
        let listener = Listener::at(&path).unwrap();
        assert!(listener.accept().is_none());
        let error = Listener::at(&path).err().expect("somebody is there").to_string();
        assert!(error.contains("place: another process waits there"), "{error}");
        // That attempt knocked.
        assert!(listener.accept().is_some());
        drop(listener);
        assert!(!path.exists());
        std::fs::write(&path, "a file of the user").unwrap();
        let error = Listener::at(&path).err().expect("a file is there").to_string();
        assert!(error.ends_with("place: a file that is no socket has this name"), "{error}");
        assert!(path.exists());
    }
}
