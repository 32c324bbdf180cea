//! The host's end of a console: a pseudo-terminal, a socket of Unix or a file. Bytes go out as fast as the
//! other side takes them; a guest that prints is never made to wait for somebody who may not be there. It
//! must not know what the bytes are.

use std::collections::VecDeque;
use std::fmt::{self, Debug, Formatter};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::backend::events::{Events, Interest};
use crate::backend::listener::Listener;
use crate::device::lock;

/// Bytes that wait for the other side; older ones stay and newer ones are lost, as on a serial cable.
const MOST_OUTGOING: usize = 256 * 1024;

const LISTENER: u64 = 0;
const PEER: u64 = 1;

/// What a console is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// A new pseudo-terminal.
    Pty,
    /// A socket at a path, which takes one client at a time.
    Listen(PathBuf),
    /// A file that what is printed is added to.
    File(PathBuf),
}

/// The host's end of a console. Clones are the same one.
#[derive(Clone)]
pub struct Terminal(Arc<Mutex<Line>>);

impl Terminal {
    /// Opens `end`.
    ///
    /// # Errors
    /// Fails if the host does not give it.
    pub fn open(end: &End) -> io::Result<Self> {
        let mut line = Line::default();
        match end {
            End::Pty => line.open_pty().map_err(|error| said(&error, "Cannot open a pseudo-terminal"))?,
            End::Listen(path) => line.listener = Some(Listener::at(path)?),
            End::File(path) => line.file = Some(open_file(path)?),
        }
        Ok(Self(Arc::new(Mutex::new(line))))
    }

    /// The path of the pseudo-terminal, if it is one.
    pub fn pty(&self) -> Option<PathBuf> {
        self.lock().slave.as_ref().map(|(_, path)| path.clone())
    }

    /// The end itself, for whoever serves it.
    pub fn lock(&self) -> MutexGuard<'_, Line> {
        lock(&self.0)
    }
}

impl Debug for Terminal {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Terminal").field(&self.pty()).finish()
    }
}

fn said(error: &io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn open_file(path: &Path) -> io::Result<File> {
    let opened = OpenOptions::new().append(true).create(true).open(path);
    opened.map_err(|error| said(&error, &format!("Cannot write to {}", path.display())))
}

/// What is open of an end.
#[derive(Default)]
pub struct Line {
    listener: Option<Listener>,
    /// What is read and written: the pseudo-terminal, the client, or the file.
    file: Option<File>,
    /// The other side of the pseudo-terminal, which stays open so that nobody being there is no error.
    slave: Option<(OwnedFd, PathBuf)>,
    outgoing: VecDeque<u8>,
    interest: Option<Interest>,
    events: Option<Arc<Events>>,
}

impl Line {
    fn open_pty(&mut self) -> io::Result<()> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let path = PathBuf::from(ptsname(&master, Vec::new())?.to_string_lossy().into_owned());
        let slave = OwnedFd::from(OpenOptions::new().read(true).write(true).open(&path)?);
        // The guest has a terminal driver of its own.
        let mut settings = tcgetattr(&slave)?;
        settings.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &settings)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        self.file = Some(File::from(master));
        self.slave = Some((slave, path));
        Ok(())
    }

    /// From now on it is waited for by `events`.
    pub fn start(&mut self, events: &Arc<Events>) {
        if let Some(listener) = &self.listener {
            // A client that cannot be waited for does not come.
            let _ = events.add(listener, LISTENER, Interest { read: true, write: false });
        }
        self.events = Some(Arc::clone(events));
        self.interest = None;
    }

    /// It is waited for no longer. Whoever is at the other side stays there.
    pub fn stop(&mut self) {
        self.wait_for(None);
        if let (Some(listener), Some(events)) = (&self.listener, self.events.take()) {
            let _ = events.remove(listener);
        }
    }

    /// Does what can be done without the guest: lets a client in, and sends what waits.
    pub fn serve(&mut self) {
        self.accept();
        while !self.outgoing.is_empty() {
            let Some(file) = &mut self.file else { return };
            match file.write(self.outgoing.as_slices().0) {
                Ok(length) => drop(self.outgoing.drain(..length)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.lose(),
            }
        }
    }

    /// A client that knocks while another is there is sent away. One that is gone makes way, even if the guest has
    /// not read what it said last.
    fn accept(&mut self) {
        while let Some(client) = self.listener.as_ref().and_then(Listener::accept) {
            if self.file.as_ref().is_some_and(has_hung_up) {
                self.lose();
            }
            if self.file.is_none() {
                self.file = Some(File::from(OwnedFd::from(client)));
            }
        }
    }

    /// The client is gone. What it did not take is not for the next one.
    fn lose(&mut self) {
        self.outgoing.clear();
        if self.listener.is_some() {
            self.wait_for(None);
            self.file = None;
        }
    }

    /// Takes what the guest prints.
    pub fn write(&mut self, bytes: &[u8]) {
        let somebody = self.file.is_some();
        let room = MOST_OUTGOING.saturating_sub(self.outgoing.len());
        if somebody {
            self.outgoing.extend(&bytes[..bytes.len().min(room)]);
        }
    }

    /// What was typed for the guest, as far as it fits `room`: how much that is.
    pub fn read(&mut self, room: &mut [u8]) -> usize {
        loop {
            let Some(file) = &mut self.file else { return 0 };
            match file.read(room) {
                Ok(length @ 1..) => return length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return 0,
                Ok(_) | Err(_) => {
                    self.lose();
                    return 0;
                }
            }
        }
    }

    /// Waits for what could be done next: reading only if the guest `has_room`, since readiness is a level.
    pub fn update_interest(&mut self, has_room: bool) {
        let wanted = Interest { read: has_room, write: !self.outgoing.is_empty() };
        self.wait_for((wanted.read || wanted.write).then_some(wanted));
    }

    fn wait_for(&mut self, wanted: Option<Interest>) {
        let (Some(file), Some(events)) = (&self.file, &self.events) else { return };
        let changed = match (self.interest, wanted) {
            (had, wanted) if had == wanted => return,
            (None, Some(interest)) => events.add(file, PEER, interest),
            (Some(_), Some(interest)) => events.change(file, PEER, interest),
            (_, None) => events.remove(file),
        };
        // A plain file cannot be waited for, and need not be.
        self.interest = if changed.is_ok() { wanted } else { None };
    }
}

/// Whether the client is gone for good: it neither says nor hears anything any more.
fn has_hung_up(client: &File) -> bool {
    let mut ends = [PollFd::new(client, PollFlags::empty())];
    let looked = poll(&mut ends, Some(&Timespec::default()));
    looked.is_ok() && ends[0].revents().contains(PollFlags::HUP)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_client_of_the_socket_may_go_and_another_come() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console");
        let terminal = Terminal::open(&End::Listen(path.clone())).unwrap();
        let mut line = terminal.lock();
        line.start(&Arc::new(Events::new().unwrap()));
        line.write(b"nobody hears this");
        for _ in 0..2 {
            let mut client = UnixStream::connect(&path).unwrap();
            let mut turned_away = UnixStream::connect(&path).unwrap();
            client.write_all(b"typed").unwrap();
            line.serve();
            let mut room = [0; 10];
            assert_eq!((line.read(&mut room), &room[..5]), (5, &b"typed"[..]));
            assert_eq!(line.read(&mut room), 0);
            line.write(b"shown");
            line.serve();
            line.update_interest(true);
            client.read_exact(&mut room[..5]).unwrap();
            assert_eq!(&room[..5], b"shown");
            assert_eq!(turned_away.read(&mut room).unwrap(), 0);
            // The next one knocks before anybody has noticed that this one is gone.
            drop(client);
        }
        drop(line);
        drop(terminal);
        assert!(!path.exists());
    }

    #[test]
    fn a_terminal_that_nobody_reads_holds_nothing_up() {
        let terminal = Terminal::open(&End::Pty).unwrap();
        let path = terminal.pty().unwrap();
        let mut line = terminal.lock();
        line.start(&Arc::new(Events::new().unwrap()));
        for _ in 0..100 {
            line.write(&[b'x'; 8192]);
            line.serve();
        }
        assert_eq!((line.outgoing.len(), line.read(&mut [0; 10])), (MOST_OUTGOING, 0));
        let mut person = OpenOptions::new().read(true).write(true).open(path).unwrap();
        person.write_all(b"\x03\r").unwrap();
        let mut room = [0; 10];
        assert_eq!((line.read(&mut room), &room[..2]), (2, &b"\x03\r"[..]));
    }

    #[test]
    fn a_file_is_added_to() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for word in ["one", "two"] {
            let terminal = Terminal::open(&End::File(file.path().to_owned())).unwrap();
            let mut line = terminal.lock();
            line.start(&Arc::new(Events::new().unwrap()));
            line.write(word.as_bytes());
            line.serve();
            line.update_interest(true);
        }
        assert_eq!(std::fs::read(file.path()).unwrap(), b"onetwo");
        assert!(Terminal::open(&End::File("/no/such/place".into())).is_err());
    }
}
