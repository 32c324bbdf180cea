//! VMs with control sockets of a test's own, and a client of them. It must not know what is tested.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{myvmm, text};

/// Much more than anything here takes on a slow and busy host.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A run-time directory of a test's own.
pub struct Place(pub TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn myvmm(&self, arguments: &[&str]) -> Command {
        let mut command = myvmm(arguments);
        command.env("XDG_RUNTIME_DIR", self.0.path());
        command
    }

    pub fn socket(&self, name: &str) -> PathBuf {
        self.0.path().join("myvmm").join(format!("{name}.qmp"))
    }

    /// Runs a command to its end; gives its exit code and what it printed.
    pub fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.myvmm(arguments).output().unwrap();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    }

    pub fn list(&self) -> Vec<Value> {
        let (code, list) = self.run(&["ps", "--format", "json"]);
        assert_eq!(code, Some(0), "{list}");
        serde_json::from_str(&list).unwrap()
    }

    pub fn client(&self, name: &str) -> Client {
        let begun = Instant::now();
        loop {
            match UnixStream::connect(self.socket(name)) {
                Ok(stream) => return Client::new(stream),
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{name}: {error}"),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A client that sends no line ends and reads message by message, as real ones do.
pub struct Client {
    pub stream: UnixStream,
    unread: Vec<u8>,
    pub events: Vec<String>,
}

impl Client {
    pub fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Self { stream, unread: Vec::new(), events: Vec::new() };
        assert!(client.next().unwrap()["QMP"]["version"]["qemu"]["major"].is_u64());
        assert_eq!(client.ask(&json!({ "execute": "qmp_capabilities" })), json!({ "return": {} }));
        client
    }

    /// The next message; none at the end of the connection, or if nothing comes.
    pub fn next(&mut self) -> Option<Value> {
        loop {
            let mut messages = serde_json::Deserializer::from_slice(&self.unread).into_iter::<Value>();
            if let Some(Ok(message)) = messages.next() {
                let length = messages.byte_offset();
                self.unread.drain(..length);
                return Some(message);
            }
            let mut bytes = [0; 100];
            match self.stream.read(&mut bytes) {
                Ok(length @ 1..) => self.unread.extend(&bytes[..length]),
                Ok(_) | Err(_) => return None,
            }
        }
    }

    pub fn try_reply(&mut self) -> Option<Value> {
        loop {
            let message = self.next()?;
            match message["event"].as_str() {
                Some(event) => self.events.push(event.to_owned()),
                None => return Some(message),
            }
        }
    }

    pub fn reply(&mut self) -> Value {
        self.try_reply().expect("a reply")
    }

    pub fn ask(&mut self, command: &Value) -> Value {
        self.stream.write_all(command.to_string().as_bytes()).unwrap();
        self.reply()
    }

    /// What a command returns; none if the VM has ended.
    pub fn try_execute(&mut self, name: &str) -> Option<Value> {
        self.stream.write_all(json!({ "execute": name }).to_string().as_bytes()).ok()?;
        self.try_reply()?.get("return").cloned()
    }

    pub fn execute(&mut self, name: &str) -> Value {
        let reply = self.ask(&json!({ "execute": name }));
        reply.get("return").unwrap_or_else(|| panic!("{name}: {reply}")).clone()
    }

    pub fn expect(&mut self, event: &str) -> Value {
        if let Some(place) = self.events.iter().position(|seen| seen == event) {
            self.events.remove(place);
            return Value::Null;
        }
        loop {
            let message = self.next().unwrap_or_else(|| panic!("no {event}"));
            if message["event"] == event {
                return message["data"].clone();
            }
        }
    }
}
