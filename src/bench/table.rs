//! Results as a table for a terminal. It must not know how they were measured.

use std::fmt::Write as _;

use super::results::{Measured, Results, Runs, Subject};
use super::sample::{Sample, geometric_mean};

const COLUMNS: [(&str, usize); 10] = [
    ("program", 12),
    ("run by", 12),
    ("instructions", 14),
    ("seconds", 9),
    ("min", 9),
    ("median", 9),
    ("max", 9),
    ("95 % interval", 19),
    ("speed-up", 9),
    ("translating", 12),
];

/// All results as lines.
pub fn table(results: &Results) -> String {
    let mut text = format!("{}, {} rounds\n", host(results), results.rounds);
    if !results.programs.is_empty() {
        text += "\nPrograms: speeds in millions of guest instructions a second of processor time\n";
        text += &rows(&results.programs, "x of host code");
        text += &means(&results.programs);
    }
    if !results.linux.is_empty() {
        text += "\nLinux: seconds of processor time\n";
        text += &rows(&results.linux, "");
        text += &means(&results.linux);
    }
    if !results.scaling.is_empty() {
        text += "\nvCPUs: millions of guest instructions a second of the clock, all together\n";
    }
    for scale in &results.scaling {
        let speeds = Sample::new(scale.speeds.iter().copied());
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:>12} {:>9.0}", scale.vcpus, speeds.median());
    }
    text
}

/// The host, for people.
pub fn host(results: &Results) -> String {
    format!("{}, {} processors", results.processor, results.processors)
}

fn rows(all: &[Measured], last: &str) -> String {
    let mut text = String::new();
    let heads = COLUMNS.iter().map(|(name, width)| format!("{name:>width$}")).collect::<Vec<_>>();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}  {last}", heads.join(" "));
    for measured in all {
        for runs in &measured.runs {
            let cells = cells(measured, runs);
            let cells = cells.iter().zip(COLUMNS).map(|(cell, (_, width))| format!("{cell:>width$}"));
            let expansion = runs.activity.as_ref().and_then(super::results::Activity::expansion);
            let expansion = expansion.map_or(String::new(), |factor| format!("{factor:>6.1}"));
            let line = format!("{}  {expansion}", cells.collect::<Vec<_>>().join(" "));
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    text
}

fn cells(measured: &Measured, runs: &Runs) -> [String; COLUMNS.len()] {
    let shown = runs.speed().unwrap_or_else(|| runs.time());
    let (low, high) = shown.interval();
    let number =
        |value: f64| if runs.instructions.is_some() { format!("{value:.0}") } else { format!("{value:.2}") };
    let share = runs.translation_share().map_or("-".into(), |share| format!("{:.1} %", 100.0 * share));
    [
        measured.name.clone(),
        runs.subject.name().into(),
        runs.instructions.map_or("-".into(), |count| count.to_string()),
        format!("{:.4}", runs.time().median()),
        number(shown.min()),
        number(shown.median()),
        number(shown.max()),
        format!("{}..{}", number(low), number(high)),
        speed_up(measured, runs.subject),
        share,
    ]
}

/// How many times as fast as the interpreter.
fn speed_up(measured: &Measured, subject: Subject) -> String {
    let ratio = measured.ratio(subject, Subject::Interpreter);
    ratio.map_or("-".into(), |ratio| format!("{ratio:.2}"))
}

/// The geometric means of what can be compared.
fn means(all: &[Measured]) -> String {
    let pairs = [
        (Subject::Blocks, Subject::Interpreter),
        (Subject::Jit, Subject::Interpreter),
        (Subject::Auto, Subject::Interpreter),
        (Subject::Jit, Subject::Blocks),
        (Subject::Jit, Subject::Qemu),
        (Subject::Auto, Subject::Qemu),
        (Subject::Native, Subject::Jit),
    ];
    let mut text = String::new();
    for (fast, slow) in pairs {
        if let Some(mean) = geometric_mean(all.iter().filter_map(|one| one.ratio(fast, slow))) {
            let (fast, slow) = (fast.name(), slow.name());
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{fast} is {mean:.2} times as fast as {slow} (geometric mean)");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::testing::results;

    #[test]
    fn rows_have_speeds_and_ratios() {
        let text = table(&results());
        let row = text.lines().find(|line| line.contains("full JIT")).unwrap();
        let words: Vec<&str> = row.split_whitespace().collect();
        let expected = [
            "some",
            "full",
            "JIT",
            "2000000",
            "0.0020",
            "500",
            "1000",
            "2000",
            "500..2000",
            "10.00",
            "5.0",
            "%",
        ];
        assert_eq!(words[..expected.len()], expected);
        assert!(text.contains("full JIT is 10.00 times as fast as interpreter"), "{text}");
        assert!(!text.contains("NaN"), "{text}");
    }
}
