# The first vCPU writes a function, the second calls it; both know what it must give. $a0: the number of the vCPU,
# $a1: rounds. What was stale is counted in `bad`.
        .data
        .align 12
# addiu $v0, $zero, ROUND; jr $ra; nop
function: .word 0x24020000, 0x03e00008, 0
        .align 12
written: .word 0
        .align 7
called: .word 0
        .align 7
bad:    .word 0

        .text
        .set noreorder
main:   la $s0, function
        la $s1, written
        la $s2, called
        bnez $a0, call
        move $s3, $zero
        lw $s4, 0($s0)
write:  addiu $s3, $s3, 1
        andi $t0, $s3, 0x7fff
        or $t0, $s4, $t0
        sw $t0, 0($s0)
        synci 0($s0)
        sync
        sw $s3, 0($s1)
answer: lw $t0, 0($s2)
        bne $t0, $s3, answer
        nop
        bne $s3, $a1, write
        nop
        hypcall 1

call:   addiu $s3, $s3, 1
ready:  lw $t0, 0($s1)
        bne $t0, $s3, ready
        nop
        sync
        jalr.hb $s0
        nop
        andi $t0, $s3, 0x7fff
        beq $v0, $t0, fresh
        nop
        lw $t1, bad
        addiu $t1, $t1, 1
        sw $t1, bad
fresh:  sync
        sw $s3, 0($s2)
        bne $s3, $a1, call
        nop
        hypcall 1
