//! From a word to its row. The rows are spread over buckets by the two fields that tell most
//! instructions apart; inside a bucket the most specific encoding comes first.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{Insn, Op};

/// Buckets are numbered by the major opcode (6 bits) and the function field (6 bits).
const BUCKETS: usize = 1 << 12;

static TABLE: LazyLock<Vec<Vec<Op>>> = LazyLock::new(build);

static NAMES: LazyLock<HashMap<&'static str, Op>> =
    LazyLock::new(|| Op::ALL.iter().map(|op| (op.row().name, *op)).collect());

const fn bucket(word: u32) -> usize {
    ((word >> 26) << 6 | word & 63) as usize
}

/// A word of each bucket, and the bits that the bucket fixes.
const fn bucket_word(index: usize) -> u32 {
    (index as u32 >> 6) << 26 | index as u32 & 63
}
const BUCKET_MASK: u32 = 0xfc00_003f;

fn build() -> Vec<Vec<Op>> {
    (0..BUCKETS)
        .map(|index| {
            let mut ops: Vec<Op> = Op::ALL.iter().copied().filter(|op| may_hold(index, *op)).collect();
            ops.sort_by_key(|op| std::cmp::Reverse(op.row().mask.count_ones()));
            ops
        })
        .collect()
}

fn may_hold(index: usize, op: Op) -> bool {
    let row = op.row();
    (bucket_word(index) ^ row.value) & row.mask & BUCKET_MASK == 0
}

/// The instruction that `word` encodes, or `None` if it is reserved in every instruction set that
/// the table has.
#[inline]
pub fn decode(word: u32) -> Option<Insn> {
    let matches = |op: &Op| word & op.row().mask == op.row().value;
    TABLE[bucket(word)].iter().copied().find(matches).map(|op| Insn { op, word })
}

pub(super) fn by_name(name: &str) -> Option<Op> {
    NAMES.get(name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_decodes_to_itself() {
        for op in Op::ALL {
            let insn = decode(op.row().value).unwrap_or_else(|| panic!("{} is not decoded", op.row().name));
            assert!(insn.op == *op || insn.op.row().mask & op.row().mask == op.row().mask);
        }
    }

    #[test]
    fn rows_of_equal_precision_never_overlap() {
        for (i, a) in Op::ALL.iter().enumerate() {
            for b in &Op::ALL[i + 1..] {
                let (a, b) = (a.row(), b.row());
                let common = a.mask & b.mask;
                let overlap = (a.value ^ b.value) & common == 0;
                let nested = common == a.mask || common == b.mask;
                assert!(!overlap || nested && a.mask != b.mask, "{} and {} overlap", a.name, b.name);
            }
        }
    }

    #[test]
    fn reserved_words_do_not_decode() {
        for word in [0x0000_0005, 0x7c00_003c, 0x4c00_003f, 0x7fff_ffff] {
            assert_eq!(decode(word).map(|i| i.op), None, "{word:#010x}");
        }
    }
}
