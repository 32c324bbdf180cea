//! What programs assemble to: directives, labels, sections, macros, modes, para-instructions.

use super::super::{Para, layout};
use super::*;
use crate::addr::Va;

fn data(text: &str, options: &Options) -> Vec<u8> {
    bytes(&program(&format!(".text\nnop\n.data\n{text}"), options), Section::Data).to_vec()
}

fn mars_data(text: &str) -> Vec<u8> {
    data(text, &options(Compat::Mars))
}

#[test]
fn numbers_of_every_size() {
    assert_eq!(mars_data(".byte 1, -1, 0xff, 'a'"), [1, 255, 255, 97]);
    assert_eq!(mars_data(".byte 1\n.half 2"), [1, 0, 2, 0]);
    assert_eq!(mars_data(".word 1:2"), [1, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(mars_data(".byte 1\n.dword -2")[8..], [254, 255, 255, 255, 255, 255, 255, 255]);
    assert_eq!(mars_data(".float 1.5"), 1.5f32.to_le_bytes());
    assert_eq!(mars_data(".double -1e300, 2"), [(-1e300f64).to_le_bytes(), 2f64.to_le_bytes()].concat());
    assert_eq!(mars_data(".float nan")[3] & 0x7f, 0x7f);
    assert_eq!(data(".word 1", &Options { endian: Endian::Big, ..Options::default() }), [0, 0, 0, 1]);
}

#[test]
fn strings_and_space() {
    assert_eq!(mars_data(r#".ascii "a\n", "b""#), b"a\nb");
    assert_eq!(mars_data(r#".asciiz "a#b" # comment"#), b"a#b\0");
    assert_eq!(mars_data(".byte 1\n.space 2\n.byte 3"), [1, 0, 0, 3]);
    assert_eq!(mars_data(".byte 1\n.align 3\n.byte 2")[8], 2);
    assert_eq!(mars_data(".align 0\n.byte 1\n.word 2"), [1, 2, 0, 0, 0]);
    assert_eq!(mars_data(".asciiz \"\u{e9}\""), [0xc3, 0xa9, 0]);
}

#[test]
fn lists_go_on_in_the_next_line() {
    assert_eq!(mars_data(".byte 1, 2,\n 3, 4\n 5"), [1, 2, 3, 4, 5]);
    assert_eq!(mars_data("x = 7\n.byte 1,\n x\ny: .byte 2"), [1, 7, 2]);
    assert_eq!(data(".byte 1,\n .byte 2", &options(Compat::Spim)), [1, 2]);
}

#[test]
fn labels_move_with_aligned_data() {
    let text = ".data\n.byte 1\na:\nb: .word 2\nc: .byte 1\nd: .align 2\ne: .byte 3\n.text\nnop";
    let mars = program(text, &options(Compat::Mars)).symbols;
    assert_eq!((mars["a"], mars["b"]), (Va(0x1001_0004), Va(0x1001_0004)));
    assert_eq!((mars["d"], mars["e"]), (Va(0x1001_0009), Va(0x1001_000c)));
    assert_eq!(program(text, &options(Compat::Spim)).symbols["d"], Va(0x1001_000c));
}

#[test]
fn dialects_read_numbers_and_lists_their_way() {
    let words = |text, compat| {
        let bytes = data(text, &options(compat));
        bytes.chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(words(".word 1 -2", Compat::Mars), [1, -2]);
    assert_eq!(words(".word 1 - 2", Compat::Mars), [-1]);
    assert_eq!(words(".word 1 -2", Compat::Gas), [-1]);
    assert_eq!(words(".word 010", Compat::Spim), [10]);
    assert_eq!(words(".word 010", Compat::Mars), [8]);
    assert_eq!(listing("add $t0 $t1 $t2", &options(Compat::Spim)), ["add $t0, $t1, $t2"]);
    assert!(errors("add $t0 $t1 $t2", &options(Compat::Gas)).contains("expected `,`"));
}

#[test]
fn sections_are_where_mars_has_them() {
    let text =
        ".kdata\n.word 1\n.data\nx: .word 2\n.extern shared 4\n.text\nmain: nop\n.ktext 0x80000180\neret";
    let program = program(text, &options(Compat::Mars));
    let bases: Vec<Va> = program.segments.iter().map(|s| s.base).collect();
    let expected =
        [layout::TEXT, layout::EXTERN, layout::DATA, layout::EXCEPTION_VECTOR, layout::KERNEL_DATA];
    assert_eq!(bases, expected);
    assert!(program.has_handler());
    assert_eq!(program.symbols["shared"], layout::EXTERN);
    assert_eq!(program.nearest_label(Va(0x1001_0003)), Some(("x", 3)));
}

#[test]
fn sections_continue_and_start_elsewhere() {
    let text = ".data\n.word 1\n.text\nnop\n.data\n.word 2\n.data 0x10010100\nz: .word 3\n.data\n.word z";
    let program = program(text, &options(Compat::Mars));
    assert_eq!(words(&program, Section::Data), [1, 2]);
    let later = &program.segments[2];
    assert_eq!((later.base, later.bytes.len()), (Va(0x1001_0100), 8));
}

#[test]
fn the_entry_is_start_or_main_or_the_first_instruction() {
    let entry = |text: &str, compat| program(text, &options(compat)).entry;
    assert_eq!(entry("nop\nmain: nop", Compat::Mars), Va(0x40_0004));
    assert_eq!(entry("nop\nnop", Compat::Mars), Va(0x40_0000));
    assert_eq!(entry("main: nop\n__start: nop", Compat::Spim), Va(0x40_0004));
    assert_eq!(entry("nop\n_start: nop", Compat::Gas), Va(0x40_0004));
    assert_eq!(entry("nop\n_start: nop", Compat::Mars), Va(0x40_0000));
}

#[test]
fn delay_slots_are_filled_unless_the_programmer_sees_them() {
    let text = "a: beq $t0, $t1, a\njal a\njr $ra";
    let hidden = ["beq $t0, $t1, 0x400000", "nop", "jal 0x400000", "nop", "jr $ra", "nop"];
    assert_eq!(listing(text, &options(Compat::Mars)), hidden);
    let raw = Options { delayed_branches: true, ..Options::default() };
    assert_eq!(listing(text, &raw), ["beq $t0, $t1, 0x400000", "jal 0x400000", "jr $ra"]);
    let modes = ".set push\n.set noreorder\nj 0x400000\n.set pop\nj 0x400000";
    assert_eq!(listing(modes, &options(Compat::Mars)), ["j 0x400000", "j 0x400000", "nop"]);
}

#[test]
fn numeric_labels() {
    let text = ".set noreorder\n1: b 1f\nb 1b\n1: b 1b\nb 1f\n1: nop";
    let expected = ["0x400008", "0x400000", "0x400008", "0x400010"].map(|t| format!("beq $zero, $zero, {t}"));
    assert_eq!(listing(text, &options(Compat::Mars))[..4], expected);
}

#[test]
fn names_for_values() {
    let text = ".eqv SIZE, 4*2\n.eqv PTR $t5\nX = 5\n.set Y, X+1\nX = 7\n.equ END, last-first\n\
                first: addi $t0, $zero, SIZE+1\nlast: addi PTR, $t0, X\naddi $t0, $t0, Y\nli $t1, END";
    let expected =
        ["addi $t0, $zero, 9", "addi $t5, $t0, 7", "addi $t0, $t0, 6", "lui $t1, 0x0", "ori $t1, $t1, 0x4"];
    assert_eq!(listing(text, &options(Compat::Mars)), expected);
}

#[test]
fn mars_macros() {
    let text = ".macro print_int (%n)\nli $v0, 1\nloop: addi $a0, %n, 0\nbnez $a0, loop\nsyscall\n.end_macro\n\
                .macro print_int (%a, %b)\nprint_int(%a)\nprint_int %b\n.end_macro\nprint_int($t0, $t1); nop";
    let lines = listing(text, &options(Compat::Mars));
    assert_eq!(lines.len(), 11);
    assert_eq!(lines[1], "addi $a0, $t0, 0");
    assert_eq!(lines[2], "bne $a0, $zero, 0x400004");
    assert_eq!(lines[7], "bne $a0, $zero, 0x400018");
    assert_eq!(lines[10], "nop");
}

#[test]
fn gnu_macros() {
    let text = ".macro push reg, size=4\naddiu $sp, $sp, -\\size\nsw \\reg, 0($sp)\n.endm\npush $t0\npush reg=$t1, size=8";
    let expected = ["addiu $sp, $sp, -4", "sw $t0, 0($sp)", "addiu $sp, $sp, -8", "sw $t1, 0($sp)"];
    assert_eq!(listing(text, &options(Compat::Gas)), expected);
}

#[test]
fn includes() {
    let files = [("a.s", "main: jal f\n.include \"b.s\"\nnop"), ("b.s", "f: jr $ra")];
    let program = assemble("a.s", &files, &Options::default()).unwrap();
    assert_eq!(program.symbols["f"], Va(0x40_0008));
    let place = program.lines.at(Va(0x40_000c)).unwrap();
    assert_eq!((&*place.file, place.line), ("b.s", 1));
}

#[test]
fn lines_know_their_source() {
    let program =
        program(".macro two\nnop\nnop\n.end_macro\nmain:\n  li $t0, 0x12345\n  two", &Options::default());
    let place = program.lines.at(Va(0x40_0004)).unwrap();
    assert_eq!((place.line, place.column, &*place.text), (6, 3, "  li $t0, 0x12345"));
    let inside = program.lines.at(Va(0x40_000c)).unwrap();
    assert_eq!((inside.line, inside.outside_macros().line), (3, 7));
    assert_eq!(program.lines.at(Va(0x40_0010)), None);
    assert_eq!(program.lines.at(Va(0x3f_fffc)), None);
}

#[test]
fn para_instructions() {
    let text = "DUMP_PROCESSOR_STATE\nsnapshot \"my file.snap\"\nSNAPSHOT state-1@x.snap # comment\n\
                dump_processor_state\nMIGRATE [::1]:4000; nop\nlabel: MIGRATE host";
    let program = program(text, &Options::default());
    let expected = [
        Para::DumpProcessorState,
        Para::Snapshot("my file.snap".into()),
        Para::Snapshot("state-1@x.snap".into()),
        Para::Migrate("[::1]:4000".into()),
        Para::Migrate("host".into()),
    ];
    assert_eq!(program.hypercalls, expected);
    let codes: Vec<u32> = words(&program, Section::Text).iter().map(|w| w >> 11 & 0x3ff).collect();
    assert_eq!(codes, [1, 2, 3, 1, 4, 0, 5]);
    assert_eq!(program.para(2), Some(&expected[1]));
    assert_eq!((program.para(0), program.para(6)), (None, None));
}

#[test]
fn register_names_follow_the_convention() {
    let n64 = Options { abi: Abi::N64, ..Options::default() };
    assert_eq!(listing("add $t0, $a4, $a7", &n64), ["add $t4, $t0, $t3"]);
}

#[test]
fn the_output_of_a_compiler() {
    let text = "\t.file\t1 \"a.c\"\n\t.section .mdebug.abi32\n\t.previous\n\t.nan\tlegacy\n\t.module\tfp=xx\n\t.abicalls\n\
                \t.text\n\t.align\t2\n\t.globl\tf\n\t.set\tnomips16\n\t.ent\tf\n\t.type\tf, @function\nf:\n\
                \t.frame\t$sp,0,$31\t\t# vars= 0\n\t.mask\t0x00000000,0\n\t.set\tnoreorder\n\t.set\tnomacro\n\
                \tblez\t$4,$L4\n\tmove\t$2,$0\n\n$L3:\n\tbne\t$4,$3,$L3\n\taddiu\t$3,$3,1\n$L4:\n\tjr\t$31\n\tnop\n\
                \t.set\tmacro\n\t.set\treorder\n\t.end\tf\n\t.size\tf, .-f\n\t.ident\t\"GCC\"";
    let lines = listing(text, &options(Compat::Gas));
    assert_eq!(lines[..3], ["blez $a0, 0x400010", "or $v0, $zero, $zero", "bne $a0, $v1, 0x400008"]);
}

#[test]
fn modes_of_at() {
    let at = ".set noat\nmove $k1, $at\n.set at\nblt $t0, $t1, x\nx: nop";
    assert!(program(at, &options(Compat::Gas)).warnings.items.is_empty());
    assert!(errors("move $k1, $at", &options(Compat::Spim)).contains("$at is the assembler's own register"));
    assert_eq!(program("move $k1, $at", &options(Compat::Gas)).warnings.items.len(), 1);
    assert!(program("move $k1, $at", &options(Compat::Mars)).warnings.items.is_empty());
    let noat = ".set noat\nx: blt $t0, $t1, x";
    assert_eq!(program(noat, &options(Compat::Mars)).warnings.items.len(), 1);
    assert!(errors(noat, &options(Compat::Gas)).contains("`.set noat` took away"));
}
