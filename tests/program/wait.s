# ends: exit 3
# While a program waits, time passes until the timer's interrupt.
        .ktext 0x80000180
        li $a0, 3
        li $v0, 17
        syscall
        .text
main:   li $t0, 1000000
        mtc0 $t0, $11
        mfc0 $t1, $12
        ori $t1, $t1, 0x8001
        mtc0 $t1, $12
        wait
        li $v0, 10
        syscall
