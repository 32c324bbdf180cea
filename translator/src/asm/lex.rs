//! One line of text as tokens. Knows how words, numbers, strings and characters are written, and which
//! names are registers; not what a line means.

use super::diagnostics::Problem;
use super::register::{self, Abi, Register};
use super::source::{LineId, Span};

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A mnemonic, directive, label or other name.
    Name(String),
    /// A register.
    Register(Register),
    /// An integer or a character.
    Integer(i64),
    /// A number with a point or an exponent.
    Float(Float),
    /// `1b` or `1f`: the numeric label before or after.
    Local { number: u32, forward: bool },
    /// A string.
    Text(Vec<u8>),
    /// An operator or a bracket.
    Mark(&'static str),
    /// A character that means nothing here; file names may have them.
    Other(char),
}

/// A floating-point number, rounded once for each precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Float {
    pub single: f32,
    pub double: f64,
}

impl Float {
    /// The number with the other sign.
    pub fn negated(self) -> Self {
        Self { single: -self.single, double: -self.double }
    }

    /// An integer as a floating-point number.
    pub fn from_integer(number: i64) -> Self {
        Self { single: number as f32, double: number as f64 }
    }
}

/// A token and where it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub kind: Kind,
    pub span: Span,
    /// Whether white space comes before it.
    pub spaced: bool,
}

impl Token {
    /// The name, if it is one.
    pub fn name(&self) -> Option<&str> {
        if let Kind::Name(name) = &self.kind { Some(name) } else { None }
    }

    /// Whether it is this operator or bracket.
    pub fn is(&self, mark: &str) -> bool {
        matches!(self.kind, Kind::Mark(m) if m == mark)
    }
}

/// What a reading of text depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Whether a leading 0 means octal.
    pub octal: bool,
    /// Which registers the names are.
    pub abi: Abi,
}

/// Operators and brackets, the longer ones first.
const MARKS: [&str; 26] = [
    "<<", ">>", "<=", ">=", "==", "!=", "<>", "&&", "||", "+", "-", "*", "/", "%", "(", ")", ",", ":", ";",
    "=", "<", ">", "&", "|", "^", "~",
];

/// The tokens of a line, and the problem that stopped the reading, if any.
pub(super) fn lex(text: &str, line: LineId, style: Style) -> (Vec<Token>, Option<Problem>) {
    let mut lexer = Lexer { text, line, style, at: 0 };
    let mut tokens = Vec::new();
    loop {
        let spaced = lexer.skip_space();
        match lexer.token(spaced) {
            Ok(Some(token)) => tokens.push(token),
            Ok(None) => return (tokens, None),
            Err(problem) => return (tokens, Some(problem)),
        }
    }
}

/// Whether a name may start with `c`.
pub(super) fn starts_name(c: char) -> bool {
    c.is_ascii_alphabetic() || matches!(c, '_' | '.' | '$')
}

/// Whether a name may go on with `c`.
pub(super) fn continues_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$')
}

struct Lexer<'a> {
    text: &'a str,
    line: LineId,
    style: Style,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn span(&self, start: usize) -> Span {
        Span::new(self.line, start, self.at)
    }

    fn skip_space(&mut self) -> bool {
        let trimmed = self.rest().trim_start_matches(|c: char| c.is_whitespace());
        let start = self.at;
        self.at = self.text.len() - trimmed.len();
        self.at > start
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !keep(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn token(&mut self, spaced: bool) -> Result<Option<Token>, Problem> {
        let start = self.at;
        let kind = match self.peek() {
            None | Some('#') => return Ok(None),
            Some('"') => Kind::Text(self.string()?),
            Some('\'') => Kind::Integer(self.character()?),
            Some(c) if c.is_ascii_digit() => self.number()?,
            Some('.') if self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number()?,
            Some(c) if starts_name(c) => self.name(),
            Some(c) => self.mark(c),
        };
        Ok(Some(Token { kind, span: self.span(start), spaced }))
    }

    fn name(&mut self) -> Kind {
        let name = self.take_while(continues_name);
        match name.strip_prefix('$').and_then(|n| register::by_name(n, self.style.abi)) {
            Some(register) => Kind::Register(register),
            None => Kind::Name(name.into()),
        }
    }

    fn mark(&mut self, c: char) -> Kind {
        if let Some(mark) = MARKS.into_iter().find(|mark| self.rest().starts_with(mark)) {
            self.at += mark.len();
            return Kind::Mark(mark);
        }
        if c == '!' {
            self.at += 1;
            return Kind::Mark("!");
        }
        self.bump();
        Kind::Other(c)
    }

    fn number(&mut self) -> Result<Kind, Problem> {
        let start = self.at;
        let digits = self.take_while(|c| c.is_ascii_digit());
        if let Some(kind) = self.local(digits) {
            return Ok(kind);
        }
        if self.is_float(digits) {
            return self.float(start);
        }
        self.at = start;
        let word = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
        let (digits, radix) = split_radix(word, self.style.octal);
        let value = u64::from_str_radix(digits, radix);
        let span = self.span(start);
        value.map(|v| Kind::Integer(v as i64)).map_err(|e| {
            let problem = Problem::new(span, format!("malformed number `{word}`"));
            match e.kind() {
                std::num::IntErrorKind::PosOverflow => problem.label("more than 64 bits"),
                _ => problem.label(format!("expected digits of base {radix}")),
            }
        })
    }

    /// `1b` and `1f`.
    fn local(&mut self, digits: &str) -> Option<Kind> {
        let mut after = self.rest().chars();
        let forward = match after.next()? {
            'f' => true,
            'b' => false,
            _ => return None,
        };
        if after.next().is_some_and(continues_name) {
            return None;
        }
        let number = digits.parse().ok()?;
        self.at += 1;
        Some(Kind::Local { number, forward })
    }

    /// Whether what follows the digits makes a floating-point number of them.
    fn is_float(&self, digits: &str) -> bool {
        let mut after = self.rest().chars();
        match after.next() {
            Some('.') => true,
            Some('e' | 'E') if !digits.is_empty() => {
                after.next().is_some_and(|c| c.is_ascii_digit() || matches!(c, '+' | '-'))
            }
            _ => false,
        }
    }

    fn float(&mut self, start: usize) -> Result<Kind, Problem> {
        if self.peek() == Some('.') {
            self.at += 1;
            self.take_while(|c| c.is_ascii_digit());
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            self.at += 1;
            if matches!(self.peek(), Some('+' | '-')) {
                self.at += 1;
            }
        }
        self.take_while(continues_name);
        let word = &self.text[start..self.at];
        match (word.parse(), word.parse()) {
            (Ok(single), Ok(double)) => Ok(Kind::Float(Float { single, double })),
            _ => Err(Problem::new(self.span(start), format!("malformed floating-point number `{word}`"))),
        }
    }

    fn string(&mut self) -> Result<Vec<u8>, Problem> {
        let start = self.at;
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            match self.peek() {
                None => {
                    let problem = Problem::new(self.span(start), "unterminated string");
                    return Err(problem.label("expected a closing `\"` on this line"));
                }
                Some('"') => {
                    self.at += 1;
                    return Ok(bytes);
                }
                Some('\\') => bytes.push(self.escape()?),
                Some(c) => {
                    self.at += c.len_utf8();
                    bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
                }
            }
        }
    }

    fn character(&mut self) -> Result<i64, Problem> {
        let start = self.at;
        self.at += 1;
        let value = match self.peek() {
            Some('\\') => i64::from(self.escape()?),
            Some(c) => {
                self.at += c.len_utf8();
                i64::from(u32::from(c))
            }
            None => 0,
        };
        if self.peek() == Some('\'') && self.at > start + 1 {
            self.at += 1;
            return Ok(value);
        }
        let problem = Problem::new(self.span(start), "unterminated character constant");
        Err(problem.label("expected one character between `'` and `'`"))
    }

    fn escape(&mut self) -> Result<u8, Problem> {
        let start = self.at;
        self.at += 1;
        let c = self.bump().unwrap_or('\0');
        let value = match c {
            'n' => b'\n',
            't' => b'\t',
            'r' => b'\r',
            'b' => 8,
            'f' => 12,
            'v' => 11,
            'a' => 7,
            'e' => 27,
            '\\' | '"' | '\'' => c as u8,
            'x' | 'X' => return self.escape_number(start, 16, 2),
            '0'..='7' => {
                self.at -= 1;
                return self.escape_number(start, 8, 3);
            }
            _ => {
                let problem = Problem::new(self.span(start), "unknown escape");
                return Err(problem
                    .label("expected one of \\n \\t \\r \\b \\f \\v \\a \\e \\\\ \\\" \\' \\ooo \\xhh"));
            }
        };
        Ok(value)
    }

    fn escape_number(&mut self, start: usize, radix: u32, most: usize) -> Result<u8, Problem> {
        let mut value = 0u32;
        let first = self.at;
        while self.at - first < most {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(radix)) else { break };
            value = value * radix + digit;
            self.at += 1;
        }
        let value = u8::try_from(value).ok().filter(|_| self.at > first);
        value.ok_or_else(|| Problem::new(self.span(start), "an escape has the value of a byte, 0 to 255"))
    }
}

fn split_radix(word: &str, octal: bool) -> (&str, u32) {
    let prefixed = |lower, upper| word.strip_prefix(lower).or_else(|| word.strip_prefix(upper));
    if let Some(digits) = prefixed("0x", "0X") {
        (digits, 16)
    } else if let Some(digits) = prefixed("0b", "0B") {
        (digits, 2)
    } else if octal && word.len() > 1 && word.starts_with('0') {
        (&word[1..], 8)
    } else {
        (word, 10)
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::SourceMap;
    use super::*;

    fn kinds(text: &str) -> Vec<Kind> {
        let mut map = SourceMap::default();
        let frame = map.add_frame("t.s".into(), None);
        let line = map.add_line(frame, 1, text.into());
        let (tokens, problem) = lex(text, line, Style { octal: true, abi: Abi::O32 });
        assert!(problem.is_none(), "{text}: {problem:?}");
        tokens.into_iter().map(|t| t.kind).collect()
    }

    #[test]
    fn numbers_in_every_base() {
        use Kind::Integer as I;
        assert_eq!(kinds("10 0x1F 0b101 017 0"), [I(10), I(31), I(5), I(15), I(0)]);
        assert_eq!(kinds("0xffffffffffffffff"), [I(-1)]);
        assert_eq!(
            kinds("1b 12f"),
            [Kind::Local { number: 1, forward: false }, Kind::Local { number: 12, forward: true }]
        );
        assert_eq!(
            kinds("1.5 .5 2e3 1.e-1"),
            [1.5, 0.5, 2000.0, 0.1].map(|double| Kind::Float(Float { single: double as f32, double }))
        );
    }

    #[test]
    fn characters_and_strings() {
        assert_eq!(kinds(r"'a' '\n' '\'' '\\' '#'"), [97, 10, 39, 92, 35].map(Kind::Integer));
        assert_eq!(kinds(r#""a#\t\x41\101\0" # "no""#), [Kind::Text(b"a#\tAA\0".into())]);
    }

    #[test]
    fn registers_and_names() {
        let gpr = |n| Kind::Register(Register::Gpr(n));
        assert_eq!(kinds("$t0 $fp $s8"), [gpr(8), gpr(30), gpr(30)]);
        assert_eq!(
            kinds("$8 $f31"),
            [Kind::Register(Register::Number(8)), Kind::Register(Register::Fpr(31))]
        );
        assert_eq!(kinds("add.s .L1 $L2"), ["add.s", ".L1", "$L2"].map(|n| Kind::Name(n.into())));
    }
}
