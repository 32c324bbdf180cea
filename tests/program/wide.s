# cpu: mips64r2
# output: 81985529216486895
# ends: returned
# $t0 = 0x123456789abcdef
# $t1 = 0xef
main:   dli $t0, 0x0123456789abcdef
        dsll $t1, $t0, 56
        dsrl $t1, $t1, 56
        move $a0, $t0
        li $v0, 1
        syscall
        jr $ra
