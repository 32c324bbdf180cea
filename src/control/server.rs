//! The server behind the control socket: one thread for all clients. A client that is slow or dead costs some memory at
//! most, and then its connection. It must not know what commands do.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use runtime::backend::events::{Events, Interest};
use serde_json::Value;

use super::protocol::{Arguments, Conversation, Event, Failure};

/// Clients at a time; others wait to be accepted.
const MOST_CLIENTS: usize = 32;
/// Bytes that may wait for a client that does not read; then it is dropped.
const MOST_UNREAD: usize = 8 << 20;
/// How long clients may take for the last words of a server that ends.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How long the server waits before it accepts again when the host has no descriptors left.
const REST: Duration = Duration::from_millis(100);

/// The listening socket's name among the files.
const LISTENER: u64 = u64::MAX - 1;

/// Where events are told. Clones tell the same server.
#[derive(Clone)]
pub struct Notices {
    shared: Arc<Shared>,
}

struct Shared {
    events: Events,
    untold: Mutex<Vec<Event>>,
    closed: AtomicBool,
}

impl Notices {
    /// Notices that a server is yet to be started for.
    ///
    /// # Errors
    /// Fails if the host gives no descriptors.
    pub fn new() -> io::Result<Self> {
        let (untold, closed) = (Mutex::default(), AtomicBool::new(false));
        Ok(Self { shared: Arc::new(Shared { events: Events::new()?, untold, closed }) })
    }

    /// Tells all clients.
    pub fn publish(&self, event: Event) {
        self.shared.untold.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        self.shared.events.ring();
    }
}

/// What does the commands.
pub type Execute = Box<dyn Fn(&str, Arguments) -> Result<Value, Failure> + Send>;

/// A server that runs. When it goes, clients are told the last events, and their connections end.
pub struct Server {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves the clients of `listener`, and tells them of `notices`.
    ///
    /// # Errors
    /// Fails if the host starts no thread.
    pub fn start(listener: UnixListener, notices: &Notices, execute: Execute) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let shared = Arc::clone(&notices.shared);
        shared.events.add(&listener, LISTENER, Interest { read: true, write: false })?;
        let service =
            Service { listener, shared: Arc::clone(&shared), execute, clients: Vec::new(), next: 0 };
        let thread = Builder::new().name("control".into()).spawn(move || service.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.events.ring();
        // A command that takes long must not keep the process from ending.
        let begun = Instant::now();
        let Some(thread) = self.thread.take() else { return };
        while !thread.is_finished() && begun.elapsed() < 2 * LAST_WORDS {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The server's thread.
struct Service {
    listener: UnixListener,
    shared: Arc<Shared>,
    execute: Execute,
    clients: Vec<Client>,
    /// The token of the next client.
    next: u64,
}

impl Service {
    fn run(mut self) {
        while !self.shared.closed.load(Ordering::SeqCst) {
            let ready = self.shared.events.wait(None);
            self.tell();
            if ready.contains(&LISTENER) {
                self.accept();
            }
            for client in self.clients.iter_mut().filter(|client| ready.contains(&client.token)) {
                client.listen(&self.execute);
            }
            self.settle();
        }
        self.tell();
        let begun = Instant::now();
        while self.clients.iter().any(|client| !client.unsent.is_empty()) && begun.elapsed() < LAST_WORDS {
            self.settle();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn accept(&mut self) {
        while self.clients.len() < MOST_CLIENTS {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    let token = self.next;
                    self.next += 1;
                    // A client that cannot be served is hung up on.
                    if let Ok(client) = Client::new(stream, token, &self.shared.events) {
                        self.clients.push(client);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The host is out of something; those who wait would ring at once.
                Err(_) => return std::thread::sleep(REST),
            }
        }
        // Whoever waits now is heard again when a client leaves.
        let _ = self.shared.events.remove(&self.listener);
    }

    /// Passes events on.
    fn tell(&mut self) {
        let untold = std::mem::take(&mut *self.shared.untold.lock().unwrap_or_else(PoisonError::into_inner));
        for event in untold {
            for client in &mut self.clients {
                client.unsent.extend(client.conversation.tell(&event).unwrap_or_default());
            }
        }
    }

    /// Sends what can be sent, and forgets clients that are gone.
    fn settle(&mut self) {
        let events = &self.shared.events;
        self.clients.iter_mut().for_each(|client| client.send(events));
        let was_full = self.clients.len() >= MOST_CLIENTS;
        self.clients.retain(|client| {
            if !client.is_alive {
                // It was added when the client came.
                let _ = events.remove(&client.stream);
            }
            client.is_alive
        });
        if was_full && self.clients.len() < MOST_CLIENTS {
            // The host had room for it before.
            let _ = events.add(&self.listener, LISTENER, Interest { read: true, write: false });
        }
    }
}

/// One client.
struct Client {
    stream: UnixStream,
    token: u64,
    conversation: Conversation,
    unsent: Vec<u8>,
    /// Whether it is waited for until it reads.
    is_slow: bool,
    is_alive: bool,
}

impl Client {
    fn new(stream: UnixStream, token: u64, events: &Events) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        events.add(&stream, token, Interest { read: true, write: false })?;
        let (conversation, unsent) = (Conversation::default(), Conversation::greeting());
        Ok(Self { stream, token, conversation, unsent, is_slow: false, is_alive: true })
    }

    /// Reads once, so that a client that never stops talking does not keep others waiting.
    fn listen(&mut self, execute: &Execute) {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            // The replies that it still has to get are sent as far as there is room.
            Ok(0) => self.is_alive = false,
            Ok(length) => self.unsent.extend(self.conversation.answer(&bytes[..length], execute)),
            Err(error) if is_passing(&error) => {}
            Err(_) => self.is_alive = false,
        }
    }

    fn send(&mut self, events: &Events) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(length) => drop(self.unsent.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.is_alive = false;
                    return;
                }
            }
        }
        if self.unsent.len() > MOST_UNREAD {
            self.is_alive = false;
        }
        let is_slow = !self.unsent.is_empty();
        if std::mem::replace(&mut self.is_slow, is_slow) != is_slow {
            // One that does not take its replies is not listened to either.
            let interest = Interest { read: !is_slow, write: is_slow };
            self.is_alive &= events.change(&self.stream, self.token, interest).is_ok();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzz_clients() {
        const PARTS: [&[u8]; 5] =
            [b"{\"execute\":\"qmp_capabilities\"}", b"{\"execute\":\"x\"}", b"{\"a", b"\n\xff", b"\0]]"];
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let notices = Notices::new().unwrap();
        let execute: Execute = Box::new(|_, _| Ok(Value::Null));
        let _server = Server::start(UnixListener::bind(&path).unwrap(), &notices, execute).unwrap();
        let mut clients: Vec<UnixStream> = Vec::new();
        fuzzing::run(|numbers| {
            for _ in 0..100 {
                if clients.len() < 2 * MOST_CLIENTS {
                    clients.push(UnixStream::connect(&path).unwrap());
                }
                let client = numbers.index(clients.len());
                // One that has been hung up on says nothing more.
                let _ = clients[client].write_all(numbers.one_of(&PARTS));
                notices.publish(Event::Stop);
                if numbers.once_in(3) {
                    clients.swap_remove(client);
                }
            }
            // Whoever comes when the others have gone is greeted.
            clients.clear();
            let mut last = UnixStream::connect(&path).unwrap();
            last.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut bytes = [0; 8];
            last.read_exact(&mut bytes).unwrap();
            assert_eq!(&bytes[..6], b"{\"QMP\"");
        });
    }

    #[test]
    fn a_client_that_does_not_read_stops_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let notices = Notices::new().unwrap();
        let execute: Execute = Box::new(|_, _| Ok(Value::Null));
        let server = Server::start(UnixListener::bind(&path).unwrap(), &notices, execute).unwrap();
        let mut deaf = UnixStream::connect(&path).unwrap();
        deaf.write_all(b"{\"execute\":\"qmp_capabilities\"}").unwrap();
        let mut lively = UnixStream::connect(&path).unwrap();
        lively.write_all(b"{\"execute\":\"qmp_capabilities\"}{\"execute\":\"x\"}").unwrap();
        let mut said: Vec<u8> = Vec::new();
        while said.iter().filter(|byte| **byte == b'\n').count() < 3 {
            let mut bytes = [0; 4096];
            let length = lively.read(&mut bytes).unwrap();
            assert!(length > 0);
            said.extend(&bytes[..length]);
        }
        // Far more than a socket holds, and than may wait.
        for _ in 0..MOST_UNREAD / 40 {
            notices.publish(Event::Resume);
        }
        notices.publish(Event::Shutdown { guest: true, reason: "guest-shutdown" });
        let reader = std::thread::spawn(move || {
            let mut rest = String::new();
            lively.read_to_string(&mut rest).map(|_| rest)
        });
        std::thread::sleep(Duration::from_millis(20));
        drop(server);
        // The lively one reads to the end, or until it was too slow.
        assert!(reader.join().unwrap().unwrap().contains("RESUME"));
    }
}
