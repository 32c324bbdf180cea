//! Fuzzing on the stable toolchain, as ordinary tests. A case is made of its number alone, so that one that fails can
//! be run again by itself, on any machine and without a file. What is tried, and what must hold, is the test's; it is
//! not known here.
//!
//! A target is a test whose name has `fuzz` in it and that calls [`run`]. Two variables of the environment steer it:
//!
//! - `MYVMM_FUZZ_SECONDS`: how long each target is tried (two seconds if it is not set).
//! - `MYVMM_FUZZ_CASE`: `17` runs case 17 and no other; `17..` begins with it instead of with case 0.
#![forbid(unsafe_code)]

mod corpus;
mod numbers;
mod plan;
mod watchdog;

pub use corpus::Corpus;
pub use numbers::Numbers;

use std::time::Instant;

use plan::Plan;
use watchdog::Watchdog;

/// Runs case after case until the time is over. The number of a case that panics, or does not end, is printed.
///
/// # Panics
/// Panics if a case does, and if a variable of the environment makes no sense.
pub fn run(case: impl FnMut(&mut Numbers)) {
    run_plan(&Plan::from_environment(), case);
}

fn run_plan(plan: &Plan, mut case: impl FnMut(&mut Numbers)) {
    let start = Instant::now();
    let watchdog = Watchdog::start();
    let mut done = 0;
    for number in plan.numbers() {
        watchdog.begins(number);
        let announced = Announced(number);
        case(&mut Numbers::new(number));
        std::mem::forget(announced);
        done += 1;
        if start.elapsed() >= plan.limit {
            break;
        }
    }
    eprintln!("{done} cases in {:.1} s", start.elapsed().as_secs_f64());
}

/// Tells the number of the case if it ends in a panic.
struct Announced(u64);

impl Drop for Announced {
    fn drop(&mut self) {
        eprintln!("run this case again by MYVMM_FUZZ_CASE={}", self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Duration;

    use super::*;

    fn plan(text: &str) -> Plan {
        Plan::new(Duration::from_millis(50), Some(text)).unwrap()
    }

    /// The first numbers of the cases that ran.
    fn firsts(text: &str, most: usize) -> Vec<u64> {
        let mut all = Vec::new();
        let ended = catch_unwind(AssertUnwindSafe(|| {
            run_plan(&plan(text), |numbers| {
                assert!(all.len() < most, "enough");
                all.push(numbers.next());
            });
        }));
        assert_eq!(ended.is_err(), all.len() == most);
        all
    }

    #[test]
    fn a_case_comes_back_by_its_number() {
        let all = firsts("0..", 20);
        for (number, first) in all.iter().enumerate() {
            assert_eq!(firsts(&number.to_string(), 2), [*first]);
        }
        assert_eq!(firsts("5..", 3), all[5..8]);
    }

    #[test]
    fn it_ends_when_the_time_is_over() {
        let mut cases = 0;
        run_plan(&plan("0.."), |_| {
            cases += 1;
            std::thread::sleep(Duration::from_millis(20));
        });
        assert!((1..=3).contains(&cases), "{cases}");
    }
}
