# input: 10\n
# output: n = 10! = 3628800\n
# ends: returned
# A recursive function with a stack frame, in MARS style.
.data
ask:    .asciiz "n = "
is:     .asciiz "! = "
.text
main:
        addi $sp, $sp, -4
        sw   $ra, 0($sp)
        la   $a0, ask
        li   $v0, 4
        syscall
        li   $v0, 5
        syscall
        move $s0, $v0
        move $a0, $s0
        li   $v0, 1
        syscall
        la   $a0, is
        li   $v0, 4
        syscall
        move $a0, $s0
        jal  factorial
        move $a0, $v0
        li   $v0, 1
        syscall
        li   $a0, '\n'
        li   $v0, 11
        syscall
        lw   $ra, 0($sp)
        addi $sp, $sp, 4
        jr   $ra
factorial:
        bgt  $a0, 1, recurse
        li   $v0, 1
        jr   $ra
recurse:
        subu $sp, $sp, 8
        sw   $ra, 4($sp)
        sw   $a0, 0($sp)
        sub  $a0, $a0, 1
        jal  factorial
        lw   $a0, 0($sp)
        mul  $v0, $v0, $a0
        lw   $ra, 4($sp)
        addu $sp, $sp, 8
        jr   $ra
