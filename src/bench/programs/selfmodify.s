# A function of two instructions whose constant is written anew before each of 200 calls.
unit:   move $s6, $ra
        la $s0, patched
        li $s1, 200
        li $s2, 0
loop:   lw $t0, 0($s0)
        srl $t0, $t0, 16
        sll $t0, $t0, 16
        or $t0, $t0, $s1
        sw $t0, 0($s0)
        synci 0($s0)
        jal function
        nop
        addiu $s1, $s1, -1
        bnez $s1, loop
        addu $s2, $s2, $v0
        jr $s6
        move $v0, $s2
function:
        jr $ra
patched: addiu $v0, $zero, 0
