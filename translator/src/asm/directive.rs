//! Directives beside those for data: sections, symbols, modes, macros, files.

use super::assembler::{Assembler, Modes};
use super::cursor::Cursor;
use super::diagnostics::Problem;
use super::layout::{Section, canonical};
use super::lex::{Kind, Token};
use super::macros::{BodyLine, Macro, Terminator, classify};
use super::reader::NumberedLine;
use super::source::Span;
use super::suggest::did_you_mean;
use super::{Compat, Cpu, data, expression, operand};

/// What a directive does with what follows its name.
pub(super) type Handler = fn(&mut Assembler, &mut Cursor, Directive) -> Result<(), Problem>;

/// The name of a directive and where it is.
#[derive(Clone, Copy)]
pub(super) struct Directive<'a> {
    pub name: &'a str,
    pub span: Span,
}

const TABLE: &[(&str, Handler)] = &[
    (".text", |a, c, d| section(a, c, d, Section::Text)),
    (".data", |a, c, d| section(a, c, d, Section::Data)),
    (".rdata", |a, c, d| section(a, c, d, Section::Data)),
    (".rodata", |a, c, d| section(a, c, d, Section::Data)),
    (".sdata", |a, c, d| section(a, c, d, Section::Data)),
    (".bss", |a, c, d| section(a, c, d, Section::Data)),
    (".sbss", |a, c, d| section(a, c, d, Section::Data)),
    (".ktext", |a, c, d| section(a, c, d, Section::KernelText)),
    (".kdata", |a, c, d| section(a, c, d, Section::KernelData)),
    (".section", named_section),
    (".previous", |a, _, _| {
        a.layout.select_previous();
        a.aligns = true;
        a.fresh_labels.clear();
        Ok(())
    }),
    (".globl", globals),
    (".global", globals),
    (".extern", data::extern_),
    (".comm", data::common),
    (".lcomm", data::common),
    (".eqv", equate),
    (".equ", |a, c, d| assign(a, c, d, false)),
    (".equiv", |a, c, d| assign(a, c, d, true)),
    (".set", set),
    (".macro", define_macro),
    (".end_macro", |_, _, d| Err(unopened(d, ".macro"))),
    (".endm", |_, _, d| Err(unopened(d, ".macro"))),
    (".include", include),
    (".err", |_, _, d| Err(Problem::new(d.span, "`.err` was reached"))),
    (".error", |_, _, d| Err(Problem::new(d.span, "`.error` was reached"))),
];

/// Directives that say nothing to a program without debug tables, relocations or a linker.
const WITHOUT_EFFECT: [&str; 30] = [
    ".abicalls",
    ".aent",
    ".cfi_startproc",
    ".cfi_endproc",
    ".cfi_def_cfa_offset",
    ".cfi_def_cfa",
    ".cfi_offset",
    ".cfi_restore",
    ".cfi_def_cfa_register",
    ".end",
    ".ent",
    ".file",
    ".fmask",
    ".frame",
    ".gnu_attribute",
    ".hidden",
    ".ident",
    ".insn",
    ".livereg",
    ".loc",
    ".local",
    ".mask",
    ".module",
    ".nan",
    ".noalias",
    ".option",
    ".size",
    ".type",
    ".verstamp",
    ".weak",
];

fn unopened(directive: Directive, opener: &str) -> Problem {
    Problem::new(directive.span, format!("`{}` without a `{opener}` before it", directive.name))
}

/// Does what the directive says.
pub(super) fn run(a: &mut Assembler, cursor: &mut Cursor, name: &str, span: Span) -> Result<(), Problem> {
    let lower = name.to_ascii_lowercase();
    if WITHOUT_EFFECT.contains(&lower.as_str()) {
        return Ok(());
    }
    let all = TABLE.iter().chain(data::TABLE);
    let Some((_, handler)) = all.clone().find(|(n, _)| *n == lower) else {
        let names = all.map(|(n, _)| *n).chain(WITHOUT_EFFECT);
        return Err(
            Problem::new(span, format!("unknown directive `{name}`")).label(did_you_mean(name, names))
        );
    };
    handler(a, cursor, Directive { name, span })?;
    cursor.expect_end()
}

/// Reads an expression whose value is needed at once.
pub(super) fn known_number(a: &mut Assembler, cursor: &mut Cursor) -> Result<i64, Problem> {
    let start = cursor.span();
    let expr = expression::parse(cursor, &mut a.scope())?;
    let here = a.layout.here();
    let value = expr.value(&a.symbols, here);
    value.map_err(|problem| {
        let span = start.to(cursor.last_span());
        Problem::new(span, "this value must be known here").note_of(problem)
    })
}

fn section(a: &mut Assembler, cursor: &mut Cursor, d: Directive, section: Section) -> Result<(), Problem> {
    let mut address = None;
    if !cursor.is_at_end() {
        let span = cursor.span();
        let number = known_number(a, cursor)?;
        // GNU as numbers subsections here.
        let is_subsection = a.options.compat == Compat::Gas && (0..0x1000).contains(&number);
        let wide = a.options.cpu == Cpu::Mips64r2;
        if !wide && i32::try_from(canonical(number) as i64).is_err() {
            return Err(
                Problem::new(span, format!("address out of range: {number:#x}")).label("expected 32 bits")
            );
        }
        address = (!is_subsection).then_some(canonical(number));
    }
    select(a, section, address, d.span);
    Ok(())
}

fn select(a: &mut Assembler, section: Section, address: Option<u64>, span: Span) {
    a.layout.select(section, address, span);
    a.aligns = true;
    a.in_slot = false;
    a.fresh_labels.clear();
}

/// `.section name, flags`: by the start of the name; what no program loads goes with the data.
fn named_section(a: &mut Assembler, cursor: &mut Cursor, d: Directive) -> Result<(), Problem> {
    let (name, _) = cursor.expect_name("the name of a section")?;
    cursor.rest();
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let section = if starts(&[".text", ".init", ".fini"]) {
        Section::Text
    } else if starts(&[".ktext"]) {
        Section::KernelText
    } else if starts(&[".kdata"]) {
        Section::KernelData
    } else {
        Section::Data
    };
    select(a, section, None, d.span);
    Ok(())
}

fn globals(a: &mut Assembler, cursor: &mut Cursor, _: Directive) -> Result<(), Problem> {
    loop {
        let (name, _) = cursor.expect_name("the name of a label")?;
        a.globals.insert(name.to_owned());
        if cursor.is_at_end() {
            return Ok(());
        }
        operand::separate(cursor, a.options.compat)?;
    }
}

/// `.eqv NAME, text`: the name stands for the rest of the line.
fn equate(a: &mut Assembler, cursor: &mut Cursor, _: Directive) -> Result<(), Problem> {
    let (name, span) = cursor.expect_name("a name")?;
    cursor.eat(",");
    let meaning = cursor.rest().to_vec();
    if meaning.is_empty() {
        return Err(cursor.unexpected("what the name stands for"));
    }
    if a.symbols.is_defined(name) {
        return Err(Problem::new(span, format!("`{name}` is already defined as a label or value")));
    }
    a.equates.insert(name.to_owned(), meaning);
    Ok(())
}

fn assign(a: &mut Assembler, cursor: &mut Cursor, _: Directive, is_fixed: bool) -> Result<(), Problem> {
    let (name, span) = cursor.expect_name("a name")?;
    cursor.expect(",")?;
    a.assign(cursor, name, span, is_fixed)
}

/// `.set option`, or `.set name, value`.
fn set(a: &mut Assembler, cursor: &mut Cursor, _: Directive) -> Result<(), Problem> {
    let (name, span) = cursor.expect_name("an option or a name")?;
    if cursor.eat(",") {
        return a.assign(cursor, name, span, false);
    }
    if cursor.eat("=") {
        return set_option_to(a, cursor.rest(), name, span);
    }
    match name {
        "push" => {
            if a.saved_modes.len() >= 1024 {
                return Err(Problem::new(span, "too many `.set push` without `.set pop`"));
            }
            a.saved_modes.push(a.modes);
        }
        "pop" => {
            let saved = a.saved_modes.pop();
            a.modes =
                saved.ok_or_else(|| Problem::new(span, "`.set pop` without a `.set push` before it"))?;
        }
        _ => set_option(a, name, span)?,
    }
    Ok(())
}

/// Options that change nothing here.
const OPTIONS_WITHOUT_EFFECT: [&str; 22] = [
    "macro",
    "nomacro",
    "move",
    "nomove",
    "volatile",
    "novolatile",
    "bopt",
    "nobopt",
    "nomips16",
    "nomicromips",
    "hardfloat",
    "softfloat",
    "doublefloat",
    "singlefloat",
    "oddspreg",
    "nooddspreg",
    "sym32",
    "nosym32",
    "virt",
    "novirt",
    "nomsa",
    "nodsp",
];

fn set_option(a: &mut Assembler, name: &str, span: Span) -> Result<(), Problem> {
    const KNOWN: [&str; 6] = ["reorder", "noreorder", "at", "noat", "push", "pop"];
    let modes = a.modes;
    a.modes = match name {
        "reorder" => Modes { reorder: true, ..modes },
        "noreorder" => Modes { reorder: false, ..modes },
        "at" => Modes { at: true, ..modes },
        "noat" => Modes { at: false, ..modes },
        _ if OPTIONS_WITHOUT_EFFECT.contains(&name) => modes,
        _ => {
            let Some(wide) = width_of(name, a.options.cpu) else {
                let names = KNOWN.into_iter().chain(OPTIONS_WITHOUT_EFFECT);
                let problem = Problem::new(span, format!("unknown option `{name}` of `.set`"));
                return Err(problem.label(did_you_mean(name, names)));
            };
            Modes { wide, ..modes }
        }
    };
    Ok(())
}

/// Whether an instruction set has 64-bit instructions; `None` if it is not known.
fn width_of(name: &str, cpu: Cpu) -> Option<bool> {
    match name {
        "mips0" => Some(cpu == Cpu::Mips64r2),
        "mips1" | "mips2" | "mips32" | "mips32r2" | "mips32r3" | "mips32r5" => Some(false),
        "mips3" | "mips4" | "mips5" | "mips64" | "mips64r2" | "mips64r3" | "mips64r5" => Some(true),
        _ => None,
    }
}

/// `.set arch=mips64r2`, `.set fp=64` and the like.
fn set_option_to(a: &mut Assembler, value: &[Token], name: &str, span: Span) -> Result<(), Problem> {
    match name {
        "arch" => {
            let arch = value.first().and_then(Token::name).unwrap_or("");
            let wide = width_of(arch, a.options.cpu);
            a.modes.wide =
                wide.ok_or_else(|| Problem::new(span, format!("unknown architecture `{arch}`")))?;
        }
        "at" => a.modes.at = true,
        "fp" | "gp" => {}
        _ => return Err(Problem::new(span, format!("unknown option `{name}` of `.set`"))),
    }
    Ok(())
}

fn define_macro(a: &mut Assembler, cursor: &mut Cursor, d: Directive) -> Result<(), Problem> {
    let header_span = cursor.rest_span();
    let header = a.map.slice(header_span).to_owned();
    cursor.rest();
    let (body, end) = read_body(a, d)?;
    let made = Macro::new(&header, body, end, (a.map.file(d.span), d.span));
    let made = made.map_err(|message| Problem::new(header_span, message))?;
    a.macros.define(made).map_err(|old| {
        let message = format!("macro `{}` with {} parameters is already defined", old.name, old.arity());
        Problem::new(header_span, message).note("it is first defined here", old.span)
    })
}

fn read_body(a: &mut Assembler, d: Directive) -> Result<(Vec<NumberedLine>, Terminator), Problem> {
    let (mut body, mut depth) = (Vec::new(), 0usize);
    while let Some(line) = a.reader.next_in_frame(&mut a.map)? {
        let text = a.map.text(line);
        match classify(&text) {
            BodyLine::Closes(end) if depth == 0 => return Ok((body, end)),
            BodyLine::Closes(_) => depth -= 1,
            BodyLine::Opens => depth += 1,
            BodyLine::Plain => {}
        }
        body.push((a.map.line_number(Span::new(line, 0, 0)), text));
    }
    Err(Problem::new(d.span, "unterminated macro").label("expected `.end_macro` or `.endm` after it"))
}

fn include(a: &mut Assembler, cursor: &mut Cursor, d: Directive) -> Result<(), Problem> {
    let Some(Token { kind: Kind::Text(bytes), span, .. }) = cursor.peek() else {
        return Err(cursor.unexpected("the name of a file in quotes"));
    };
    cursor.take();
    let path = String::from_utf8_lossy(bytes).into_owned();
    let from = a.map.file(d.span);
    let text = (a.read)(&path, Some(&from));
    let text = text.map_err(|reason| Problem::new(*span, format!("cannot read `{path}`: {reason}")))?;
    let depth = a.reader.depth();
    a.reader.push_file(&mut a.map, &text, Some(*span))?;
    a.read_lines(depth);
    Ok(())
}
