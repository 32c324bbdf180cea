//! The instructions under test: the word of each, what it takes and gives, and the function that
//! claims to mean the same.

use translator::float::{
    self, Condition, Control, Fcsr, FloatException, Format, Integer, RoundingMode, Rules,
};

use crate::operands::Kind;

type Meaning = Box<dyn Fn(&mut Fcsr, [u64; 3]) -> Result<u64, FloatException> + Send + Sync>;

type Unary = fn(&mut Fcsr, Format, u64) -> Result<u64, FloatException>;
type Binary = fn(&mut Fcsr, Format, u64, u64) -> Result<u64, FloatException>;
type Ternary = fn(&mut Fcsr, Format, u64, u64, u64) -> Result<u64, FloatException>;

/// One instruction on f2 (FS), f4 (FT), f6 (FR) and f8 (FD), or on general register 12.
pub struct Instruction {
    pub name: String,
    pub word: u32,
    pub takes: Kind,
    /// The bits of FD that are the result; none for C.cond.fmt.
    pub result: u64,
    pub meaning: Meaning,
}

const W: u64 = 0xffff_ffff;
const L: u64 = u64::MAX;
const FORMATS: [Format; 2] = [Format::S, Format::D];

fn width(format: Format) -> u64 {
    if format == Format::S { W } else { L }
}

fn letter(format: Format) -> char {
    if format == Format::S { 's' } else { 'd' }
}

/// COP1 with its format field, FT = f4, FS = f2, FD = f8.
fn cop1(field: u32, ft: u32, function: u32) -> u32 {
    0x11 << 26 | field << 21 | ft << 16 | 2 << 11 | 8 << 6 | function
}

fn field(format: Format) -> u32 {
    if format == Format::S { 16 } else { 17 }
}

fn new(
    name: String,
    word: u32,
    takes: Kind,
    result: u64,
    meaning: impl Fn(&mut Fcsr, [u64; 3]) -> Result<u64, FloatException> + Send + Sync + 'static,
) -> Instruction {
    Instruction { name, word, takes, result, meaning: Box::new(meaning) }
}

/// Instructions of every processor, but for abs and neg.
pub fn common() -> Vec<Instruction> {
    FORMATS
        .into_iter()
        .flat_map(|format| [binary(format), unary(format), to_integers(format)].into_iter().flatten())
        .chain(conversions())
        .collect()
}

fn binary(format: Format) -> Vec<Instruction> {
    let rows: [(&str, Binary); 4] =
        [("add", float::add), ("sub", float::sub), ("mul", float::mul), ("div", float::div)];
    rows.into_iter()
        .zip(0..)
        .map(|((name, meaning), function)| {
            let word = cop1(field(format), 4, function);
            new(
                format!("{name}.{}", letter(format)),
                word,
                Kind::Float(format),
                width(format),
                move |fcsr, [fs, ft, _]| meaning(fcsr, format, fs, ft),
            )
        })
        .collect()
}

fn unary(format: Format) -> Vec<Instruction> {
    unary_rows(
        format,
        &[("sqrt", 0x04, float::sqrt), ("recip", 0x15, float::recip), ("rsqrt", 0x16, float::rsqrt)],
    )
}

/// abs and neg of one format.
pub fn signs(format: Format) -> Vec<Instruction> {
    unary_rows(format, &[("abs", 0x05, float::abs), ("neg", 0x07, float::neg)])
}

fn unary_rows(format: Format, rows: &[(&str, u32, Unary)]) -> Vec<Instruction> {
    rows.iter()
        .map(|&(name, function, meaning)| {
            let word = cop1(field(format), 0, function);
            new(
                format!("{name}.{}", letter(format)),
                word,
                Kind::Float(format),
                width(format),
                move |fcsr, [fs, ..]| meaning(fcsr, format, fs),
            )
        })
        .collect()
}

/// ROUND, TRUNC, CEIL, FLOOR and CVT, each to L and W.
fn to_integers(format: Format) -> Vec<Instruction> {
    use RoundingMode::{Down, Nearest, Up, Zero};
    let rows = [("round", Nearest, 0x08), ("trunc", Zero, 0x09), ("ceil", Up, 0x0a), ("floor", Down, 0x0b)];
    let fixed = rows.into_iter().map(|(name, mode, function)| (name, Some(mode), [function, function + 4]));
    let all = fixed.chain([("cvt", None, [0x25, 0x24])]);
    all.flat_map(|(name, mode, [long, word])| {
        [(name, mode, Integer::L, long), (name, mode, Integer::W, word)]
    })
    .map(|(name, mode, to, function)| {
        let (suffix, result) = if to == Integer::L { ('l', L) } else { ('w', W) };
        let name = format!("{name}.{suffix}.{}", letter(format));
        new(name, cop1(field(format), 0, function), Kind::Float(format), result, move |fcsr, [fs, ..]| {
            let mode = mode.unwrap_or(fcsr.rounding_mode());
            float::to_integer(fcsr, to, format, mode, fs)
        })
    })
    .collect()
}

/// CVT.S and CVT.D from what is not the same.
fn conversions() -> Vec<Instruction> {
    let widen = new("cvt.d.s".into(), cop1(16, 0, 0x21), Kind::Float(Format::S), L, |fcsr, [fs, ..]| {
        float::widen(fcsr, fs)
    });
    let narrow = new("cvt.s.d".into(), cop1(17, 0, 0x20), Kind::Float(Format::D), W, |fcsr, [fs, ..]| {
        float::narrow(fcsr, fs)
    });
    let integers = [('w', Integer::W, Kind::Word, 20), ('l', Integer::L, Kind::Long, 21)];
    let from = integers.into_iter().flat_map(|(suffix, from, takes, source)| {
        FORMATS.map(|to| {
            let function = if to == Format::S { 0x20 } else { 0x21 };
            let name = format!("cvt.{}.{suffix}", letter(to));
            new(name, cop1(source, 0, function), takes, width(to), move |fcsr, [fs, ..]| {
                float::from_integer(fcsr, to, from, fs)
            })
        })
    });
    [widen, narrow].into_iter().chain(from).collect()
}

/// The instructions that Release 6 removed: MADD and its kin, and C.cond.fmt.
pub fn before_release_6() -> Vec<Instruction> {
    FORMATS.into_iter().flat_map(|format| multiply_adds(format).into_iter().chain(compares(format))).collect()
}

fn multiply_adds(format: Format) -> Vec<Instruction> {
    let rows: [(&str, Ternary); 4] =
        [("madd", float::madd), ("msub", float::msub), ("nmadd", float::nmadd), ("nmsub", float::nmsub)];
    rows.into_iter()
        .zip(4..)
        .map(|((name, meaning), operation)| {
            let word =
                0x13 << 26 | 6 << 21 | 4 << 16 | 2 << 11 | 8 << 6 | operation << 3 | (field(format) - 16);
            new(
                format!("{name}.{}", letter(format)),
                word,
                Kind::Float(format),
                width(format),
                move |fcsr, [fs, ft, fr]| meaning(fcsr, format, fr, fs, ft),
            )
        })
        .collect()
}

/// C.cond.fmt, into condition code 3.
fn compares(format: Format) -> Vec<Instruction> {
    let one = |condition| {
        let word = cop1(field(format), 4, 0x30 | condition) & !(31 << 6) | 3 << 8;
        new(
            format!("c.{condition}.{}", letter(format)),
            word,
            Kind::Float(format),
            0,
            move |fcsr, [fs, ft, _]| {
                let holds = float::compare(fcsr, format, Condition::new(condition), fs, ft)?;
                fcsr.set_condition(3, holds);
                Ok(0)
            },
        )
    };
    (0..16).map(one).collect()
}

/// CMP.cond.fmt, which Release 6 has instead: all ones or zero in FD.
pub fn release_6() -> Vec<Instruction> {
    FORMATS
        .into_iter()
        .flat_map(|format| (0..16).map(move |condition| register_compare(format, condition)))
        .collect()
}

fn register_compare(format: Format, condition: u32) -> Instruction {
    let word = cop1(field(format) + 4, 4, condition);
    new(
        format!("cmp.{condition}.{}", letter(format)),
        word,
        Kind::Float(format),
        width(format),
        move |fcsr, [fs, ft, _]| {
            let holds = float::compare(fcsr, format, Condition::new(condition), fs, ft)?;
            Ok(if holds { width(format) } else { 0 })
        },
    )
}

/// CTC1 to each view of the FCSR. QEMU drops a write that has bits outside the view, so there are none.
pub fn control_writes(rules: Rules) -> Vec<Instruction> {
    let rows = [
        (Control::Conditions, 25, 0xff),
        (Control::Exceptions, 26, 0xff83_ffff),
        (Control::Enables, 28, 0xff83_ffff),
        (Control::Status, 31, 0xffff_ffff),
    ];
    rows.into_iter()
        .map(|(control, number, mask)| {
            let word = 0x11 << 26 | 6 << 21 | 12 << 16 | number << 11;
            new(format!("ctc1 ${number}"), word, Kind::General(mask), 0, move |fcsr, [value, ..]| {
                fcsr.write(control, value as u32, &rules).map(|()| 0)
            })
        })
        .collect()
}
