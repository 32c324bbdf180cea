# Bytes as text: write 4095 letters and spaces, copy them in capitals up to the zero, count the words and the vowels.
        .data
text:   .space 4096
copy:   .space 4096
        .text
unit:   la $t0, text
        li $t1, 4095
        li $t2, 0
write:  addiu $t2, $t2, 7
        sltiu $t3, $t2, 29
        bnez $t3, letter
        addiu $t4, $t2, 'a'
        addiu $t2, $t2, -29
        addiu $t4, $t2, 'a'
letter: sltiu $t3, $t2, 26
        bnez $t3, store
        nop
        li $t4, ' '
store:  sb $t4, 0($t0)
        addiu $t1, $t1, -1
        bnez $t1, write
        addiu $t0, $t0, 1
        sb $zero, 0($t0)
        la $t0, text
        la $t1, copy
upper:  lbu $t2, 0($t0)
        addiu $t0, $t0, 1
        addiu $t3, $t2, -97
        sltiu $t3, $t3, 26
        beqz $t3, keep
        nop
        addiu $t2, $t2, -32
keep:   sb $t2, 0($t1)
        bnez $t2, upper
        addiu $t1, $t1, 1
        la $t1, copy
        li $v0, 0
        li $t5, 'A'
        li $t6, 'E'
        li $t7, 'I'
        li $t8, 'O'
        li $t9, ' '
count:  lbu $t2, 0($t1)
        addiu $t1, $t1, 1
        beqz $t2, done
        nop
        beq $t2, $t5, vowel
        nop
        beq $t2, $t6, vowel
        nop
        beq $t2, $t7, vowel
        nop
        beq $t2, $t8, vowel
        nop
        bne $t2, $t9, count
        nop
        b count
        addiu $v0, $v0, 1000
vowel:  b count
        addiu $v0, $v0, 1
done:   jr $ra
        nop
