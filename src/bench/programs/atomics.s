# 20000 additions to one word, each by load-linked and store-conditional between barriers.
        .data
        .align 2
word:   .word 0
        .text
unit:   la $t0, word
        li $t1, 20000
        sw $zero, 0($t0)
loop:   sync
retry:  ll $t2, 0($t0)
        addu $t2, $t2, $t1
        sc $t2, 0($t0)
        beqz $t2, retry
        nop
        sync
        addiu $t1, $t1, -1
        bnez $t1, loop
        nop
        jr $ra
        lw $v0, 0($t0)
