# The sieve of Eratosthenes: how many primes are below 65536?
        .data
flags:  .space 65536
        .text
unit:   la $t0, flags
        addiu $t1, $t0, 32764
        addiu $t1, $t1, 32764
        addiu $t1, $t1, 8
clear:  sd $zero, 0($t0)
        addiu $t0, $t0, 8
        bne $t0, $t1, clear
        nop
        la $t0, flags
        li $t2, 2
        li $t7, 65536
        move $v0, $zero
next:   addu $t3, $t0, $t2
        lbu $t4, 0($t3)
        bnez $t4, skip
        li $t6, 1
        addiu $v0, $v0, 1
        mul $t5, $t2, $t2
        sltiu $t4, $t2, 256
        beqz $t4, skip
        addu $t3, $t0, $t5
strike: sb $t6, 0($t3)
        addu $t3, $t3, $t2
        sltu $t4, $t3, $t1
        bnez $t4, strike
        nop
skip:   addiu $t2, $t2, 1
        bne $t2, $t7, next
        nop
        jr $ra
        nop
