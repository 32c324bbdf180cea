# An interpreter of a machine with six instructions of one byte and an operand of one byte; its program is a loop.
        .data
code:   .byte 0, 3, 1, 5, 2, 1, 3, 7, 0, 11, 4, 0, 5, 0
        .align 2
table:  .word op_add, op_xor, op_shift, op_mask, op_loop, op_end
        .text
unit:   la $s0, code
        la $s1, table
        move $s2, $s0
        li $s3, 20000
        li $v0, 1
fetch:  lbu $t0, 0($s2)
        lbu $t1, 1($s2)
        sll $t0, $t0, 2
        addu $t0, $s1, $t0
        lw $t0, 0($t0)
        jr $t0
        addiu $s2, $s2, 2
op_add: b fetch
        addu $v0, $v0, $t1
op_xor: sll $t1, $t1, 4
        b fetch
        xor $v0, $v0, $t1
op_shift:
        b fetch
        sllv $v0, $v0, $t1
op_mask:
        srlv $t2, $v0, $t1
        b fetch
        xor $v0, $v0, $t2
op_loop:
        addiu $s3, $s3, -1
        beqz $s3, fetch
        nop
        b fetch
        move $s2, $s0
op_end: jr $ra
        nop
