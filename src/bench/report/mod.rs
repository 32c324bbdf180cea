//! Results as one page of HTML that needs no other file: answers in plain words, plots, and all numbers. It must not
//! know how anything was measured.

mod answers;
mod bars;
mod counts;
mod curves;
mod page;

use super::results::{Measured, Results, Subject};
use super::sample::{Sample, geometric_mean};
use super::table;
use curves::{Axis, Line, Plot};
use page::{escaped, figure, time};

const STYLE: &str = include_str!("style.css");

/// The page. `history` are earlier results, in any order.
pub fn html(results: &Results, history: &[Results]) -> String {
    let host = escaped(&table::host(results));
    let made = time(results.made);
    let head = format!(
        "<h1>myvmm: engines compared</h1>\n<p class=\"note\">{host}; {} rounds after one that does not count; {made}. \
         Error bars are intervals that hold the median with a probability of {}.</p>",
        results.rounds,
        confidence(results),
    );
    let parts = [
        head,
        answers::answers(results),
        speeds(results),
        distance(results),
        linux(results),
        warm_up(results),
        counts::translation(results),
        counts::leaving(results),
        scaling(results),
        past(results, history),
        numbers(results),
    ];
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>myvmm: engines compared</title>\n\
         <style>{STYLE}</style></head>\n<body><main>\n{}\n</main></body></html>\n",
        parts.concat()
    )
}

/// That of most samples.
fn confidence(results: &Results) -> String {
    let sample = Sample::new((0..results.rounds).map(|round| round as f64));
    match sample.confidence() {
        0.0 => "nothing: one round says nothing of chance".into(),
        confidence => format!("{:.0} %", 100.0 * confidence),
    }
}

fn speeds(results: &Results) -> String {
    let groups = results.programs.iter().map(|program| bars::Group {
        name: &program.name,
        about: &program.about,
        bars: program
            .runs
            .iter()
            .filter_map(|runs| Some(bars::Bar { of: runs.subject, sample: runs.speed()? }))
            .collect(),
    });
    let chart = bars::chart(&groups.collect::<Vec<_>>(), "MIPS");
    let about = "Millions of guest instructions a second of processor time, on a logarithmic scale. Native code does not \
                 run guest instructions: its bar says how many it stands for.";
    figure("Speed of each program", about, &chart)
}

/// QEMU and native code, as multiples of the full JIT.
fn distance(results: &Results) -> String {
    let rows = results.programs.iter().filter_map(|program| {
        let ratio = |subject| program.ratio(subject, Subject::Jit);
        let (qemu, native) = (ratio(Subject::Qemu), ratio(Subject::Native));
        (qemu.is_some() || native.is_some()).then_some((program.name.as_str(), [qemu, native]))
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    let about =
        "How many times as fast as the full JIT they are; above 1 they are faster. The scale is logarithmic.";
    figure(
        "Distance from QEMU and from bare metal",
        about,
        &bars::ratios(&rows, [Subject::Qemu, Subject::Native]),
    )
}

fn linux(results: &Results) -> String {
    let groups = results.linux.iter().map(|script| bars::Group {
        name: &script.name,
        about: &script.about,
        bars: script.runs.iter().map(|runs| bars::Bar { of: runs.subject, sample: runs.time() }).collect(),
    });
    let chart = bars::chart(&groups.collect::<Vec<_>>(), "s");
    let about = "Seconds of processor time from the start of the process to the end of a script in the guest, boot \
                 included, on a logarithmic scale: shorter is better.";
    figure("Debian", about, &chart)
}

fn warm_up(results: &Results) -> String {
    let lines = results.warm_up.iter().map(|curve| Line {
        class: page::class(curve.subject),
        name: curve.subject.name().into(),
        points: curve.points.iter().map(|(count, speed)| (*count as f64, *speed)).collect(),
    });
    let plot = Plot {
        x: Axis { name: "guest instructions since the start", logarithmic: true },
        y: Axis { name: "MIPS", logarithmic: true },
        lines: lines.collect(),
    };
    let program = results.warm_up.first().map_or("", |curve| curve.name.as_str());
    let about = format!(
        "The speed of the program {} from its first instruction on, in slices that double in length.",
        escaped(program)
    );
    figure("Warming up", &about, &plot.svg())
}

fn scaling(results: &Results) -> String {
    let point = |scale: &super::results::Scale| {
        (scale.vcpus as f64, Sample::new(scale.speeds.iter().copied()).median())
    };
    let measured: Vec<_> = results.scaling.iter().map(point).collect();
    let Some((_, one)) = measured.first().copied() else { return String::new() };
    let most = results.processors as f64;
    let ideal = measured.iter().map(|(vcpus, _)| (*vcpus, one * vcpus.min(most))).collect();
    let plot = Plot {
        x: Axis { name: "vCPUs of one machine, a thread each", logarithmic: false },
        y: Axis { name: "MIPS by the clock", logarithmic: false },
        lines: vec![
            Line { class: "ideal", name: "ideal".into(), points: ideal },
            Line { class: page::class(Subject::Jit), name: "full JIT".into(), points: measured },
        ],
    };
    let about = format!(
        "What all vCPUs do together: each works on its own page and sometimes adds to a word that all share. The ideal \
         line ends where the host has no more processors ({}).",
        results.processors
    );
    figure("Several vCPUs", &about, &plot.svg())
}

fn past(results: &Results, history: &[Results]) -> String {
    if history.is_empty() {
        return String::new();
    }
    let mut all: Vec<&Results> = history.iter().chain([results]).collect();
    all.sort_by_key(|one| one.made);
    let lines = Subject::ALL.into_iter().filter_map(|subject| {
        let points =
            all.iter().enumerate().filter_map(|(at, one)| Some((at as f64 + 1.0, mean_speed(one, subject)?)));
        let points: Vec<_> = points.collect();
        (!points.is_empty()).then(|| Line {
            class: page::class(subject),
            name: subject.name().into(),
            points,
        })
    });
    let plot = Plot {
        x: Axis { name: "run, in the order of time", logarithmic: false },
        y: Axis { name: "MIPS", logarithmic: true },
        lines: lines.collect(),
    };
    let runs = all.iter().enumerate().map(|(at, one)| format!("{}: {}", at + 1, time(one.made)));
    let about =
        format!("Geometric mean of the speeds of all programs. {}.", runs.collect::<Vec<_>>().join("; "));
    figure("History", &about, &plot.svg())
}

fn mean_speed(results: &Results, subject: Subject) -> Option<f64> {
    let speed = |program: &Measured| Some(program.of(subject)?.speed()?.median());
    geometric_mean(results.programs.iter().filter_map(speed))
}

fn numbers(results: &Results) -> String {
    let table = escaped(&table::table(results));
    format!("<details><summary>All numbers</summary><pre>{table}</pre></details>\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::testing;

    #[test]
    fn the_page_needs_nothing_and_says_what_was_measured() {
        let mut earlier = testing::results();
        earlier.made -= 1000;
        let page = html(&testing::results(), &[earlier]);
        for outside in ["http:", "https:", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("10 times as fast as the interpreter"), "{page}");
        assert!(page.contains("a &lt;program&gt; &amp; more"));
        assert!(page.contains("History"));
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }

    #[test]
    fn what_was_not_measured_is_left_out() {
        let results =
            Results { warm_up: Vec::new(), scaling: Vec::new(), programs: Vec::new(), ..testing::results() };
        let page = html(&results, &[]);
        assert!(!page.contains("<figure"), "{page}");
    }
}
