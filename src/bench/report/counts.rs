//! Where time goes in the full JIT: translation, and the ways out of generated code. It must not know how either is
//! counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::page::{escaped, figure, legend, number};
use crate::bench::results::{Activity, Measured, Results, Subject};

/// Kinds that get a colour of their own; the rest are one.
const COLOURS: usize = 6;

/// Translation's share of the time of each program.
pub fn translation(results: &Results) -> String {
    let rows = results.programs.iter().filter_map(|program| {
        let runs = program.of(Subject::Jit)?;
        let (share, activity) = (runs.translation_share()?, runs.activity.as_ref()?);
        Some(row(
            &program.name,
            &format!("{:.2} %", 100.0 * share),
            &[("translating", 100.0 * share), ("running", 100.0 * (1.0 - share))],
            &format!("{} blocks, {} bytes of host code", activity.translated, activity.host_bytes),
        ))
    });
    let rows: String = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    let key = legend([("translating", "translating"), ("running", "running generated code and stubs")]);
    let about = "The share of the full JIT's processor time that went into making code, the program's start included.";
    figure("Translation", about, &format!("{key}<div class=\"bars\">\n{rows}</div>\n"))
}

/// How often generated code calls a stub or comes back to the run loop.
pub fn leaving(results: &Results) -> String {
    let rates: Vec<_> = results.programs.iter().filter_map(rates).collect();
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for (kind, rate) in rates.iter().flat_map(|(_, rates)| rates) {
        *sums.entry(kind).or_default() += rate;
    }
    let mut kinds: Vec<_> = sums.into_iter().collect();
    kinds.sort_by(|one, other| other.1.total_cmp(&one.1));
    kinds.truncate(COLOURS);
    let most = rates.iter().map(|(_, rates)| rates.values().sum()).fold(0.0, f64::max);
    if most <= 0.0 {
        return String::new();
    }
    let class = |kind: &str| kinds.iter().position(|(name, _)| *name == kind).map_or("k6", |at| CLASSES[at]);
    let mut text = legend(kinds.iter().map(|(kind, _)| (class(kind), *kind)).chain([("k6", "others")]));
    text += "<div class=\"bars\">\n";
    for (name, rates) in &rates {
        let all: f64 = rates.values().sum();
        // Linear in the logarithm for the whole, so that a program with few is seen beside one with many.
        let width = 100.0 * all.ln_1p() / most.ln_1p();
        let mut parts: Vec<_> = rates
            .iter()
            .map(|(kind, rate)| (class(kind), width * rate / all.max(f64::MIN_POSITIVE)))
            .collect();
        parts.sort_by_key(|(class, _)| *class);
        let words = rates.iter().map(|(kind, rate)| format!("{kind} {}", number(*rate)));
        text += &row(name, &number(all), &parts, &words.collect::<Vec<_>>().join(", "));
    }
    text += "</div>\n";
    let about = "Calls of stubs and returns to the run loop in the full JIT, for each million guest instructions. The \
                 length of a bar grows with the logarithm of the number beside it; its parts are shares of that.";
    figure("Stubs and exits", about, &text)
}

const CLASSES: [&str; COLOURS] = ["k0", "k1", "k2", "k3", "k4", "k5"];

/// Events for each million instructions, by kind.
fn rates(program: &Measured) -> Option<(&str, BTreeMap<String, f64>)> {
    let runs = program.of(Subject::Jit)?;
    let Activity { stub_calls, exits, .. } = runs.activity.as_ref()?;
    let millions = runs.instructions? as f64 / 1e6;
    let stubs = stub_calls.iter().map(|(name, count)| (format!("stub {name}"), *count));
    let exits = exits.iter().map(|(name, count)| (format!("exit {name}"), *count));
    let rates = stubs.chain(exits).map(|(kind, count)| (kind, count as f64 / millions));
    Some((&program.name, rates.filter(|(_, rate)| *rate > 0.0).collect()))
}

fn row(name: &str, value: &str, parts: &[(&str, f64)], words: &str) -> String {
    let mut text = format!(
        "<h3>{}</h3>\n<div class=\"bar\" title=\"{}\"><div class=\"stack\">",
        escaped(name),
        escaped(words)
    );
    for (class, width) in parts {
        // Writing to a string cannot fail.
        let _ = write!(text, "<i class=\"{class}\" style=\"width:{width:.3}%\"></i>");
    }
    text + &format!("</div><span>{value}</span></div>\n")
}
