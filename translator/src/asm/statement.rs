//! One statement: labels, then an assignment, a directive, a para-instruction, the use of a macro, or an
//! instruction, real or pseudo.

use super::assembler::Assembler;
use super::cursor::Cursor;
use super::diagnostics::Problem;
use super::instruction::{Instruction, number_of};
use super::layout::Content;
use super::lex::{Kind, Token};
use super::operand::{self, Given};
use super::program::Para;
use super::pseudo::{self, Expansion, Operands, direct};
use super::source::Span;
use super::suggest::did_you_mean;
use super::{Compat, Endian, directive, expression};
use crate::isa::{Classes, Op};

const DUMP: &str = "DUMP_PROCESSOR_STATE";
const SNAPSHOT: &str = "SNAPSHOT";
const MIGRATE: &str = "MIGRATE";
const PARAS: [&str; 3] = [DUMP, SNAPSHOT, MIGRATE];

impl Assembler<'_> {
    /// Whether a statement's operand is read as text, so that its characters need not be tokens.
    pub fn takes_raw_text(tokens: &[Token]) -> bool {
        let names = tokens.iter().map_while(|t| (t.is(":") || t.name().is_some()).then_some(t));
        names
            .filter_map(Token::name)
            .any(|n| n.eq_ignore_ascii_case(SNAPSHOT) || n.eq_ignore_ascii_case(MIGRATE))
    }

    /// Does what a statement says.
    pub fn statement(&mut self, tokens: &[Token]) -> Result<(), Problem> {
        let whole = tokens.len();
        let tokens = self.labels(tokens)?;
        let mut cursor = Cursor::new(tokens);
        if cursor.is_at_end() {
            return Ok(());
        }
        if let Some((directive, comma)) = self.continued.take().filter(|_| tokens.len() == whole)
            && self.goes_on(&tokens[0], comma)
        {
            return directive::run(self, &mut cursor, &directive, tokens[0].span);
        }
        let (name, span) = cursor.expect_name("an instruction, a directive or a label")?;
        if cursor.is_next("=") {
            cursor.take();
            return self.assign(&mut cursor, name, span, false);
        }
        if self.macros.contains(name) {
            return self.use_macro(&mut cursor, name, span);
        }
        if let Some(para) = PARAS.into_iter().find(|para| para.eq_ignore_ascii_case(name)) {
            return self.para(&mut cursor, para, span);
        }
        if name.starts_with('.') {
            return directive::run(self, &mut cursor, name, span);
        }
        self.instruction(&mut cursor, name, span)
    }

    /// Whether a line is not a statement of its own but more of the list before: in MARS, one that
    /// starts with a value, or with a name after a comma.
    fn goes_on(&self, first: &Token, after_comma: bool) -> bool {
        let is_more = first.name().is_none_or(|name| after_comma && !name.starts_with('.'));
        self.options.compat == Compat::Mars && is_more
    }

    /// Gives a name the value of an expression.
    pub fn assign(
        &mut self,
        cursor: &mut Cursor,
        name: &str,
        span: Span,
        is_fixed: bool,
    ) -> Result<(), Problem> {
        let value = expression::parse(cursor, &mut self.scope())?;
        cursor.expect_end()?;
        self.symbols.set(name, value, span, is_fixed)
    }

    fn use_macro(&mut self, cursor: &mut Cursor, name: &str, span: Span) -> Result<(), Problem> {
        let whole = if cursor.is_at_end() { span } else { span.to(cursor.rest_span()) };
        let text = if cursor.is_at_end() { "" } else { self.map.slice(cursor.rest_span()) };
        let expanded = self.macros.expand(name, text);
        let (found, lines) = expanded.map_err(|message| Problem::new(whole, message))?;
        let depth = self.reader.depth();
        self.reader.push_macro(
            &mut self.map,
            found.file.clone(),
            lines,
            (found.name.clone(), found.arity()),
            whole,
        )?;
        self.read_lines(depth);
        Ok(())
    }

    fn para(&mut self, cursor: &mut Cursor, name: &'static str, span: Span) -> Result<(), Problem> {
        let para = match name {
            DUMP => {
                cursor.expect_end()?;
                Para::DumpProcessorState
            }
            SNAPSHOT => Para::Snapshot(self.text_operand(cursor, span, "a file name")?),
            _ => Para::Migrate(self.host_operand(cursor, span)?),
        };
        let known = self.hypercalls.iter().position(|p| *p == para);
        let index = known.unwrap_or(self.hypercalls.len());
        let code = number_of(index as i64 + 1);
        let call = Instruction { op: Op::Hypcall, args: vec![code] };
        let most = Op::Hypcall.row().operands().first().map_or(0, |slot| slot.field.max() as usize);
        if index >= most {
            return Err(Problem::new(
                span,
                format!("a program has at most {most} different para-instructions"),
            ));
        }
        if known.is_none() {
            self.hypercalls.push(para);
        }
        self.emit(vec![call], span)
    }

    /// The rest of a statement as text: a quoted string, or one word.
    fn text_operand(&mut self, cursor: &mut Cursor, name: Span, what: &str) -> Result<String, Problem> {
        if let Some(Kind::Text(bytes)) = cursor.peek().map(|t| &t.kind) {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let span = cursor.span();
            cursor.take();
            cursor.expect_end()?;
            let problem = || Problem::new(span, format!("expected {what}, found an empty string"));
            return if text.is_empty() { Err(problem()) } else { Ok(text) };
        }
        let line = self.map.line_of(name);
        let whole = self.map.text(line);
        let rest = whole.get(name.end as usize..).unwrap_or("");
        let rest = rest.split(';').next().unwrap_or("");
        let comment = rest.find(" #").or_else(|| rest.find("\t#")).unwrap_or(rest.len());
        let word = rest[..comment].trim();
        let start = name.end as usize + (rest.len() - rest.trim_start().len());
        let span = Span::new(line, start, start + word.len().max(1));
        if word.is_empty() || word.starts_with('#') {
            return Err(Problem::new(span, format!("expected {what}, found the end of the statement")));
        }
        if word.contains(char::is_whitespace) {
            return Err(Problem::new(span, format!("{what} with spaces needs quotes")));
        }
        Ok(word.into())
    }

    fn host_operand(&mut self, cursor: &mut Cursor, name: Span) -> Result<String, Problem> {
        let host = self.text_operand(cursor, name, "a host and, perhaps, a port")?;
        let after_brackets = host.rsplit_once(']').map_or(host.as_str(), |(_, after)| after);
        let port = after_brackets.rsplit_once(':').map(|(_, port)| port);
        if port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0)) && !host.starts_with(':') {
            return Ok(host);
        }
        let problem = Problem::new(name, format!("malformed host `{host}`"));
        Err(problem.label("expected host or host:port, with a port of 1 to 65535"))
    }

    fn instruction(&mut self, cursor: &mut Cursor, name: &str, span: Span) -> Result<(), Problem> {
        let lower = name.to_ascii_lowercase();
        let (row, pseudo) = (Op::from_name(&lower), pseudo::by_name(&lower));
        if row.is_none() && pseudo.is_none() {
            let problem = self.unknown_instruction(name, span);
            // A name by itself is most often a label.
            let label = "a label ends with `:`";
            return Err(if cursor.is_at_end() { problem.label_if_none(label) } else { problem });
        }
        let (compat, abi) = (self.options.compat, self.options.abi);
        let given = operand::parse_all(cursor, &mut self.scope(), compat, abi)?;
        let whole = given.last().map_or(span, |last| span.to(last.span));
        self.check_at(&given)?;
        let usage = pseudo.map_or("", |(_, usage, _)| usage);
        let operands = Operands { name: &lower, given: &given, span: whole, wide: self.modes.wide, usage };
        let mut expansion = self.expansion();
        let bound = row.map(|op| self.bind(op, &operands, &mut expansion));
        match (bound, pseudo) {
            (Some(Ok(())), _) => {}
            (Some(Err(problem)), None) => return Err(problem),
            (_, Some((_, _, expand))) => {
                expansion = self.expansion();
                operands.check_count()?;
                expand(&mut expansion, &operands)?;
            }
            (None, None) => return Ok(()),
        }
        self.check_expansion(&expansion, &lower, span)?;
        self.emit(expansion.out, whole)
    }

    fn expansion(&self) -> Expansion {
        Expansion {
            wide: self.modes.wide,
            big_endian: self.options.endian == Endian::Big,
            compat: self.options.compat,
            out: Vec::new(),
            uses_at: false,
        }
    }

    /// The row itself, if its operands are those of the row.
    fn bind(&self, op: Op, operands: &Operands, expansion: &mut Expansion) -> Result<(), Problem> {
        self.check_level(op, operands.span)?;
        let given = direct(expansion, op, operands)?;
        expansion.out.push(Instruction::bind(op, &given, operands.span, self.modes.wide)?);
        Ok(())
    }

    fn check_level(&self, op: Op, span: Span) -> Result<(), Problem> {
        let row = op.row();
        if self.modes.wide || !row.classes.contains(Classes::WIDE) {
            return Ok(());
        }
        let message = format!("`{}` is no instruction of mips32r2: it works on 64 bits", row.name);
        Err(Problem::new(span, message).label("needs mips64r2"))
    }

    fn check_expansion(&mut self, expansion: &Expansion, name: &str, span: Span) -> Result<(), Problem> {
        for instruction in &expansion.out {
            self.check_level(instruction.op, span)?;
        }
        if self.in_slot && expansion.out.len() > 1 {
            let count = expansion.out.len();
            let message = format!("`{name}` becomes {count} instructions, of which one is in the delay slot");
            self.log.add(Problem::warning(span, message));
        }
        if !expansion.uses_at || self.modes.at {
            return Ok(());
        }
        let message = format!("`{name}` needs $at here, which `.set noat` took away");
        if self.options.compat == Compat::Gas {
            return Err(Problem::new(span, message));
        }
        self.log.add(Problem::warning(span, message));
        Ok(())
    }

    /// Complains of `$at` in the program's hands, as the dialects do.
    fn check_at(&mut self, given: &[Given]) -> Result<(), Problem> {
        let Some(given) = given.iter().find(|g| g.names_at()).filter(|_| self.modes.at) else {
            return Ok(());
        };
        let message = "$at is the assembler's own register";
        match self.options.compat {
            Compat::Mars => {}
            Compat::Spim => return Err(Problem::new(given.span, message).label("use `.set noat` before")),
            Compat::Gas => {
                self.log.add(Problem::warning(given.span, message).label("use `.set noat` before"));
            }
        }
        Ok(())
    }

    fn unknown_instruction(&self, name: &str, span: Span) -> Problem {
        let rows = Op::ALL.iter().map(|op| op.row().name);
        let fixed: Vec<&str> = rows.chain(pseudo::names()).chain(PARAS).collect();
        let names = self.macros.names().chain(fixed);
        Problem::new(span, format!("unknown instruction `{name}`")).label(did_you_mean(name, names))
    }

    /// Puts instructions here, and fills a delay slot that the programmer does not see.
    fn emit(&mut self, mut instructions: Vec<Instruction>, span: Span) -> Result<(), Problem> {
        let address = self.layout.here();
        if address & 3 != 0 {
            let problem =
                Problem::new(span, format!("an instruction at {address:#x}, which is not a multiple of 4"));
            return Err(problem.label("use `.align 2` before"));
        }
        if !self.layout.section().is_code() {
            let section = self.layout.section().name();
            let problem = Problem::warning(span, format!("an instruction in `{section}`"));
            self.log.add(problem.label("use `.text` before"));
        }
        let has_slot = |i: &Instruction| i.op.classes().has_delay_slot();
        if self.in_slot && instructions.first().is_some_and(has_slot) {
            let problem = Problem::warning(span, "a branch in the delay slot of another");
            self.log.add(problem.label("what it does is unpredictable"));
        }
        let leaves_slot = instructions.last().is_some_and(has_slot);
        if leaves_slot && self.modes.reorder {
            instructions.push(Instruction { op: Op::Nop, args: Vec::new() });
        }
        self.in_slot = leaves_slot && !self.modes.reorder;
        self.statements.push((address, instructions.len() as u32, span));
        self.fresh_labels.clear();
        for instruction in instructions {
            self.layout.put(Content::Instruction(instruction), span)?;
        }
        Ok(())
    }
}
