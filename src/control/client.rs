//! A client of another VM's control socket, which gives one command after the other and waits for the answers. It must
//! not know what commands mean.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use crate::exit::Refused;

/// A connection.
pub struct Client {
    stream: BufReader<UnixStream>,
    /// What the VM last told of its move.
    pub migration: Value,
}

impl Client {
    /// Begins a conversation, in which the VM may take `patience` for an answer.
    ///
    /// # Errors
    /// Fails if nobody answers.
    pub fn new(stream: UnixStream, patience: Duration) -> anyhow::Result<Self> {
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let mut client = Self { stream: BufReader::new(stream), migration: Value::Null };
        client.next()?;
        client.execute("qmp_capabilities", &Map::new())?;
        Ok(client)
    }

    /// Gives a command and waits for what it returns. Events are passed over.
    ///
    /// # Errors
    /// Fails if nobody answers, and as the VM says.
    pub fn execute(&mut self, name: &str, arguments: &Map<String, Value>) -> anyhow::Result<Value> {
        let command = json!({ "execute": name, "arguments": arguments });
        let sent = self.stream.get_mut().write_all(command.to_string().as_bytes());
        loop {
            // What was said before the end is heard even if nobody listens any more.
            let mut message = self.next().map_err(|error| sent.as_ref().err().map_or(error, |_| ended()))?;
            if message["event"] == "MIGRATION" {
                self.migration = message["data"].take();
            }
            if let Some(error) = message.get("error") {
                let what = error["desc"].as_str().unwrap_or("the VM refuses without a reason");
                return Err(Refused(what.to_owned()).into());
            }
            if let Some(value) = message.get_mut("return") {
                return Ok(value.take());
            }
        }
    }

    /// The next message; ours are lines.
    fn next(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).map_err(silent)? == 0 {
            return Err(ended());
        }
        serde_json::from_str(&line).context("The VM's answer is no JSON")
    }
}

fn ended() -> anyhow::Error {
    anyhow::anyhow!("The VM has ended")
}

fn silent(error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => anyhow::anyhow!("The VM does not answer"),
        _ => anyhow::Error::new(error).context("The connection to the VM broke"),
    }
}
