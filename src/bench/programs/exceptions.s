# 5000 traps, each answered by the program's own handler, which counts them and goes on after the instruction.
        .ktext 0x80000180
        mfc0 $k0, $14
        addiu $v0, $v0, 1
        addiu $k0, $k0, 4
        mtc0 $k0, $14
        eret
        .text
unit:   li $t0, 5000
        li $v0, 0
loop:   teq $zero, $zero
        addiu $t0, $t0, -1
        bnez $t0, loop
        nop
        jr $ra
        nop
