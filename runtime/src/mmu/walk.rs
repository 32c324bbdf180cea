//! The hardware page walker. It serves the user segment only, and only from tables that lie in
//! unmapped segments and in RAM; anything else is left to the guest's refill handler. That is allowed
//! ("implementations are not required to support page table walk from mapped memory", MD00091), and it
//! keeps a user from pointing the walker at his own pages.

use translator::addr::Va;
use translator::cp0::{Cp0, PWCTL_PWEN, PWCTL_XU};
use translator::cpu::Cpu;

use super::segment;
use crate::memory::Ram;

/// A field of PWField or PWSize: where each level's position or width is.
///
/// Source: MD00091, "PWField Register" and "PWSize Register".
const GLOBAL: u32 = 24;
const UPPER: u32 = 18;
const MIDDLE: u32 = 12;
const TABLE: u32 = 6;
const ENTRY: u32 = 0;
/// PWSize.PS: pointers are 64 bits wide.
const POINTER_SIZE: u64 = 1 << 30;

/// Walks the guest's tables for `va`. Gives EntryLo0 and EntryLo1 of its pair of pages.
pub fn walk(cpu: &Cpu, ram: &Ram, va: Va) -> Option<[u64; 2]> {
    const ON: u64 = PWCTL_PWEN | PWCTL_XU;
    if cpu.cp0(Cp0::PWCtl) & ON != ON || va.0 >> 40 != 0 {
        return None;
    }
    let (positions, sizes) = (cpu.cp0(Cp0::PWField), cpu.cp0(Cp0::PWSize));
    let field = |register: u64, shift: u32| (register >> shift & 0x3f) as u32;
    let shift = if sizes & POINTER_SIZE != 0 { 3 } else { 2 };
    let mut table = cpu.cp0(Cp0::PWBase);
    for level in [GLOBAL, UPPER, MIDDLE] {
        let width = field(sizes, level);
        if width > 0 {
            let index = index(va, field(positions, level), width);
            table = read(ram, table.wrapping_add(index << shift), 1 << shift)?;
        }
    }
    let width = field(sizes, TABLE);
    if width == 0 {
        return None;
    }
    let pair = index(va, field(positions, TABLE), width) & !1;
    let address = table.wrapping_add(pair << shift);
    let rotation = field(positions, ENTRY);
    let even = entry_lo(read(ram, address, 1 << shift)?, rotation)?;
    let odd = entry_lo(read(ram, address.wrapping_add(1 << shift), 1 << shift)?, rotation)?;
    Some([even, odd])
}

fn index(va: Va, position: u32, width: u32) -> u64 {
    let mask = 1u64.checked_shl(width).map_or(u64::MAX, |bit| bit - 1);
    va.0.checked_shr(position).unwrap_or(0) & mask
}

fn read(ram: &Ram, va: u64, bytes: u64) -> Option<u64> {
    ram.load(segment::unmapped(Va(va))?, bytes)
}

/// A page-table entry as EntryLo: software bits are shifted out and the two inhibit bits below G go
/// to the top.
fn entry_lo(entry: u64, global_bit: u32) -> Option<u64> {
    let shifted = entry >> global_bit.checked_sub(2)?;
    Some(shifted >> 2 | (shifted & 3) << 62)
}
