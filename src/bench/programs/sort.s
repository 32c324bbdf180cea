# 4096 random words by the sort of Shell; the result depends on the order of all of them.
        .data
        .align 2
words:  .space 16384
        .text
unit:   la $t0, words
        li $t1, 4096
        li $t2, 12345
        li $t6, 1103515245
make:   mul $t2, $t2, $t6
        addiu $t2, $t2, 12345
        srl $t3, $t2, 8
        sw $t3, 0($t0)
        addiu $t1, $t1, -1
        bnez $t1, make
        addiu $t0, $t0, 4
        la $t0, words
        li $t1, 8192
gaps:   move $t2, $t1
outer:  addu $t3, $t0, $t2
        lw $t4, 0($t3)
        move $t5, $t2
inner:  sltu $t8, $t5, $t1
        bnez $t8, place
        subu $t6, $t5, $t1
        addu $t7, $t0, $t6
        lw $t9, 0($t7)
        sltu $t8, $t4, $t9
        beqz $t8, place
        addu $t3, $t0, $t5
        sw $t9, 0($t3)
        b inner
        move $t5, $t6
place:  addu $t3, $t0, $t5
        sw $t4, 0($t3)
        addiu $t2, $t2, 4
        sltiu $t8, $t2, 16384
        bnez $t8, outer
        nop
        srl $t1, $t1, 1
        sltiu $t8, $t1, 4
        beqz $t8, gaps
        nop
        li $t1, 4096
        li $v0, 0
check:  lw $t3, 0($t0)
        sll $t4, $v0, 5
        subu $v0, $t4, $v0
        addu $v0, $v0, $t3
        addiu $t1, $t1, -1
        bnez $t1, check
        addiu $t0, $t0, 4
        jr $ra
        nop
