//! A terminal with a program on it, and a person who types and reads. It must not know the program.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

/// A terminal.
pub struct Pty {
    person: File,
    program: File,
    printed: Receiver<Vec<u8>>,
    /// All that the program has printed.
    pub transcript: String,
    /// How much of it was looked at by [`Pty::expect`].
    read: usize,
}

impl Pty {
    /// A terminal without a program.
    pub fn open() -> Self {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let name = ptsname(&person, Vec::new()).unwrap().into_string().unwrap();
        let program = OpenOptions::new().read(true).write(true).open(name).unwrap();
        let person = File::from(person);
        let printed = start_reading(person.try_clone().unwrap());
        Self { person, program, printed, transcript: String::new(), read: 0 }
    }

    /// Starts a program on the terminal, which ignores no signal: whoever runs the tests may, as a shell does for what
    /// it runs in the background.
    pub fn start(&self, command: &Command) -> Child {
        let end = || Stdio::from(OwnedFd::from(self.program.try_clone().unwrap()));
        let mut fresh = Command::new("env");
        fresh.arg("--default-signal").arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => fresh.env(name, value),
                None => fresh.env_remove(name),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            fresh.current_dir(directory);
        }
        fresh.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap()
    }

    /// Types.
    pub fn write(&mut self, keys: impl AsRef<[u8]>) {
        self.person.write_all(keys.as_ref()).unwrap();
    }

    /// Reads until the program has printed `text` after what was read before.
    pub fn expect(&mut self, text: &str, patience: Duration) {
        let start = Instant::now();
        loop {
            if let Some(found) = self.transcript[self.read..].find(text) {
                self.read += found + text.len();
                return;
            }
            let left = patience.saturating_sub(start.elapsed());
            match self.printed.recv_timeout(left) {
                Ok(bytes) => self.transcript.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("no `{text}` after {patience:?} in:\n{}", self.transcript),
            }
        }
    }

    /// Whether keys are passed on as they are, without echo or meaning.
    pub fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.program).unwrap().local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }
}

fn start_reading(mut person: File) -> Receiver<Vec<u8>> {
    let (printed, receiver) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = person.read(&mut buffer) {
            if printed.send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Waits for a program to end.
pub fn wait(child: &mut Child, patience: Duration) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() > patience {
            child.kill().unwrap();
            panic!("the program did not end within {patience:?}");
        }
        thread::sleep(Duration::from_millis(20));
    }
}
