//! Live migration: what moves goes on where it was, and whatever breaks on the way, the guest runs on exactly one
//! side, or waits on both where no protocol can do better.

mod copies;
mod faults;
mod guests;
#[path = "../host/mod.rs"]
mod host;
mod kills;
mod processes;
mod proxy;
mod secure;

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use guests::{Arrivals, Running, SharedImage, wait_until};
use host::guest::Guest;
use runtime::migrate::{DepartError, Departure, Notice, Outcome, Status, Terms};
use runtime::vcpu::Engine;

const ENGINES: [Engine; 2] = [Engine::Interpreter, Engine::Jit];

#[test]
fn a_machine_goes_on_elsewhere_under_any_engine() {
    let guest = Guest::monitor();
    for (from, to) in ENGINES.into_iter().flat_map(|from| ENGINES.map(|to| (from, to))) {
        let arrivals = Arrivals::new(to);
        let first = Running::boot(&guest, from);
        first.talk("abc");
        let outcome = first.depart(&arrivals.way(), Terms::default());
        assert!(matches!(outcome, Outcome::Moved), "{outcome:?}");
        first.quit();
        let second = arrivals.next();
        second.talk("xyz");
        assert_eq!(second.printed.text(), "xyz");
        second.power_off();
    }
}

#[test]
fn a_machine_moves_back_and_forth_and_stays_paused_if_it_was() {
    let guest = Guest::monitor();
    let houses = [Arrivals::new(Engine::Auto), Arrivals::new(Engine::Auto)];
    let mut running = Running::boot(&guest, Engine::Auto);
    for round in 0..20 {
        let paused = round % 5 == 4;
        if paused {
            running.handle.pause();
        }
        let house = &houses[round % 2];
        let outcome = running.depart(&house.way(), Terms::default());
        assert!(matches!(outcome, Outcome::Moved), "{outcome:?}");
        running.quit();
        running = house.next();
        assert_eq!(running.handle.is_paused(), paused);
        running.handle.resume();
        running.talk(&format!("{round} times"));
    }
    running.power_off();
}

#[test]
fn a_disk_goes_from_hand_to_hand() {
    let guest = Guest::monitor();
    let image = SharedImage::new();
    let houses = [Arrivals::new(Engine::Auto), Arrivals::new(Engine::Auto)];
    let mut running = Running::boot_with(&guest, Engine::Auto, image.open());
    for round in 0..6 {
        assert!(image.is_in_use());
        let house = &houses[round % 2];
        let outcome = running.depart(&house.way(), Terms::default());
        assert!(matches!(outcome, Outcome::Moved), "{outcome:?}");
        running.quit();
        running = house.next();
    }
    assert!(image.is_in_use());
    running.power_off();
    // A child that another test starts just now has a copy of the file for a moment.
    wait_until("the disk is free", || !image.is_in_use());
}

#[test]
fn a_target_that_cannot_take_the_disk_leaves_the_guest_where_it_is() {
    let guest = Guest::monitor();
    let image = SharedImage::new();
    let arrivals = Arrivals::robbed(Engine::Auto);
    let running = Running::boot_with(&guest, Engine::Auto, image.open());
    for paused in [false, true] {
        if paused {
            running.handle.pause();
        }
        let (tell, told) = channel();
        let notify = move |notice| {
            if let Notice::Still(still) = notice {
                tell.send(still).unwrap();
            }
        };
        let departure = Departure::new(Terms::default(), Box::new(notify));
        let outcome = running.run(&departure, &arrivals.way());
        assert!(matches!(outcome, Outcome::Stayed(DepartError::Aborted)), "{outcome:?}");
        assert!(image.is_in_use());
        // People know of one that they have paused, and it goes on when they say so.
        let seen = if paused { vec![] } else { vec![true, false] };
        assert!(told.try_iter().eq(seen) && running.handle.is_paused() == paused);
    }
    running.handle.resume();
    running.talk("still");
    running.power_off();
    assert_eq!(arrivals.failures(), 2);
}

#[test]
fn a_move_can_be_cancelled_and_then_made() {
    let guest = Guest::monitor();
    let arrivals = Arrivals::new(Engine::Auto);
    let running = Running::boot(&guest, Engine::Auto);
    // So slow that it is cancelled in the first round.
    let terms = Terms { bandwidth: Some(1 << 10), ..Terms::default() };
    let (departure, way) = (running.departure(terms), arrivals.way());
    let outcome = thread::scope(|scope| {
        let moving = scope.spawn(|| running.run(&departure, &way));
        while departure.progress().status != Status::Active {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(departure.cancel());
        moving.join().unwrap()
    });
    assert!(matches!(outcome, Outcome::Stayed(_)), "{outcome:?}");
    assert_eq!(departure.progress().status, Status::Cancelled);
    assert!(!departure.cancel());
    running.talk("still");
    assert!(matches!(running.depart(&arrivals.way(), Terms::default()), Outcome::Moved));
    running.quit();
    assert_eq!(arrivals.failures(), 1);
    let moved = arrivals.next();
    moved.talk("hehe");
    moved.power_off();
}
