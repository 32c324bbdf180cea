# A loop of shifts, sums and differences whose steps depend on each other.
unit:   li $t1, 100000
        li $v0, 1
loop:   sll $t2, $v0, 3
        addu $v0, $v0, $t2
        xor $v0, $v0, $t1
        srl $t3, $v0, 7
        addiu $t1, $t1, -1
        bnez $t1, loop
        subu $v0, $v0, $t3
        jr $ra
        nop
