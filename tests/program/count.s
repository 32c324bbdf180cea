# ends: returned
# $t0 = 3
# $t1 = 10
# $t2 = 7
# Count is the number of instructions that ran before it is read, in the middle of a block too.
        .set noreorder
main:   nop
        nop
        nop
        mfc0 $t0, $9
        nop
        nop
        nop
        nop
        b next
        nop
next:   mfc0 $t1, $9
        subu $t2, $t1, $t0
        jr $ra
        nop
