# The product of two matrices of 32 by 32 doubles, and the sum of its elements.
        .data
        .align 3
left:   .space 8192
right:  .space 8192
        .text
unit:   la $t0, left
        la $t1, right
        li $t9, 32
        li $t2, 0
rows:   li $t3, 0
fill:   addu $t4, $t2, $t3
        mtc1 $t4, $f0
        subu $t5, $t2, $t3
        mtc1 $t5, $f2
        cvt.d.w $f0, $f0
        cvt.d.w $f2, $f2
        sdc1 $f0, 0($t0)
        sdc1 $f2, 0($t1)
        addiu $t0, $t0, 8
        addiu $t3, $t3, 1
        bne $t3, $t9, fill
        addiu $t1, $t1, 8
        addiu $t2, $t2, 1
        bne $t2, $t9, rows
        nop
        mtc1 $zero, $f10
        la $t0, left
        cvt.d.w $f10, $f10
        li $t2, 0
row:    la $t1, right
        li $t3, 0
column: mtc1 $zero, $f4
        move $t6, $t0
        move $t7, $t1
        li $t4, 32
        cvt.d.w $f4, $f4
dot:    ldc1 $f0, 0($t6)
        ldc1 $f2, 0($t7)
        addiu $t6, $t6, 8
        mul.d $f6, $f0, $f2
        addiu $t4, $t4, -1
        addiu $t7, $t7, 256
        bnez $t4, dot
        add.d $f4, $f4, $f6
        add.d $f10, $f10, $f4
        addiu $t3, $t3, 1
        bne $t3, $t9, column
        addiu $t1, $t1, 8
        addiu $t2, $t2, 1
        bne $t2, $t9, row
        addiu $t0, $t0, 256
        trunc.w.d $f10, $f10
        jr $ra
        mfc1 $v0, $f10
