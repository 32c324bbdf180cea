//! What the disassembler prints assembles to the same word again, for every row and random fields.

use proptest::prelude::*;

use super::*;
use crate::isa::{Op, decode};

/// A word of a row with random fields. The ignored bits of `clz` and its like repeat the register.
fn word_of(op: Op, random: u32) -> u32 {
    let row = op.row();
    let word = row.value | random & !row.mask;
    let slots = row.operands();
    slots.iter().fold(word, |word, slot| match slot.kind {
        crate::isa::Operand::GprTwice => slot.second.put(word, slot.field.get(word)),
        _ => word,
    })
}

fn assemble_word(text: &str, names: Names) -> u32 {
    let abi = if names == Names::N64 { Abi::N64 } else { Abi::O32 };
    let cpu = Cpu::Mips64r2;
    let options = Options { cpu, abi, delayed_branches: true, compat: Compat::Mars, ..Options::default() };
    let words = words(&program(text, &options), Section::Text);
    assert_eq!(words.len(), 1, "{text}");
    words[0]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn printed_instructions_assemble_to_themselves(random: u32) {
        for op in Op::ALL {
            let word = word_of(*op, random.rotate_left(*op as u32));
            for names in [Names::Numeric, Names::O32, Names::N64] {
                let text = print_word(word, 0x400000, names);
                prop_assert_eq!(assemble_word(&text, names), word, "{}", text);
            }
        }
    }

    #[test]
    fn random_words_that_decode_assemble_to_themselves(word: u32) {
        let is_clean = |i: crate::isa::Insn| word_of(i.op, word) == word;
        if decode(word).is_some_and(is_clean) {
            let text = print_word(word, 0x400000, Names::O32);
            prop_assert_eq!(assemble_word(&text, Names::O32), word, "{}", text);
        }
    }
}
