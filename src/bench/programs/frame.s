# The frame of every program: it calls `unit` REPEATS times, and ends with 0 if $v0 was RESULT each time.
# REPEATS, RESULT and the number of the service EXIT are given by whoever assembles it. `unit` may use all registers
# but $s7 and $sp.
        .set noreorder
main:   li $s7, REPEATS
again:  jal unit
        nop
        li $t0, RESULT
        bne $v0, $t0, wrong
        addiu $s7, $s7, -1
        bnez $s7, again
        nop
        b finish
        li $a0, 0
wrong:  li $a0, 1
finish: li $v0, EXIT
        syscall
