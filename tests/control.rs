//! Control of running VMs from outside, as other programs see it: the socket, what is said on it, `myvmm ps` and
//! `myvmm control`. The guests are a few instructions long.

mod host;

use std::fs;
use std::io::Write as _;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use host::control::{PATIENCE, Place};
use host::guest::{GREETING, Guest};
use host::pty::{Pty, wait};
use host::text;
use serde_json::json;

/// A machine on a terminal.
fn machine(place: &Place, name: &str) -> (Child, Pty, Guest) {
    let guest = Guest::monitor();
    let mut pty = Pty::open();
    let mut command = place.myvmm(&["run", "--smp", "2", "--name", name, "--kernel"]);
    command.arg(guest.path());
    let child = pty.start(&command);
    pty.expect(GREETING.trim(), PATIENCE);
    (child, pty, guest)
}

#[test]
fn a_machine_stops_goes_on_resets_and_quits() {
    let place = Place::new();
    let (mut child, mut pty, _guest) = machine(&place, "one");
    let (mut client, mut other) = (place.client("one"), place.client("one"));
    assert_eq!(client.execute("query-status"), json!({ "running": true, "status": "running" }));
    assert_eq!(client.execute("query-name"), json!({ "name": "one" }));
    let cpus = client.execute("query-cpus-fast");
    assert!(cpus.as_array().unwrap().len() == 2 && cpus[0]["thread-id"].as_i64().unwrap() > 0, "{cpus}");

    client.execute("stop");
    client.expect("STOP");
    other.expect("STOP");
    assert_eq!(other.execute("query-status")["status"], "paused");
    let registers = || json!({ "execute": "x-myvmm-query-registers", "arguments": { "cpu-index": 0 } });
    let stands = client.ask(&registers());
    assert!(stands["return"]["pc"].as_str().unwrap().starts_with("0xffffffff80"), "{stands}");
    pty.write("a");
    thread::sleep(Duration::from_millis(50));
    assert_eq!(client.ask(&registers()), stands);
    client.execute("cont");
    client.expect("RESUME");
    other.expect("RESUME");
    pty.expect("a", PATIENCE);

    // Twice is once.
    client.execute("cont");
    assert!(client.events.is_empty());
    let reply = client.ask(&json!({ "execute": "system_powerdown" }));
    assert!(reply["error"]["desc"].as_str().unwrap().contains("power button"), "{reply}");
    client.execute("system_reset");
    client.expect("RESET");
    pty.expect(GREETING.trim(), PATIENCE);
    assert_eq!(client.execute("query-status")["running"], true);

    // A machine that is paused on the console stays so over a reset.
    pty.write("\x01p");
    client.expect("STOP");
    client.execute("system_reset");
    client.expect("RESET");
    assert_eq!(client.execute("query-status")["status"], "paused");
    pty.write("\x01p");
    client.expect("RESUME");
    pty.expect(GREETING.trim(), PATIENCE);

    client.execute("quit");
    assert_eq!(wait(&mut child, PATIENCE).code(), Some(0), "{}", pty.transcript);
    assert_eq!(other.expect("SHUTDOWN"), json!({ "guest": false, "reason": "host-qmp-quit" }));
    assert!(other.next().is_none());
    assert!(!place.socket("one").exists());
}

#[test]
fn blocks_of_a_machine_are_shown_while_it_runs_and_in_its_snapshot() {
    const CODE: &str = "--range=80100000..80100200";
    let place = Place::new();
    let (guest, mut pty) = (Guest::monitor(), Pty::open());
    let folder = place.0.path().display().to_string();
    let mut command =
        place.myvmm(&["run", "--engine=jit", "--name=shown", "--snapshots", &folder, "--kernel"]);
    command.arg(guest.path());
    let mut child = pty.start(&command);
    pty.expect(GREETING.trim(), PATIENCE);
    // The guest waits for a key, which its console is asked for.
    let begun = Instant::now();
    loop {
        let (code, plans) = place.run(&["dump", "--vm=shown", CODE, "--stage=plan"]);
        assert_eq!(code, Some(0), "{plans}");
        if plans.contains("the site met a device") && plans.contains("* patched: device") {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{plans}");
    }
    let (code, here) = place.run(&["dump", "--vm=shown", "--format=json"]);
    assert!(code == Some(0) && here.contains("\"address\": \"0xffffffff80100"), "{here}");

    let file = place.0.path().join("shown.snapshot").display().to_string();
    let (code, said) = place.run(&["snapshot", "shown", &file]);
    assert_eq!(code, Some(0), "{said}");
    let (code, saved) = place.run(&["dump", "-s", &file, CODE, "--stage=decode"]);
    assert!(code == Some(0) && saved.contains("lbu") && !saved.contains("entered"), "{saved}");

    let damaged = place.0.path().join("damaged").display().to_string();
    fs::write(&damaged, &fs::read(&file).unwrap()[..5000]).unwrap();
    let refused: [(&[&str], &str); 7] = [
        (&["--vm=nobody"], "There is no VM called nobody"),
        (&["--vm=shown", "--address=80100002"], "no multiple of 4"),
        (&["--vm=shown", "--address=ffffffffc0000000"], "nothing is mapped there"),
        (&["--vm=shown", "--symbol=start_kernel"], "no symbol start_kernel"),
        (&["--vm=shown", "--vcpu=1"], "no vCPU 1"),
        (&["--vm=shown", "--hot=3"], "does not count its blocks"),
        (&["-s", &damaged], "Cannot restore a machine"),
    ];
    for (arguments, words) in refused {
        let (code, said) = place.run(&[&["dump"], arguments].concat());
        assert!(code == Some(2) && said.contains(words), "{arguments:?}: {code:?} {said}");
    }
    place.client("shown").execute("quit");
    assert_eq!(wait(&mut child, PATIENCE).code(), Some(0), "{}", pty.transcript);
}

#[test]
fn commands_are_listed_and_others_refused() {
    let place = Place::new();
    let (mut child, _pty, _guest) = machine(&place, "two");
    let mut client = place.client("two");
    for command in client.execute("query-commands").as_array().unwrap() {
        let name = command["name"].as_str().unwrap();
        if name.starts_with("query-") || name.starts_with("x-") {
            let reply = client.ask(&json!({ "execute": name, "id": name }));
            let class = &reply["error"]["class"];
            assert!(reply["id"] == name && class != "CommandNotFound", "{reply}");
        }
    }
    let reply = client.ask(&json!({ "execute": "fly", "id": { "a": 1 } }));
    assert_eq!((&reply["error"]["class"], &reply["id"]), (&json!("CommandNotFound"), &json!({ "a": 1 })));
    let reply = client.ask(&json!({ "execute": "stop", "arguments": { "now": true } }));
    assert!(reply["error"]["desc"].as_str().unwrap().contains("'now' is unexpected"), "{reply}");
    // Garbage is answered, and the conversation goes on; objects may be cut anywhere and follow each other at once.
    client.stream.write_all(b"hello\n{\"execute\":\"query-na").unwrap();
    assert_eq!(client.reply()["error"]["class"], "GenericError");
    client.stream.write_all(b"me\"}{\"execute\":\"query-version\"}").unwrap();
    assert_eq!(client.reply()["return"]["name"], "two");
    assert!(client.reply()["return"]["package"].as_str().unwrap().starts_with("myvmm "));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn ps_lists_what_runs_and_forgets_what_was_killed() {
    let place = Place::new();
    assert!(place.list().is_empty());
    let (mut first, _pty, guest) = machine(&place, "first");
    let (mut second, _other_pty, _other_guest) = machine(&place, "second");
    let taken = place.run(&["run", "--kernel", guest.path().to_str().unwrap(), "--name", "first"]);
    assert!(taken.0 == Some(2) && taken.1.contains("first runs already"), "{taken:?}");
    let list = place.list();
    let names: Vec<_> = list.iter().map(|vm| (vm["name"].as_str(), vm["pid"].as_u64())).collect();
    let pid = |child: &Child| Some(u64::from(child.id()));
    assert_eq!(names, [(Some("first"), pid(&first)), (Some("second"), pid(&second))]);
    assert_eq!((&list[0]["kind"], &list[0]["vcpus"]), (&json!("machine"), &json!(2)));

    assert_eq!(place.run(&["control", "first", "stop"]), (Some(0), String::new()));
    assert!(place.run(&["control", "first", "status"]).1.contains("\"paused\""));
    assert!(place.run(&["ps"]).1.contains("paused"));
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(place.socket("first").exists());
    assert_eq!(place.list().len(), 1);
    assert!(!place.socket("first").exists());
    let gone = place.run(&["control", "first", "stop"]);
    assert!(gone.0 == Some(2) && gone.1.contains("no VM called first"), "{gone:?}");
    assert_eq!(place.run(&["control", "second", "quit"]), (Some(0), String::new()));
    assert_eq!(wait(&mut second, PATIENCE).code(), Some(0));
}

/// Prints a number for each of some rounds of work.
const PROGRAM: &str = "
main:   li $s0, 0
round:  li $t0, 200000
work:   addiu $t0, $t0, -1
        bnez $t0, work
        move $a0, $s0
        li $v0, 1
        syscall
        li $a0, 10
        li $v0, 11
        syscall
        addiu $s0, $s0, 1
        blt $s0, 60, round
        li $v0, 10
        syscall
";

#[test]
fn pauses_make_no_difference_to_programs() {
    let place = Place::new();
    let files = ["a.s", "b.s"].map(|name| place.0.path().join(name));
    files.iter().for_each(|file| fs::write(file, PROGRAM).unwrap());
    let [a, b] = files.each_ref().map(|file| file.to_str().unwrap());
    let arguments = ["-v", a, "-v", b, "--slice", "7777", "--engine", "interp", "--name", "both"];
    let expected = place.myvmm(&arguments).output().unwrap();
    let child = place.myvmm(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut client = place.client("both");
    let (mut before, mut pauses) = (0, 0);
    // On a busy host the programs may end before many pauses.
    while pauses < 10 && client.try_execute("stop").is_some() {
        let stands = client.execute("x-myvmm-query");
        let instructions = stands["instructions"].as_u64().unwrap();
        assert!(instructions >= before && stands["kind"] == "programs", "{stands}");
        thread::sleep(Duration::from_millis(3));
        assert_eq!(client.execute("x-myvmm-query")["instructions"], instructions);
        client.execute("cont");
        (before, pauses) = (instructions, pauses + 1);
    }
    assert!(pauses > 0, "the programs ended before the first pause");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(text(&output.stdout), text(&expected.stdout));
}

#[test]
fn programs_that_wait_for_ever_can_be_paused_and_ended() {
    let place = Place::new();
    let file = place.0.path().join("wait.s");
    fs::write(&file, "main: li $v0, 5\n syscall\n").unwrap();
    let pty = Pty::open();
    let mut child = pty.start(&place.myvmm(&["-v", file.to_str().unwrap(), "--name", "waits"]));
    let mut client = place.client("waits");
    client.execute("stop");
    client.expect("STOP");
    client.execute("cont");
    client.execute("quit");
    assert_eq!(wait(&mut child, PATIENCE).code(), Some(0));
    assert!(!place.socket("waits").exists());
}
