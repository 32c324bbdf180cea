# input: some words\nx
# output: some words\n|x-1|4
# ends: returned
# Strings are read with their newline, characters one by one, -1 at the end of the input; the heap starts empty.
main:   move $s7, $ra
        li $a0, 32
        li $v0, 9
        syscall
        move $s0, $v0
        move $a0, $v0
        li $a1, 32
        li $v0, 8
        syscall
        move $a0, $s0
        li $v0, 4
        syscall
        jal bar
        li $v0, 12
        syscall
        move $a0, $v0
        li $v0, 11
        syscall
        li $v0, 12
        syscall
        move $a0, $v0
        li $v0, 1
        syscall
        jal bar
        li $a0, 4
        li $v0, 9
        syscall
        subu $a0, $v0, $s0
        subu $a0, $a0, 28
        li $v0, 1
        syscall
        jr $s7
bar:    li $a0, '|'
        li $v0, 11
        syscall
        jr $ra
