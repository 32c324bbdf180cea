//! The threads that carry out a disk's requests where that means to wait for the host's disk, so that
//! several are in flight. It must not know queues, nor what a request is made of.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::request::{Outcome, Request, Target};
use crate::backend::events::Events;
use crate::device::lock;

/// The most threads of one disk. They are started when there is work for them.
const MOST_THREADS: usize = 16;

/// A request, how it is to be done, and whom to wake when it is.
struct Job {
    request: Request,
    write_through: bool,
    bell: Arc<Events>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    done: Vec<(Request, Outcome)>,
    /// Requests that are waiting or in the hands of a thread.
    unfinished: usize,
    /// Threads that wait for work.
    idle: usize,
    closed: bool,
}

struct Shared {
    target: Arc<Target>,
    state: Mutex<State>,
    /// There is work, or the end.
    work: Condvar,
    /// All requests are finished.
    finished: Condvar,
}

/// The threads of one disk.
pub struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Threads for the requests to `target`.
    pub fn new(target: Arc<Target>) -> Self {
        let shared =
            Shared { target, state: Mutex::default(), work: Condvar::new(), finished: Condvar::new() };
        Self { shared: Arc::new(shared), threads: Vec::new() }
    }

    /// Has a request carried out; `bell` rings when it is done.
    pub fn submit(&mut self, request: Request, write_through: bool, bell: &Arc<Events>) {
        let mut state = lock(&self.shared.state);
        state.waiting.push_back(Job { request, write_through, bell: Arc::clone(bell) });
        state.unfinished += 1;
        let short = state.idle < state.waiting.len() && self.threads.len() < MOST_THREADS;
        drop(state);
        self.shared.work.notify_one();
        if short {
            self.start_thread();
        }
    }

    fn start_thread(&mut self) {
        let shared = Arc::clone(&self.shared);
        match thread::Builder::new().name("disk".into()).spawn(move || shared.work_on()) {
            Ok(thread) => self.threads.push(thread),
            // The threads that there are will do; without any, this one does.
            Err(_) if self.threads.is_empty() => self.shared.work_off(),
            Err(_) => {}
        }
    }

    /// The requests that are done and were not taken yet.
    pub fn take_done(&self) -> Vec<(Request, Outcome)> {
        std::mem::take(&mut lock(&self.shared.state).done)
    }

    /// How many requests were submitted and not taken back.
    pub fn in_flight(&self) -> usize {
        let state = lock(&self.shared.state);
        state.unfinished + state.done.len()
    }

    /// Waits until all requests are done.
    pub fn finish(&self) {
        let state = lock(&self.shared.state);
        let unfinished = |state: &mut State| state.unfinished > 0;
        // A poisoned lock does no harm: each change of the state is complete.
        drop(self.shared.finished.wait_while(state, unfinished).unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        lock(&self.shared.state).closed = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // The thread has nothing to report, and a panic in it was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// What a thread does until the end.
    fn work_on(&self) {
        while let Some(job) = self.next() {
            self.execute(job);
        }
    }

    /// Does what there is.
    fn work_off(&self) {
        loop {
            let job = lock(&self.state).waiting.pop_front();
            let Some(job) = job else { return };
            self.execute(job);
        }
    }

    /// The next job, or none at the end. What was accepted is done before the end.
    fn next(&self) -> Option<Job> {
        let mut state = lock(&self.state);
        state.idle += 1;
        let nothing = |state: &mut State| state.waiting.is_empty() && !state.closed;
        let mut state: MutexGuard<'_, State> =
            self.work.wait_while(state, nothing).unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
        state.waiting.pop_front()
    }

    fn execute(&self, Job { request, write_through, bell }: Job) {
        let outcome = self.target.execute(&request, write_through);
        let mut state = lock(&self.state);
        state.done.push((request, outcome));
        state.unfinished -= 1;
        if state.unfinished == 0 {
            self.finished.notify_all();
        }
        drop(state);
        bell.ring();
    }
}
