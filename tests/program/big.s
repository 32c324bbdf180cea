# endian: big
# ends: returned
# $t1 = 0x11
# $t2 = 0x1122
# $t3 = 0x22334455
        .data
x:      .word 0x11223344, 0x55667788
        .text
main:   la $t0, x
        lb $t1, 0($t0)
        lh $t2, 0($t0)
        ulw $t3, 1($t0)
        jr $ra
