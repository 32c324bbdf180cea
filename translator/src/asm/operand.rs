//! The operands of a statement as they were written: registers, values and addresses. Knows no
//! instruction; which operand goes where is matched in `instruction.rs` and `pseudo`.

use super::Compat;
use super::cursor::Cursor;
use super::diagnostics::Problem;
use super::expression::{self, Expr, Scope};
use super::lex::{Float, Kind, Token};
use super::register::{self, Abi, Register};
use super::source::Span;
use super::suggest;

/// An operand.
#[derive(Clone, Debug)]
pub(super) enum Argument {
    Register(Register),
    Value(Expr),
    Float(Float),
    /// `offset(base)`
    Memory(Expr, u8),
    /// `$index($base)`
    Indexed(u8, u8),
}

/// An operand and where it is.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub argument: Argument,
    pub span: Span,
    /// The text of its first token, if that is a name.
    pub text: String,
    pub abi: Abi,
}

impl Given {
    /// Complains that it is not what is wanted.
    pub fn unexpected(&self, what: &str) -> Problem {
        if looks_like_register(&self.text) {
            let names: Vec<String> = register::all_names(self.abi).collect();
            let suggestion = suggest::did_you_mean(&self.text, names.iter().map(String::as_str));
            return Problem::new(self.span, format!("unknown register `{}`", self.text)).label(suggestion);
        }
        Problem::new(self.span, format!("expected {what}, found {}", self.kind()))
    }

    fn kind(&self) -> &'static str {
        match &self.argument {
            Argument::Register(Register::Number(_) | Register::Gpr(_)) => "a general register",
            Argument::Register(Register::Fpr(_)) => "a floating-point register",
            Argument::Register(Register::Condition(_)) => "a condition code",
            Argument::Register(Register::FloatControl(_)) => "a control register",
            Argument::Value(Expr::Number(_)) => "a number",
            Argument::Value(_) => "a label or expression",
            Argument::Float(_) => "a floating-point number",
            Argument::Memory(..) | Argument::Indexed(..) => "an address",
        }
    }

    /// Whether it reads as a symbol but is, where no label can be, a register's name misspelt.
    pub fn is_unknown_register(&self) -> bool {
        matches!(self.argument, Argument::Value(Expr::Symbol(..))) && looks_like_register(&self.text)
    }

    /// The general register, if it is one.
    pub fn gpr(&self) -> Option<u8> {
        match self.argument {
            Argument::Register(Register::Gpr(n) | Register::Number(n)) => Some(n),
            _ => None,
        }
    }

    /// Whether it uses the assembler's temporary by its name.
    pub fn names_at(&self) -> bool {
        matches!(self.argument, Argument::Register(Register::Gpr(1)) | Argument::Memory(_, 1))
    }
}

/// Names with a `$` are registers, but those that compilers give to labels start with `$L`.
fn looks_like_register(name: &str) -> bool {
    name.starts_with('$') && !name.starts_with("$L")
}

/// Reads all operands that are left.
pub(super) fn parse_all(
    cursor: &mut Cursor,
    scope: &mut Scope,
    compat: Compat,
    abi: Abi,
) -> Result<Vec<Given>, Problem> {
    let mut all = Vec::new();
    while !cursor.is_at_end() {
        all.push(parse(cursor, scope, abi)?);
        separate(cursor, compat)?;
    }
    Ok(all)
}

/// Reads the comma between two operands, which MARS and SPIM do not ask for.
pub(super) fn separate(cursor: &mut Cursor, compat: Compat) -> Result<(), Problem> {
    if cursor.is_at_end() {
        return Ok(());
    }
    if !cursor.eat(",") {
        return if compat == Compat::Gas { Err(cursor.unexpected("`,`")) } else { Ok(()) };
    }
    if cursor.is_at_end() {
        return Err(cursor.unexpected("an operand after the comma"));
    }
    Ok(())
}

fn parse(cursor: &mut Cursor, scope: &mut Scope, abi: Abi) -> Result<Given, Problem> {
    let start = cursor.span();
    let text = cursor.peek().and_then(|t| t.name()).unwrap_or("").to_owned();
    let argument = parse_argument(cursor, scope)?;
    Ok(Given { argument, span: start.to(cursor.last_span()), text, abi })
}

fn parse_argument(cursor: &mut Cursor, scope: &mut Scope) -> Result<Argument, Problem> {
    if let Some(number) = parse_float(cursor) {
        return Ok(Argument::Float(number));
    }
    if let Some(Kind::Register(register)) = cursor.peek().map(|t| &t.kind) {
        cursor.take();
        return parse_indexed(cursor, *register);
    }
    if let Some(base) = parse_base(cursor)? {
        return Ok(Argument::Memory(Expr::Number(0), base));
    }
    let value = expression::parse(cursor, scope)?;
    Ok(match parse_base(cursor)? {
        Some(base) => Argument::Memory(value, base),
        None => Argument::Value(value),
    })
}

/// A floating-point number with its sign.
pub(super) fn parse_float(cursor: &mut Cursor) -> Option<Float> {
    let is_float = |t: Option<&Token>| match t.map(|t| &t.kind) {
        Some(Kind::Float(number)) => Some(*number),
        _ => None,
    };
    if let Some(number) = is_float(cursor.peek()) {
        cursor.take();
        return Some(number);
    }
    let negative = cursor.is_next("-");
    if !negative && !cursor.is_next("+") {
        return None;
    }
    let number = is_float(cursor.peek_second())?;
    cursor.take();
    cursor.take();
    Some(if negative { number.negated() } else { number })
}

fn parse_indexed(cursor: &mut Cursor, register: Register) -> Result<Argument, Problem> {
    let (Register::Gpr(index) | Register::Number(index)) = register else {
        return Ok(Argument::Register(register));
    };
    Ok(match parse_base(cursor)? {
        Some(base) => Argument::Indexed(index, base),
        None => Argument::Register(register),
    })
}

/// `($base)`, if that is what comes next.
fn parse_base(cursor: &mut Cursor) -> Result<Option<u8>, Problem> {
    let second = cursor.peek_second().map(|t| &t.kind);
    let is_unknown = matches!(second, Some(Kind::Name(name)) if looks_like_register(name));
    if !cursor.is_next("(") || !(is_unknown || matches!(second, Some(Kind::Register(_)))) {
        return Ok(None);
    }
    cursor.take();
    let Some(Kind::Register(Register::Gpr(base) | Register::Number(base))) = cursor.peek().map(|t| &t.kind)
    else {
        return Err(cursor.unexpected("a general register"));
    };
    cursor.take();
    cursor.expect(")")?;
    Ok(Some(*base))
}
