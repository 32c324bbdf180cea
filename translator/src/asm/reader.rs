//! The lines to assemble, in order: files, what they include, and the expansions of macros, each a frame
//! on a stack. Knows comments of the `/* */` kind, because they span lines; all else is for others.

use std::collections::HashSet;
use std::sync::Arc;

use super::diagnostics::Problem;
use super::source::{Cause, FrameId, LineId, SourceMap, Span, Text};

/// The most lines of a program.
const MAX_LINES: usize = 2_000_000;
/// The most lines and bytes that come from macros and from files that were included before: macros that use macros,
/// and files that include files twice, grow so fast that nobody would wait for [`MAX_LINES`].
const MAX_REPEATED: Amount = Amount { lines: 100_000, bytes: 4 << 20 };
/// The deepest nesting of files and macros.
const MAX_DEPTH: usize = 100;

/// A line with its number in its file.
pub(super) type NumberedLine = (u32, Arc<str>);

/// An amount of text.
#[derive(Clone, Copy, Debug, Default)]
struct Amount {
    lines: usize,
    bytes: usize,
}

struct Frame {
    id: FrameId,
    /// Whether its lines have been there before, or are made from others.
    is_repeated: bool,
    lines: std::vec::IntoIter<NumberedLine>,
    file: Arc<str>,
    /// The macro that it is a use of, by name and number of parameters.
    use_of: Option<(Arc<str>, usize)>,
}

/// A stack of frames.
#[derive(Default)]
pub(super) struct Reader {
    stack: Vec<Frame>,
    count: usize,
    repeated: Amount,
    files: HashSet<Arc<str>>,
}

impl Reader {
    /// Puts a file before what is left to read.
    pub fn push_file(&mut self, map: &mut SourceMap, text: &Text, from: Option<Span>) -> Result<(), Problem> {
        if let Some(span) = from {
            self.check_include(&text.name, span)?;
        }
        if let Some(line) = text.text.lines().position(|line| line.contains('\0')) {
            let message = format!("`{}` is not a text file: line {} has a zero byte", text.name, line + 1);
            return Err(from.map_or_else(|| Problem::general(&message), |span| Problem::new(span, &message)));
        }
        let (clean, comment) = blank_comments(&text.text);
        let lines: Vec<NumberedLine> = (1..).zip(clean.lines().map(Arc::from)).collect();
        let opened = comment.and_then(|(line, at)| Some((lines.get(line)?.clone(), at)));
        let frame = self.push(map, text.name.as_str().into(), lines, from.map(|span| (Cause::Include, span)));
        let Some(((number, line), at)) = opened else { return Ok(()) };
        self.stack.pop();
        let span = Span::new(map.add_line(frame, number, line), at, at + 2);
        Err(Problem::new(span, "unterminated comment: expected `*/`"))
    }

    fn check_include(&self, name: &str, span: Span) -> Result<(), Problem> {
        let recursive = self.stack.iter().any(|f| &*f.file == name && f.use_of.is_none());
        if recursive {
            return Err(Problem::new(span, format!("`{name}` includes itself")));
        }
        self.check_depth(span)
    }

    fn check_depth(&self, span: Span) -> Result<(), Problem> {
        if self.stack.len() < MAX_DEPTH {
            return Ok(());
        }
        Err(Problem::new(span, format!("files and macros are nested deeper than {MAX_DEPTH}")))
    }

    /// Puts the expansion of a macro before what is left to read.
    pub fn push_macro(
        &mut self,
        map: &mut SourceMap,
        file: Arc<str>,
        lines: Vec<NumberedLine>,
        (name, arity): (Arc<str>, usize),
        span: Span,
    ) -> Result<(), Problem> {
        let use_of = Some((name.clone(), arity));
        if self.stack.iter().any(|frame| frame.use_of == use_of) {
            return Err(Problem::new(span, format!("macro `{name}` uses itself")));
        }
        self.check_depth(span)?;
        self.push(map, file, lines, Some((Cause::Macro(name), span)));
        if let Some(frame) = self.stack.last_mut() {
            frame.use_of = use_of;
        }
        Ok(())
    }

    fn push(
        &mut self,
        map: &mut SourceMap,
        file: Arc<str>,
        lines: Vec<NumberedLine>,
        from: Option<(Cause, Span)>,
    ) -> FrameId {
        let is_macro = matches!(from, Some((Cause::Macro(_), _)));
        let is_repeated = is_macro || !self.files.insert(file.clone());
        let id = map.add_frame(file.clone(), from);
        self.stack.push(Frame { id, is_repeated, lines: lines.into_iter(), file, use_of: None });
        id
    }

    /// How many files and macros are open.
    pub fn depth(&self) -> usize {
        self.stack.len()
    }

    /// The next line, of the innermost frame that has one, while more than `depth` frames are open.
    pub fn next(&mut self, map: &mut SourceMap, depth: usize) -> Result<Option<LineId>, Problem> {
        while self.stack.len() > depth {
            if let Some(line) = self.next_in_frame(map)? {
                return Ok(Some(line));
            }
            self.stack.pop();
        }
        Ok(None)
    }

    /// The next line of the innermost frame.
    pub fn next_in_frame(&mut self, map: &mut SourceMap) -> Result<Option<LineId>, Problem> {
        let Some(frame) = self.stack.last_mut() else { return Ok(None) };
        let Some((number, text)) = frame.lines.next() else { return Ok(None) };
        self.count += 1;
        if frame.is_repeated {
            self.repeated.lines += 1;
            self.repeated.bytes += text.len();
        }
        let line = map.add_line(frame.id, number, text);
        let Some(message) = self.excess() else { return Ok(Some(line)) };
        self.stack.clear();
        Err(Problem::new(Span::new(line, 0, 1), message))
    }

    /// What there is too much of.
    fn excess(&self) -> Option<String> {
        let Amount { lines, bytes } = MAX_REPEATED;
        if self.count > MAX_LINES {
            return Some(format!("the program has more than {MAX_LINES} lines"));
        }
        let is_too_much = self.repeated.lines > lines || self.repeated.bytes > bytes;
        is_too_much.then(|| {
            let megabytes = bytes >> 20;
            format!("macros and repeated includes make more than {lines} lines or {megabytes} MB")
        })
    }
}

/// The text with spaces in place of `/* */` comments, and the line and column of one without an end.
fn blank_comments(text: &str) -> (String, Option<(usize, usize)>) {
    if !text.contains("/*") {
        return (text.into(), None);
    }
    let mut clean = String::with_capacity(text.len());
    let mut open = None;
    for (number, line) in text.lines().enumerate() {
        let mut at = 0;
        while at < line.len() {
            at = copy_piece(line, at, number, &mut clean, &mut open);
        }
        clean.push('\n');
    }
    (clean, open)
}

/// Copies, or blanks if a comment is open, up to the next boundary of a comment; returns where it is.
fn copy_piece(
    line: &str,
    at: usize,
    number: usize,
    clean: &mut String,
    open: &mut Option<(usize, usize)>,
) -> usize {
    let rest = &line[at..];
    if open.is_some() {
        let end = rest.find("*/").map(|i| i + 2);
        if end.is_some() {
            *open = None;
        }
        let piece = &rest[..end.unwrap_or(rest.len())];
        clean.extend(piece.chars().map(|c| if c == '\t' { '\t' } else { ' ' }));
        return at + piece.len();
    }
    let length = plain_length(rest);
    clean.push_str(&rest[..length]);
    if length < rest.len() {
        *open = Some((number, at + length));
    }
    at + length
}

/// The bytes of a line before the first `/*` that is not in a string, a character or a comment.
fn plain_length(line: &str) -> usize {
    let bytes = line.as_bytes();
    let (mut at, mut quote) = (0, None);
    while at < bytes.len() {
        match (bytes[at], quote) {
            (b'\\', Some(_)) => at += 1,
            (b, Some(q)) if b == q => quote = None,
            (b'"' | b'\'', None) => quote = Some(bytes[at]),
            (b'#', None) => return line.len(),
            (b'/', None) if bytes.get(at + 1) == Some(&b'*') => return at,
            _ => {}
        }
        at += 1;
    }
    line.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_become_spaces() {
        let (clean, open) = blank_comments("a /* b\nc */ d \"/*\" # /*\ne");
        assert_eq!(clean, "a     \n     d \"/*\" # /*\ne\n");
        assert_eq!(open, None);
        assert_eq!(blank_comments("x\n y /* z").1, Some((1, 3)));
    }
}
