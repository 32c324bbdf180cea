//! The first pass: line after line, statement after statement, until every label has its address. What a
//! statement does is in `statement` and `directive`; here is what they share.

use std::collections::{BTreeSet, HashMap};

use super::diagnostics::{Diagnostics, Log, Problem};
use super::expression::Scope;
use super::layout::Layout;
use super::lex::{Kind, Style, Token, lex};
use super::link::link;
use super::macros::Macros;
use super::program::{Lines, Para, Program};
use super::reader::Reader;
use super::source::{LineId, SourceMap, Span, Text, Unreadable};
use super::symbol::{SymbolId, Symbols};
use super::{Compat, Cpu, Options};
use crate::addr::Va;

/// How instructions are made: what `.set` changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Modes {
    /// Whether delay slots are filled here rather than by the programmer.
    pub reorder: bool,
    /// Whether `$at` is the assembler's.
    pub at: bool,
    /// Whether there are 64-bit instructions.
    pub wide: bool,
}

/// Reads a file.
pub(super) type Read<'a> = dyn Fn(&str, Option<&str>) -> Result<Text, Unreadable> + 'a;

/// The most tokens that `.eqv` may make of one line.
const MAX_TOKENS: usize = 1 << 16;

/// The state of an assembly.
pub(super) struct Assembler<'a> {
    pub options: Options,
    pub read: &'a Read<'a>,
    pub map: SourceMap,
    pub reader: Reader,
    pub log: Log,
    pub symbols: Symbols,
    pub layout: Layout,
    pub macros: Macros,
    /// What names that `.eqv` defines stand for.
    pub equates: HashMap<String, Vec<Token>>,
    pub modes: Modes,
    pub saved_modes: Vec<Modes>,
    /// Labels that nothing stands after yet: aligned data take them along.
    pub fresh_labels: Vec<SymbolId>,
    /// The directive whose list may go on in the next line, and whether it ended with a comma.
    pub continued: Option<(String, bool)>,
    /// Whether data are aligned to their size.
    pub aligns: bool,
    /// Whether the last instruction left its delay slot to the next.
    pub in_slot: bool,
    pub globals: BTreeSet<String>,
    pub hypercalls: Vec<Para>,
    pub statements: Vec<(u64, u32, Span)>,
}

impl<'a> Assembler<'a> {
    /// An assembly that has read nothing.
    pub fn new(read: &'a Read<'a>, options: Options) -> Self {
        let wide = options.cpu == Cpu::Mips64r2;
        Self {
            options,
            read,
            map: SourceMap::default(),
            reader: Reader::default(),
            log: Log::default(),
            symbols: Symbols::default(),
            layout: Layout::default(),
            macros: Macros::default(),
            equates: HashMap::new(),
            modes: Modes { reorder: !options.delayed_branches, at: true, wide },
            saved_modes: Vec::new(),
            fresh_labels: Vec::new(),
            continued: None,
            aligns: true,
            in_slot: false,
            globals: BTreeSet::new(),
            hypercalls: Vec::new(),
            statements: Vec::new(),
        }
    }

    /// Assembles the file called `root` and what it includes.
    pub fn run(mut self, root: &str) -> Result<Program, Diagnostics> {
        match (self.read)(root, None) {
            Err(reason) => self.log.add(Problem::general(format!("cannot read `{root}`: {reason}"))),
            Ok(text) => {
                let pushed = self.reader.push_file(&mut self.map, &text, None);
                self.report(pushed);
                self.read_lines(0);
                self.check_program(root);
            }
        }
        let endian = self.options.endian;
        let segments = link(&self.layout, &self.symbols, endian, &mut self.log);
        let entry = self.entry();
        if self.log.has_errors() {
            return Err(self.log.finish(&self.map));
        }
        self.statements.sort_by_key(|(address, _, _)| *address);
        let statements = self.statements.iter();
        let statements =
            statements.map(|(va, count, span)| (Va(*va), *count, self.map.place(*span))).collect();
        Ok(Program {
            segments,
            entry: Va(entry),
            symbols: self.symbols.labels().map(|(name, va)| (name.to_owned(), Va(va))).collect(),
            globals: self.globals,
            lines: Lines { statements },
            hypercalls: self.hypercalls,
            warnings: self.log.finish(&self.map),
        })
    }

    fn check_program(&mut self, root: &str) {
        let has_code = self.layout.chunks.iter().any(|chunk| chunk.section.is_code() && chunk.size > 0);
        if !has_code && self.statements.is_empty() && !self.log.has_errors() {
            self.log.add(Problem::general(format!("`{root}` has no instructions")));
        }
    }

    /// The address at which the program starts.
    fn entry(&self) -> u64 {
        let named = ["__start", "_start", "main"]
            .into_iter()
            .filter(|name| *name != "_start" || self.options.compat == Compat::Gas);
        let first_in_text = || {
            let chunks =
                self.layout.chunks.iter().filter(|c| c.section == super::Section::Text && c.size > 0);
            chunks.map(|c| c.base).next()
        };
        let first = self.statements.first().map_or(0, |(address, _, _)| *address);
        named.filter_map(|name| self.symbols.address(name)).next().or_else(first_in_text).unwrap_or(first)
    }

    /// Notes a problem.
    pub fn report(&mut self, result: Result<(), Problem>) {
        if let Err(problem) = result {
            self.log.add(problem);
        }
    }

    /// Reads lines until no more than `depth` files and macros are open.
    pub fn read_lines(&mut self, depth: usize) {
        loop {
            match self.reader.next(&mut self.map, depth) {
                Ok(Some(line)) => self.line(line),
                Ok(None) => return,
                Err(problem) => return self.log.add(problem),
            }
        }
    }

    fn line(&mut self, line: LineId) {
        let text = self.map.text(line);
        let style = Style { octal: self.options.compat != Compat::Spim, abi: self.options.abi };
        let (tokens, problem) = lex(&text, line, style);
        let tokens = self.replace_equates(tokens);
        let mut rest = tokens.as_slice();
        while let Some(end) = rest.iter().position(|token| token.is(";")) {
            let result = self.statement(&rest[..end]);
            self.report(result);
            rest = &rest[end + 1..];
        }
        let is_broken = problem.is_some() && !Self::takes_raw_text(rest);
        let result = if is_broken { self.labels(rest).map(|_| ()) } else { self.statement(rest) };
        self.report(result);
        self.report(problem.filter(|_| is_broken).map_or(Ok(()), Err));
    }

    /// Puts in what `.eqv` names stand for, but not where one is being defined.
    fn replace_equates(&mut self, tokens: Vec<Token>) -> Vec<Token> {
        if self.equates.is_empty()
            || !tokens.iter().any(|t| t.name().is_some_and(|n| self.equates.contains_key(n)))
        {
            return tokens;
        }
        let is_definition =
            tokens.first().and_then(Token::name).is_some_and(|n| n.eq_ignore_ascii_case(".eqv"));
        let mut replaced = Vec::new();
        for (index, token) in tokens.into_iter().enumerate() {
            let meaning = token.name().and_then(|name| self.equates.get(name));
            match meaning {
                Some(meaning) if !(is_definition && index == 1) => {
                    let moved =
                        |t: &Token| Token { kind: t.kind.clone(), span: token.span, spaced: t.spaced };
                    replaced.extend(meaning.iter().map(moved));
                }
                _ => replaced.push(token),
            }
            if replaced.len() > MAX_TOKENS {
                let span = replaced[MAX_TOKENS].span;
                self.log.add(Problem::new(span, "`.eqv` makes this line too long"));
                return Vec::new();
            }
        }
        replaced
    }

    /// Defines the labels that a statement starts with; returns what follows them.
    pub fn labels<'t>(&mut self, mut tokens: &'t [Token]) -> Result<&'t [Token], Problem> {
        while let [label, colon, rest @ ..] = tokens {
            if !colon.is(":") {
                break;
            }
            let address = self.layout.here();
            let id = match &label.kind {
                Kind::Name(name) => self.symbols.define_label(name, address, label.span),
                Kind::Integer(number) => match u32::try_from(*number) {
                    Ok(number) => Ok(self.symbols.define_local(number, address, label.span)),
                    Err(_) => Err(Problem::new(label.span, "a numeric label is less than 4294967296")),
                },
                Kind::Register(_) => Err(Problem::new(label.span, "a register's name cannot be a label")),
                _ => break,
            };
            match id {
                Ok(id) => self.fresh_labels.push(id),
                Err(problem) => self.log.add(problem),
            }
            tokens = rest;
        }
        Ok(tokens)
    }

    /// What expressions are read in.
    pub fn scope(&mut self) -> Scope<'_> {
        Scope {
            here: Some(self.layout.here()),
            symbols: &mut self.symbols,
            splits_at_signs: self.options.compat != Compat::Gas,
        }
    }
}
