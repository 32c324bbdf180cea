# The 20th number of Fibonacci by calls alone: returns and the stack.
unit:   move $s6, $ra
        jal fib
        li $a0, 20
        jr $s6
        nop
fib:    sltiu $t0, $a0, 2
        bnez $t0, leaf
        daddiu $sp, $sp, -16
        sw $ra, 0($sp)
        sw $a0, 4($sp)
        jal fib
        addiu $a0, $a0, -1
        lw $a0, 4($sp)
        sw $v0, 8($sp)
        jal fib
        addiu $a0, $a0, -2
        lw $t0, 8($sp)
        lw $ra, 0($sp)
        addu $v0, $v0, $t0
        jr $ra
        daddiu $sp, $sp, 16
leaf:   move $v0, $a0
        jr $ra
        daddiu $sp, $sp, 16
