//! Macros: MARS's (`.macro name(%a, %b)` ... `.end_macro`, whose labels are local to each use) and GNU's
//! (`.macro name a, b=1` ... `.endm`, with `\a`, `\@` and `\()`). Knows text only.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::lex::{continues_name, starts_name};
use super::reader::NumberedLine;
use super::source::Span;

/// The most characters of a line after substitution; nested macros can double it at each step.
const MAX_LINE: usize = 1 << 16;

/// Whose rules a macro follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Mars,
    Gnu,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Parameter {
    name: String,
    default: Option<String>,
    required: bool,
    takes_rest: bool,
}

/// A macro.
#[derive(Debug)]
pub(super) struct Macro {
    /// Its name.
    pub name: Arc<str>,
    /// The file of its body.
    pub file: Arc<str>,
    /// Where it was defined.
    pub span: Span,
    style: Style,
    parameters: Vec<Parameter>,
    body: Vec<NumberedLine>,
    labels: Vec<String>,
}

/// The directives that end a macro.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Terminator {
    /// `.end_macro`
    EndMacro,
    /// `.endm`
    Endm,
}

/// What a line inside a macro's definition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLine {
    Opens,
    Closes(Terminator),
    Plain,
}

/// What a line inside a macro's definition is.
pub(super) fn classify(line: &str) -> BodyLine {
    let word = line.trim_start();
    let length = word.find(|c| !continues_name(c)).unwrap_or(word.len());
    let is = |name: &str| word[..length].eq_ignore_ascii_case(name);
    if is(".macro") {
        BodyLine::Opens
    } else if is(".end_macro") {
        BodyLine::Closes(Terminator::EndMacro)
    } else if is(".endm") || is(".endmacro") {
        BodyLine::Closes(Terminator::Endm)
    } else {
        BodyLine::Plain
    }
}

impl Macro {
    /// A macro from the text after `.macro`, its lines and how it ended.
    pub fn new(
        header: &str,
        body: Vec<NumberedLine>,
        terminator: Terminator,
        (file, span): (Arc<str>, Span),
    ) -> Result<Self, String> {
        let header = header.trim();
        let length = header.find(|c| !continues_name(c)).unwrap_or(header.len());
        let (name, rest) = header.split_at(length);
        if !name.starts_with(starts_name) {
            return Err("expected the macro's name".into());
        }
        let words = split_arguments(rest);
        let is_mars = terminator == Terminator::EndMacro || words.iter().any(|w| w.starts_with('%'));
        let style = if is_mars { Style::Mars } else { Style::Gnu };
        let parameters = words.iter().map(|w| parameter(w, style)).collect::<Result<Vec<_>, _>>()?;
        let labels = if is_mars { labels_of(&body) } else { Vec::new() };
        Ok(Self { name: name.into(), file, span, style, parameters, body, labels })
    }

    /// The number of parameters.
    pub fn arity(&self) -> usize {
        self.parameters.len()
    }

    /// The lines of a use with these arguments; `count` is different for each use.
    pub fn expand(&self, arguments: &[String], count: u32) -> Result<Vec<NumberedLine>, String> {
        let values = self.bind(arguments)?;
        let substitute = |(number, line): &NumberedLine| {
            let text = match self.style {
                Style::Mars => self.substitute_mars(line, &values, count),
                Style::Gnu => substitute_gnu(line, &values, count),
            };
            if text.len() > MAX_LINE {
                return Err(format!("line {number} of macro `{}` becomes too long", self.name));
            }
            Ok((*number, Arc::from(text)))
        };
        self.body.iter().map(substitute).collect()
    }

    /// The value of each parameter.
    fn bind(&self, arguments: &[String]) -> Result<BTreeMap<&str, String>, String> {
        let mut values = BTreeMap::new();
        let mut next = 0;
        for argument in arguments {
            let named = self.style == Style::Gnu;
            let named = named.then(|| argument.split_once('=')).flatten();
            let named = named.and_then(|(n, v)| Some((self.parameter_named(n.trim())?, v)));
            if let Some((parameter, value)) = named {
                values.insert(parameter.name.as_str(), unquote(value.trim()));
                continue;
            }
            let last = self.parameters.len().saturating_sub(1);
            let Some(parameter) = self.parameters.get(next.min(last)) else {
                return Err(self.arity_message(arguments.len()));
            };
            if next > last && !parameter.takes_rest {
                return Err(self.arity_message(arguments.len()));
            }
            let value = if self.style == Style::Gnu && !parameter.takes_rest {
                unquote(argument)
            } else {
                argument.clone()
            };
            let slot: &mut String = values.entry(&parameter.name).or_default();
            *slot = if next > last { format!("{slot}, {value}") } else { value };
            next += 1;
        }
        self.fill_in(&mut values, arguments.len())?;
        Ok(values)
    }

    fn parameter_named(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|p| p.name == name)
    }

    fn fill_in<'a>(&'a self, values: &mut BTreeMap<&'a str, String>, given: usize) -> Result<(), String> {
        for parameter in &self.parameters {
            let missing = values.get(parameter.name.as_str()).is_none_or(String::is_empty);
            if missing && (self.style == Style::Mars || parameter.required) {
                return Err(self.arity_message(given));
            }
            if missing {
                values.insert(&parameter.name, parameter.default.clone().unwrap_or_default());
            }
        }
        Ok(())
    }

    fn arity_message(&self, given: usize) -> String {
        let names: Vec<&str> = self.parameters.iter().map(|p| p.name.as_str()).collect();
        format!("macro `{}` takes {} ({}), found {given}", self.name, count_of(names.len()), names.join(", "))
    }

    fn substitute_mars(&self, line: &str, values: &BTreeMap<&str, String>, count: u32) -> String {
        let mut text = String::new();
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            let length = match c {
                '"' | '\'' => quoted_length(rest),
                '#' => rest.len(),
                '%' => 1 + name_length(&rest[1..]),
                _ if starts_name(c) || c.is_ascii_digit() => name_length(rest),
                _ => c.len_utf8(),
            };
            let (piece, after) = rest.split_at(length);
            rest = after;
            let value = piece.strip_prefix('%').and_then(|name| values.get(name));
            match value {
                Some(value) => text.push_str(value),
                None if self.labels.iter().any(|l| l == piece) => text.push_str(&format!("{piece}_M{count}")),
                None => text.push_str(piece),
            }
        }
        text
    }
}

fn count_of(count: usize) -> String {
    match count {
        0 => "no arguments".into(),
        1 => "1 argument".into(),
        _ => format!("{count} arguments"),
    }
}

fn parameter(word: &str, style: Style) -> Result<Parameter, String> {
    let (name, default) = match word.split_once('=') {
        Some((name, default)) if style == Style::Gnu => (name, Some(unquote(default.trim()))),
        _ => (word, None),
    };
    let (name, qualifier) = match name.split_once(':') {
        Some((name, qualifier)) if style == Style::Gnu => (name, qualifier.trim()),
        _ => (name, ""),
    };
    let name = name.trim().trim_start_matches('%');
    let is_name = name.starts_with(starts_name) && name.chars().all(continues_name);
    if !is_name || !matches!(qualifier, "" | "req" | "vararg") {
        return Err(format!("malformed parameter `{word}`"));
    }
    let (required, takes_rest) = (qualifier == "req", qualifier == "vararg");
    Ok(Parameter { name: name.into(), default, required, takes_rest })
}

fn name_length(text: &str) -> usize {
    text.find(|c| !continues_name(c)).unwrap_or(text.len())
}

/// The bytes of the string or character that `text` starts with.
fn quoted_length(text: &str) -> usize {
    let quote = text.as_bytes()[0];
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if byte == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn substitute_gnu(line: &str, values: &BTreeMap<&str, String>, count: u32) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let length = name_length(rest);
        if let Some(value) = values.get(&rest[..length]).filter(|_| length > 0) {
            text.push_str(value);
            rest = &rest[length..];
        } else if let Some(after) = rest.strip_prefix('@') {
            text.push_str(&count.to_string());
            rest = after;
        } else if let Some(after) = rest.strip_prefix("()") {
            rest = after;
        } else {
            // Not ours: an escape of a string. Its second character is copied too, so that the second
            // backslash of `\\` does not start another.
            let next = rest.chars().next().map_or(0, char::len_utf8);
            text.push('\\');
            text.push_str(&rest[..next]);
            rest = &rest[next..];
        }
    }
    text.push_str(rest);
    text
}

/// The names that lines define as labels.
fn labels_of(body: &[NumberedLine]) -> Vec<String> {
    let mut labels = Vec::new();
    for (_, line) in body {
        let mut rest = line.trim_start();
        while let Some((label, after)) = label_of(rest) {
            labels.push(label.to_owned());
            rest = after;
        }
    }
    labels
}

fn label_of(text: &str) -> Option<(&str, &str)> {
    let length = name_length(text);
    let (name, after) = text.split_at(length);
    let after = after.trim_start().strip_prefix(':')?;
    name.starts_with(starts_name).then_some((name, after.trim_start()))
}

fn unquote(text: &str) -> String {
    let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    inner.unwrap_or(text).into()
}

/// Arguments are separated by commas or by white space, and may all be in one pair of parentheses.
pub(super) fn split_arguments(text: &str) -> Vec<String> {
    let text = without_parentheses(text.trim());
    let mut arguments = Vec::new();
    let mut piece = String::new();
    let (mut depth, mut rest, mut after_comma) = (0usize, text, false);
    while let Some(c) = rest.chars().next() {
        let length = if c == '"' || c == '\'' { quoted_length(rest) } else { c.len_utf8() };
        let (token, after) = rest.split_at(length);
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let separates = depth == 0 && (c == ',' || c.is_whitespace() && !joins(&piece, after));
        if !separates {
            piece.push_str(token);
        } else if !piece.trim().is_empty() || c == ',' && after_comma {
            arguments.push(std::mem::take(&mut piece).trim().to_owned());
            after_comma = false;
        }
        after_comma |= c == ',';
        rest = after;
    }
    if !piece.trim().is_empty() {
        arguments.push(piece.trim().to_owned());
    }
    arguments
}

/// Whether the white space between two pieces is inside an expression: beside an operator. A sign with
/// white space before it and none after it starts an argument.
fn joins(before: &str, after: &str) -> bool {
    const OPERATORS: &str = "+-*/&|^<>=~:";
    let mut after_chars = after.trim_start().chars();
    let (first, second) = (after_chars.next(), after_chars.next());
    let starts_sign = matches!(first, Some('+' | '-')) && second.is_some_and(|c| !c.is_whitespace());
    let next_is_operator = first.is_some_and(|c| OPERATORS.contains(c)) && !starts_sign;
    before.trim_end().ends_with(|c| OPERATORS.contains(c)) || next_is_operator
}

fn without_parentheses(text: &str) -> &str {
    let Some(inner) = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')) else { return text };
    let mut depth = 0i32;
    for c in inner.chars() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        if depth < 0 {
            return text;
        }
    }
    inner
}

/// All macros by their names.
#[derive(Default)]
pub(super) struct Macros {
    by_name: HashMap<String, Vec<Arc<Macro>>>,
    uses: u32,
}

impl Macros {
    /// Adds a macro, or returns the one with its name and number of parameters that is there already.
    pub fn define(&mut self, new: Macro) -> Result<(), Arc<Macro>> {
        let same_name = self.by_name.entry(new.name.to_string()).or_default();
        if let Some(old) = same_name.iter().find(|m| m.arity() == new.arity()) {
            return Err(old.clone());
        }
        same_name.push(Arc::new(new));
        Ok(())
    }

    /// Whether there is a macro of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// The macro and the lines for a use of `name` with the text of its arguments.
    pub fn expand(&mut self, name: &str, text: &str) -> Result<(Arc<Macro>, Vec<NumberedLine>), String> {
        let arguments = split_arguments(text);
        let same_name = self.by_name.get(name).ok_or_else(|| format!("no macro `{name}`"))?;
        let exact = same_name.iter().find(|m| m.arity() == arguments.len());
        let found = exact.or(same_name.last()).ok_or_else(|| format!("no macro `{name}`"))?;
        let lines = found.expand(&arguments, self.uses)?;
        self.uses += 1;
        Ok((found.clone(), lines))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(header: &str, body: &[&str], end: Terminator, arguments: &str) -> Result<Vec<String>, String> {
        let body = (1..).zip(body.iter().map(|l| Arc::from(*l))).collect();
        let made = Macro::new(header, body, end, ("t.s".into(), Span::default()))?;
        let lines = made.expand(&split_arguments(arguments), 7)?;
        Ok(lines.into_iter().map(|(_, line)| line.to_string()).collect())
    }

    #[test]
    fn arguments_split_at_commas_and_spaces() {
        assert_eq!(split_arguments("(a, b)"), ["a", "b"]);
        assert_eq!(split_arguments("$t0 $t1 -5"), ["$t0", "$t1", "-5"]);
        assert_eq!(split_arguments("a + b, 4($sp)"), ["a + b", "4($sp)"]);
        assert_eq!(split_arguments(r#""a, b", ','"#), [r#""a, b""#, "','"]);
        assert_eq!(split_arguments("a,,b"), ["a", "", "b"]);
        assert_eq!(split_arguments("()"), Vec::<String>::new());
    }

    #[test]
    fn mars_macros_have_local_labels() {
        let body = ["again: addi %r, %r, -1", "bnez %r, again # %r again", "la $a0, \"%r again\""];
        let lines = expand("loop(%r)", &body, Terminator::EndMacro, "($t0)").unwrap();
        assert_eq!(lines[0], "again_M7: addi $t0, $t0, -1");
        assert_eq!(lines[1], "bnez $t0, again_M7 # %r again");
        assert_eq!(lines[2], "la $a0, \"%r again\"");
        assert!(expand("m(%a, %b)", &[], Terminator::EndMacro, "1").unwrap_err().contains("2 arguments"));
    }

    #[test]
    fn gnu_macros_substitute_in_text() {
        let body = [r#"l\@: .asciz "\a\n\\a""#, r"lw $\r\()0, \o"];
        let lines = expand("m a, r=t, o:req", &body, Terminator::Endm, "\"x y\", o=4($sp)").unwrap();
        assert_eq!(lines, [r#"l7: .asciz "x y\n\\a""#, "lw $t0, 4($sp)"]);
        let rest = expand("m a:vararg", &[r".word \a"], Terminator::Endm, "1, 2, 3").unwrap();
        assert_eq!(rest, [".word 1, 2, 3"]);
        assert!(expand("m a:req", &[], Terminator::Endm, "").is_err());
    }
}
