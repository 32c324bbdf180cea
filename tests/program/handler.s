# output: 12 13 9 4 7 AA
# ends: returned
# The program's own handler prints the code of each exception and goes on after it. System calls are services even in
# delay slots.
        .kdata
space:  .asciiz " "
        .ktext 0x80000180
        mfc0 $k0, $13
        srl $a0, $k0, 2
        andi $a0, $a0, 31
        li $v0, 1
        syscall
        la $a0, space
        li $v0, 4
        syscall
        mfc0 $k0, $14
        addiu $k0, $k0, 4
        mtc0 $k0, $14
        eret
        .text
main:   li $t0, 0x7fffffff
        addi $t0, $t0, 1
        teq $zero, $zero
        break 3
        lw $t1, 1($zero)
        lw $t1, 0($zero)
        move $s0, $ra
        .set noreorder
        li $a0, 'A'
        li $v0, 11
        b next
        syscall
        break
next:   jal function
        syscall
        jr $s0
        nop
function:
        jr $ra
        nop
