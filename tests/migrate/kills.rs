//! The fault walk with processes: at every message, in both directions, the process of either side is killed. A guest whose
//! process is killed while it runs there is gone, as without a move; nothing else loses it, and it never runs twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::copies::Copying;
use crate::faults::{BLOCKS, COMMIT, COMPLETE, READY, RUNNING, STATE, STEPS};
use crate::guests::{PATIENCE, wait_until};
use crate::host::guest::Guest;
use crate::host::text;
use crate::processes::{Receiver, guests, kill, listed, start};
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

/// The process of the guest that comes to a receiver, once it is there.
fn newcomer(receiver: u32) -> Pid {
    let begun = Instant::now();
    loop {
        match guests(receiver).first() {
            Some(guest) => return *guest,
            None => assert!(begun.elapsed() < PATIENCE, "no process for the guest"),
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn walk(guest: &Guest, victim: Victim, (way, kind, step): (Way, u8, &str), with_disk: bool) {
    let case = format!("{victim:?} is killed at {step}");
    let copying = with_disk.then(|| Copying::new("raw"));
    let [of_source, of_target, of_move] = copying.as_ref().map(Copying::options).unwrap_or_default();
    let (home, target) = (Receiver::new(), Receiver::with(&of_target));
    let source = Arc::<AtomicI32>::default();
    let (receiver, process) = (target.child.id(), Arc::clone(&source));
    let hook = move || match victim {
        Victim::Source => kill(Pid::from_raw(process.load(Ordering::SeqCst)).unwrap()),
        Victim::Target => kill(newcomer(receiver)),
    };
    let proxy = Proxy::calling(target.place.parse().unwrap(), way, kind, Arc::new(hook));
    let child = start(&home, guest, &[&["--movable"], &of_source[..]].concat());
    source.store(child.id().cast_signed(), Ordering::SeqCst);
    let said = home.run(&[&["migrate", "demo", &proxy.address.to_string()], &of_move[..]].concat());
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
    if let Some(copying) = &copying {
        let has_run_there = state(&target).is_some() || (victim, kind) == (Victim::Target, RUNNING);
        copying.expect_copy(has_run_there, &case);
    }
    for at in [&home, &target] {
        at.run(&["control", "demo", "quit"]);
    }
}

/// Kills either side at each of these steps, in several cases at a time.
fn walk_all(steps: &[(Way, u8, &str)], with_disk: bool) {
    let guest = Guest::monitor();
    let victims = [Victim::Source, Victim::Target];
    let cases: Vec<_> =
        victims.into_iter().flat_map(|victim| steps.iter().map(move |step| (victim, *step))).collect();
    for group in cases.chunks(4) {
        thread::scope(|scope| {
            for (victim, step) in group {
                let guest = &guest;
                scope.spawn(move || walk(guest, *victim, *step, with_disk));
            }
        });
    }
}

#[test]
fn whoever_is_killed_the_guest_runs_on_at_most_one_side() {
    walk_all(&STEPS, false);
}

#[test]
fn whoever_is_killed_nothing_is_left_of_a_disk_that_did_not_arrive() {
    let decisive = STEPS.into_iter().filter(|step| matches!(step.1, COMPLETE | READY | COMMIT | RUNNING));
    walk_all(&decisive.chain([BLOCKS]).collect::<Vec<_>>(), true);
}
