# input: 3\n
# output: How many disks? Move disk 1 from A to C\nMove disk 2 from A to B\nMove disk 1 from C to B\nMove disk 3 from A to C\n
# output: Move disk 1 from B to A\nMove disk 2 from B to C\nMove disk 1 from A to C\n7 moves\n
# ends: returned
# The Towers of Hanoi in the style of SPIM: main returns to whoever called it.
        .data
ask:    .asciiz "How many disks? "
disk:   .asciiz "Move disk "
from:   .asciiz " from "
to:     .asciiz " to "
end:    .asciiz "\n"
moves:  .asciiz " moves\n"
        .text
        .globl main
main:   addiu $sp, $sp, -8
        sw    $ra, 4($sp)
        li    $v0, 4
        la    $a0, ask
        syscall
        li    $v0, 5
        syscall
        li    $s0, 0
        move  $a0, $v0
        li    $a1, 'A'
        li    $a2, 'C'
        li    $a3, 'B'
        jal   hanoi
        li    $v0, 1
        move  $a0, $s0
        syscall
        li    $v0, 4
        la    $a0, moves
        syscall
        lw    $ra, 4($sp)
        addiu $sp, $sp, 8
        jr    $ra

# hanoi(disks, from, to, spare)
hanoi:  beq   $a0, $zero, stop
        addiu $sp, $sp, -20
        sw    $ra, 16($sp)
        sw    $a0, 12($sp)
        sw    $a1, 8($sp)
        sw    $a2, 4($sp)
        sw    $a3, 0($sp)
        addi  $a0, $a0, -1
        move  $t0, $a2
        move  $a2, $a3
        move  $a3, $t0
        jal   hanoi
        la    $a0, disk
        li    $v0, 4
        syscall
        lw    $a0, 12($sp)
        li    $v0, 1
        syscall
        la    $a0, from
        li    $v0, 4
        syscall
        lw    $a0, 8($sp)
        li    $v0, 11
        syscall
        la    $a0, to
        li    $v0, 4
        syscall
        lw    $a0, 4($sp)
        li    $v0, 11
        syscall
        la    $a0, end
        li    $v0, 4
        syscall
        addi  $s0, $s0, 1
        lw    $a0, 12($sp)
        addi  $a0, $a0, -1
        lw    $a1, 0($sp)
        lw    $a2, 4($sp)
        lw    $a3, 8($sp)
        jal   hanoi
        lw    $ra, 16($sp)
        addiu $sp, $sp, 20
stop:   jr    $ra
