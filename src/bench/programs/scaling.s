# What each vCPU of the scaling bench runs for ever: work on an array of its own at $a0, and now and then an addition to
# the word at $a1, which all share.
        .set noreorder
main:   li $t0, 64
work:   andi $t1, $t0, 63
        sll $t1, $t1, 3
        daddu $t1, $t1, $a0
        ld $t2, 0($t1)
        daddu $t3, $t3, $t2
        dsll $t4, $t3, 3
        xor $t3, $t3, $t4
        sd $t3, 0($t1)
        bnez $t0, work
        addiu $t0, $t0, -1
add:    ll $t2, 0($a1)
        addiu $t2, $t2, 1
        sc $t2, 0($a1)
        beqz $t2, add
        nop
        b main
        nop
