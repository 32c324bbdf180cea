//! Which cases are run, and for how long.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How long a target is tried if nobody says otherwise: all of them together are a part of every test run.
const USUAL: Duration = Duration::from_secs(2);

/// What the environment asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// No case begins later than so long after the start.
    pub limit: Duration,
    first: u64,
    last: u64,
}

impl Plan {
    /// What the variables say.
    ///
    /// # Panics
    /// Panics if they say what cannot be meant: a test has nobody else to tell it to.
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var(name).ok();
        let limit = variable("MYVMM_FUZZ_SECONDS").map(|text| {
            Duration::from_secs(
                text.parse().unwrap_or_else(|_| panic!("MYVMM_FUZZ_SECONDS is no number: {text}")),
            )
        });
        let case = variable("MYVMM_FUZZ_CASE");
        Self::new(limit.unwrap_or(USUAL), case.as_deref())
            .unwrap_or_else(|| panic!("MYVMM_FUZZ_CASE is 17 or 17.., not {case:?}"))
    }

    /// The cases `case` (all, if it is not given) for the time `limit`; nothing if `case` makes no sense.
    pub fn new(limit: Duration, case: Option<&str>) -> Option<Self> {
        let (first, last) = match case {
            None => (0, u64::MAX),
            Some(text) => match text.strip_suffix("..") {
                Some(first) => (first.parse().ok()?, u64::MAX),
                None => {
                    let only = text.parse().ok()?;
                    (only, only)
                }
            },
        };
        Some(Self { limit, first, last })
    }

    /// The numbers of the cases.
    pub fn numbers(&self) -> RangeInclusive<u64> {
        self.first..=self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_one_or_all_from_one_on() {
        let numbers = |text| Plan::new(USUAL, text).map(|plan| plan.numbers());
        assert_eq!(numbers(None), Some(0..=u64::MAX));
        assert_eq!(numbers(Some("17")), Some(17..=17));
        assert_eq!(numbers(Some("17..")), Some(17..=u64::MAX));
        for bad in ["", "..", "x", "1..2", "-1"] {
            assert_eq!(numbers(Some(bad)), None, "{bad}");
        }
    }
}
