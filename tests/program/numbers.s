# output: 0x000000ff 00000000000000000000000000000101 4294967295 0 3
# ends: returned
# MARS's services 34 to 36, and its random numbers: those of Java with seed 42, below 10.
main:   li $a0, 255
        li $v0, 34
        syscall
        jal blank
        li $a0, 5
        li $v0, 35
        syscall
        jal blank
        li $a0, -1
        li $v0, 36
        syscall
        jal blank
        li $a0, 1
        li $a1, 42
        li $v0, 40
        syscall
        li $s0, 2
next:   li $a0, 1
        li $a1, 10
        li $v0, 42
        syscall
        li $v0, 1
        syscall
        addi $s0, $s0, -1
        beqz $s0, done
        jal blank
        b next
done:   li $ra, 0x3ff000
        jr $ra
blank:  li $a0, ' '
        li $v0, 11
        syscall
        jr $ra
