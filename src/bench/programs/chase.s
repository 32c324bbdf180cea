# A list of 65536 links in an order that no cache can foresee, built once and followed four times around.
        .data
        .align 2
links:  .space 262144
        .text
unit:   la $t0, links
        li $t1, 0
        li $t2, 65536
        li $t6, 1664525
        li $t7, 1013904223
build:  mul $t3, $t1, $t6
        addu $t3, $t3, $t7
        andi $t3, $t3, 0xffff
        sll $t3, $t3, 2
        sll $t4, $t1, 2
        addu $t4, $t4, $t0
        addiu $t1, $t1, 1
        bne $t1, $t2, build
        sw $t3, 0($t4)
        li $t1, 262144
        li $t2, 0
        li $v0, 0
follow: addu $t3, $t0, $t2
        lw $t2, 0($t3)
        addiu $t1, $t1, -1
        bnez $t1, follow
        addu $v0, $v0, $t2
        jr $ra
        xor $v0, $v0, $t2
