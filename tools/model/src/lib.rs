//! Models of how vCPUs share the code cache. The model checker `loom` runs each over the orders that its threads'
//! steps can have. The gate is the runtime's own file; the page of code, with the cache above it, has the steps of
//! `Vcpu::find_or_decode`, `Vcpu::store_slow` and `WriteNotice::written` on one word.
#![cfg(test)]

#[path = "../../../runtime/src/code_gate.rs"]
mod code_gate;
mod sync;

use code_gate::CodeGate;
use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use loom::sync::{Arc, Mutex};
use loom::thread;

/// A region of the arena that one vCPU runs in and another empties.
#[derive(Default)]
struct Region {
    gate: CodeGate,
    alarm: AtomicU32,
    emptied: AtomicBool,
    bytes: UnsafeCell<()>,
}

impl Region {
    /// Runs until the alarm is raised, as code in a loop does. The run loop takes the alarm back first.
    fn run(&self) {
        self.alarm.swap(0, Ordering::AcqRel);
        let _running = self.gate.enter();
        while self.alarm.load(Ordering::Acquire) == 0 && !self.emptied.load(Ordering::Acquire) {
            self.bytes.with(|_| ());
            thread::yield_now();
        }
    }

    fn empty(&self) {
        let alone = self.gate.close(|| {
            self.alarm.fetch_or(1, Ordering::Release);
        });
        self.bytes.with_mut(|_| ());
        drop(alone);
        self.emptied.store(true, Ordering::Release);
    }
}

#[test]
fn nobody_is_in_a_region_that_is_emptied_and_no_call_is_lost() {
    loom::model(|| {
        let region = Arc::<Region>::default();
        let vcpu = Arc::clone(&region);
        let vcpu = thread::spawn(move || vcpu.run());
        region.empty();
        vcpu.join().unwrap();
    });
}

/// What the cache knows of the page.
#[derive(Default)]
struct Cache {
    invalidations: u64,
    block: Option<u32>,
}

/// When a decoder first looks at the count of invalidations.
#[derive(Clone, Copy, PartialEq)]
enum Look {
    BeforeTheWatch,
    AfterTheWatch,
}

/// A page of one word, of which a block may be made.
#[derive(Default)]
struct Page {
    gate: CodeGate,
    word: AtomicU32,
    is_code: AtomicBool,
    cache: Mutex<Cache>,
}

impl Page {
    fn invalidations(&self) -> u64 {
        self.cache.lock().unwrap().invalidations
    }

    fn watch(&self) {
        if !self.is_code.load(Ordering::Acquire) {
            let _alone = self.gate.close(|| ());
            self.is_code.store(true, Ordering::Release);
        }
        fence(Ordering::SeqCst);
    }

    fn find_or_decode(&self, look: Look) {
        while self.cache.lock().unwrap().block.is_none() {
            let early = self.invalidations();
            self.watch();
            let before = if look == Look::BeforeTheWatch { early } else { self.invalidations() };
            let block = self.word.load(Ordering::Relaxed);
            let mut cache = self.cache.lock().unwrap();
            if cache.invalidations == before {
                cache.block = Some(block);
            }
        }
    }

    fn invalidate(&self) {
        let mut cache = self.cache.lock().unwrap();
        cache.invalidations += 1;
        cache.block = None;
        self.is_code.store(false, Ordering::Release);
    }

    /// A store by a vCPU, with its write entry for the page if it has one.
    fn store(&self, value: u32, has_entry: &mut bool) {
        let _running = self.gate.enter();
        *has_entry &= !self.is_code.load(Ordering::Acquire);
        self.word.store(value, Ordering::Relaxed);
        if *has_entry {
            return;
        }
        if self.is_code.load(Ordering::Acquire) {
            self.invalidate();
        } else {
            *has_entry = true;
        }
    }

    /// A store by a device, which passes no gate.
    fn store_by_device(&self, value: u32) {
        self.word.store(value, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.is_code.load(Ordering::Acquire) {
            self.invalidate();
        }
    }

    fn assert_fresh(&self) {
        let word = self.word.load(Ordering::Relaxed);
        assert!(self.cache.lock().unwrap().block.is_none_or(|block| block == word), "the block is stale");
    }
}

/// One vCPU stores twice while another decodes twice.
fn race(look: Look) {
    let mut orders = Builder::new();
    orders.preemption_bound = Some(3);
    orders.check(move || {
        let page = Arc::<Page>::default();
        let writer = Arc::clone(&page);
        let writer = thread::spawn(move || {
            let mut has_entry = false;
            writer.store(1, &mut has_entry);
            writer.store(2, &mut has_entry);
        });
        page.find_or_decode(look);
        page.find_or_decode(look);
        writer.join().unwrap();
        page.assert_fresh();
    });
}

#[test]
fn no_block_outlives_its_bytes() {
    race(Look::BeforeTheWatch);
}

#[test]
#[should_panic(expected = "the block is stale")]
fn the_model_finds_a_look_that_comes_too_late() {
    race(Look::AfterTheWatch);
}

#[test]
fn no_block_outlives_what_a_device_writes() {
    loom::model(|| {
        let page = Arc::<Page>::default();
        let device = Arc::clone(&page);
        let device = thread::spawn(move || device.store_by_device(1));
        page.find_or_decode(Look::BeforeTheWatch);
        device.join().unwrap();
        page.assert_fresh();
    });
}

#[test]
fn no_block_outlives_what_a_device_writes_while_two_decode() {
    let mut orders = Builder::new();
    orders.preemption_bound = Some(3);
    orders.check(|| {
        let page = Arc::<Page>::default();
        let (device, other) = (Arc::clone(&page), Arc::clone(&page));
        let device = thread::spawn(move || device.store_by_device(1));
        let other = thread::spawn(move || other.find_or_decode(Look::BeforeTheWatch));
        page.find_or_decode(Look::BeforeTheWatch);
        device.join().unwrap();
        other.join().unwrap();
        page.assert_fresh();
    });
}
