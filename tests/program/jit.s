# output: 0
# ends: returned
# A small just-in-time compiler: it writes the same function a hundred times with other constants, and calls each
# often enough that it is translated before it is written again.
main:   move $s0, $ra
        li $s1, 0
        li $s2, 100
next:   la $t0, made
        # addiu $v0, $a0, K
        lui $t1, 0x2482
        or $t1, $t1, $s2
        sw $t1, 0($t0)
        # xori $v0, $v0, K
        lui $t1, 0x3842
        or $t1, $t1, $s2
        sw $t1, 4($t0)
        li $s3, 4
call:   move $a0, $s1
        jal made
        move $s1, $v0
        addi $s3, $s3, -1
        bnez $s3, call
        addi $s2, $s2, -1
        bnez $s2, next
        move $a0, $s1
        li $v0, 1
        syscall
        jr $s0
made:   nop
        nop
        jr $ra
