//! Errors and warnings: what went wrong, where, and what would be right, printed as compilers do, with
//! the line and a caret. Knows nothing of assembly.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use super::source::{Place, SourceMap, Span};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// There is no program.
    Error,
    /// The program may not do what was meant.
    Warning,
}

/// One error or warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What stands beside the caret: what was expected, or a suggestion. May be empty.
    pub label: String,
    /// Where, unless it concerns the program as a whole.
    pub place: Option<Place>,
    /// Another place that explains it, with what that place is.
    pub note: Option<(String, Place)>,
}

/// All errors and warnings of an assembly, in the order of the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    /// The errors and warnings.
    pub items: Vec<Diagnostic>,
    /// How many more there were.
    pub dropped: usize,
}

impl std::error::Error for Diagnostics {}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for item in &self.items {
            writeln!(f, "{item}")?;
        }
        if self.dropped > 0 {
            writeln!(f, "error: {} more errors and warnings are not shown", self.dropped)?;
        }
        Ok(())
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        writeln!(f, "{severity}: {}", shortened(&self.message))?;
        if let Some(place) = &self.place {
            write_place(f, place, &self.label)?;
            write_causes(f, place)?;
        }
        let Some((what, place)) = &self.note else { return Ok(()) };
        writeln!(f, "note: {what}")?;
        write_place(f, place, "")
    }
}

/// How many of the places that led to a place are printed.
const MAX_CAUSES: usize = 8;

fn write_causes(f: &mut fmt::Formatter<'_>, place: &Place) -> fmt::Result {
    let (mut cause, mut count) = (&place.from, 0);
    while let Some((what, from)) = cause {
        count += 1;
        if count > MAX_CAUSES {
            return writeln!(f, "note: and so on");
        }
        writeln!(f, "note: {what}")?;
        write_place(f, from, "")?;
        cause = &from.from;
    }
    Ok(())
}

/// The most characters of a line that are printed.
const MAX_TEXT: usize = 160;

fn write_place(f: &mut fmt::Formatter<'_>, place: &Place, label: &str) -> fmt::Result {
    let number = place.line.to_string();
    let margin = " ".repeat(number.len());
    let (text, before) = visible_text(place);
    let width = (place.width as usize).min(text.chars().count().saturating_sub(before).max(1));
    // Tabs stay tabs, so that the caret stands under its token whatever their width is.
    let indent: String = text.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    writeln!(f, "{margin}--> {place}")?;
    writeln!(f, "{margin} |")?;
    writeln!(f, "{number} | {text}")?;
    let line = format!("{margin} | {indent}{} {label}", "^".repeat(width));
    writeln!(f, "{}", line.trim_end())
}

/// A message may quote a name as long as its file.
fn shortened(message: &str) -> Cow<'_, str> {
    const MAX_MESSAGE: usize = 1000;
    match message.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}...", &message[..end]).into(),
        None => message.into(),
    }
}

/// The part of the line that is shown and the number of characters in it before the caret. Control
/// characters are shown as a replacement, so that a junk file does not reach the terminal.
fn visible_text(place: &Place) -> (String, usize) {
    let before = place.column as usize - 1;
    let skipped = if before + 20 > MAX_TEXT { before - 20 } else { 0 };
    let clean = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
    let text: String = place.text.trim_end().chars().skip(skipped).take(MAX_TEXT).map(clean).collect();
    (text, before - skipped)
}

/// An error or warning while it is on its way to the list.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    severity: Severity,
    message: String,
    label: String,
    span: Option<Span>,
    note: Option<(String, Span)>,
}

impl Problem {
    /// An error at `span`.
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        let (message, label) = (message.into(), String::new());
        Self { severity: Severity::Error, message, label, span: Some(span), note: None }
    }

    /// An error of the program as a whole.
    pub fn general(message: impl Into<String>) -> Self {
        Self { span: None, ..Self::new(Span::default(), message) }
    }

    /// A warning at `span`.
    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::new(span, message) }
    }

    /// What is written beside the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// What is written beside the caret if nothing else is.
    pub fn label_if_none(self, label: &str) -> Self {
        if self.label.is_empty() { self.label(label) } else { self }
    }

    /// What another problem says, beside the caret.
    pub fn note_of(self, cause: Problem) -> Self {
        self.label(cause.message)
    }

    /// Another place that explains it.
    pub fn note(mut self, what: impl Into<String>, span: Span) -> Self {
        self.note = Some((what.into(), span));
        self
    }
}

/// The errors and warnings so far.
#[derive(Default)]
pub(super) struct Log {
    problems: Vec<Problem>,
    dropped: usize,
    has_errors: bool,
}

/// What is wrong in a macro or an included file is wrong in every use of it, and is told for the first.
fn keep_first_of_each(items: &mut Vec<Diagnostic>) {
    let mut told = HashSet::new();
    items.retain(|item| {
        let Some(place) = &item.place else { return true };
        let place = (place.file.clone(), place.line, place.column);
        told.insert((place, item.message.clone()))
    });
}

/// A file of junk makes a problem a line; nobody reads more than this.
const MAX_PROBLEMS: usize = 500;

impl Log {
    /// Adds a problem.
    pub fn add(&mut self, problem: Problem) {
        self.has_errors |= problem.severity == Severity::Error;
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        } else {
            self.dropped += 1;
        }
    }

    /// Whether there is an error.
    pub fn has_errors(&self) -> bool {
        self.has_errors
    }

    /// The list for people, in the order of the source.
    pub fn finish(mut self, map: &SourceMap) -> Diagnostics {
        self.problems.sort_by_key(|p| p.span.map(|s| (map.line_of(s), s.start)));
        // A value that several instructions of one statement use is wrong once.
        self.problems.dedup_by(|a, b| a.span == b.span && a.message == b.message);
        let resolve = |problem: Problem| Diagnostic {
            severity: problem.severity,
            message: problem.message,
            label: problem.label,
            place: problem.span.map(|span| map.place(span)),
            note: problem.note.map(|(what, span)| (what, map.place(span))),
        };
        let mut items: Vec<Diagnostic> = self.problems.into_iter().map(resolve).collect();
        keep_first_of_each(&mut items);
        Diagnostics { items, dropped: self.dropped }
    }
}
