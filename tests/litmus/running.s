# The first vCPU changes a word of a loop while the others run it. Both words that it writes do the same, so the loop
# gives the same result whichever is run. $a0: the number of the vCPU, $a1: rounds. Other results are counted in `bad`.
        .data
        .align 12
# daddiu $v0, $v0, 1; daddiu $v1, $v1, 1; addiu $t0, $t0, -1; bnez $t0, function; nop; jr $ra; nop
function: .word 0x64420001, 0x64630001, 0x2508ffff, 0x1500fffc, 0, 0x03e00008, 0
        .align 12
bad:    .word 0
        .align 7
over:   .word 0

        .text
        .set noreorder
main:   la $s0, function
        la $s1, over
        bnez $a0, call
        lw $s2, 8($s0)
# daddiu $t0, $t0, -1
        li $s3, 0x6508ffff
write:  sw $s3, 8($s0)
        addiu $a1, $a1, -1
        li $t0, 200
pause:  bnez $t0, pause
        addiu $t0, $t0, -1
        sw $s2, 8($s0)
        li $t0, 200
rest:   bnez $t0, rest
        addiu $t0, $t0, -1
        bnez $a1, write
        nop
        li $t0, 1
        sw $t0, 0($s1)
        hypcall 1

call:   li $t0, 500
        move $v0, $zero
        move $v1, $zero
        jalr $s0
        li $s4, 500
        bne $v0, $s4, wrong
        nop
        bne $v1, $s4, wrong
        nop
look:   lw $t0, 0($s1)
        beqz $t0, call
        nop
        hypcall 1
wrong:  lw $t1, bad
        addiu $t1, $t1, 1
        sw $t1, bad
        b look
        nop
