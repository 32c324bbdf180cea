//! A walk over the tokens of one statement.

use super::diagnostics::Problem;
use super::lex::{Kind, Token};
use super::source::Span;

/// The tokens of a statement that are not read yet.
pub(super) struct Cursor<'a> {
    tokens: &'a [Token],
    at: usize,
    end: Span,
}

impl<'a> Cursor<'a> {
    /// A walk over `tokens`, of which there is at least one.
    pub fn new(tokens: &'a [Token]) -> Self {
        let last = tokens.last().map_or(Span::default(), |token| token.span);
        Self { tokens, at: 0, end: last.after() }
    }

    /// The next token.
    pub fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    /// The token after the next one.
    pub fn peek_second(&self) -> Option<&'a Token> {
        self.tokens.get(self.at + 1)
    }

    /// Whether no token is left.
    pub fn is_at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// Takes the next token.
    pub fn take(&mut self) -> Option<&'a Token> {
        let token = self.tokens.get(self.at)?;
        self.at += 1;
        Some(token)
    }

    /// Takes the next token if it is this mark.
    pub fn eat(&mut self, mark: &str) -> bool {
        let found = self.peek().is_some_and(|token| token.is(mark));
        self.at += usize::from(found);
        found
    }

    /// Whether the next token is this mark.
    pub fn is_next(&self, mark: &str) -> bool {
        self.peek().is_some_and(|token| token.is(mark))
    }

    /// Takes this mark or complains.
    pub fn expect(&mut self, mark: &str) -> Result<(), Problem> {
        if self.eat(mark) { Ok(()) } else { Err(self.unexpected(&format!("`{mark}`"))) }
    }

    /// Takes a name or complains.
    pub fn expect_name(&mut self, what: &str) -> Result<(&'a str, Span), Problem> {
        let Some((name, span)) = self.peek().and_then(|t| Some((t.name()?, t.span))) else {
            return Err(self.unexpected(what));
        };
        self.at += 1;
        Ok((name, span))
    }

    /// Complains about the next token.
    pub fn unexpected(&self, what: &str) -> Problem {
        if let Some(Kind::Other(c)) = self.peek().map(|token| &token.kind) {
            return Problem::new(self.span(), format!("unexpected character `{}`", c.escape_debug()));
        }
        let found = self.peek().map_or("the end of the statement", describe);
        Problem::new(self.span(), format!("expected {what}, found {found}"))
    }

    /// Complains if a token is left.
    pub fn expect_end(&self) -> Result<(), Problem> {
        if self.is_at_end() { Ok(()) } else { Err(self.unexpected("the end of the statement")) }
    }

    /// Whether the last token that was taken is this mark.
    pub fn last_is(&self, mark: &str) -> bool {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).is_some_and(|token| token.is(mark))
    }

    /// The place of the next token, or of the end.
    pub fn span(&self) -> Span {
        self.peek().map_or(self.end, |token| token.span)
    }

    /// The place of the last token that was taken.
    pub fn last_span(&self) -> Span {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(self.end, |token| token.span)
    }

    /// The place of all that is left.
    pub fn rest_span(&self) -> Span {
        let last = self.tokens.last().map_or(self.end, |token| token.span);
        self.span().to(last)
    }

    /// Takes all that is left.
    pub fn rest(&mut self) -> &'a [Token] {
        let rest = &self.tokens[self.at.min(self.tokens.len())..];
        self.at = self.tokens.len();
        rest
    }
}

/// What kind of thing a token is.
pub(super) fn describe(token: &Token) -> &'static str {
    match &token.kind {
        Kind::Name(_) => "a name",
        Kind::Register(_) => "a register",
        Kind::Integer(_) => "a number",
        Kind::Float(_) => "a floating-point number",
        Kind::Local { .. } => "a numeric label",
        Kind::Text(_) => "a string",
        Kind::Mark(mark) => mark_name(mark),
        Kind::Other(_) => "a character",
    }
}

fn mark_name(mark: &'static str) -> &'static str {
    match mark {
        "," => "a comma",
        "(" => "`(`",
        ")" => "`)`",
        ":" => "`:`",
        "=" => "`=`",
        _ => "an operator",
    }
}
