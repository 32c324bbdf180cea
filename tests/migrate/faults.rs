//! The fault walk: at every message, in both directions, the connection is cut before it, within it or after it, or
//! stalls, and then the source can reach the target again or not. Each time the guest must run on exactly one side; in
//! the one case in which no protocol can do better, it waits on both, and one command lets one of them go on. Its disk goes
//! from hand to hand, or is copied.

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
    (Way::Forth, 5, "Mark"),
    (Way::Back, 6, "Heard"),
    (Way::Forth, 7, "State"),
    (Way::Forth, 8, "Complete"),
    (Way::Back, 9, "Ready"),
    (Way::Forth, 10, "Commit"),
    (Way::Back, 11, "Running"),
];
/// What comes before the pages if a disk is copied.
pub const BLOCKS: (Way, u8, &str) = (Way::Forth, 16, "Blocks");
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

/// What becomes of the guest's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disk {
    Shared,
    Copied,
}

/// Whether the target has its disk.
fn has_disk(arrivals: &Arrivals, image: &SharedImage, disk: Disk) -> bool {
    match disk {
        Disk::Shared => image.is_in_use(),
        Disk::Copied => !arrivals.copies().is_empty(),
    }
}

fn walk(guest: &Guest, fault: Fault, step: &str, (disk, take_there): (Disk, bool)) {
    let way = if fault.open { "open" } else { "shut" };
    let case = format!("{disk:?}, {step}: {:?}, the way {way}", fault.what);
    let fate = fate(fault);
    let arrivals = Arrivals::patient(Engine::Interpreter, SHORT);
    let proxy = Proxy::new(arrivals.address, fault);
    let way: Arc<dyn Connect> = Arc::new(Road(proxy.address));
    let image = SharedImage::new();
    let running = Running::boot_with(guest, Engine::Interpreter, image.open());
    running.talk("abc");
    let with_disks = disk == Disk::Copied;
    let terms = Terms { patience: SHORT, doubt: SHORT, with_disks, ..Terms::default() };
    let departure = running.departure(terms);
    let outcome = thread::scope(|scope| {
        let moving = scope.spawn(|| running.run(&departure, &way));
        if matches!(fate, Fate::Both | Fate::TargetUnheard) {
            wait_until(&case, || {
                departure.progress().status == Status::Undecided && departure.progress().reason.is_some()
            });
            assert!(!departure.cancel(), "{case}");
            assert!(running.is_still(), "{case}: the source runs");
            wait_until(&case, || has_disk(&arrivals, &image, disk) == (fate == Fate::TargetUnheard));
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
                    there.talk("xyz");
                    assert_eq!(arrivals.copies().len(), usize::from(with_disks), "{case}");
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
        // Whoever lets it go on here is wrong, and the image knows it if there is only one.
        Fate::TargetUnheard => match disk {
            Disk::Shared => assert!(matches!(outcome, Outcome::Stuck(..)), "{case}: {outcome:?}"),
            Disk::Copied => assert!(matches!(outcome, Outcome::Stayed(_)), "{case}: {outcome:?}"),
        },
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
            assert_eq!(arrivals.copies().len(), usize::from(with_disks), "{case}");
            assert!(arrivals.copies().iter().all(|copy| image.is_like(copy)), "{case}: its disk is another");
            there.quit();
        }
        Fate::Source => {
            assert!(arrivals.try_next().is_none(), "{case}: it runs on both sides");
            // A target that heard nothing at all has nothing to forget.
            let heard = fault.kind > 0 || fault.what == Break::CutAfter;
            if heard && fault.open {
                wait_until(&case, || arrivals.failures() > 0);
            }
            wait_until(&case, || arrivals.copies().is_empty());
        }
        Fate::Both | Fate::Either => {}
    }
    running.quit();
}

/// Walks through the cases, several at a time: nearly all of the time is spent waiting.
fn walk_all(disk: Disk, cases: &[((Way, u8, &str), Break, bool)]) {
    let guest = Guest::monitor();
    for group in cases.chunks(8) {
        thread::scope(|scope| {
            for (number, ((way, kind, step), what, open)) in group.iter().enumerate() {
                let fault = Fault { way: *way, kind: *kind, what: *what, open: *open };
                let guest = &guest;
                // Cases with the way open and shut alternate.
                let take_there = (number / 2).is_multiple_of(2);
                scope.spawn(move || walk(guest, fault, step, (disk, take_there)));
            }
        });
    }
}

#[test]
fn whatever_breaks_the_guest_runs_on_exactly_one_side() {
    let cases = STEPS.into_iter().flat_map(|step| BREAKS.map(|what| (step, what)));
    let cases: Vec<_> = cases.flat_map(|(step, what)| [true, false].map(|open| (step, what, open))).collect();
    walk_all(Disk::Shared, &cases);
}

/// Every fault where it matters what the disk is, and one of them at all other steps.
#[test]
fn whatever_breaks_a_disk_that_is_copied_is_where_the_guest_is() {
    let decisive = |kind| matches!(kind, READY | COMMIT | RUNNING);
    let steps = STEPS.into_iter().chain([BLOCKS]).enumerate();
    let cases: Vec<_> = steps
        .flat_map(|(number, step)| {
            let all = BREAKS.into_iter().flat_map(|what| [true, false].map(|open| (what, open)));
            let one = (BREAKS[number % BREAKS.len()], true);
            let wanted = move |case: &(Break, bool)| decisive(step.1) || *case == one;
            all.filter(wanted).map(move |(what, open)| (step, what, open))
        })
        .collect();
    walk_all(Disk::Copied, &cases);
}
