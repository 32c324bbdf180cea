# output: 2.5 0.1 1.0E10 -0.0 3.14159 1.0E-5
# ends: ran off
# MARS prints real numbers as Java does, and takes the end of the text for the end of the program.
        .data
floats: .float 2.5, 0.1, 1e10, -0.0
doubles: .double 3.14159, 0.00001
        .text
main:   la $s0, floats
        li $s1, 4
float:  l.s $f12, 0($s0)
        li $v0, 2
        syscall
        jal blank
        addi $s0, $s0, 4
        addi $s1, $s1, -1
        bnez $s1, float
        l.d $f12, doubles
        li $v0, 3
        syscall
        jal blank
        l.d $f12, doubles + 8
        li $v0, 3
        syscall
        b end
blank:  li $a0, ' '
        li $v0, 11
        syscall
        jr $ra
end:
