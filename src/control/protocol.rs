//! The QEMU machine protocol: one client's conversation, from bytes to bytes (docs/interop/qmp-spec of QEMU). It must not
//! know which commands there are, nor sockets.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::splitter::{Piece, Splitter};

/// Arguments of a command.
pub type Arguments = Map<String, Value>;

/// Why a command was not done, in the classes of QEMU's `QapiErrorClass`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no such command, or not now.
    CommandNotFound(String),
    /// Everything else.
    Generic(String),
}

impl Failure {
    /// A failure of no particular class.
    pub fn new(what: impl Into<String>) -> Self {
        Self::Generic(what.into())
    }

    /// What failed.
    fn what(&self) -> &str {
        match self {
            Self::CommandNotFound(what) | Self::Generic(what) => what,
        }
    }

    fn reply(&self) -> Value {
        let (class, what) = match self {
            Self::CommandNotFound(what) => ("CommandNotFound", what),
            Self::Generic(what) => ("GenericError", what),
        };
        json!({ "error": { "class": class, "desc": what } })
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.what())
    }
}

/// Something that happened, for all clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The VM was paused.
    Stop,
    /// The VM goes on.
    Resume,
    /// The VM starts anew.
    Reset {
        /// Whether its guest wanted that.
        guest: bool,
    },
    /// A move is at something else: the event's data.
    Migration(Value),
    /// Another round of a move begins.
    MigrationPass(u32),
    /// The VM ends for good.
    Shutdown {
        /// Whether its guest wanted that.
        guest: bool,
        /// Why, in the words of QEMU's `ShutdownCause`.
        reason: &'static str,
    },
}

impl Event {
    fn message(&self) -> Value {
        let (name, data) = match self {
            Self::Stop => ("STOP", None),
            Self::Resume => ("RESUME", None),
            Self::Migration(data) => ("MIGRATION", Some(data.clone())),
            Self::MigrationPass(pass) => ("MIGRATION_PASS", Some(json!({ "pass": pass }))),
            Self::Reset { guest } => {
                let reason = if *guest { "guest-reset" } else { "host-qmp-system-reset" };
                ("RESET", Some(json!({ "guest": guest, "reason": reason })))
            }
            Self::Shutdown { guest, reason } => {
                ("SHUTDOWN", Some(json!({ "guest": guest, "reason": reason })))
            }
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let timestamp = json!({ "seconds": now.as_secs(), "microseconds": now.subsec_micros() });
        let mut message = json!({ "event": name, "timestamp": timestamp });
        if let Some(data) = data {
            message["data"] = data;
        }
        message
    }
}

/// The version, as `query-version` and the greeting tell it: myvmm's own.
pub fn version() -> Value {
    let part = |text: &str| text.parse().unwrap_or(0u64);
    json!({
        "qemu": {
            "major": part(env!("CARGO_PKG_VERSION_MAJOR")),
            "minor": part(env!("CARGO_PKG_VERSION_MINOR")),
            "micro": part(env!("CARGO_PKG_VERSION_PATCH")),
        },
        "package": concat!("myvmm ", env!("CARGO_PKG_VERSION")),
    })
}

/// One client's conversation.
#[derive(Debug, Default)]
pub struct Conversation {
    splitter: Splitter,
    /// The client has said which capabilities it wants; until then it can do nothing else.
    negotiated: bool,
}

impl Conversation {
    /// What a client is told first.
    pub fn greeting() -> Vec<u8> {
        line(&json!({ "QMP": { "version": version(), "capabilities": [] } }))
    }

    /// Takes what the client sends, has `execute` do the commands, and gives the replies.
    pub fn answer(
        &mut self,
        bytes: &[u8],
        mut execute: impl FnMut(&str, Arguments) -> Result<Value, Failure>,
    ) -> Vec<u8> {
        let mut replies = Vec::new();
        for piece in self.splitter.take(bytes) {
            let reply = match piece {
                Piece::Object(text) => self.answer_one(&text, &mut execute),
                Piece::Garbage(why) => Failure::new(format!("JSON parse error: {why}")).reply(),
            };
            replies.extend(line(&reply));
        }
        replies
    }

    /// What the client is told of an event, if it is ready for events.
    pub fn tell(&self, event: &Event) -> Option<Vec<u8>> {
        self.negotiated.then(|| line(&event.message()))
    }

    fn answer_one(
        &mut self,
        text: &[u8],
        execute: &mut impl FnMut(&str, Arguments) -> Result<Value, Failure>,
    ) -> Value {
        let mut command: Map<String, Value> = match serde_json::from_slice(text) {
            Ok(command) => command,
            Err(error) => return Failure::new(format!("JSON parse error: {error}")).reply(),
        };
        let id = command.remove("id");
        let result = Command::parse(command).and_then(|command| self.execute(command, execute));
        let mut reply = match result {
            Ok(value) => json!({ "return": value }),
            Err(failure) => failure.reply(),
        };
        if let Some(id) = id {
            reply["id"] = id;
        }
        reply
    }

    fn execute(
        &mut self,
        Command { name, arguments }: Command,
        execute: &mut impl FnMut(&str, Arguments) -> Result<Value, Failure>,
    ) -> Result<Value, Failure> {
        match (self.negotiated, name == "qmp_capabilities") {
            (true, false) => execute(&name, arguments),
            (false, true) => self.negotiate(&arguments),
            (false, false) => Err(Failure::CommandNotFound(
                "Expecting capabilities negotiation with 'qmp_capabilities'".into(),
            )),
            (true, true) => Err(Failure::CommandNotFound(
                "Capabilities negotiation is already complete, command ignored".into(),
            )),
        }
    }

    fn negotiate(&mut self, arguments: &Arguments) -> Result<Value, Failure> {
        match arguments.get("enable").map(|wanted| wanted.as_array()) {
            None => {}
            Some(Some(wanted)) if wanted.is_empty() => {}
            Some(_) => return Err(Failure::new("There are no capabilities to enable")),
        }
        self.negotiated = true;
        Ok(json!({}))
    }
}

struct Command {
    name: String,
    arguments: Arguments,
}

impl Command {
    fn parse(mut members: Map<String, Value>) -> Result<Self, Failure> {
        let name = match members.remove("execute") {
            Some(Value::String(name)) => name,
            Some(_) => return Err(Failure::new("QMP input member 'execute' must be a string")),
            None => return Err(Failure::new("QMP input lacks member 'execute'")),
        };
        let arguments = match members.remove("arguments") {
            Some(Value::Object(arguments)) => arguments,
            None => Map::new(),
            Some(_) => return Err(Failure::new("QMP input member 'arguments' must be an object")),
        };
        match members.keys().next() {
            Some(other) => Err(Failure::new(format!("QMP input member '{other}' is unexpected"))),
            None => Ok(Self { name, arguments }),
        }
    }
}

fn line(message: &Value) -> Vec<u8> {
    format!("{message}\r\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo(name: &str, arguments: Arguments) -> Result<Value, Failure> {
        match name {
            "echo" => Ok(arguments.into()),
            _ => Err(Failure::CommandNotFound(format!("The command {name} has not been found"))),
        }
    }

    fn say(conversation: &mut Conversation, text: &str) -> Vec<Value> {
        let replies = conversation.answer(text.as_bytes(), echo);
        let replies = serde_json::Deserializer::from_slice(&replies).into_iter();
        replies.collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn nothing_is_done_before_the_negotiation() {
        let mut talk = Conversation::default();
        assert!(talk.tell(&Event::Stop).is_none());
        let reply = say(&mut talk, r#"{"execute":"echo","id":[1]}"#);
        assert_eq!(
            (reply[0]["error"]["class"].as_str(), &reply[0]["id"]),
            (Some("CommandNotFound"), &json!([1]))
        );
        let reply = say(&mut talk, r#"{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}"#);
        assert_eq!(reply[0]["error"]["class"], "GenericError");
        let both = r#"{"execute":"qmp_capabilities"}{"execute":"echo","arguments":{"a":1},"id":"x"}"#;
        assert_eq!(say(&mut talk, both), [json!({"return":{}}), json!({"return":{"a":1},"id":"x"})]);
        assert_eq!(
            say(&mut talk, r#"{"execute":"qmp_capabilities"}"#)[0]["error"]["class"],
            "CommandNotFound"
        );
        assert!(talk.tell(&Event::Stop).is_some());
    }

    #[test]
    fn what_is_no_command_is_answered_with_an_error() {
        let mut talk = Conversation { negotiated: true, ..Conversation::default() };
        let cases = [
            (r#"{"execute":1}"#, "string"),
            (r#"{"exec":"echo"}"#, "lacks"),
            (r#"{"execute":"echo","arguments":[]}"#, "object"),
            (r#"{"execute":"echo","more":1}"#, "'more' is unexpected"),
            (r#"{"execute":"echo",}"#, "JSON parse error"),
            ("[1]\n", "JSON parse error"),
            (r#"{"execute":"fly"}"#, "fly"),
        ];
        for (text, words) in cases {
            let replies = say(&mut talk, text);
            assert_eq!(replies.len(), 1, "{text}");
            assert!(replies[0]["error"]["desc"].as_str().unwrap().contains(words), "{text}: {replies:?}");
        }
    }
}
