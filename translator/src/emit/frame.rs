//! Where guest state is while generated code runs, but for the guest registers that have a host register: the offsets
//! of everything else from the register that points to [`Cpu`], with their names.

use std::mem::{offset_of, size_of};

use super::asm::{Reg, reg};
use crate::cp0::Cp0;
use crate::cpu::{CPU_BIAS, Cpu, PAGE_SLOTS, SPILL_SLOTS, SoftEntry, SoftTlb};
use crate::ir::Home;
use crate::isa::text::Names;
use crate::machine::Special;
use crate::stub::Stub;

/// Points to [`Cpu`], [`CPU_BIAS`] bytes past its start.
pub const CPU: Reg = reg::RBP;
/// Points to the soft TLB of the current view.
pub const SOFT_TLB: Reg = reg::R15;

const fn biased(offset: usize) -> i32 {
    offset as i32 - CPU_BIAS
}

/// What an element of an array is called, by its index.
type Element = fn(usize, Names) -> String;

/// Makes a function from index to offset for each array of 64-bit values, and the table of their names.
macro_rules! arrays {
    ($($(#[$doc:meta])* $name:ident($index:ident: $type:ty) = $field:ident, $count:expr, $label:expr;)*) => {
        $($(#[$doc])*
        pub const fn $name($index: $type) -> i32 {
            biased(offset_of!(Cpu, $field) + $index as usize * size_of::<u64>())
        })*

        /// Where each array begins, how many elements it has, its name and theirs.
        const ARRAYS: &[(i32, usize, &str, Element)] =
            &[$((biased(offset_of!(Cpu, $field)), $count, stringify!($field), $label),)*];
    };
}

arrays! {
    /// The offset of general register `r`.
    gpr(r: u8) = gpr, 32, |r, names| names.gpr(r as u8)[1..].to_owned();
    /// The offset of floating-point register `r`.
    fpr(r: u8) = fpr, 32, |r, _| r.to_string();
    /// The offset of the page in slot `slot`.
    page(slot: usize) = pages, PAGE_SLOTS, |slot, _| slot.to_string();
    /// The offset of spill slot `slot`.
    spill(slot: usize) = spill, SPILL_SLOTS, |slot, _| slot.to_string();
    /// The offset of the address of `stub`.
    stub(stub: Stub) = stubs, Stub::COUNT, |stub, _| Stub::ALL[stub].name().to_owned();
    /// The offset of a coprocessor 0 register.
    cp0(register: Cp0) = cp0, Cp0::COUNT, |register, _| Cp0::ALL[register].row().name.to_owned();
    /// The offset of an operand of the floating-point instruction whose cause is owed.
    float_operand(index: usize) = float_operands, 2, |index, _| index.to_string();
}

/// Whether `offset` is that of a general register.
pub const fn is_general(offset: i32) -> bool {
    gpr(0) <= offset && offset <= gpr(31)
}

/// Makes a constant for each field, and the table of their names.
macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident = $field:ident;)*) => {
        $($(#[$doc])* pub const $name: i32 = biased(offset_of!(Cpu, $field));)*

        /// The offset and the name of each field that is no array.
        const FIELDS: &[(i32, &str)] = &[$(($name, stringify!($field)),)*];
    };
}

fields! {
    /// The offset of [`Cpu::pc`].
    PC = pc;
    /// The offset of [`Cpu::hi`].
    HI = hi;
    /// The offset of [`Cpu::lo`].
    LO = lo;
    /// The offset of [`Cpu::budget`].
    BUDGET = budget;
    /// The offset of [`Cpu::alarm_address`].
    ALARM_ADDRESS = alarm_address;
    /// The offset of [`Cpu::soft_tlb`].
    SOFT_TLB_ADDRESS = soft_tlb;
    /// The offset of [`Cpu::jump_cache`].
    JUMP_CACHE = jump_cache;
    /// The offset of [`Cpu::ram_base`].
    RAM_BASE = ram_base;
    /// The offset of [`Cpu::place`].
    PLACE = place;
    /// The offset of [`Cpu::float_state`].
    FLOAT_STATE = float_state;
    /// The offset of [`Cpu::float_word`].
    FLOAT_WORD = float_word;
    /// The offset of [`Cpu::kept`].
    KEPT = kept;
    /// The offset of [`Cpu::link_address`].
    LINK_ADDRESS = link_address;
    /// The offset of [`Cpu::link_value`].
    LINK_VALUE = link_value;
    /// The offset of [`Cpu::fcsr`].
    FCSR = fcsr;
    /// The offset of [`Cpu::mxcsr`].
    MXCSR = mxcsr;
    /// The offset of [`Cpu::host_mxcsr`].
    HOST_MXCSR = host_mxcsr;
    /// The offset of [`Cpu::polls`].
    POLLS = polls;
}

/// What is at `offset` from [`CPU`], as `field` or `array[element]`, for people.
pub fn name(offset: i32, names: Names) -> Option<String> {
    if let Some((_, field)) = FIELDS.iter().find(|(at, _)| *at == offset) {
        return Some((*field).to_owned());
    }
    ARRAYS.iter().find_map(|(first, count, array, element)| {
        let index = usize::try_from(offset - first).ok()? / size_of::<u64>();
        (index < *count).then(|| format!("{array}[{}]", element(index, names)))
    })
}

/// What is at `offset` from [`SOFT_TLB`], beside the offset of the entry, for people.
pub fn soft_tlb_name(offset: i32) -> Option<&'static str> {
    let entry = |array: usize, field: usize| (array + field) as i32;
    let (load, store) = (offset_of!(SoftTlb, load), offset_of!(SoftTlb, store));
    let (tag, addend) = (offset_of!(SoftEntry, tag), offset_of!(SoftEntry, addend));
    let names = [
        (entry(load, tag), "load.tag"),
        (entry(load, addend), "load.addend"),
        (entry(store, tag), "store.tag"),
        (entry(store, addend), "store.addend"),
    ];
    names.into_iter().find(|(at, _)| *at == offset).map(|(_, name)| name)
}

/// The memory of a home that is a whole 64-bit field.
pub fn field(home: Home) -> Option<i32> {
    match home {
        Home::Gpr(r) => Some(gpr(r)),
        Home::Special(Special::Hi) => Some(HI),
        Home::Special(Special::Lo) => Some(LO),
        Home::Special(Special::Cp0(register)) => Some(cp0(register)),
        Home::Special(Special::Fpr(r)) => Some(fpr(r)),
        Home::FprLow(_) | Home::Condition(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offset_has_its_name() {
        let named = |offset| name(offset, Names::N64).unwrap_or_default();
        assert_eq!(named(gpr(4)), "gpr[a0]");
        assert_eq!(named(fpr(31)), "fpr[31]");
        assert_eq!(named(stub(Stub::Store)), "stubs[Store]");
        assert_eq!(named(cp0(Cp0::Epc)), "cp0[Epc]");
        assert_eq!(named(PC), "pc");
        assert_eq!(name(gpr(0) - 8, Names::N64), None);
        assert_eq!(soft_tlb_name(0), Some("load.tag"));
    }
}
