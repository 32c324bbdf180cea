//! The names of registers. `isa::text` has the names that are printed; here are also the other ones that
//! programs use.

use crate::isa::text::{GPR_NAMES_N64, GPR_NAMES_O32};

/// Which general registers the names `$t0` and so on are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Abi {
    /// `$t0` is register 8, as in MARS, SPIM and 32-bit systems.
    #[default]
    O32,
    /// `$a4` is register 8 and `$t0` register 12, as in 64-bit systems.
    N64,
}

/// A register as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// `$8`: what it is depends on the operand.
    Number(u8),
    /// A general register by its name.
    Gpr(u8),
    /// A floating-point register.
    Fpr(u8),
    /// A floating-point condition code.
    Condition(u8),
    /// A floating-point control register by its name.
    FloatControl(u8),
}

/// Other names of general registers, in both conventions.
const ALIASES: [(&str, u8); 6] = [("s8", 30), ("fp", 30), ("kt0", 26), ("kt1", 27), ("r0", 0), ("AT", 1)];

/// The registers that the conventions call `$ta0` to `$ta3`.
const fn first_ta(abi: Abi) -> u8 {
    match abi {
        Abi::O32 => 12,
        Abi::N64 => 8,
    }
}

const FLOAT_CONTROL: [(&str, u8); 5] = [("fir", 0), ("fccr", 25), ("fexr", 26), ("fenr", 28), ("fcsr", 31)];

/// The register called `name`, without its `$`.
pub(super) fn by_name(name: &str, abi: Abi) -> Option<Register> {
    let names = names(abi);
    if let Some(number) = names.iter().position(|n| *n == name) {
        return Some(Register::Gpr(number as u8));
    }
    if let Some((_, number)) = ALIASES.iter().find(|(n, _)| *n == name) {
        return Some(Register::Gpr(*number));
    }
    if let Some((_, number)) = FLOAT_CONTROL.iter().find(|(n, _)| *n == name) {
        return Some(Register::FloatControl(*number));
    }
    if let Some(number) = name.strip_prefix("ta").and_then(|n| parse(n, 3)) {
        return Some(Register::Gpr(first_ta(abi) + number));
    }
    let condition = name.strip_prefix("fcc").or_else(|| name.strip_prefix("cc"));
    let condition = condition.and_then(|n| parse(n, 7)).map(Register::Condition);
    let float = || name.strip_prefix('f').and_then(|n| parse(n, 31)).map(Register::Fpr);
    condition.or_else(float).or_else(|| parse(name, 31).map(Register::Number))
}

fn parse(digits: &str, most: u8) -> Option<u8> {
    let plain = digits.len() <= 2 && digits.bytes().all(|b| b.is_ascii_digit());
    let padded = digits.len() == 2 && digits.starts_with('0');
    digits.parse().ok().filter(|number| plain && !padded && *number <= most)
}

fn names(abi: Abi) -> &'static [&'static str; 32] {
    match abi {
        Abi::O32 => &GPR_NAMES_O32,
        Abi::N64 => &GPR_NAMES_N64,
    }
}

/// All names with their `$`, to suggest one.
pub(super) fn all_names(abi: Abi) -> impl Iterator<Item = String> {
    let float = (0..32).map(|n| format!("$f{n}"));
    names(abi).iter().map(|name| format!("${name}")).chain(float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_conventions() {
        let gpr = |name, abi| match by_name(name, abi) {
            Some(Register::Gpr(number)) => number,
            other => panic!("{name} is {other:?}"),
        };
        assert_eq!(gpr("t0", Abi::O32), 8);
        assert_eq!(gpr("t0", Abi::N64), 12);
        assert_eq!(gpr("a4", Abi::N64), 8);
        assert_eq!(gpr("ta0", Abi::N64), 8);
        assert_eq!(gpr("ta3", Abi::O32), 15);
        assert_eq!(by_name("a4", Abi::O32), None);
        assert_eq!(by_name("t4", Abi::N64), None);
        assert_eq!(by_name("32", Abi::O32), None);
        assert_eq!(by_name("f32", Abi::O32), None);
        assert_eq!(by_name("fcc7", Abi::O32), Some(Register::Condition(7)));
    }
}
