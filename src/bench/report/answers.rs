//! The three questions that people ask of the benchmark, answered in plain words from the results.

use super::page::{escaped, number};
use crate::bench::results::{Measured, Results, Subject};
use crate::bench::sample::{Sample, geometric_mean};

/// The answers; nothing without programs.
pub fn answers(results: &Results) -> String {
    let programs = &results.programs;
    if programs.is_empty() {
        return String::new();
    }
    let answers = [
        ("How much faster is the JIT?", faster(programs)),
        ("Where does the time go?", time(programs)),
        ("How far is it from QEMU and bare metal?", distance(programs)),
    ];
    let card = |(question, (figure, words)): (&str, (String, String))| {
        format!("<section><h2>{question}</h2><p class=\"big\">{figure}</p><p>{words}</p></section>\n")
    };
    format!("<div class=\"cards\">\n{}</div>\n", answers.map(card).concat())
}

/// A ratio of all programs: its geometric mean, and the programs where it is least and greatest.
struct Overall<'a> {
    mean: f64,
    least: (f64, &'a str),
    most: (f64, &'a str),
}

fn overall(programs: &[Measured], fast: Subject, slow: Subject) -> Option<Overall<'_>> {
    let mut ratios: Vec<(f64, &str)> =
        programs.iter().filter_map(|one| Some((one.ratio(fast, slow)?, one.name.as_str()))).collect();
    ratios.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mean = geometric_mean(ratios.iter().map(|ratio| ratio.0))?;
    Some(Overall { mean, least: *ratios.first()?, most: *ratios.last()? })
}

impl Overall<'_> {
    fn range(&self) -> String {
        let [least, most] =
            [self.least, self.most].map(|(ratio, name)| format!("{} ({})", number(ratio), escaped(name)));
        if self.least.1 == self.most.1 {
            format!("measured with {}", escaped(self.least.1))
        } else {
            format!("from {least} to {most}")
        }
    }
}

fn faster(programs: &[Measured]) -> (String, String) {
    let Some(jit) = overall(programs, Subject::Jit, Subject::Interpreter) else {
        return ("?".into(), "Not measured.".into());
    };
    let mut words = format!(
        "The full JIT is {} times as fast as the interpreter: the geometric mean over the programs, {}.",
        number(jit.mean),
        jit.range()
    );
    if let Some(links) = overall(programs, Subject::Jit, Subject::Blocks) {
        words += &format!(
            " Of this, links between blocks and jump caches are a factor of {}, {}.",
            number(links.mean),
            links.range()
        );
    }
    (format!("{}×", number(jit.mean)), words)
}

fn time(programs: &[Measured]) -> (String, String) {
    let runs = || programs.iter().filter_map(|program| Some((program, program.of(Subject::Jit)?)));
    let shares =
        runs().filter_map(|(program, runs)| Some((runs.translation_share()?, program.name.as_str())));
    let mut shares: Vec<_> = shares.collect();
    shares.sort_by(|one, other| one.0.total_cmp(&other.0));
    let Some((most, where_most)) = shares.last().copied() else {
        return ("?".into(), "Not measured.".into());
    };
    let typical = Sample::new(shares.iter().map(|share| share.0)).median();
    let expansion = runs().filter_map(|(_, runs)| runs.activity.as_ref()?.expansion());
    let expansion = geometric_mean(expansion).map_or("?".into(), number);
    let words = format!(
        "Nearly all of the full JIT's time is spent in generated code and its stubs: translation takes {} of it in the \
         middle one of the programs and {} at most ({}). A byte of guest code becomes {expansion} bytes of host code.",
        per_cent(typical),
        per_cent(most),
        escaped(where_most),
    );
    let words = if typical < 0.5 { words } else { words.replacen("Nearly all", "Less than half", 1) };
    (format!("{} running", per_cent(1.0 - typical)), words)
}

fn per_cent(share: f64) -> String {
    format!("{} %", number(100.0 * share))
}

fn distance(programs: &[Measured]) -> (String, String) {
    let qemu = overall(programs, Subject::Jit, Subject::Qemu);
    let native = overall(programs, Subject::Native, Subject::Jit);
    let mut words = match &qemu {
        Some(qemu) => format!(
            "The full JIT is {} times as fast as QEMU's user mode with the same programs, {}.",
            number(qemu.mean),
            qemu.range()
        ),
        None => "QEMU was not measured: ask for it by --vs qemu.".to_owned(),
    };
    words += &match &native {
        Some(native) => format!(
            " The same work in Rust on the bare host is {} times as fast as the full JIT, {}; some of that is the \
             compiler's, which sees the whole program.",
            number(native.mean),
            native.range()
        ),
        None => " Bare metal was not measured: ask for it by --vs native.".to_owned(),
    };
    let figure = qemu.map(|qemu| format!("{}× QEMU", number(qemu.mean)));
    let figure = figure.or(native.map(|native| format!("1/{} of native", number(native.mean))));
    (figure.unwrap_or("?".into()), words)
}
