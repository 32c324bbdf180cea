# input: 2\n0\n3\n9\n1\n-1\n
# output: two\nzero\nthree\nother\none\n
# ends: exit 0
# A switch by a table of addresses, with jalr, and MARS's habits: $zero spelled as 0, hexadecimal offsets, .extern, .globl.
        .data
        .extern counts 16
table:  .word   zero one two three
names:  .asciiz "zero\n" "one\n" "two\n" "three\n" "other\n"
        .text
        .globl main
main:
loop:   li $v0, 5
        syscall
        bltz $v0, exit
        la $t9, other
        bgeu $v0, 4, call
        sll $t0, $v0, 2
        lw $t9, table($t0)
        lw $t1, counts($t0)
        addi $t1, $t1, 1
        sw $t1, counts($t0)
call:   jalr $t9
        j loop
zero:   la $a0, names
        j print
one:    la $a0, names+6
        j print
two:    la $a0, names + 11
        j print
three:  la $a0, names+0x10
        j print
other:  la $a0, names+23
print:  li $v0, 4
        syscall
        jr $ra
exit:   li $v0, 10
        syscall
