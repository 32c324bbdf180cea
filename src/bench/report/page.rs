//! What all parts of the page share: text, numbers, times, frames. It must not know what is shown.

use crate::bench::results::Subject;

/// Text that is no markup.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A number with three digits that count, without those after the point if it is large.
pub fn number(value: f64) -> String {
    match value {
        _ if !value.is_finite() => "-".into(),
        0.0 => "0".into(),
        _ if value >= 1e9 => format!("{}G", number(value / 1e9)),
        _ if value >= 1e6 => format!("{}M", number(value / 1e6)),
        _ if value >= 1e4 => format!("{}k", number(value / 1e3)),
        _ if value >= 99.95 => format!("{value:.0}"),
        _ if value >= 9.995 => trimmed(&format!("{value:.1}")),
        _ if value >= 0.01 => trimmed(&format!("{value:.2}")),
        _ => format!("{value:.1e}"),
    }
}

fn trimmed(text: &str) -> String {
    let short = text.trim_end_matches('0').trim_end_matches('.');
    short.to_owned()
}

/// A time in UTC, by the civil calendar (Hinnant, chrono-compatible low-level date algorithms).
pub fn time(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3600, rest / 60 % 60)
}

/// A plot with its title and what it shows; nothing without a plot.
pub fn figure(title: &str, about: &str, plot: &str) -> String {
    if plot.is_empty() {
        return String::new();
    }
    format!("<figure>\n<h2>{title}</h2>\n<p class=\"note\">{about}</p>\n{plot}</figure>\n")
}

/// The class of a subject's marks in the style sheet.
pub const fn class(subject: Subject) -> &'static str {
    match subject {
        Subject::Interpreter => "interpreter",
        Subject::Blocks => "blocks",
        Subject::Jit => "jit",
        Subject::Auto => "auto",
        Subject::Qemu => "qemu",
        Subject::Native => "native",
    }
}

/// What the colours mean.
pub fn legend<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let entry =
        |(class, name): (&str, &str)| format!("<span><i class=\"{class}\"></i>{}</span>", escaped(name));
    let entries: String = entries.into_iter().map(entry).collect();
    format!("<p class=\"legend\">{entries}</p>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let expected = [
            (0.0, "0"),
            (0.0034, "3.4e-3"),
            (1.0, "1"),
            (2.345, "2.35"),
            (23.45, "23.4"),
            (999.6, "1000"),
            (12_345.0, "12.3k"),
            (2_500_000.0, "2.5M"),
            (f64::NAN, "-"),
        ];
        for (value, text) in expected {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(time(0), "1970-01-01 00:00 UTC");
        assert_eq!(time(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(time(1_700_000_000), "2023-11-14 22:13 UTC");
    }
}
