//! Lines over an axis, as SVG. It must not know what they show.

use std::fmt::Write as _;

use super::page::{escaped, legend, number};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 48.0;

/// A direction.
pub struct Axis {
    /// What is along it.
    pub name: &'static str,
    /// Whether equal steps are equal factors.
    pub logarithmic: bool,
}

/// A line through points.
pub struct Line {
    /// Its class in the style sheet.
    pub class: &'static str,
    /// Its name.
    pub name: String,
    /// Where it goes through.
    pub points: Vec<(f64, f64)>,
}

/// Lines that are to be compared.
pub struct Plot {
    /// The horizontal direction.
    pub x: Axis,
    /// The vertical direction.
    pub y: Axis,
    /// The lines.
    pub lines: Vec<Line>,
}

/// An axis with its range.
struct Scale {
    logarithmic: bool,
    low: f64,
    high: f64,
}

impl Scale {
    fn new(axis: &Axis, values: impl Iterator<Item = f64> + Clone, from_zero: bool) -> Self {
        let (low, high) =
            values.fold((f64::INFINITY, 0.0f64), |(low, high), value| (low.min(value), high.max(value)));
        let low = if from_zero { 0.0 } else { low };
        let high = if high > low { high } else { low + 1.0 };
        Self { logarithmic: axis.logarithmic, low, high }
    }

    /// Where `value` is, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// Round numbers within the range.
    fn marks(&self) -> Vec<f64> {
        let mut step = 10f64.powf((self.high - self.low).log10().floor());
        if self.logarithmic {
            let first = 10f64.powf(self.low.log10().ceil());
            let powers = std::iter::successors(Some(first), |power| Some(power * 10.0));
            return powers.take_while(|power| *power <= self.high).collect();
        }
        if (self.high - self.low) / step < 3.0 {
            step /= 2.0;
        }
        let first = (self.low / step).ceil() as i64;
        (first..).map(|count| count as f64 * step).take_while(|mark| *mark <= self.high).collect()
    }
}

impl Plot {
    /// The plot; nothing without points.
    pub fn svg(&self) -> String {
        let points = self.lines.iter().flat_map(|line| &line.points);
        if points.clone().next().is_none() {
            return String::new();
        }
        let x = Scale::new(&self.x, points.clone().map(|point| point.0), false);
        let y = Scale::new(&self.y, points.map(|point| point.1), !self.y.logarithmic);
        let mut text = legend(self.lines.iter().map(|line| (line.class, line.name.as_str())));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "<div class=\"scroll\"><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
        text += &self.axes(&x, &y);
        for line in &self.lines {
            text += &draw(line, &x, &y);
        }
        text + "</svg></div>\n"
    }

    fn axes(&self, x: &Scale, y: &Scale) -> String {
        let mut text = String::new();
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for mark in y.marks() {
            let (at, value) = (vertical(y, mark), number(mark));
            let _ = writeln!(
                text,
                "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/>\
                 <text class=\"end\" x=\"{}\" y=\"{:.1}\">{value}</text>",
                LEFT - 8.0,
                at + 4.0
            );
        }
        for mark in x.marks() {
            let (at, value) = (horizontal(x, mark), number(mark));
            let _ = writeln!(
                text,
                "<path class=\"grid\" d=\"M{at:.1} {bottom}v5\"/>\
                 <text class=\"middle\" x=\"{at:.1}\" y=\"{}\">{value}</text>",
                bottom + 19.0
            );
        }
        let _ = writeln!(
            text,
            "<path class=\"grid\" d=\"M{LEFT} {bottom}H{right}\"/>\
             <text class=\"middle name\" x=\"{}\" y=\"{}\">{}</text>\
             <text class=\"middle name\" transform=\"translate(13 {}) rotate(-90)\">{}</text>",
            (LEFT + right) / 2.0,
            HEIGHT - 8.0,
            self.x.name,
            (TOP + bottom) / 2.0,
            self.y.name
        );
        text
    }
}

fn horizontal(scale: &Scale, value: f64) -> f64 {
    LEFT + scale.place(value) * (WIDTH - LEFT - RIGHT)
}

fn vertical(scale: &Scale, value: f64) -> f64 {
    HEIGHT - BOTTOM - scale.place(value) * (HEIGHT - TOP - BOTTOM)
}

fn draw(line: &Line, x: &Scale, y: &Scale) -> String {
    let places: Vec<_> =
        line.points.iter().map(|point| (horizontal(x, point.0), vertical(y, point.1))).collect();
    let path: Vec<String> = places.iter().map(|(across, down)| format!("{across:.1} {down:.1}")).collect();
    let mut text = format!("<path class=\"line {}\" d=\"M{}\"/>\n", line.class, path.join("L"));
    for ((across, down), (first, second)) in places.into_iter().zip(&line.points) {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "<circle class=\"{}\" cx=\"{across:.1}\" cy=\"{down:.1}\" r=\"3.5\">\
             <title>{}: {} at {}</title></circle>",
            line.class,
            escaped(&line.name),
            number(*second),
            number(*first)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_within() {
        let scale = |logarithmic, low, high| Scale { logarithmic, low, high };
        assert_eq!(scale(false, 0.0, 450.0).marks(), [0.0, 100.0, 200.0, 300.0, 400.0]);
        assert_eq!(scale(false, 1.0, 2.0).marks(), [1.0, 1.5, 2.0]);
        assert_eq!(scale(true, 30.0, 2000.0).marks(), [100.0, 1000.0]);
    }
}
