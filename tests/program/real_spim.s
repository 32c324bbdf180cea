# compat: spim
# output: 2.50000000 0.100000000000000006
# ends: returned
        .data
one:    .float 2.5
two:    .double 0.1
        .text
main:   l.s $f12, one
        li $v0, 2
        syscall
        li $a0, ' '
        li $v0, 11
        syscall
        l.d $f12, two
        li $v0, 3
        syscall
        jr $ra
