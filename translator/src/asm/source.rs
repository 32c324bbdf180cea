//! Where text comes from and how a place in it is remembered: every line that is assembled, from a file
//! or from a macro, has a number, and a span is a piece of one line. Knows nothing of what the text means.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The text of a file, with the name that messages use and that nested includes are relative to.
#[derive(Clone, Debug)]
pub struct Text {
    /// The name.
    pub name: String,
    /// The contents.
    pub text: String,
}

/// Why a file could not be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// Gives the assembler the text of files.
pub trait Sources {
    /// The text of the file that is called `path` in the file named `from` (`None` for the root).
    fn read(&self, path: &str, from: Option<&str>) -> Result<Text, Unreadable>;
}

/// A program held in memory: a list of files.
impl Sources for [(&str, &str)] {
    fn read(&self, path: &str, _from: Option<&str>) -> Result<Text, Unreadable> {
        let found = self.iter().find(|(name, _)| *name == path);
        let (name, text) = found.ok_or_else(|| Unreadable("no such file".into()))?;
        Ok(Text { name: (*name).into(), text: (*text).into() })
    }
}

impl<const N: usize> Sources for [(&str, &str); N] {
    fn read(&self, path: &str, from: Option<&str>) -> Result<Text, Unreadable> {
        self.as_slice().read(path, from)
    }
}

/// A piece of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Span {
    line: u32,
    /// The byte at which it starts.
    pub start: u32,
    /// The byte after it.
    pub end: u32,
}

impl Span {
    /// The bytes `start..end` of a line.
    pub fn new(line: LineId, start: usize, end: usize) -> Self {
        Self { line: line.0, start: start as u32, end: end as u32 }
    }

    /// One character after this span.
    pub fn after(self) -> Self {
        Self { start: self.end, end: self.end + 1, ..self }
    }

    /// From the start of this span to the end of `last`, which is on the same line.
    pub fn to(self, last: Span) -> Self {
        Self { end: last.end.max(self.end), ..self }
    }
}

/// The number of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LineId(u32);

/// Why a frame of lines is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// By an `.include` directive.
    Include,
    /// By a use of the macro of this name.
    Macro(Arc<str>),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Include => write!(f, "included here"),
            Cause::Macro(name) => write!(f, "in this use of macro `{name}`"),
        }
    }
}

/// A run of lines from one file or one use of a macro.
struct Frame {
    file: Arc<str>,
    from: Option<(Cause, Arc<Place>)>,
}

struct Line {
    frame: u32,
    number: u32,
    text: Arc<str>,
}

/// The number of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameId(u32);

/// All lines of an assembly.
#[derive(Default)]
pub(super) struct SourceMap {
    frames: Vec<Frame>,
    lines: Vec<Line>,
}

impl SourceMap {
    /// Starts a run of lines of `file`, caused at `from`.
    pub fn add_frame(&mut self, file: Arc<str>, from: Option<(Cause, Span)>) -> FrameId {
        let from = from.map(|(cause, span)| (cause, Arc::new(self.place(span))));
        self.frames.push(Frame { file, from });
        FrameId(self.frames.len() as u32 - 1)
    }

    /// Adds a line to a frame.
    pub fn add_line(&mut self, frame: FrameId, number: u32, text: Arc<str>) -> LineId {
        self.lines.push(Line { frame: frame.0, number, text });
        LineId(self.lines.len() as u32 - 1)
    }

    /// The text of a line.
    pub fn text(&self, line: LineId) -> Arc<str> {
        self.lines[line.0 as usize].text.clone()
    }

    /// The text of a piece of a line.
    pub fn slice(&self, span: Span) -> &str {
        let text = &self.lines[span.line as usize].text;
        text.get(span.start as usize..span.end as usize).unwrap_or("")
    }

    /// The line that a span is in.
    pub fn line_of(&self, span: Span) -> LineId {
        LineId(span.line)
    }

    /// The number, in its file, of the line that a span is in.
    pub fn line_number(&self, span: Span) -> u32 {
        self.lines[span.line as usize].number
    }

    /// The name of the file that a span is in.
    pub fn file(&self, span: Span) -> Arc<str> {
        self.frames[self.lines[span.line as usize].frame as usize].file.clone()
    }

    /// The place of a span, for people.
    pub fn place(&self, span: Span) -> Place {
        let line = &self.lines[span.line as usize];
        let frame = &self.frames[line.frame as usize];
        let count = |from, to| line.text.get(from..to).map_or(0, |s| s.chars().count()) as u32;
        let (start, end) = (span.start as usize, span.end as usize);
        Place {
            file: frame.file.clone(),
            line: line.number,
            column: 1 + count(0, start),
            width: count(start, end).max(1),
            text: line.text.clone(),
            from: frame.from.clone(),
        }
    }
}

/// A place in the source, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file.
    #[serde(with = "text")]
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// The number of characters.
    pub width: u32,
    /// The text of the line; for a line of a macro, with the arguments put in.
    #[serde(with = "text")]
    pub text: Arc<str>,
    /// What put the line there, and where, if it is not a line of the root file. It is left out where a place is
    /// encoded: places within places could be as deep as a stranger likes.
    #[serde(skip)]
    pub from: Option<(Cause, Arc<Place>)>,
}

/// Shared text, encoded as any other.
mod text {
    use std::sync::Arc;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(text: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(text)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(from).map(Arc::from)
    }
}

impl Place {
    /// The place in the root file or an included one that led to this one: outside of all macros.
    pub fn outside_macros(&self) -> &Place {
        match &self.from {
            Some((Cause::Macro(_), place)) => place.outside_macros(),
            _ => self,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}
