//! Numbers as text, as the simulators print and read them.
//!
//! MARS prints reals as Java does (`Double.toString`), SPIM as C's `%.8f` and `%.18g`. MARS refuses
//! what is no number; SPIM, like C's `atoi`, takes what it can and else 0.

use std::str::FromStr;

use translator::asm::Compat;

/// A signed integer in decimal.
pub fn integer(value: u64) -> String {
    (value as i64).to_string()
}

/// A float in decimal.
pub fn float(value: f32, compat: Compat) -> String {
    match compat {
        Compat::Spim => special(value.into()).unwrap_or_else(|| format!("{value:.8}")),
        _ => java(&format!("{value:e}"), value.into()),
    }
}

/// A double in decimal.
pub fn double(value: f64, compat: Compat) -> String {
    match compat {
        Compat::Spim => special(value).unwrap_or_else(|| general(value, 18)),
        _ => java(&format!("{value:e}"), value),
    }
}

/// What C prints for values that are no numbers.
fn special(value: f64) -> Option<String> {
    let sign = if value.is_sign_negative() { "-" } else { "" };
    match value {
        _ if value.is_nan() => Some(format!("{sign}nan")),
        _ if value.is_infinite() => Some(format!("{sign}inf")),
        _ => None,
    }
}

/// C's `%.{digits}g`: the shorter of both forms, without zeros at the end.
fn general(value: f64, digits: usize) -> String {
    let text = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.abs());
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    without_zeros(&format!("{value:.decimals$}")).into()
}

fn without_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// Java's form of a value whose shortest digits are in `scientific`, as in `1.25e-7`: plain from 0.001
/// to below 10,000,000, else scientific, with at least one digit after the point.
fn java(scientific: &str, value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    if value.is_infinite() {
        return format!("{sign}Infinity");
    }
    let (mantissa, exponent) = scientific.trim_start_matches('-').split_once('e').unwrap_or(("0", "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    match exponent {
        _ if value == 0.0 => format!("{sign}0.0"),
        -3..=-1 => format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1) as usize)),
        0..=6 => {
            let whole = exponent as usize + 1;
            let padded = format!("{digits:0<whole$}");
            let (before, after) = padded.split_at(whole);
            format!("{sign}{before}.{}", if after.is_empty() { "0" } else { after })
        }
        _ => {
            let (before, after) = digits.split_at(1);
            format!("{sign}{before}.{}E{exponent}", if after.is_empty() { "0" } else { after })
        }
    }
}

/// The integer of a line; `None` if there is none and the dialect minds.
pub fn read_integer(line: &str, compat: Compat) -> Option<i32> {
    let text = line.trim();
    if compat != Compat::Spim {
        return text.parse().ok();
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.bytes().take_while(u8::is_ascii_digit);
    let clamp = |value: i64, digit: u8| value.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
    Some((sign * digits.fold(0, clamp)) as i32)
}

/// The number of a line; `None` if there is none and the dialect minds.
pub fn read_real<T: FromStr + Default>(line: &str, compat: Compat) -> Option<T> {
    let text = line.trim();
    if compat != Compat::Spim {
        return text.parse().ok();
    }
    // The longest beginning that is a number.
    let ends = (1..=text.len().min(64)).rev().filter(|end| text.is_char_boundary(*end));
    Some(ends.into_iter().find_map(|end| text[..end].parse().ok()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reals_are_printed_as_java_does() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (0.001, "0.001"),
            (0.00012, "1.2E-4"),
            (123.25, "123.25"),
            (9999999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (-1.5e300, "-1.5E300"),
            (f64::INFINITY, "Infinity"),
            (f64::NAN, "NaN"),
        ];
        for (value, text) in cases {
            assert_eq!(double(value, Compat::Mars), text);
        }
        assert_eq!(float(3.4028235e38, Compat::Mars), "3.4028235E38");
    }

    #[test]
    fn reals_are_printed_as_c_does() {
        let cases = [
            (0.0, "0"),
            (0.1, "0.100000000000000006"),
            (1.5, "1.5"),
            (1e17, "100000000000000000"),
            (1e18, "1e+18"),
            (-1e-5, "-1.00000000000000008e-05"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (value, text) in cases {
            assert_eq!(double(value, Compat::Spim), text);
        }
        assert_eq!(float(0.1, Compat::Spim), "0.10000000");
    }

    #[test]
    fn numbers_are_read_by_the_dialect() {
        assert_eq!(read_integer(" -42\n", Compat::Mars), Some(-42));
        assert_eq!(read_integer("42x", Compat::Mars), None);
        assert_eq!(read_integer("42x", Compat::Spim), Some(42));
        assert_eq!(read_integer("", Compat::Spim), Some(0));
        assert_eq!(read_real::<f64>("1.5abc", Compat::Spim), Some(1.5));
        assert_eq!(read_real::<f64>("abc", Compat::Mars), None);
    }
}
