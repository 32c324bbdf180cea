//! What each mistake is answered with, and that no input at all makes the assembler panic.

use proptest::prelude::*;

use super::*;

/// Checks that the first error has these lines, where the answer to a mistake is looked at as a whole.
fn check_text(text: &str, expected: &str) {
    assert_eq!(errors(text, &Options::default()).trim_end(), expected.trim_end(), "{text}");
}

#[test]
fn an_error_shows_its_place_and_a_suggestion() {
    check_text(
        "main:\n\taddd $t0, $t1, $t2\n",
        "\
error: unknown instruction `addd`
 --> t.s:2:2
  |
2 | \taddd $t0, $t1, $t2
  | \t^^^^ did you mean `add`?
",
    );
    check_text(
        "main: beq $t0, $t1, mian",
        "\
error: undefined label `mian`
 --> t.s:1:21
  |
1 | main: beq $t0, $t1, mian
  |                     ^^^^ did you mean `main`?
",
    );
    check_text(
        "a: nop\na: nop",
        "\
error: duplicate label `a`
 --> t.s:2:1
  |
2 | a: nop
  | ^
note: `a` is first defined here
 --> t.s:1:1
  |
1 | a: nop
  | ^
",
    );
}

#[test]
fn errors_in_macros_and_includes_show_how_they_came_about() {
    let files = [("a.s", ".include \"b.s\"\nm($t0)"), ("b.s", ".macro m(%r)\n  lw %r, 4(%r\n.end_macro")];
    let errors = assemble("a.s", &files, &Options::default()).unwrap_err().to_string();
    let expected = "\
error: expected `)`, found the end of the statement
 --> b.s:2:16
  |
2 |   lw $t0, 4($t0
  |                ^
note: in this use of macro `m`
 --> a.s:2:1
  |
2 | m($t0)
  | ^^^^^^
";
    assert_eq!(errors.trim_end(), expected.trim_end());
}

/// Each of these has one error, with these words in it.
const MISTAKES: &[(&str, &[&str])] = &[
    ("addi $t0", &["too few operands", "usage: addi rt, [rs], imm"]),
    ("syscall 1, 2", &["too many operands for `syscall`"]),
    ("add $t0, $t1, $f2", &["expected a general register or a number"]),
    ("add.s $f0, $f1, $t0", &["expected a floating-point register, found a general register"]),
    ("lw $t0, 4($t10)", &["expected a general register"]),
    ("move $t0, $t10", &["unknown register `$t10`", "did you mean `$t1`?"]),
    ("sll $t0, $t1, 32", &["shift amount out of range: 32", "expected 0 to 31"]),
    ("lui $t0, 0x10000", &["immediate out of range: 65536", "expected 0 to 65535"]),
    ("li $t0, 0x1ffffffff", &["immediate out of range", "expected -2147483648 to 4294967295"]),
    ("ext $t0, $t1, 4, 33", &["size out of range: 33", "expected 1 to 32"]),
    ("ins $t0, $t1, 30, 4", &["size out of range: 4", "expected 1 to 2"]),
    ("daddu $t0, $t1, $t2", &["no instruction of mips32r2", "needs mips64r2"]),
    ("nop\n.data\n.byte 256", &["value out of range: 256", "expected -128 to 255"]),
    ("nop\n.data\n.byte x\nx:", &["value out of range"]),
    ("nop\n.wrod 5", &["unknown directive `.wrod`", "did you mean `.word`?"]),
    ("nop\n.set noreodrer", &["unknown option `noreodrer`", "did you mean `noreorder`?"]),
    ("nop\n.data\n.asciiz \"abc", &["unterminated string", "closing"]),
    ("nop\n.data\n.asciiz \"\\q\"", &["unknown escape"]),
    ("li $t0, 'ab'", &["unterminated character"]),
    ("nop\n.macro x\nnop", &["unterminated macro"]),
    ("nop\n.end_macro", &["without a `.macro`"]),
    (".macro x\nx\n.end_macro\nx\nnop", &["macro `x` uses itself"]),
    ("nop\n.macro x(%a)\n.end_macro\nx(1, 2)", &["takes 1 argument (a), found 2"]),
    ("nop\n.include \"t.s\"", &["`t.s` includes itself"]),
    ("nop\n.include \"u.s\"", &["cannot read `u.s`: no such file"]),
    ("nop\nb 1f", &["undefined label `1f`", "there is no label `1:` after this line"]),
    ("b 1b\n1: nop", &["undefined label `1b`"]),
    ("x: b far\n.space 0x20000\nfar: nop", &["branch target is too far: 131076 bytes"]),
    ("j 0x10000000", &["jump target 0x10000000 is too far"]),
    ("b 0x400002", &["not the address of an instruction"]),
    (".byte 1\nnop", &["not a multiple of 4", "use `.align 2` before"]),
    ("nop\n.space -1", &["a size cannot be -1"]),
    ("nop\n.space 0x7fffffff", &["larger than 256 MB"]),
    ("nop\n.space later\nlater:", &["this value must be known here"]),
    ("nop\n.align 40", &["alignment out of range"]),
    ("nop\n.text 0x400000\nnop", &["overlaps what is there already"]),
    ("li $t0, 12abc", &["malformed number `12abc`"]),
    ("li $t0, 08", &["malformed number", "digits of base 8"]),
    ("li $t0, 1.5", &["expected a number, found a floating-point number"]),
    ("a = b\nb = a\nli $t0, a", &["depends on itself"]),
    ("li $t0, 1/0", &["division by zero"]),
    ("nop @", &["unexpected character `@`"]),
    (".data\n.word 1", &["`t.s` has no instructions"]),
    ("SNAPSHOT\nnop", &["expected a file name"]),
    ("SNAPSHOT a b", &["with spaces needs quotes"]),
    ("MIGRATE host:0", &["malformed host `host:0`"]),
    ("l.d $f0, $f2", &["expected an address"]),
    ("mfc1.d $t0, $f1", &["even floating-point register"]),
    ("lw", &["needs more operands", "usage: lw rt, offset(base)"]),
    ("nop\n/* x", &["unterminated comment"]),
    ("nop\0", &["`t.s` is not a text file: line 1 has a zero byte"]),
    ("nop\nmain_loop", &["unknown instruction `main_loop`", "a label ends with `:`"]),
    ("5 nop", &["expected an instruction, a directive or a label, found a number"]),
    ("nop\n.set pop", &["without a `.set push`"]),
];

#[test]
fn every_mistake_has_its_answer() {
    for (text, words) in MISTAKES {
        let found = errors(text, &Options::default());
        assert_eq!(found.matches("error: ").count(), 1, "{text}\n{found}");
        for word in *words {
            assert!(found.contains(word), "{text}\nexpected {word}\n{found}");
        }
    }
}

#[test]
fn all_errors_come_at_once_in_order() {
    let text: String = MISTAKES[..12].iter().map(|(text, _)| format!("{text}\n")).collect();
    let found = try_program(&text, &Options::default()).unwrap_err();
    let lines: Vec<u32> = found.items.iter().filter_map(|i| Some(i.place.as_ref()?.line)).collect();
    assert_eq!(lines, (1..=12).collect::<Vec<_>>());
}

#[test]
fn missing_files_are_named() {
    let found = assemble("x.s", &[], &Options::default()).unwrap_err().to_string();
    assert_eq!(found, "error: cannot read `x.s`: no such file\n\n");
}

#[test]
fn growth_is_bounded() {
    let doubling: String = (1..60).map(|i| format!(".macro m{i}\nm{0}\nm{0}\n.end_macro\n", i - 1)).collect();
    let text = format!(".macro m0\nnop\n.end_macro\n{doubling}m59");
    assert!(errors(&text, &Options::default()).contains("lines"));
    let equates: String = (1..60).map(|i| format!(".eqv e{i} e{0} e{0}\n", i - 1)).collect();
    assert!(errors(&format!(".eqv e0 1\n{equates}"), &Options::default()).contains("too long"));
    let values: String = (1..60).map(|i| format!("v{i} = v{0} + v{0}\n", i - 1)).collect();
    assert!(errors(&format!("{values}nop\nv0: li $t0, v59"), &Options::default()).contains("too many"));
}

/// Pieces that random programs are made of.
const PIECES: &[&str] = &[
    "add",
    "lw",
    "li",
    "la",
    "div",
    "b",
    "bge",
    "jal",
    "l.d",
    "ulh",
    ".word",
    ".data",
    ".text",
    ".ktext",
    ".macro",
    ".end_macro",
    ".endm",
    ".eqv",
    ".set",
    ".align",
    ".space",
    ".asciiz",
    ".include",
    ".extern",
    ".comm",
    "SNAPSHOT",
    "x",
    "y",
    "1f",
    "1b",
    "1:",
    "x:",
    "m(",
    "$t0",
    "$sp",
    "$f2",
    "$31",
    "%a",
    "%hi",
    "\\a",
    "(",
    ")",
    ",",
    ":",
    ";",
    "=",
    "+",
    "-",
    "*",
    "<<",
    "~",
    "\n",
    "\n",
    "\n",
    " ",
    "\t",
    "#",
    "\"",
    "'",
    "'a'",
    "\"s\"",
    "0x7fffffff",
    "-1",
    "0",
    "4",
    "65536",
    "1.5",
    "0xffffffffffffffff",
    "/*",
    "*/",
    "é",
    "\u{0}",
    "noreorder",
    "\"t.s\"",
    ".",
];

const GOOD: &str = ".data\nx: .word 1, 2\ns: .asciiz \"hi\\n\"\n.text\n.macro m(%a)\nli $v0, %a\n.end_macro\n\
                    main: m(4)\nla $a0, s\nlw $t0, x+4($t1)\n1: addi $t0, $t0, -1\nbgt $t0, 5, 1b\njal f\nf: jr $ra\n";

/// Forty macros of which each uses the one before twice: a million million lines.
#[test]
fn macros_that_grow_fast_are_stopped_soon() {
    let macros = (1..40).map(|n| format!(".macro m{n}\nm{}\nm{}\n.end_macro\n", n - 1, n - 1));
    let source = format!(".macro m0\nnop\n.end_macro\n{}m39\n", macros.collect::<String>());
    let said = errors(&source, &options(Compat::Mars));
    assert!(said.contains("macros and repeated includes make more than 100000 lines or 4 MB"), "{said}");
    let doubled = (1..40).map(|n| format!(".macro m{n} x\nm{} \"\\x\\x\"\n.endm\n", n - 1));
    let source = format!(".macro m0 x\nnop\n.endm\n{}m39 y\n", doubled.collect::<String>());
    let said = errors(&source, &options(Compat::Gas));
    assert!(said.contains("becomes too long"), "{said}");
}

fn any_options() -> impl Strategy<Value = Options> {
    let compat = prop_oneof![Just(Compat::Mars), Just(Compat::Spim), Just(Compat::Gas)];
    let cpu = prop_oneof![Just(Cpu::Mips32r2), Just(Cpu::Mips64r2)];
    (compat, cpu, any::<bool>()).prop_map(|(compat, cpu, delayed_branches)| Options {
        compat,
        cpu,
        delayed_branches,
        ..Options::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>, options in any_options()) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = try_program(&text, &options).map_err(|errors| errors.to_string());
    }

    #[test]
    fn random_pieces_never_panic(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60),
        spaced: bool,
        options in any_options(),
    ) {
        let text = pieces.join(if spaced { " " } else { "" });
        let _ = try_program(&text, &options).map_err(|errors| errors.to_string());
    }

    #[test]
    fn mutated_programs_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..8, prop::sample::select(PIECES)), 1..6),
        options in any_options(),
    ) {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (at, length, piece) in edits {
            let start = at.index(text.len() + 1).min(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, piece.chars());
        }
        let text: String = text.into_iter().collect();
        let _ = try_program(&text, &options).map_err(|errors| errors.to_string());
    }
}
