//! `myvmm bench` as a person uses it: every program under every engine, QEMU and natively, each of which checks its
//! results; the files that it writes; what it refuses.

mod host;

use std::fs;
use std::process::Output;

use host::{myvmm, text};

fn bench(arguments: &[&str]) -> Output {
    myvmm(["bench"]).args(arguments).output().unwrap()
}

#[test]
fn every_program_is_right_under_everybody() {
    let output = bench(&["--rounds", "1", "--vs", "qemu,native"]);
    let (table, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{table}{said}");
    for subject in ["interpreter", "block JIT", "full JIT", "auto"] {
        let is_row = |line: &&str| line.contains("..") && line.contains(&format!(" {subject} "));
        assert_eq!(table.lines().filter(is_row).count(), 13, "{subject}: {table}");
    }
}

#[test]
fn reports_hold_what_was_measured() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (json, csv, html) = (path("a.json"), path("a.csv"), path("a.html"));
    let first = bench(&["--rounds", "2", "--only", "recursion", "--json", &json, "--csv", &csv]);
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    let results: serde_json::Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    let runs = &results["programs"][0]["runs"];
    assert_eq!(results["programs"][0]["name"], "recursion");
    assert_eq!(runs.as_array().unwrap().len(), 4);
    assert_eq!(runs[0]["seconds"].as_array().unwrap().len(), 2);
    assert_eq!(fs::read_to_string(&csv).unwrap().lines().count(), 1 + 4 * 2);

    let second = bench(&["--rounds", "1", "--only", "hash,recursion", "--html", &html, "--history", &json]);
    assert_eq!(second.status.code(), Some(0), "{}", text(&second.stderr));
    let page = fs::read_to_string(&html).unwrap();
    for words in ["How much faster is the JIT?", "Several vCPUs", "History", "Warming up", "recursion"] {
        assert!(page.contains(words), "no {words}");
    }
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_measured() {
    let foreign = tempfile::NamedTempFile::new().unwrap();
    fs::write(foreign.path(), "{\"form\": 99}").unwrap();
    let foreign = foreign.path().to_str().unwrap();
    let cases: [(&[&str], &str); 6] = [
        (&["--html", "/nonexistent/r.html"], "/nonexistent/r.html"),
        (&["--json", "/tmp"], "is a directory"),
        (&["--rounds", "0"], "--rounds"),
        (&["--only", "nothing"], "integer"),
        (&["--html", "/tmp/never.html", "--history", "/nonexistent.json"], "No such file"),
        (&["--html", "/tmp/never.html", "--history", foreign], "form 99"),
    ];
    for (arguments, words) in cases {
        let output = bench(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}

#[test]
fn a_missing_qemu_is_named_with_its_package() {
    let output =
        myvmm(["bench", "--rounds", "1", "--only", "hash", "--vs", "qemu"]).env("PATH", "").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("qemu-user-static"), "{}", text(&output.stderr));
}
