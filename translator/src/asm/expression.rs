//! Expressions: their grammar and precedence, which are GNU as's, and their values, which are 64 bits
//! wide and wrap. Knows symbols by number only.

use super::cursor::Cursor;
use super::diagnostics::Problem;
use super::lex::Kind;
use super::source::Span;
use super::symbol::{SymbolId, Symbols};

/// Pieces of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Bits 15..0, sign-extended: what an instruction adds to the parts below.
    Low,
    /// Bits 31..16, one more if the part below is negative.
    High,
    /// Bits 47..32, likewise.
    Higher,
    /// Bits 63..48, likewise.
    Highest,
    /// Bits 31..16 as they are.
    Upper,
    /// Bits 15..0 as they are.
    Lower,
}

/// The parts that have a name in assembly.
const PART_NAMES: [(&str, Part); 4] =
    [("hi", Part::High), ("lo", Part::Low), ("higher", Part::Higher), ("highest", Part::Highest)];

impl Part {
    fn of(self, value: i64) -> i64 {
        match self {
            Part::Low => i64::from(value as i16),
            Part::High => value.wrapping_add(0x8000) >> 16 & 0xffff,
            Part::Higher => value.wrapping_add(0x8000_8000) >> 32 & 0xffff,
            Part::Highest => value.wrapping_add(0x8000_8000_8000) >> 48 & 0xffff,
            Part::Upper => value >> 16 & 0xffff,
            Part::Lower => value & 0xffff,
        }
    }
}

/// An expression whose symbols may not have values yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    Number(i64),
    Symbol(SymbolId, Span),
    /// The address so many bytes after the instruction itself.
    Ahead(i64),
    Unary(&'static str, Box<Expr>),
    Binary(&'static str, Box<Expr>, Box<Expr>, Span),
    Part(Part, Box<Expr>),
}

/// What an expression is read in.
pub(super) struct Scope<'a> {
    /// The names.
    pub symbols: &'a mut Symbols,
    /// The value of `.`.
    pub here: Option<u64>,
    /// Whether `1 -2` is two expressions, as in MARS and SPIM, where commas may be left out.
    pub splits_at_signs: bool,
}

impl Expr {
    /// The value, if it has no symbols.
    pub fn number(&self) -> Option<i64> {
        if let Expr::Number(number) = self { Some(*number) } else { None }
    }

    /// A part of this expression.
    pub fn part(self, part: Part) -> Expr {
        match self {
            Expr::Number(value) => Expr::Number(part.of(value)),
            _ => Expr::Part(part, Box::new(self)),
        }
    }

    /// Whether it is 16 bits cut out of something, which fit wherever 16 bits do.
    pub fn is_part(&self) -> bool {
        matches!(self, Expr::Part(..))
    }

    /// The value for an instruction at `pc`.
    pub fn value(&self, symbols: &Symbols, pc: u64) -> Result<i64, Problem> {
        self.fold(pc, &mut |id, span| symbols.value(id, span))
    }

    /// The value for an instruction at `pc`, with the symbols' values from `lookup`.
    pub fn fold(&self, pc: u64, lookup: &mut Lookup) -> Result<i64, Problem> {
        match self {
            Expr::Number(number) => Ok(*number),
            Expr::Symbol(id, span) => lookup(*id, *span),
            Expr::Ahead(bytes) => Ok((pc as i64).wrapping_add(*bytes)),
            Expr::Unary(operator, operand) => Ok(unary(operator, operand.fold(pc, lookup)?)),
            Expr::Binary(operator, a, b, span) => {
                binary(operator, a.fold(pc, lookup)?, b.fold(pc, lookup)?, *span)
            }
            Expr::Part(part, whole) => Ok(part.of(whole.fold(pc, lookup)?)),
        }
    }
}

/// Gives the value of a symbol that is used somewhere.
pub(super) type Lookup<'a> = dyn FnMut(SymbolId, Span) -> Result<i64, Problem> + 'a;

fn unary(operator: &str, value: i64) -> i64 {
    match operator {
        "-" => value.wrapping_neg(),
        "~" => !value,
        "!" => i64::from(value == 0),
        _ => value,
    }
}

fn binary(operator: &str, a: i64, b: i64, span: Span) -> Result<i64, Problem> {
    let truth = |condition| if condition { -1 } else { 0 };
    let divisor = || if b == 0 { Err(Problem::new(span, "division by zero")) } else { Ok(b) };
    let shift =
        |f: fn(u64, u32) -> Option<u64>| u32::try_from(b).ok().and_then(|b| f(a as u64, b)).unwrap_or(0);
    Ok(match operator {
        "*" => a.wrapping_mul(b),
        "/" => a.wrapping_div(divisor()?),
        "%" => a.wrapping_rem(divisor()?),
        "<<" => shift(u64::checked_shl) as i64,
        ">>" => shift(u64::checked_shr) as i64,
        "|" => a | b,
        "&" => a & b,
        "^" => a ^ b,
        "!" => a | !b,
        "+" => a.wrapping_add(b),
        "-" => a.wrapping_sub(b),
        "==" => truth(a == b),
        "!=" | "<>" => truth(a != b),
        "<" => truth(a < b),
        "<=" => truth(a <= b),
        ">" => truth(a > b),
        ">=" => truth(a >= b),
        "&&" => i64::from(a != 0 && b != 0),
        _ => i64::from(a != 0 || b != 0),
    })
}

/// How tightly a binary operator binds.
fn precedence(operator: &str) -> Option<u8> {
    Some(match operator {
        "*" | "/" | "%" | "<<" | ">>" => 6,
        "|" | "&" | "^" | "!" => 5,
        "+" | "-" => 4,
        "==" | "!=" | "<>" | "<" | "<=" | ">" | ">=" => 3,
        "&&" => 2,
        "||" => 1,
        _ => return None,
    })
}

/// The most operators and brackets of one expression; it is walked by recursion.
const MAX_SIZE: usize = 256;

/// Reads an expression.
pub(super) fn parse(cursor: &mut Cursor, scope: &mut Scope) -> Result<Expr, Problem> {
    Parser { cursor, scope, size: 0 }.binary(1)
}

struct Parser<'c, 't, 's, 'm> {
    cursor: &'c mut Cursor<'t>,
    scope: &'s mut Scope<'m>,
    size: usize,
}

impl Parser<'_, '_, '_, '_> {
    fn grow(&mut self) -> Result<(), Problem> {
        self.size += 1;
        if self.size <= MAX_SIZE {
            return Ok(());
        }
        Err(Problem::new(self.cursor.span(), format!("an expression has at most {MAX_SIZE} operators")))
    }

    fn binary(&mut self, least: u8) -> Result<Expr, Problem> {
        let mut left = self.unary()?;
        while let Some((operator, precedence, span)) = self.operator(least) {
            self.grow()?;
            self.cursor.take();
            let right = self.binary(precedence + 1)?;
            left = match (left.number(), right.number()) {
                (Some(a), Some(b)) => Expr::Number(binary(operator, a, b, span)?),
                _ => Expr::Binary(operator, Box::new(left), Box::new(right), span),
            };
        }
        Ok(left)
    }

    /// The next token as an operator that binds at least so tightly.
    fn operator(&self, least: u8) -> Option<(&'static str, u8, Span)> {
        let token = self.cursor.peek()?;
        let Kind::Mark(mark) = token.kind else { return None };
        let precedence = precedence(mark).filter(|p| *p >= least)?;
        let is_sign = matches!(mark, "+" | "-") && token.spaced;
        let starts_next = is_sign && self.cursor.peek_second().is_some_and(|next| !next.spaced);
        if starts_next && self.scope.splits_at_signs {
            return None;
        }
        Some((mark, precedence, token.span))
    }

    fn unary(&mut self) -> Result<Expr, Problem> {
        let Some(Kind::Mark(mark)) = self.cursor.peek().map(|token| &token.kind) else {
            return self.primary();
        };
        self.grow()?;
        match *mark {
            "-" | "+" | "~" | "!" => {
                self.cursor.take();
                let operand = self.unary()?;
                Ok(match operand.number() {
                    Some(number) => Expr::Number(unary(mark, number)),
                    None => Expr::Unary(mark, Box::new(operand)),
                })
            }
            "(" => self.bracketed(),
            "%" => self.part(),
            _ => Err(self.cursor.unexpected("an expression")),
        }
    }

    fn bracketed(&mut self) -> Result<Expr, Problem> {
        self.cursor.expect("(")?;
        let inner = self.binary(1)?;
        self.cursor.expect(")")?;
        Ok(inner)
    }

    fn part(&mut self) -> Result<Expr, Problem> {
        self.cursor.take();
        let (name, span) = self.cursor.expect_name("hi, lo, higher or highest after `%`")?;
        let Some((_, part)) = PART_NAMES.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)) else {
            let problem = Problem::new(span, format!("unknown operator `%{name}`"));
            return Err(problem
                .label("expected %hi, %lo, %higher or %highest; macro parameters are known in macros only"));
        };
        let whole = self.bracketed()?;
        Ok(Expr::Part(*part, Box::new(whole)))
    }

    fn primary(&mut self) -> Result<Expr, Problem> {
        let Some(token) = self.cursor.peek() else { return Err(self.cursor.unexpected("an expression")) };
        let expr = match &token.kind {
            Kind::Integer(number) => Expr::Number(*number),
            Kind::Local { number, forward } => {
                Expr::Symbol(self.scope.symbols.local(*number, *forward), token.span)
            }
            Kind::Name(name) if name == "." => match self.scope.here {
                Some(here) => Expr::Number(here as i64),
                None => return Err(self.cursor.unexpected("a number")),
            },
            Kind::Name(name) => {
                let id = self.scope.symbols.intern(name);
                self.scope.symbols.number(id).map_or(Expr::Symbol(id, token.span), Expr::Number)
            }
            _ => return Err(self.cursor.unexpected("an expression")),
        };
        self.cursor.take();
        Ok(expr)
    }
}

#[cfg(test)]
mod tests {
    use super::super::lex::{Style, lex};
    use super::super::register::Abi;
    use super::super::source::SourceMap;
    use super::*;

    fn value(text: &str) -> Result<i64, Problem> {
        let mut map = SourceMap::default();
        let frame = map.add_frame("t.s".into(), None);
        let line = map.add_line(frame, 1, text.into());
        let (tokens, _) = lex(text, line, Style { octal: true, abi: Abi::O32 });
        let mut symbols = Symbols::default();
        let mut scope = Scope { symbols: &mut symbols, here: Some(0x400000), splits_at_signs: false };
        let expr = parse(&mut Cursor::new(&tokens), &mut scope)?;
        expr.value(&symbols, 0)
    }

    /// The values are those that GNU as 2.40 gives.
    #[test]
    fn precedence_is_that_of_gnu_as() {
        let cases = [
            ("(-1>>1)>>60", 7),
            ("1|2+4", 7),
            ("7&3*2", 6),
            ("10-3-2", 5),
            ("1<<4-1", 15),
            ("5==5", -1),
            ("2<1", 0),
            ("5!2", 5 | !2),
            ("-7/2", -3),
            ("-7%3", -1),
            ("3&&0", 0),
            ("~5", -6),
            ("1+2==3", -1),
            ("%hi(0x12348000)", 0x1235),
            ("%lo(0x12348000)", -0x8000),
            ("%higher(0x123480008000)", 0x1235),
            ("%highest(0x123480008000)", 0),
            (".+8", 0x400008),
            ("1<<64", 0),
        ];
        for (text, expected) in cases {
            assert_eq!(value(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        assert!(value(&"(".repeat(100_000)).is_err());
        assert!(value(&"-".repeat(100_000)).is_err());
        assert!(value(&format!("1{}", "+a".repeat(100_000))).is_err());
        assert!(value("1/0").is_err());
    }
}
