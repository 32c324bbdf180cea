//! Bars with error bars, as elements that the browser fits to the width of the window. It must not know what they
//! show.

use std::fmt::Write as _;

use super::page::{class, escaped, legend, number};
use crate::bench::results::Subject;
use crate::bench::sample::Sample;

/// One measurement.
pub struct Bar {
    /// Whose it is.
    pub of: Subject,
    /// What was measured.
    pub sample: Sample,
}

/// Bars that belong together.
pub struct Group<'a> {
    /// Their name.
    pub name: &'a str,
    /// What they are.
    pub about: &'a str,
    /// The bars.
    pub bars: Vec<Bar>,
}

/// A logarithmic scale, in per cent of the width.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    /// From the power of ten at or below all values to the greatest; `None` without values.
    fn around(values: impl Iterator<Item = f64> + Clone) -> Option<Self> {
        let low = values.clone().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
        let high = values.fold(0.0, f64::max);
        (low <= high).then(|| Self { low: 10f64.powf(low.log10().floor()), high: high * 1.05 })
    }

    fn place(&self, value: f64) -> f64 {
        100.0 * ((value / self.low).ln() / (self.high / self.low).ln()).clamp(0.0, 1.0)
    }

    /// Lines at the powers of ten.
    fn grid(&self) -> String {
        let powers = std::iter::successors(Some(self.low), |power| Some(power * 10.0));
        let mark =
            |power: f64| format!("<b style=\"left:{:.2}%\"><s>{}</s></b>", self.place(power), number(power));
        powers.take_while(|power| *power <= self.high).map(mark).collect()
    }
}

/// A bar for each measurement, in groups; nothing without any.
pub fn chart(groups: &[Group<'_>], unit: &str) -> String {
    let samples = groups.iter().flat_map(|group| &group.bars).map(|bar| &bar.sample);
    let Some(scale) =
        Scale::around(samples.flat_map(|sample| [sample.median(), sample.interval().0, sample.interval().1]))
    else {
        return String::new();
    };
    let is_there =
        |subject: &Subject| groups.iter().any(|group| group.bars.iter().any(|bar| bar.of == *subject));
    let mut text =
        legend(Subject::ALL.into_iter().filter(is_there).map(|subject| (class(subject), subject.name())));
    text += "<div class=\"bars\">\n";
    for group in groups {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "<h3>{} <small>{}</small></h3>", escaped(group.name), escaped(group.about));
        text.extend(group.bars.iter().map(|bar| row(bar, &scale, unit)));
    }
    let _ = writeln!(text, "<div class=\"axis\"><div>{}</div><span>{unit}</span></div></div>", scale.grid());
    text
}

fn row(bar: &Bar, scale: &Scale, unit: &str) -> String {
    let (median, (low, high)) = (bar.sample.median(), bar.sample.interval());
    let (from, to) = (scale.place(low), scale.place(high));
    format!(
        "<div class=\"bar\" title=\"{name}: {value} {unit}, {least} to {most}\"><div><i class=\"{class}\" \
         style=\"width:{width:.2}%\"></i><u style=\"left:{from:.2}%;width:{range:.2}%\"></u></div>\
         <span>{value}</span></div>\n",
        name = bar.of.name(),
        value = number(median),
        least = number(low),
        most = number(high),
        class = class(bar.of),
        width = scale.place(median),
        range = to - from,
    )
}

/// For each row, ratios on both sides of 1.
pub fn ratios(rows: &[(&str, [Option<f64>; 2])], of: [Subject; 2]) -> String {
    let values = rows.iter().flat_map(|(_, ratios)| ratios).flatten();
    // The same way to both sides, and never so little that chance fills the width.
    let widest = values.map(|ratio| ratio.ln().abs()).fold(f64::ln(2.0), f64::max) * 1.05;
    let place = |ratio: f64| 50.0 + 50.0 * ratio.ln() / widest;
    let mut text = legend(of.map(|subject| (class(subject), subject.name())));
    text += "<div class=\"bars ratios\">\n";
    for (name, ratios) in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "<h3>{}</h3>", escaped(name));
        for (subject, ratio) in of.into_iter().zip(ratios) {
            let Some(ratio) = ratio else { continue };
            let (from, to) = (place(*ratio).min(50.0), place(*ratio).max(50.0));
            let (class, value, width) = (class(subject), number(*ratio), to - from);
            let _ = writeln!(
                text,
                "<div class=\"bar\" title=\"{}: {value} times the full JIT\"><div><i class=\"{class}\" \
                 style=\"left:{from:.2}%;width:{width:.2}%\"></i></div><span>{value}×</span></div>",
                subject.name()
            );
        }
    }
    text += "<div class=\"axis\"><div><b style=\"left:0\"><s>slower</s></b><b style=\"left:50%\"><s>1</s></b>\
             <b class=\"end\" style=\"left:100%\"><s>faster</s></b></div><span></span></div></div>\n";
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_goes_from_a_power_of_ten_to_the_greatest() {
        let scale = Scale::around([25.0, 1000.0].into_iter()).unwrap();
        assert_eq!(scale.place(10.0), 0.0);
        assert!((scale.place(100.0) - 49.5).abs() < 0.1, "{}", scale.place(100.0));
        assert_eq!(scale.grid().matches("<b").count(), 3);
        assert!(Scale::around(std::iter::empty()).is_none());
    }
}
