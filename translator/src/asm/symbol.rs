//! Symbols: labels, numeric local labels and named values. Knows addresses as numbers.

use std::collections::HashMap;

use super::diagnostics::Problem;
use super::expression::Expr;
use super::source::Span;
use super::suggest;

/// The number of a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SymbolId(u32);

#[derive(Debug)]
enum Definition {
    Label(u64),
    Number(i64),
    /// A value that depends on labels.
    Value(Expr),
}

#[derive(Debug, Default)]
struct Entry {
    name: String,
    definition: Option<(Definition, Span)>,
    is_fixed: bool,
}

/// All symbols.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    entries: Vec<Entry>,
    by_name: HashMap<String, SymbolId>,
    /// How often each numeric label has been defined.
    locals: HashMap<u32, u32>,
}

/// How many values may be defined by each other in a row.
const MAX_DEPTH: usize = 64;
/// How many symbols one value may lead to, those met twice counted twice.
const MAX_STEPS: usize = 10_000;

impl Symbols {
    /// The symbol called `name`.
    pub fn intern(&mut self, name: &str) -> SymbolId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let id = SymbolId(self.entries.len() as u32);
        self.entries.push(Entry { name: name.into(), ..Entry::default() });
        self.by_name.insert(name.into(), id);
        id
    }

    /// The numeric label before or after this point.
    pub fn local(&mut self, number: u32, forward: bool) -> SymbolId {
        let count = self.locals.get(&number).copied().unwrap_or(0) + u32::from(forward);
        let id = self.intern(&local_name(number, count));
        if self.entries[id.0 as usize].definition.is_none() {
            self.entries[id.0 as usize].name = format!("{number}{}", if forward { 'f' } else { 'b' });
        }
        id
    }

    /// Defines a numeric label.
    pub fn define_local(&mut self, number: u32, address: u64, span: Span) -> SymbolId {
        let count = self.locals.entry(number).or_insert(0);
        *count += 1;
        let name = local_name(number, *count);
        let id = self.intern(&name);
        self.entries[id.0 as usize].definition = Some((Definition::Label(address), span));
        id
    }

    /// Defines a label.
    pub fn define_label(&mut self, name: &str, address: u64, span: Span) -> Result<SymbolId, Problem> {
        let id = self.intern(name);
        let entry = &mut self.entries[id.0 as usize];
        if let Some((_, first)) = &entry.definition {
            let problem = Problem::new(span, format!("duplicate label `{name}`"));
            return Err(problem.note(format!("`{name}` is first defined here"), *first));
        }
        entry.definition = Some((Definition::Label(address), span));
        Ok(id)
    }

    /// Moves a label that stands before data that are then aligned.
    pub fn move_label(&mut self, id: SymbolId, address: u64) {
        if let Some((Definition::Label(old), _)) = &mut self.entries[id.0 as usize].definition {
            *old = address;
        }
    }

    /// Gives a name a value; `is_fixed` if it may not get another.
    pub fn set(&mut self, name: &str, value: Expr, span: Span, is_fixed: bool) -> Result<(), Problem> {
        let id = self.intern(name);
        let entry = &mut self.entries[id.0 as usize];
        if let Some((definition, first)) = &entry.definition
            && (is_fixed || entry.is_fixed || matches!(definition, Definition::Label(_)))
        {
            let problem = Problem::new(span, format!("`{name}` is already defined"));
            return Err(problem.note("it is first defined here", *first));
        }
        let definition = value.number().map_or(Definition::Value(value), Definition::Number);
        entry.definition = Some((definition, span));
        entry.is_fixed = is_fixed;
        Ok(())
    }

    /// The value, if it is a number that depends on no label.
    pub fn number(&self, id: SymbolId) -> Option<i64> {
        match self.entries[id.0 as usize].definition {
            Some((Definition::Number(number), _)) => Some(number),
            _ => None,
        }
    }

    /// The value, used at `span`.
    pub fn value(&self, id: SymbolId, span: Span) -> Result<i64, Problem> {
        self.resolve(id, span, &mut 0, 0)
    }

    fn resolve(&self, id: SymbolId, span: Span, steps: &mut usize, depth: usize) -> Result<i64, Problem> {
        let entry = &self.entries[id.0 as usize];
        *steps += 1;
        match &entry.definition {
            Some((Definition::Label(address), _)) => Ok(*address as i64),
            Some((Definition::Number(number), _)) => Ok(*number),
            Some((Definition::Value(expr), _)) if depth < MAX_DEPTH && *steps < MAX_STEPS => {
                expr.fold(0, &mut |id, span| self.resolve(id, span, steps, depth + 1))
            }
            Some((Definition::Value(_), defined)) => {
                let message =
                    format!("the value of `{}` depends on itself or on too many others", entry.name);
                Err(Problem::new(span, message).note("it is defined here", *defined))
            }
            None => Err(self.undefined(&entry.name, span)),
        }
    }

    fn undefined(&self, name: &str, span: Span) -> Problem {
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            let place = if name.ends_with('f') { "after" } else { "before" };
            let number = name.trim_end_matches(['f', 'b']);
            let label = format!("there is no label `{number}:` {place} this line");
            return Problem::new(span, format!("undefined label `{name}`")).label(label);
        }
        let defined = self.entries.iter().filter(|e| e.definition.is_some() && e.name != name);
        let suggestion = suggest::did_you_mean(name, defined.map(|e| e.name.as_str()));
        let what =
            if name.starts_with('$') { "undefined label or unknown register" } else { "undefined label" };
        Problem::new(span, format!("{what} `{name}`")).label(suggestion)
    }

    /// All labels with a name of their own.
    pub fn labels(&self) -> impl Iterator<Item = (&str, u64)> {
        self.by_name.iter().filter_map(|(name, id)| {
            let is_local = name.starts_with(|c: char| c.is_ascii_digit());
            match self.entries[id.0 as usize].definition {
                Some((Definition::Label(address), _)) if !is_local => Some((name.as_str(), address)),
                _ => None,
            }
        })
    }

    /// The address of the label called `name`.
    pub fn address(&self, name: &str) -> Option<u64> {
        let id = self.by_name.get(name)?;
        match self.entries[id.0 as usize].definition {
            Some((Definition::Label(address), _)) => Some(address),
            _ => None,
        }
    }

    /// Whether `name` has been defined.
    pub fn is_defined(&self, name: &str) -> bool {
        self.by_name.get(name).is_some_and(|id| self.entries[id.0 as usize].definition.is_some())
    }
}

/// A name that no program can write.
fn local_name(number: u32, count: u32) -> String {
    format!("{number}#{count}")
}
