//! The fault walk with processes: at every message, in both directions, the process of either side is killed. A guest whose
//! process is killed while it runs there is gone, as without a move; nothing else loses it, and it never runs twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::faults::{COMMIT, COMPLETE, READY, RUNNING, STATE, STEPS};
use crate::guests::{PATIENCE, wait_until};
use crate::host::guest::Guest;
use crate::host::text;
use crate::processes::{Receiver, listed, start};
use crate::proxy::{Proxy, Way};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Source,
    Target,
}

/// Where the guest must be in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Source,
    Target,
    /// At the target, when a person says so, if all of it was on its way.
    TargetIfAsked,
    Gone,
}

/// What must become of the guest if `victim` is killed when the message has been sent and not yet heard.
fn fate(victim: Victim, kind: u8) -> Fate {
    match (victim, kind) {
        // It ran there already.
        (Victim::Target, RUNNING) => Fate::Gone,
        (Victim::Target, _) => Fate::Source,
        (Victim::Source, STATE | COMPLETE | READY) => Fate::TargetIfAsked,
        (Victim::Source, COMMIT | RUNNING) => Fate::Target,
        // It was still here.
        (Victim::Source, _) => Fate::Gone,
    }
}

fn kill(process: u32) {
    let process = Pid::from_raw(process.cast_signed()).unwrap();
    // It may have ended by itself.
    let _ = kill_process(process, Signal::KILL);
}

/// The process of the guest that comes to a receiver, once it is there.
fn newcomer(receiver: u32) -> u32 {
    let begun = Instant::now();
    loop {
        let children = std::fs::read_to_string(format!("/proc/{receiver}/task/{receiver}/children")).unwrap();
        match children.split_whitespace().next() {
            Some(child) => return child.parse().unwrap(),
            None => assert!(begun.elapsed() < PATIENCE, "no process for the guest"),
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn walk(guest: &Guest, victim: Victim, (way, kind, step): (Way, u8, &str)) {
    let case = format!("{victim:?} is killed at {step}");
    let (home, target) = (Receiver::new(), Receiver::new());
    let source = Arc::<AtomicU32>::default();
    let (receiver, process) = (target.child.id(), Arc::clone(&source));
    let hook = move || match victim {
        Victim::Source => kill(process.load(Ordering::SeqCst)),
        Victim::Target => kill(newcomer(receiver)),
    };
    let proxy = Proxy::calling(target.place.parse().unwrap(), way, kind, Arc::new(hook));
    let child = start(&home, guest, &["--movable"]);
    source.store(child.id(), Ordering::SeqCst);
    let said = home.run(&["migrate", "demo", &proxy.address.to_string()]);
    assert!(proxy.is_broken(), "{case}: it was never reached: {}", text(&said.stderr));
    let state = |at| listed(at, "demo").map(|vm| vm["state"].as_str().unwrap().to_owned());
    let runs = |at| state(at).as_deref() == Some("running");
    match fate(victim, kind) {
        Fate::Source => {
            assert_eq!(said.status.code(), Some(1), "{case}: {}", text(&said.stderr));
            assert!(runs(&home) && !runs(&target), "{case}");
        }
        Fate::Target => wait_until(&case, || runs(&target) && state(&home).is_none()),
        Fate::TargetIfAsked => {
            wait_until(&case, || matches!(state(&target).as_deref(), None | Some("undecided")));
            let is_whole = state(&target).is_some();
            assert!(is_whole || kind == STATE, "{case}: it is lost");
            if is_whole {
                let asked = target.run(&["control", "demo", "cont"]);
                assert_eq!(asked.status.code(), Some(0), "{case}: {}", text(&asked.stderr));
                wait_until(&case, || runs(&target));
            }
        }
        Fate::Gone => wait_until(&case, || state(&target).is_none() && state(&home).is_none()),
    }
    for at in [&home, &target] {
        at.run(&["control", "demo", "quit"]);
    }
}

#[test]
fn whoever_is_killed_the_guest_runs_on_at_most_one_side() {
    let guest = Guest::monitor();
    let cases: Vec<_> = [Victim::Source, Victim::Target]
        .into_iter()
        .flat_map(|victim| STEPS.map(|step| (victim, step)))
        .collect();
    for group in cases.chunks(4) {
        thread::scope(|scope| {
            for (victim, step) in group {
                let guest = &guest;
                scope.spawn(move || walk(guest, *victim, *step));
            }
        });
    }
}
