//! Directives for data: numbers, strings, space and alignment.

use super::Compat;
use super::assembler::Assembler;
use super::cursor::Cursor;
use super::diagnostics::Problem;
use super::directive::{Directive, Handler, known_number};
use super::expression;
use super::layout::{Content, Section};
use super::lex::{Float, Kind, Token};
use super::operand::parse_float;
use super::source::Span;

pub(super) const TABLE: &[(&str, Handler)] = &[
    (".byte", |a, c, d| integers(a, c, d, 1, 1)),
    (".half", |a, c, d| integers(a, c, d, 2, 2)),
    (".hword", |a, c, d| integers(a, c, d, 2, 2)),
    (".short", |a, c, d| integers(a, c, d, 2, 2)),
    (".word", |a, c, d| integers(a, c, d, 4, 4)),
    (".int", |a, c, d| integers(a, c, d, 4, 4)),
    (".long", |a, c, d| integers(a, c, d, 4, 4)),
    (".dword", |a, c, d| integers(a, c, d, 8, 8)),
    (".quad", |a, c, d| integers(a, c, d, 8, 8)),
    (".2byte", |a, c, d| integers(a, c, d, 2, 1)),
    (".4byte", |a, c, d| integers(a, c, d, 4, 1)),
    (".8byte", |a, c, d| integers(a, c, d, 8, 1)),
    (".float", |a, c, d| floats(a, c, d, 4)),
    (".single", |a, c, d| floats(a, c, d, 4)),
    (".double", |a, c, d| floats(a, c, d, 8)),
    (".ascii", |a, c, d| strings(a, c, d, false)),
    (".asciiz", |a, c, d| strings(a, c, d, true)),
    (".asciz", |a, c, d| strings(a, c, d, true)),
    (".string", |a, c, d| strings(a, c, d, true)),
    (".space", space),
    (".skip", space),
    (".zero", space),
    (".align", |a, c, d| align(a, c, d, true)),
    (".p2align", |a, c, d| align(a, c, d, true)),
    (".balign", |a, c, d| align(a, c, d, false)),
];

/// The largest alignment, as a power of two.
const MAX_ALIGNMENT: u32 = 20;

/// Moves on to a multiple of `alignment`, and takes the labels before it along if `moves_labels`.
fn align_to(a: &mut Assembler, alignment: u64, moves_labels: bool, span: Span) -> Result<(), Problem> {
    let padding = a.layout.here().wrapping_neg() & (alignment - 1);
    a.layout.skip(padding, span)?;
    if !moves_labels {
        a.fresh_labels.clear();
    } else {
        let here = a.layout.here();
        for label in &a.fresh_labels {
            a.symbols.move_label(*label, here);
        }
    }
    Ok(())
}

/// Gets ready for data of some alignment.
fn begin(a: &mut Assembler, d: Directive, alignment: u64) -> Result<(), Problem> {
    a.continued = Some((d.name.to_owned(), false));
    if a.aligns {
        return align_to(a, alignment, true, d.span);
    }
    if a.layout.here() & (alignment - 1) != 0 {
        let message =
            format!("`{}` at {:#x}, which is not a multiple of {alignment}", d.name, a.layout.here());
        a.log.add(Problem::warning(d.span, message).label("`.align 0` turned alignment off"));
    }
    Ok(())
}

/// Puts something here; the labels before it stay.
fn put(a: &mut Assembler, content: Content, span: Span) -> Result<(), Problem> {
    a.fresh_labels.clear();
    a.layout.put(content, span)
}

/// Calls `item` for each item of a list. In MARS and SPIM it may end with a comma.
fn for_each(
    a: &mut Assembler,
    cursor: &mut Cursor,
    mut item: impl FnMut(&mut Assembler, &mut Cursor) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let compat = a.options.compat;
    while !cursor.is_at_end() {
        item(a, cursor)?;
        if !cursor.eat(",") && !cursor.is_at_end() && compat == Compat::Gas {
            return Err(cursor.unexpected("`,`"));
        }
        let after_comma = cursor.is_at_end() && cursor.last_is(",");
        if after_comma && compat == Compat::Gas {
            return Err(cursor.unexpected("a value after the comma"));
        }
        if let (true, Some((_, comma))) = (after_comma, &mut a.continued) {
            *comma = true;
        }
    }
    Ok(())
}

/// Reads `: count` after a value.
fn count(a: &mut Assembler, cursor: &mut Cursor) -> Result<u64, Problem> {
    if !cursor.eat(":") {
        return Ok(1);
    }
    let span = cursor.span();
    let number = known_number(a, cursor)?;
    u64::try_from(number).map_err(|_| Problem::new(span, format!("a count cannot be {number}")))
}

fn integers(
    a: &mut Assembler,
    cursor: &mut Cursor,
    d: Directive,
    size: u8,
    alignment: u64,
) -> Result<(), Problem> {
    begin(a, d, alignment)?;
    for_each(a, cursor, |a, cursor| {
        let span = cursor.span();
        if let Some(Kind::Float(_) | Kind::Text(_)) = cursor.peek().map(|t| &t.kind) {
            return Err(cursor.unexpected("an integer"));
        }
        let value = expression::parse(cursor, &mut a.scope())?;
        let span = span.to(cursor.last_span());
        let count = count(a, cursor)?;
        put(a, Content::Integers { size, value, count }, span)
    })
}

fn floats(a: &mut Assembler, cursor: &mut Cursor, d: Directive, size: u8) -> Result<(), Problem> {
    begin(a, d, u64::from(size))?;
    for_each(a, cursor, |a, cursor| {
        let span = cursor.span();
        let number = float(a, cursor)?;
        let bits =
            if size == 4 { i64::from(number.single.to_bits()) } else { number.double.to_bits() as i64 };
        let count = count(a, cursor)?;
        put(a, Content::Integers { size, value: expression::Expr::Number(bits), count }, span)
    })
}

/// A floating-point number, an integer, or the name of a special value.
fn float(a: &mut Assembler, cursor: &mut Cursor) -> Result<Float, Problem> {
    if let Some(number) = parse_float(cursor) {
        return Ok(number);
    }
    let negative = cursor.is_next("-");
    let name = if negative { cursor.peek_second() } else { cursor.peek() }.and_then(Token::name);
    let special = match name.map(str::to_ascii_lowercase).as_deref() {
        Some("inf" | "infinity") => Some(f64::INFINITY),
        Some("nan") => Some(f64::NAN),
        _ => None,
    };
    let Some(double) = special else { return Ok(Float::from_integer(known_number(a, cursor)?)) };
    cursor.take();
    if negative {
        cursor.take();
    }
    let number = Float { single: double as f32, double };
    Ok(if negative { number.negated() } else { number })
}

fn strings(a: &mut Assembler, cursor: &mut Cursor, d: Directive, terminated: bool) -> Result<(), Problem> {
    begin(a, d, 1)?;
    if cursor.is_at_end() {
        return Err(cursor.unexpected("a string"));
    }
    for_each(a, cursor, |a, cursor| {
        let Some(Kind::Text(bytes)) = cursor.peek().map(|t| &t.kind) else {
            return Err(cursor.unexpected("a string"));
        };
        let span = cursor.span();
        cursor.take();
        let mut bytes = bytes.clone();
        if terminated {
            bytes.push(0);
        }
        put(a, Content::Bytes(bytes), span)
    })
}

fn size(a: &mut Assembler, cursor: &mut Cursor) -> Result<u64, Problem> {
    let span = cursor.span();
    let number = known_number(a, cursor)?;
    u64::try_from(number).map_err(|_| Problem::new(span, format!("a size cannot be {number}")))
}

/// A byte to fill with, after a comma.
fn fill(a: &mut Assembler, cursor: &mut Cursor) -> Result<u8, Problem> {
    if !cursor.eat(",") {
        return Ok(0);
    }
    Ok(known_number(a, cursor)? as u8)
}

fn space(a: &mut Assembler, cursor: &mut Cursor, d: Directive) -> Result<(), Problem> {
    let bytes = size(a, cursor)?;
    let byte = fill(a, cursor)?;
    if byte == 0 {
        a.fresh_labels.clear();
        return a.layout.skip(bytes, d.span);
    }
    put(a, Content::Fill(byte, bytes), d.span)
}

/// `.align n` aligns to 2 to the n, and with 0 ends the alignment of data until the next section.
fn align(a: &mut Assembler, cursor: &mut Cursor, d: Directive, is_power: bool) -> Result<(), Problem> {
    let span = cursor.span();
    let number = known_number(a, cursor)?;
    let byte = fill(a, cursor)?;
    let power = u32::try_from(number).ok();
    let power = if is_power { power } else { power.filter(|n| n.is_power_of_two()).map(u32::trailing_zeros) };
    let Some(power) = power.filter(|power| *power <= MAX_ALIGNMENT) else {
        let problem = Problem::new(span, format!("alignment out of range: {number}"));
        let expected = if is_power {
            "0 to 20, the alignment being 2 to that power"
        } else {
            "a power of two up to 1048576"
        };
        return Err(problem.label(format!("expected {expected}")));
    };
    a.aligns = power > 0 || !is_power;
    let moves_labels = a.options.compat != Compat::Mars;
    let padding = a.layout.here().wrapping_neg() & ((1 << power) - 1);
    if byte != 0 && padding > 0 {
        a.layout.put(Content::Fill(byte, padding), d.span)?;
    }
    align_to(a, 1 << power, moves_labels, d.span)
}

/// `.extern name size` reserves shared data; without a size, and in GNU as, it only declares.
pub(super) fn extern_(a: &mut Assembler, cursor: &mut Cursor, d: Directive) -> Result<(), Problem> {
    let (name, span) = cursor.expect_name("a name")?;
    cursor.eat(",");
    if cursor.is_at_end() {
        return Ok(());
    }
    let bytes = size(a, cursor)?;
    if a.options.compat == Compat::Gas || a.symbols.is_defined(name) {
        return Ok(());
    }
    reserve(a, (name, span), bytes, bytes.clamp(1, 8).next_power_of_two(), d)
}

/// `.comm name, size, alignment`.
pub(super) fn common(a: &mut Assembler, cursor: &mut Cursor, d: Directive) -> Result<(), Problem> {
    let (name, span) = cursor.expect_name("a name")?;
    cursor.eat(",");
    let bytes = size(a, cursor)?;
    let mut alignment = bytes.clamp(1, 8).next_power_of_two();
    if cursor.eat(",") {
        let span = cursor.span();
        let given = size(a, cursor)?;
        let fits = given.is_power_of_two() && given <= 1 << MAX_ALIGNMENT;
        alignment =
            if fits { given } else { return Err(Problem::new(span, "an alignment is a power of two")) };
    }
    reserve(a, (name, span), bytes, alignment, d)
}

fn reserve(
    a: &mut Assembler,
    (name, span): (&str, Span),
    bytes: u64,
    alignment: u64,
    d: Directive,
) -> Result<(), Problem> {
    let back = a.layout.enter(Section::Extern, d.span);
    let padding = a.layout.here().wrapping_neg() & (alignment - 1);
    let put = a.layout.skip(padding, d.span);
    let defined = put.and_then(|()| a.symbols.define_label(name, a.layout.here(), span).map(|_| ()));
    let put = defined.and_then(|()| a.layout.skip(bytes, d.span));
    a.layout.leave(back);
    put
}
