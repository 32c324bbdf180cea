//! Pseudo-instructions: what each stands for. The table has every name that is no row of the instruction
//! table, and the names of rows that programs also use with other operands. An expansion is a list of
//! instructions whose number is known at once, so that addresses need no second look.

mod arithmetic;
mod branch;
mod constant;
mod memory;

use super::Compat;
use super::diagnostics::Problem;
use super::expression::Expr;
use super::instruction::{Arg, Instruction, narrow_number, number_of, register, value};
use super::operand::{Argument, Given};
use super::register::Register;
use super::source::Span;
use crate::isa::Op;

pub(super) use memory::direct;

/// The assembler's temporary.
const AT: u8 = 1;

/// What a pseudo-instruction does with its operands.
type Expand = fn(&mut Expansion, &Operands) -> Result<(), Problem>;

/// A pseudo-instruction: its name, how it is written (in brackets what may be left out) and its expansion.
pub(super) type Pseudo = (&'static str, &'static str, Expand);

/// The tables of all families.
const TABLES: [&[Pseudo]; 4] = [arithmetic::TABLE, branch::TABLE, constant::TABLE, memory::TABLE];

/// The pseudo-instruction called `name`.
pub(super) fn by_name(name: &str) -> Option<&'static Pseudo> {
    TABLES.into_iter().flatten().find(|(n, _, _)| *n == name)
}

/// All names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLES.into_iter().flatten().map(|(name, _, _)| *name)
}

/// An expansion in the making.
pub(super) struct Expansion {
    /// Whether registers are 64 bits wide.
    pub wide: bool,
    /// Whether the most significant byte comes first.
    pub big_endian: bool,
    /// Whose checks are made.
    pub compat: Compat,
    /// The instructions.
    pub out: Vec<Instruction>,
    /// Whether they use `$at`.
    pub uses_at: bool,
}

impl Expansion {
    fn put<const N: usize>(&mut self, op: Op, args: [Arg; N]) {
        self.out.push(Instruction { op, args: args.into() });
    }

    /// An instruction with two registers.
    fn two(&mut self, op: Op, a: u8, b: u8) {
        self.put(op, [register(a), register(b)]);
    }

    /// An instruction with three registers.
    fn three(&mut self, op: Op, a: u8, b: u8, c: u8) {
        self.put(op, [register(a), register(b), register(c)]);
    }

    /// An instruction with two registers and a number.
    fn with_number(&mut self, op: Op, a: u8, b: u8, number: i64) {
        self.put(op, [register(a), register(b), number_of(number)]);
    }

    fn nop(&mut self) {
        self.put(Op::Nop, []);
    }

    /// The temporary.
    fn at(&mut self) -> u8 {
        self.uses_at = true;
        AT
    }

    /// A copy, whatever the width of registers.
    fn copy(&mut self, to: u8, from: u8) {
        self.three(Op::Or, to, from, 0);
    }

    /// `narrow`, or `wide` where registers are 64 bits wide.
    fn by_width(&self, narrow: Op, wide: Op) -> Op {
        if self.wide { wide } else { narrow }
    }

    /// The register of a source; a value is loaded into the temporary.
    fn register_of(&mut self, source: &Source) -> Result<u8, Problem> {
        match source {
            Source::Register(number) => Ok(*number),
            Source::Value(Expr::Number(0), _) => Ok(0),
            Source::Value(expr, span) => {
                let at = self.at();
                self.load_value(at, expr, *span)?;
                Ok(at)
            }
        }
    }
}

/// A register or a value.
enum Source {
    Register(u8),
    Value(Expr, Span),
}

/// An address as it was written.
struct Address {
    offset: Expr,
    base: u8,
    span: Span,
}

/// The operands of a pseudo-instruction.
pub(super) struct Operands<'a> {
    pub name: &'a str,
    pub given: &'a [Given],
    pub span: Span,
    pub wide: bool,
    pub usage: &'a str,
}

impl Operands<'_> {
    /// Complains if there are too few or too many.
    pub fn check_count(&self) -> Result<(), Problem> {
        let words = self.usage.split(", ").filter(|w| !w.is_empty());
        let most = words.clone().count();
        let least = words.filter(|w| !w.starts_with('[')).count();
        if (least..=most).contains(&self.given.len()) {
            return Ok(());
        }
        let span = self.given.get(most).map_or(self.span, |extra| extra.span);
        let amount = if self.given.len() > most { "too many operands for" } else { "too few operands for" };
        Err(Problem::new(span, format!("{amount} `{}`", self.name)).label(self.usage_line()))
    }

    /// How it is written.
    pub fn usage_line(&self) -> String {
        format!("usage: {} {}", self.name, self.usage)
    }

    fn mismatch(&self, index: usize, what: &str) -> Problem {
        match self.given.get(index) {
            Some(given) => given.unexpected(what),
            None => Problem::new(self.span, format!("`{}` needs more operands", self.name))
                .label(self.usage_line()),
        }
    }

    fn gpr(&self, index: usize) -> Result<u8, Problem> {
        let found = self.given.get(index).and_then(Given::gpr);
        found.ok_or_else(|| self.mismatch(index, "a general register"))
    }

    fn fpr(&self, index: usize) -> Result<u8, Problem> {
        match self.given.get(index).map(|g| &g.argument) {
            Some(Argument::Register(Register::Fpr(number))) => Ok(*number),
            _ => Err(self.mismatch(index, "a floating-point register")),
        }
    }

    fn value(&self, index: usize) -> Result<(Expr, Span), Problem> {
        match self.source(index) {
            Ok(Source::Value(expr, span)) => Ok((expr, span)),
            _ => Err(self.mismatch(index, "a number")),
        }
    }

    fn source(&self, index: usize) -> Result<Source, Problem> {
        let given = self.given.get(index).ok_or_else(|| self.mismatch(index, ""))?;
        match (&given.argument, given.gpr()) {
            (_, Some(number)) => Ok(Source::Register(number)),
            _ if given.is_unknown_register() => Err(given.unexpected("a register")),
            (Argument::Value(Expr::Number(number)), _) if !self.wide => {
                Ok(Source::Value(Expr::Number(narrow_number(*number)), given.span))
            }
            (Argument::Value(expr), _) => Ok(Source::Value(expr.clone(), given.span)),
            _ => Err(self.mismatch(index, "a general register or a number")),
        }
    }

    fn target(&self, index: usize) -> Result<Arg, Problem> {
        let (expr, span) = self.value(index).map_err(|_| self.mismatch(index, "a label"))?;
        Ok(value(expr, Some(span)))
    }

    fn address(&self, index: usize) -> Result<Address, Problem> {
        let given = self.given.get(index).ok_or_else(|| self.mismatch(index, ""))?;
        let (offset, base) = match &given.argument {
            Argument::Memory(offset, base) => (offset.clone(), *base),
            Argument::Value(_) => (self.value(index)?.0, 0),
            _ => return Err(self.mismatch(index, "an address")),
        };
        let offset = match offset {
            Expr::Number(number) if !self.wide => Expr::Number(narrow_number(number)),
            _ => offset,
        };
        Ok(Address { offset, base, span: given.span })
    }

    /// Destination and source of the forms in which the source may be left out.
    fn pair(&self) -> Result<(u8, u8), Problem> {
        Ok((self.gpr(0)?, self.gpr(self.given.len() - 1)?))
    }

    /// Destination and sources of the forms in which the first source may be left out.
    fn triple(&self) -> Result<(u8, u8, Source), Problem> {
        let last = self.given.len() - 1;
        Ok((self.gpr(0)?, self.gpr(last - 1)?, self.source(last)?))
    }
}
