//! Reads standard input: from a terminal key by key, with the escape key taken out; from anything else as it is. It
//! must not know what commands do.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::stdio::stdin;

use super::Event;
use super::keys::{Key, Keys};
use super::line::Line;
use super::terminal::Terminal;

/// Chunks that may wait for the guest.
const DEPTH: usize = 64;
/// How often a process in the background looks whether it is in the foreground again.
const BACKGROUND_REST: Duration = Duration::from_millis(200);

/// Starts to read standard input, which is `terminal` if there is one, for the guest on `line`.
///
/// # Errors
/// Fails if the host starts no thread.
pub fn start<E>(terminal: Option<Arc<Terminal>>, line: Arc<Line>, events: Sender<E>) -> io::Result<()>
where
    E: From<Event> + Send + 'static,
{
    let (bytes, waiting) = sync_channel(DEPTH);
    thread::Builder::new().name("console-feed".into()).spawn(move || line.feed(&waiting))?;
    thread::Builder::new().name("console".into()).spawn(move || match terminal {
        Some(terminal) => Typed { keys: Keys::default(), terminal, bytes, events }.read(),
        None => read_plain(&bytes),
    })?;
    Ok(())
}

/// Passes everything on. The end of the input is not the end of the guest.
fn read_plain(bytes: &SyncSender<Vec<u8>>) {
    while let Some(chunk) = next_chunk() {
        if bytes.send(chunk).is_err() {
            return;
        }
    }
}

/// The next bytes of standard input; none at its end.
fn next_chunk() -> Option<Vec<u8>> {
    let mut buffer = [0; 4096];
    loop {
        // Not by way of the standard library's buffer: what is in there, nobody can wait for.
        match rustix::io::read(stdin(), &mut buffer) {
            Ok(0) => return None,
            Ok(length) => return Some(buffer[..length].to_vec()),
            Err(Errno::INTR) => {}
            // Others may have left the file description non-blocking.
            Err(Errno::AGAIN) => wait_for_input()?,
            Err(_) => return None,
        }
    }
}

/// Waits until there is something to read or nothing ever will be.
fn wait_for_input() -> Option<()> {
    let input = stdin();
    loop {
        match poll(&mut [PollFd::new(&input, PollFlags::IN)], None) {
            Err(Errno::INTR) => {}
            waited => return waited.ok().map(drop),
        }
    }
}

/// A person's input.
struct Typed<E> {
    keys: Keys,
    terminal: Arc<Terminal>,
    bytes: SyncSender<Vec<u8>>,
    events: Sender<E>,
}

impl<E: From<Event>> Typed<E> {
    fn read(mut self) {
        while let Some(chunk) = self.next_chunk() {
            let plain: Vec<u8> = chunk.into_iter().filter_map(|byte| self.take(byte)).collect();
            // A guest that does not listen must not keep the escape key from being read.
            let _ = self.bytes.try_send(plain);
        }
    }

    /// Reads only in the foreground, because in the background the system would stop the process for it.
    fn next_chunk(&self) -> Option<Vec<u8>> {
        wait_for_input()?;
        while !self.terminal.is_ours() {
            thread::sleep(BACKGROUND_REST);
        }
        next_chunk()
    }

    /// The byte if it is for the guest.
    fn take(&mut self, byte: u8) -> Option<u8> {
        match self.keys.next(byte)? {
            Key::Guest(byte) => Some(byte),
            Key::Command(command) => {
                // Nobody hears it if the session is already over.
                let _ = self.events.send(Event::Command(command).into());
                None
            }
        }
    }
}
