# output: 12
# ends: returned
# The program writes an instruction over one that has already run.
main:   move $s0, $ra
        li $s1, 2
again:  li $a0, 1
        li $v0, 1
        syscall
        la $t0, again
        la $t1, other
        lw $t1, 0($t1)
        sw $t1, 0($t0)
        addi $s1, $s1, -1
        bnez $s1, again
        jr $s0
other:  li $a0, 2
