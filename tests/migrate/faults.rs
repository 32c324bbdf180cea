//! The fault walk: at every message, in both directions, the connection is cut before it, within it or after it, or
//! stalls, and then the source can reach the target again or not. Each time the guest must run on exactly one side; in
//! the one case in which no protocol can do better, it waits on both, and one command lets one of them go on.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use runtime::migrate::{Connect, Outcome, Status, Terms, Waits};
use runtime::vcpu::Engine;

use crate::guests::{Arrivals, Running, SharedImage, Way as Road, wait_until};
use crate::host::guest::Guest;
use crate::proxy::{Break, Fault, Proxy, Way};

/// How long either side bears silence here.
const SHORT: Duration = Duration::from_millis(300);

/// Where the guest must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It runs at the source. The target has forgotten it, or waits for ever.
    Source,
    /// It runs at the target, and the source has ended.
    Target,
    /// It runs where it was decided first: the question of the source overtakes the target, or does not.
    Either,
    /// It runs at the target, but the source does not know that and waits.
    TargetUnheard,
    /// It waits on both sides.
    Both,
}

/// The messages in the order in which they go, by their numbers in the protocol.
pub const STEPS: [(Way, u8, &str); 12] = [
    (Way::Forth, 0, "the source's preamble"),
    (Way::Back, 0, "the target's preamble"),
    (Way::Forth, 1, "Hello"),
    (Way::Back, 2, "Accept"),
    (Way::Forth, 4, "Pages"),
    (Way::Forth, 5, "Round"),
    (Way::Back, 6, "Heard"),
    (Way::Forth, 7, "State"),
    (Way::Forth, 8, "Complete"),
    (Way::Back, 9, "Ready"),
    (Way::Forth, 10, "Commit"),
    (Way::Back, 11, "Running"),
];
const BREAKS: [Break; 4] = [Break::CutBefore, Break::CutWithin, Break::CutAfter, Break::Stall];
pub const STATE: u8 = 7;
pub const COMPLETE: u8 = 8;
pub const READY: u8 = 9;
pub const COMMIT: u8 = 10;
pub const RUNNING: u8 = 11;

/// What must become of the guest: the last message that arrives decides.
fn fate(fault: Fault) -> Fate {
    let arrives = fault.what == Break::CutAfter;
    match (fault.kind, arrives, fault.open) {
        (RUNNING, true, _) => Fate::Target,
        (RUNNING, false, true) => Fate::Target,
        (COMMIT, true, true) => Fate::Either,
        (RUNNING, false, false) | (COMMIT, true, false) => Fate::TargetUnheard,
        (COMMIT, false, false) | (READY, true, false) => Fate::Both,
        _ => Fate::Source,
    }
}

fn walk(guest: &Guest, fault: Fault, step: &str, take_there: bool) {
    let case = format!("{step}: {:?}, the way {}", fault.what, if fault.open { "open" } else { "shut" });
    let fate = fate(fault);
    let arrivals = Arrivals::patient(Engine::Interpreter, SHORT);
    let proxy = Proxy::new(arrivals.address, fault);
    let way: Arc<dyn Connect> = Arc::new(Road(proxy.address));
    let image = SharedImage::new();
    let running = Running::boot_with(guest, Engine::Interpreter, image.open());
    running.talk("abc");
    let terms = Terms { patience: SHORT, doubt: SHORT, ..Terms::default() };
    let departure = running.departure(terms);
    let outcome = thread::scope(|scope| {
        let moving = scope.spawn(|| running.run(&departure, &way));
        if matches!(fate, Fate::Both | Fate::TargetUnheard) {
            wait_until(&case, || {
                departure.progress().status == Status::Undecided && departure.progress().reason.is_some()
            });
            assert!(!departure.cancel(), "{case}");
            assert!(running.is_still(), "{case}: the source runs");
            wait_until(&case, || image.is_in_use() == (fate == Fate::TargetUnheard));
        }
        match fate {
            Fate::Both => {
                wait_until(&case, || {
                    arrivals.whole().iter().any(|whole| whole.waiting.state() == Waits::Lost)
                });
                assert!(arrivals.try_next().is_none(), "{case}: the target runs");
                if take_there {
                    assert!(arrivals.whole()[0].waiting.take(), "{case}");
                    let there = arrivals.next();
                    there.talk("there");
                    there.quit();
                }
                assert!(departure.stay(), "{case}");
            }
            // The test must come to an end; a person would end the source here.
            Fate::TargetUnheard => assert!(departure.stay(), "{case}"),
            Fate::Source | Fate::Target | Fate::Either => {}
        }
        moving.join().unwrap()
    });
    let fate = match (fate, &outcome) {
        (Fate::Either, Outcome::Moved) => Fate::Target,
        (Fate::Either, _) => Fate::Source,
        _ => fate,
    };
    assert!(proxy.is_broken(), "{case}: it was never reached");
    assert!(image.is_in_use(), "{case}: nobody has the disk");
    match fate {
        Fate::Target => {
            assert!(matches!(outcome, Outcome::Moved), "{case}: {outcome:?}");
            assert!(running.has_ended(), "{case}");
        }
        // Whoever lets it go on here is wrong, and the image knows it.
        Fate::TargetUnheard => assert!(matches!(outcome, Outcome::Stuck(..)), "{case}: {outcome:?}"),
        Fate::Source | Fate::Both | Fate::Either => {
            assert!(matches!(outcome, Outcome::Stayed(_)), "{case}: {outcome:?}");
            if fate == Fate::Both {
                // What was typed to see whether it runs.
                running.expect("s");
            }
            if !take_there {
                running.talk("xyz");
            }
        }
    }
    match fate {
        Fate::Target | Fate::TargetUnheard => {
            let there = arrivals.next();
            there.talk("xyz");
            there.quit();
        }
        Fate::Source => {
            assert!(arrivals.try_next().is_none(), "{case}: it runs on both sides");
            // A target that heard nothing at all has nothing to forget.
            let heard = fault.kind > 0 || fault.what == Break::CutAfter;
            if heard && fault.open {
                wait_until(&case, || arrivals.failures() > 0);
            }
        }
        Fate::Both | Fate::Either => {}
    }
    running.quit();
}

#[test]
fn whatever_breaks_the_guest_runs_on_exactly_one_side() {
    let guest = Guest::monitor();
    let cases = STEPS.into_iter().flat_map(|step| BREAKS.map(|what| (step, what)));
    let cases: Vec<_> = cases.flat_map(|case| [true, false].map(|open| (case, open))).collect();
    // Nearly all of the time is spent waiting.
    for group in cases.chunks(8) {
        thread::scope(|scope| {
            for (number, (((way, kind, step), what), open)) in group.iter().enumerate() {
                let fault = Fault { way: *way, kind: *kind, what: *what, open: *open };
                let guest = &guest;
                scope.spawn(move || walk(guest, fault, step, number.is_multiple_of(2)));
            }
        });
    }
}
