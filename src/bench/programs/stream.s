# Three passes over memory: fill an array of 16384 doublewords, add 7 to each into another, add that up.
        .data
        .align 3
from:   .space 131072
to:     .space 131072
        .text
unit:   la $t0, from
        addiu $t1, $t0, 16384
        addiu $t1, $t1, 16384
        addiu $t1, $t1, 16384
        addiu $t1, $t1, 16384
        addiu $t1, $t1, 16384
        addiu $t1, $t1, 16384
        addiu $t1, $t1, 16384
        addiu $t1, $t1, 16384
        move $t2, $zero
fill:   sd $t2, 0($t0)
        daddiu $t3, $t2, 1
        sd $t3, 8($t0)
        daddiu $t2, $t2, 2
        addiu $t0, $t0, 16
        bne $t0, $t1, fill
        nop
        la $t0, from
        la $t4, to
copy:   ld $t2, 0($t0)
        ld $t3, 8($t0)
        daddiu $t2, $t2, 7
        daddiu $t3, $t3, 7
        addiu $t0, $t0, 16
        sd $t2, 0($t4)
        sd $t3, 8($t4)
        bne $t0, $t1, copy
        addiu $t4, $t4, 16
        la $t0, to
        move $t1, $t4
        move $v0, $zero
sum:    ld $t2, 0($t0)
        ld $t3, 8($t0)
        daddu $v0, $v0, $t2
        addiu $t0, $t0, 16
        bne $t0, $t1, sum
        daddu $v0, $v0, $t3
        jr $ra
        sll $v0, $v0, 0
