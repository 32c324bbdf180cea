//! The nearest of some names to a misspelt one, by edit distance.

use std::cmp::Reverse;

/// The most characters that a name with a suggestion has.
const MAX_LENGTH: usize = 32;

/// The nearest candidate, if it is near enough to be what was meant.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = match name.chars().count() {
        0..=2 => 1,
        3..=5 => 2,
        6..=MAX_LENGTH => 3,
        _ => return None,
    };
    let near = candidates.into_iter().filter_map(|candidate| {
        let distance = distance(name, candidate);
        (distance <= limit && distance < candidate.len()).then_some((distance, candidate))
    });
    near.min_by_key(|(distance, candidate)| {
        (*distance, Reverse(common_start(name, candidate)), candidate.len())
    })
    .map(|(_, c)| c)
}

/// The number of characters that two names start with in common.
fn common_start(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count()
}

/// "did you mean", or nothing.
pub(super) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates).map_or_else(String::new, |found| format!("did you mean `{found}`?"))
}

/// The number of insertions, removals, replacements and swaps of neighbours, case aside.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).collect();
    let b: Vec<char> = b.chars().take(MAX_LENGTH * 2).flat_map(char::to_lowercase).collect();
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        assert_eq!(nearest("addd", ["sub", "add", "and"]), Some("add"));
        assert_eq!(nearest("mian", ["main", "loop"]), Some("main"));
        assert_eq!(nearest("$t10", ["$t1", "$zero"]), Some("$t1"));
        assert_eq!(nearest("frobnicate", ["add"]), None);
        assert_eq!(distance("ab", "ba"), 1);
    }
}
