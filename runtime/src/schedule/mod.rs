//! Which virtual machine runs when. It knows machines only as something that runs for a number of
//! instructions.
//!
//! In slices, one host thread gives each machine in turn the same number of guest instructions. A slice
//! is exact over time: it ends at a settled point, so at most a delay slot late, and the machine's next
//! slice is shorter by what ran too much. The order of everything is then the same in every run, as
//! far as machines do not ask for the host's time or wait for input.

use std::thread;
use std::time::Duration;

/// A machine as the scheduler sees it.
pub trait Guest {
    /// Runs for `slice` instructions, or less if there is nothing to do.
    fn run(&mut self, slice: u64) -> Progress;
}

/// How a machine goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has more to do.
    Ready,
    /// It has nothing to do for this long, or until something happens outside.
    Waiting(Option<Duration>),
    /// It has ended.
    Ended,
}

/// The longest that the scheduler sleeps before it asks machines again whether their input is there.
const PATIENCE: Duration = Duration::from_millis(5);

/// Runs all machines to their ends, in turns of `slice` instructions.
pub fn slices<G: Guest>(guests: &mut [G], slice: u64) {
    let mut running: Vec<&mut G> = guests.iter_mut().collect();
    while !running.is_empty() {
        let mut turn = Turn::default();
        running.retain_mut(|guest| turn.note(guest.run(slice)));
        turn.pause();
    }
}

/// Runs all machines to their ends, each on a thread of its own.
///
/// # Errors
/// Fails if the host starts no threads; those that run are waited for.
pub fn threads<G: Guest + Send>(guests: &mut [G], slice: u64) -> std::io::Result<()> {
    thread::scope(|scope| {
        for (number, guest) in guests.iter_mut().enumerate() {
            let run = move || slices(std::slice::from_mut(guest), slice);
            thread::Builder::new().name(format!("vm{number}")).spawn_scoped(scope, run)?;
        }
        Ok(())
    })
}

/// What the machines had to do in one round.
#[derive(Default)]
struct Turn {
    ready: bool,
    rest: Option<Duration>,
}

impl Turn {
    /// Notes how a machine goes on, and whether it does.
    fn note(&mut self, progress: Progress) -> bool {
        match progress {
            Progress::Ready => self.ready = true,
            Progress::Waiting(limit) => {
                let limit = limit.unwrap_or(PATIENCE);
                self.rest = Some(self.rest.map_or(limit, |rest| rest.min(limit)));
            }
            Progress::Ended => return false,
        }
        true
    }

    /// Sleeps if every machine waits.
    fn pause(&self) {
        match self.rest {
            Some(rest) if !self.ready => thread::sleep(rest),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counter {
        left: u64,
        turns: Vec<u64>,
    }

    impl Guest for Counter {
        fn run(&mut self, slice: u64) -> Progress {
            let ran = slice.min(self.left);
            self.turns.push(ran);
            self.left -= ran;
            if self.left == 0 { Progress::Ended } else { Progress::Ready }
        }
    }

    #[test]
    fn every_machine_runs_to_its_end() {
        let mut guests = [250, 100, 1].map(|left| Counter { left, turns: Vec::new() });
        slices(&mut guests, 100);
        assert_eq!(guests[0].turns, [100, 100, 50]);
        assert_eq!(guests[1].turns, [100]);
        assert_eq!(guests[2].turns, [1]);
        let mut guests = [250, 100, 1].map(|left| Counter { left, turns: Vec::new() });
        threads(&mut guests, 100).unwrap();
        assert!(guests.iter().all(|guest| guest.left == 0));
    }
}
