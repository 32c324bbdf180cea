//! Results as comma-separated values, a line for each run. It must not know how they were measured.

use std::fmt::Write as _;

use super::results::{Measured, Results};

const HEAD: &str = "kind,name,subject,round,repeats,instructions,seconds\n";

/// All runs of programs and of Linux.
pub fn csv(results: &Results) -> String {
    format!("{HEAD}{}{}", lines("program", &results.programs), lines("linux", &results.linux))
}

fn lines(kind: &str, all: &[Measured]) -> String {
    let mut text = String::new();
    for one in all {
        for runs in &one.runs {
            let instructions = runs.instructions.map_or(String::new(), |count| count.to_string());
            for (round, seconds) in runs.seconds.iter().enumerate() {
                let (name, subject, repeats) = (&one.name, runs.subject.name(), runs.repeats);
                // Writing to a string cannot fail.
                let _ = writeln!(
                    text,
                    "{kind},{name},{subject},{},{repeats},{instructions},{seconds}",
                    round + 1
                );
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::testing::results;

    #[test]
    fn every_run_is_a_line() {
        let text = csv(&results());
        assert!(text.contains("program,some,full JIT,2,10,2000000,0.002\n"), "{text}");
        let runs =
            results().programs.iter().flat_map(|one| &one.runs).map(|runs| runs.seconds.len()).sum::<usize>();
        assert_eq!(text.lines().count(), 1 + runs);
    }
}
