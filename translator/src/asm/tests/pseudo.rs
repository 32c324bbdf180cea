//! What each pseudo-instruction becomes: the sequences that MARS, SPIM and GNU as document, with the
//! delay slots of their inner branches filled.

use super::*;
use crate::isa::Op;

/// Checks the listing of one statement, after the label `here` at 0x400000.
fn check(options: &Options, statement: &str, expected: &[&str]) {
    let text = format!(".set noreorder\nhere: {statement}");
    assert_eq!(listing(&text, options), expected, "{statement}");
}

fn check_all(options: &Options, cases: &[(&str, &[&str])]) {
    for (statement, expected) in cases {
        check(options, statement, expected);
    }
}

#[test]
fn constants_and_addresses() {
    check_all(
        &options(Compat::Mars),
        &[
            ("li $t0, 5", &["addiu $t0, $zero, 5"]),
            ("li $t0, -32768", &["addiu $t0, $zero, -32768"]),
            ("li $t0, 0xffff", &["ori $t0, $zero, 0xffff"]),
            ("li $t0, 0x10000", &["lui $t0, 0x1"]),
            ("li $t0, 0x12345678", &["lui $t0, 0x1234", "ori $t0, $t0, 0x5678"]),
            ("li $t0, 0xffffffff", &["addiu $t0, $zero, -1"]),
            ("li $t0, 'a'", &["addiu $t0, $zero, 97"]),
            ("la $t0, here", &["lui $t0, 0x40", "ori $t0, $t0, 0x0"]),
            ("la $t0, here+4", &["lui $t0, 0x40", "ori $t0, $t0, 0x4"]),
            ("la $t0, 8($t1)", &["addiu $t0, $t1, 8"]),
            ("la $t0, ($t1)", &["or $t0, $t1, $zero"]),
            ("la $t0, 0x12345($t1)", &["lui $t0, 0x1", "ori $t0, $t0, 0x2345", "addu $t0, $t0, $t1"]),
            ("la $t0, here($t0)", &["lui $at, 0x40", "ori $at, $at, 0x0", "addu $t0, $at, $t0"]),
            ("li.s $f0, 1.5", &["lui $at, 0x3fc0", "mtc1 $at, $f0"]),
            ("li.d $f0, 1.5", &["mtc1 $zero, $f0", "lui $at, 0x3ff8", "mtc1 $at, $f1"]),
        ],
    );
}

#[test]
fn constants_of_64_bits() {
    let wide = Options { cpu: Cpu::Mips64r2, ..Options::default() };
    check_all(
        &wide,
        &[
            ("li $t0, 0xffffffff", &["ori $t0, $zero, 0xffff", "dsll $t0, $t0, 16", "ori $t0, $t0, 0xffff"]),
            ("dli $t0, 0x1000000000000", &["addiu $t0, $zero, 1", "dsll32 $t0, $t0, 16"]),
            (
                "dli $t0, 0x123456789abcdef0",
                &[
                    "lui $t0, 0x1234",
                    "ori $t0, $t0, 0x5678",
                    "dsll $t0, $t0, 16",
                    "ori $t0, $t0, 0x9abc",
                    "dsll $t0, $t0, 16",
                    "ori $t0, $t0, 0xdef0",
                ],
            ),
            (
                "dla $t0, here",
                &[
                    "lui $t0, 0x0",
                    "daddiu $t0, $t0, 0",
                    "dsll $t0, $t0, 16",
                    "daddiu $t0, $t0, 64",
                    "dsll $t0, $t0, 16",
                    "daddiu $t0, $t0, 0",
                ],
            ),
            ("ld $t0, 8($sp)", &["ld $t0, 8($sp)"]),
            ("dsll $t0, $t1, 40", &["dsll32 $t0, $t1, 8"]),
            ("drol $t0, $t1, 8", &["drotr32 $t0, $t1, 24"]),
            ("mfc1.d $t0, $f2", &["mfc1 $t0, $f2", "mfhc1 $t1, $f2"]),
            ("lw $t0, here($t1)", &["lui $at, 0x40", "daddu $at, $at, $t1", "lw $t0, 0($at)"]),
        ],
    );
}

#[test]
fn every_form_of_address() {
    check_all(
        &options(Compat::Mars),
        &[
            ("lw $t0, 4($sp)", &["lw $t0, 4($sp)"]),
            ("lw $t0, ($sp)", &["lw $t0, 0($sp)"]),
            ("lw $t0, 100", &["lw $t0, 100($zero)"]),
            ("lw $t0, 0x10010000", &["lui $at, 0x1001", "lw $t0, 0($at)"]),
            ("lw $t0, 0x10018000", &["lui $at, 0x1002", "lw $t0, -32768($at)"]),
            ("lw $t0, 0xffff0004", &["lui $at, 0xffff", "lw $t0, 4($at)"]),
            ("lw $t0, here", &["lui $at, 0x40", "lw $t0, 0($at)"]),
            ("lw $t0, here+8", &["lui $at, 0x40", "lw $t0, 8($at)"]),
            ("lw $t0, here-4", &["lui $at, 0x40", "lw $t0, -4($at)"]),
            ("lw $t0, here($t1)", &["lui $at, 0x40", "addu $at, $at, $t1", "lw $t0, 0($at)"]),
            ("sw $t0, here+8($t1)", &["lui $at, 0x40", "addu $at, $at, $t1", "sw $t0, 8($at)"]),
            ("lb $t0, 0x12345($t1)", &["lui $at, 0x1", "addu $at, $at, $t1", "lb $t0, 9029($at)"]),
            ("lui $t0, %hi(here+0x8000)", &["lui $t0, 0x41"]),
            ("lw $t0, %lo(here+0x8000)($t0)", &["lw $t0, -32768($t0)"]),
            ("ori $t0, $t0, %lo(here+0x8000)", &["ori $t0, $t0, 0x8000"]),
            ("ldc1 $f0, here", &["lui $at, 0x40", "ldc1 $f0, 0($at)"]),
            ("l.d $f0, here", &["lui $at, 0x40", "ldc1 $f0, 0($at)"]),
            ("s.s $f1, 4($sp)", &["swc1 $f1, 4($sp)"]),
            ("cache 0x15, here", &["lui $at, 0x40", "cache 0x15, 0($at)"]),
            ("lwxc1 $f0, $t0($t1)", &["lwxc1 $f0, $t0($t1)"]),
        ],
    );
}

#[test]
fn unaligned_and_double() {
    check_all(
        &options(Compat::Mars),
        &[
            ("ulw $t0, 5($t1)", &["lwl $t0, 8($t1)", "lwr $t0, 5($t1)"]),
            ("ulw $t0, 5($t0)", &["lwl $at, 8($t0)", "lwr $at, 5($t0)", "or $t0, $at, $zero"]),
            ("ulw $t0, here", &["lui $at, 0x40", "ori $at, $at, 0x0", "lwl $t0, 3($at)", "lwr $t0, 0($at)"]),
            ("usw $t0, 5($t1)", &["swl $t0, 8($t1)", "swr $t0, 5($t1)"]),
            (
                "ulh $t0, 5($t1)",
                &["lb $at, 6($t1)", "lbu $t0, 5($t1)", "sll $at, $at, 8", "or $t0, $at, $t0"],
            ),
            (
                "ulhu $t0, here",
                &[
                    "lui $at, 0x40",
                    "ori $at, $at, 0x0",
                    "lbu $t0, 1($at)",
                    "lbu $at, 0($at)",
                    "sll $t0, $t0, 8",
                    "or $t0, $t0, $at",
                ],
            ),
            ("ush $t0, 5($t1)", &["sb $t0, 5($t1)", "srl $at, $t0, 8", "sb $at, 6($t1)"]),
            (
                "ush $t0, here",
                &[
                    "lui $at, 0x40",
                    "ori $at, $at, 0x0",
                    "sb $t0, 0($at)",
                    "srl $t0, $t0, 8",
                    "sb $t0, 1($at)",
                    "lbu $at, 0($at)",
                    "sll $t0, $t0, 8",
                    "or $t0, $t0, $at",
                ],
            ),
            ("ld $t0, 8($sp)", &["lw $t0, 8($sp)", "lw $t1, 12($sp)"]),
            ("ld $t0, 8($t0)", &["lw $t1, 12($t0)", "lw $t0, 8($t0)"]),
            ("sd $t0, here", &["lui $at, 0x40", "ori $at, $at, 0x0", "sw $t0, 0($at)", "sw $t1, 4($at)"]),
        ],
    );
    let big = Options { endian: Endian::Big, ..Options::default() };
    let big = program("ulw $t0, 5($t1)\n", &big);
    assert_eq!(bytes(&big, Section::Text), [0x89, 0x28, 0, 5, 0x99, 0x28, 0, 8]);
}

#[test]
fn arithmetic() {
    check_all(
        &options(Compat::Mars),
        &[
            ("move $t0, $t1", &["or $t0, $t1, $zero"]),
            ("neg $t0, $t1", &["sub $t0, $zero, $t1"]),
            ("negu $t0", &["subu $t0, $zero, $t0"]),
            ("not $t0, $t1", &["nor $t0, $t1, $zero"]),
            ("abs $t0, $t1", &["sra $at, $t1, 31", "xor $t0, $at, $t1", "subu $t0, $t0, $at"]),
            ("add $t0, $t1, 5", &["addi $t0, $t1, 5"]),
            ("add $t0, $t1", &["add $t0, $t0, $t1"]),
            ("addu $t0, $t1, 0x12345", &["lui $at, 0x1", "ori $at, $at, 0x2345", "addu $t0, $t1, $at"]),
            ("addi $t0, $t1, 40000", &["ori $at, $zero, 0x9c40", "add $t0, $t1, $at"]),
            ("andi $t0, $t1, -1", &["addiu $at, $zero, -1", "and $t0, $t1, $at"]),
            ("addiu $t0, $t1, 0xffffffff", &["addiu $t0, $t1, -1"]),
            ("sub $t0, $t1, 5", &["addi $t0, $t1, -5"]),
            ("subu $t0, $t1, -32768", &["addiu $at, $zero, -32768", "subu $t0, $t1, $at"]),
            ("subi $t0, $t1, 5", &["addi $t0, $t1, -5"]),
            ("mul $t0, $t1, 7", &["addiu $at, $zero, 7", "mul $t0, $t1, $at"]),
            ("mulu $t0, $t1, $t2", &["multu $t1, $t2", "mflo $t0"]),
            ("sll $t0, $t1, $t2", &["sllv $t0, $t1, $t2"]),
            ("rol $t0, $t1, 3", &["rotr $t0, $t1, 29"]),
            ("rol $t0, $t1, 0", &["rotr $t0, $t1, 0"]),
            ("rol $t0, $t1, $t2", &["subu $at, $zero, $t2", "rotrv $t0, $t1, $at"]),
            ("ror $t0, $t1, $t2", &["rotrv $t0, $t1, $t2"]),
            ("seq $t0, $t1, $t2", &["xor $t0, $t1, $t2", "sltiu $t0, $t0, 1"]),
            ("seq $t0, $t1, 5", &["xori $t0, $t1, 0x5", "sltiu $t0, $t0, 1"]),
            ("sne $t0, $t1, 0", &["sltu $t0, $zero, $t1"]),
            ("sge $t0, $t1, $t2", &["slt $t0, $t1, $t2", "xori $t0, $t0, 0x1"]),
            ("sgeu $t0, $t1, 5", &["sltiu $t0, $t1, 5", "xori $t0, $t0, 0x1"]),
            ("sgt $t0, $t1, $t2", &["slt $t0, $t2, $t1"]),
            ("sleu $t0, $t1, $t2", &["sltu $t0, $t2, $t1", "xori $t0, $t0, 0x1"]),
            ("mfc1.d $t0, $f2", &["mfc1 $t0, $f2", "mfc1 $t1, $f3"]),
            ("mtc1.d $t0, $f2", &["mtc1 $t0, $f2", "mtc1 $t1, $f3"]),
        ],
    );
    let trapping = ["bgez $t1, 0x40000c", "or $t0, $t1, $zero", "sub $t0, $zero, $t1"];
    check(&options(Compat::Spim), "abs $t0, $t1", &trapping);
    check(&options(Compat::Gas), "abs $t0, $t1", &trapping);
}

#[test]
fn checked_arithmetic() {
    let by_zero = ["bne $t2, $zero, 0x40000c", "nop", "break 0x7"];
    let mars = options(Compat::Mars);
    check(&mars, "div $t0, $t1, $t2", &[&by_zero[..], &["div $t1, $t2", "mflo $t0"]].concat());
    check(&mars, "remu $t0, $t1, $t2", &[&by_zero[..], &["divu $t1, $t2", "mfhi $t0"]].concat());
    check_all(
        &mars,
        &[
            ("div $t1, $t2", &["div $t1, $t2"]),
            ("div $zero, $t1, $t2", &["div $t1, $t2"]),
            ("div $t0, $t1, 5", &["addiu $at, $zero, 5", "div $t1, $at", "mflo $t0"]),
            ("rem $t0, $t1, 0", &["break 0x7"]),
            (
                "mulo $t0, $t1, $t2",
                &[
                    "mult $t1, $t2",
                    "mfhi $at",
                    "mflo $t0",
                    "sra $t0, $t0, 31",
                    "beq $at, $t0, 0x40001c",
                    "nop",
                    "break 0x6",
                    "mflo $t0",
                ],
            ),
            (
                "mulou $t0, $t1, $t2",
                &[
                    "multu $t1, $t2",
                    "mfhi $at",
                    "mflo $t0",
                    "beq $at, $zero, 0x400018",
                    "nop",
                    "break 0x6",
                    "mflo $t0",
                ],
            ),
        ],
    );
    check(
        &options(Compat::Gas),
        "div $t0, $t1, $t2",
        &[
            &by_zero[..],
            &[
                "div $t1, $t2",
                "addiu $at, $zero, -1",
                "bne $t2, $at, 0x40002c",
                "nop",
                "lui $at, 0x8000",
                "bne $t1, $at, 0x40002c",
                "nop",
                "break 0x6",
                "mflo $t0",
            ],
        ]
        .concat(),
    );
}

#[test]
fn branches() {
    check_all(
        &options(Compat::Mars),
        &[
            ("b here", &["beq $zero, $zero, 0x400000"]),
            ("bal here", &["bgezal $zero, 0x400000"]),
            ("beqz $t0, here", &["beq $t0, $zero, 0x400000"]),
            ("beq $t0, 5, here", &["addiu $at, $zero, 5", "beq $t0, $at, 0x400000"]),
            ("bne $t0, 0, here", &["bne $t0, $zero, 0x400000"]),
            ("blt $t0, $t1, here", &["slt $at, $t0, $t1", "bne $at, $zero, 0x400000"]),
            ("blt $t0, 5, here", &["slti $at, $t0, 5", "bne $at, $zero, 0x400000"]),
            ("blt $t0, $zero, here", &["bltz $t0, 0x400000"]),
            ("ble $t0, $t1, here", &["slt $at, $t1, $t0", "beq $at, $zero, 0x400000"]),
            ("ble $t0, 5, here", &["slti $at, $t0, 6", "bne $at, $zero, 0x400000"]),
            ("ble $t0, 0, here", &["blez $t0, 0x400000"]),
            ("bgt $t0, $t1, here", &["slt $at, $t1, $t0", "bne $at, $zero, 0x400000"]),
            ("bgt $t0, 5, here", &["slti $at, $t0, 6", "beq $at, $zero, 0x400000"]),
            (
                "bgt $t0, 32767, here",
                &["addiu $at, $zero, 32767", "slt $at, $at, $t0", "bne $at, $zero, 0x400000"],
            ),
            ("bge $t0, $t1, here", &["slt $at, $t0, $t1", "beq $at, $zero, 0x400000"]),
            (
                "bge $t0, 40000, here",
                &["ori $at, $zero, 0x9c40", "slt $at, $t0, $at", "beq $at, $zero, 0x400000"],
            ),
            (
                "bgtu $t0, 0xffffffff, here",
                &["addiu $at, $zero, -1", "sltu $at, $at, $t0", "bne $at, $zero, 0x400000"],
            ),
            ("bltu $t0, 0, here", &["sltiu $at, $t0, 0", "bne $at, $zero, 0x400000"]),
            ("bgeul $t0, $t1, here", &["sltu $at, $t0, $t1", "beql $at, $zero, 0x400000"]),
            ("j $t0", &["jr $t0"]),
            ("jal $t0", &["jalr $ra, $t0"]),
            ("jalr $t0", &["jalr $ra, $t0"]),
            ("jalr $t1, $t0", &["jalr $t1, $t0"]),
            ("bc1t here", &["bc1t 0x400000"]),
            ("bc1t 1, here", &["bc1t $fcc1, 0x400000"]),
        ],
    );
}

#[test]
fn spim_refuses_immediates_that_do_not_fit() {
    let text = errors("addi $t0, $t0, 40000\nori $t0, $t0, -1", &options(Compat::Spim));
    assert!(text.contains("expected -32768 to 32767") && text.contains("expected 0 to 65535"), "{text}");
}

/// The value that a sequence of loads, shifts and ors leaves in `$t0`.
fn run_constant(words: &[u32]) -> u64 {
    words.iter().fold(0, |value: u64, word| {
        let insn = crate::isa::decode(*word).expect("an instruction");
        let value = if insn.rs() == 0 && matches!(insn.op, Op::Addiu | Op::Ori) { 0 } else { value };
        match insn.op {
            Op::Addiu => value.wrapping_add(insn.simm()),
            Op::Ori => value | insn.uimm(),
            Op::Lui => (insn.uimm() << 16) as i32 as u64,
            Op::Dsll => value << insn.sa(),
            Op::Dsll32 => value << (insn.sa() + 32),
            other => panic!("{other:?} in a constant"),
        }
    })
}

proptest::proptest! {
    #[test]
    fn every_constant_of_64_bits_is_loaded(random: u64, mask: u64, shift in 0u32..64, short: bool) {
        let wide = Options { cpu: Cpu::Mips64r2, ..Options::default() };
        let number = (if short { random & mask & mask.rotate_left(7) } else { random }) >> shift;
        for number in [number, number.wrapping_neg(), number.rotate_left(shift)] {
            let loaded = words(&program(&format!("dli $t0, {number:#x}"), &wide), Section::Text);
            proptest::prop_assert!(loaded.len() <= 6, "{} instructions for {:#x}", loaded.len(), number);
            proptest::prop_assert_eq!(run_constant(&loaded), number);
        }
    }
}
