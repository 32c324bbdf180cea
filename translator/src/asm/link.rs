//! The second pass: every label has an address, so values can be computed and bytes written.

use super::Endian;
use super::diagnostics::{Log, Problem};
use super::layout::{Chunk, Content, Item, Layout};
use super::program::Segment;
use super::symbol::Symbols;
use crate::addr::Va;

/// The segments of a layout, by address.
pub(super) fn link(layout: &Layout, symbols: &Symbols, endian: Endian, log: &mut Log) -> Vec<Segment> {
    if let Some((later, earlier)) = layout.overlap() {
        let what = format!("`{}` at {:#x} overlaps what is there already", later.section.name(), later.base);
        log.add(Problem::new(later.span, what).note("which starts here", earlier.span));
    }
    let filled = layout.chunks.iter().filter(|chunk| chunk.size > 0);
    let mut segments: Vec<Segment> = filled.map(|chunk| segment(chunk, symbols, endian, log)).collect();
    segments.sort_by_key(|segment| segment.base);
    segments
}

fn segment(chunk: &Chunk, symbols: &Symbols, endian: Endian, log: &mut Log) -> Segment {
    let mut bytes = vec![0; chunk.size as usize];
    for item in &chunk.items {
        let start = (item.address - chunk.base) as usize;
        if let Err(problem) = write(item, &mut bytes[start..], symbols, endian) {
            log.add(problem);
        }
    }
    Segment { section: chunk.section, base: Va(chunk.base), bytes }
}

fn write(item: &Item, bytes: &mut [u8], symbols: &Symbols, endian: Endian) -> Result<(), Problem> {
    match &item.content {
        Content::Instruction(instruction) => {
            let word = instruction.encode(item.address, symbols, item.span)?;
            put_integer(bytes, 4, i64::from(word), endian);
        }
        Content::Bytes(data) => bytes[..data.len()].copy_from_slice(data),
        Content::Fill(byte, count) => bytes[..*count as usize].fill(*byte),
        Content::Integers { size, value, count } => {
            let number = value.value(symbols, item.address)?;
            check_integer(number, *size, item)?;
            let size = usize::from(*size);
            for piece in bytes.chunks_exact_mut(size).take(*count as usize) {
                put_integer(piece, size, number, endian);
            }
        }
    }
    Ok(())
}

/// A number is written as signed or as unsigned.
fn check_integer(number: i64, size: u8, item: &Item) -> Result<(), Problem> {
    let bits = u32::from(size) * 8;
    if bits == 64 || (-(1i64 << (bits - 1))..1i64 << bits).contains(&number) {
        return Ok(());
    }
    let problem = Problem::new(item.span, format!("value out of range: {number}"));
    Err(problem.label(format!("expected {} to {}", -(1i64 << (bits - 1)), (1i64 << bits) - 1)))
}

fn put_integer(bytes: &mut [u8], size: usize, number: i64, endian: Endian) {
    match endian {
        Endian::Little => bytes[..size].copy_from_slice(&number.to_le_bytes()[..size]),
        Endian::Big => bytes[..size].copy_from_slice(&number.to_be_bytes()[8 - size..]),
    }
}
