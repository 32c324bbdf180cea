//! Clients that say anything: every stream of bytes is survived, every command answered once, and after each a client can
//! begin anew.

use std::path::Path;
use std::sync::Arc;

use fuzzing::{Corpus, Numbers};
use runtime::migrate::{Connect, Departure, Outcome};
use runtime::vm::snapshots::Form;
use serde_json::{Value, json};
use translator::listing::Listing;

use super::protocol::{Conversation, Failure};
use super::server::Notices;
use super::target::{Controlled, Target};
use crate::excerpt::Excerpt;

/// A machine that is not one: it says yes to all that needs no file.
struct Nothing;

impl Target for Nothing {
    fn kind(&self) -> &'static str {
        "machine"
    }

    fn memory(&self) -> u64 {
        0
    }

    fn set_paused(&self, _paused: bool) -> Result<bool, Failure> {
        Ok(true)
    }

    fn is_paused(&self) -> bool {
        false
    }

    fn reset(&self) -> Result<(), Failure> {
        Ok(())
    }

    fn quit(&self) {}

    fn threads(&self) -> Vec<i32> {
        vec![0; 2]
    }

    fn instructions(&self) -> Option<u64> {
        None
    }

    fn statistics(&self) -> Value {
        json!([])
    }

    fn registers(&self, vcpu: usize) -> Option<Value> {
        (vcpu < 2).then(|| json!({}))
    }

    fn disks(&self) -> Value {
        json!([])
    }

    fn snapshot(&self, _file: &Path, _form: &Form) -> Result<(), Failure> {
        Ok(())
    }

    fn snapshot_status(&self) -> Value {
        json!({ "status": "active" })
    }

    fn depart(&self, _: &str, departure: &Departure, _: &Arc<dyn Connect>) -> Result<Outcome, String> {
        departure.refuse("it is no VM");
        Err("it is no VM".into())
    }

    fn blocks(&self, _index: usize, _excerpt: &Excerpt) -> Result<Vec<Listing>, Failure> {
        Ok(Vec::new())
    }
}

fn corpus() -> Corpus {
    let examples = [
        r#"{"execute":"query-status","id":7}"#,
        r#"{"execute":"x-myvmm-query-registers","arguments":{"cpu-index":1}}{"execute":"query-cpus-fast"}"#,
        r#"{"execute":"x-myvmm-snapshot","arguments":{"file":"/tmp/a\"\\\u00e9","form":{"since":"b"}},"id":{"a":[1,2]}}"#,
        r#"{ "execute" : "x-myvmm-dump", "arguments" : { "hot" : 18446744073709551615 } }"#,
        "{\"execute\":\"stop\"}\r\n{\"execute\":\"cont\"}\n{\"execute\":\"query-commands\"}",
        r#"{"execute":"x-myvmm-dump","arguments":{"cpu-index":1,"range":[4096,18446744073709551615],"mode":"user"}}"#,
        r#"{"execute":"x-myvmm-snapshot","arguments":{"file":"a","form":"compressed"}}{"execute":"query-block"}"#,
        r#"{"execute":"migrate-set-parameters","arguments":{"downtime-limit":1,"max-bandwidth":0}}"#,
        r#"{"execute":"query-migrate"}{"execute":"migrate_cancel"}{"execute":"query-migrate-parameters"}"#,
        // Where there are no certificates, nobody is looked for.
        r#"{"execute":"migrate","arguments":{"uri":"tcp:[::1]:1","x-myvmm-tls-dir":"/no/such"}}"#,
        r#"{"execute":"x-myvmm-query"}{"execute":"x-myvmm-query-statistics"}{"execute":"system_reset"}"#,
        r#"{"execute":"query-name"}{"execute":"query-version"}{"execute":"quit"}{"execute":"system_powerdown"}"#,
    ];
    Corpus::new(examples).with_words([
        "{",
        "}",
        "[",
        "]",
        "\"",
        "\\",
        ",",
        ":",
        "\n",
        "\u{ff}",
        "null",
        "1e999",
        "-0",
        "arguments",
        "\"id\":",
    ])
}

/// A stream of bytes, in as many pieces as it pleases.
fn say(talk: &mut Conversation, vm: &Arc<Controlled>, stream: &[u8], numbers: &mut Numbers) -> Vec<Value> {
    let mut replies = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let (bytes, after) = rest.split_at(1 + numbers.index(rest.len()));
        replies.extend(talk.answer(bytes, |name, arguments| super::command::execute(vm, name, arguments)));
        rest = after;
    }
    let replies = serde_json::Deserializer::from_slice(&replies).into_iter();
    replies.collect::<Result<_, _>>().expect("every reply is JSON")
}

#[test]
fn fuzz_conversation() {
    const BEGIN: &[u8] = br#"{"execute":"qmp_capabilities"}"#;
    let vm = Controlled::new(
        "fuzz".to_owned(),
        Arc::new(Nothing),
        Notices::new().expect("the host has events"),
        None,
    );
    let corpus = corpus();
    fuzzing::run(|numbers| {
        let mut talk = Conversation::default();
        if !numbers.once_in(8) {
            say(&mut talk, &vm, BEGIN, numbers);
        }
        let stream = corpus.bytes(numbers);
        for reply in say(&mut talk, &vm, &stream, numbers) {
            assert!(reply.get("return").is_some() != reply.get("error").is_some(), "{stream:?}: {reply}");
        }
        // Whatever came before, a client can begin anew.
        assert!(say(&mut talk, &vm, b"\xff", numbers).is_empty());
        say(&mut talk, &vm, BEGIN, numbers);
        let replies = say(&mut talk, &vm, br#"{"execute":"query-target","id":1}"#, numbers);
        assert_eq!(replies, [json!({ "return": { "arch": "mips64el" }, "id": 1 })], "{stream:?}");
    });
}
