# output: Hello, world\n
# ends: exit 7
# $t1 = 0
        .data
text:   .asciiz "Hello, world\n"
        .text
        .globl main
main:   la $a0, text
        li $v0, 4
        syscall
        li $a0, 7
        li $v0, 17
        syscall
        li $t1, 1
