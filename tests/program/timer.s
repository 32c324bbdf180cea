# ends: exit 0
# $s0 = 120
# $s1 = 1
# The timer interrupts at the instruction whose number is in Compare, whatever the engine and the slice.
        .ktext 0x80000180
        mfc0 $s0, $9
        addiu $s1, $s1, 1
        li $v0, 10
        syscall
        .text
        .set noreorder
main:   li $t0, 120
        mtc0 $t0, $11
        mfc0 $t1, $12
        ori $t1, $t1, 0x8001
        mtc0 $t1, $12
spin:   addiu $t2, $t2, 1
        b spin
        addiu $t3, $t3, 1
