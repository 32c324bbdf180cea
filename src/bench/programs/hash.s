# FNV-1a of 64 bits over 16384 bytes.
        .data
        .align 3
bytes:  .space 16384
        .text
unit:   la $t0, bytes
        li $t1, 16384
        move $t3, $t0
fill:   sb $t1, 0($t3)
        addiu $t1, $t1, -1
        bnez $t1, fill
        addiu $t3, $t3, 1
        dli $t4, 0xcbf29ce484222325
        dli $t5, 0x100000001b3
hash:   lbu $t2, 0($t0)
        addiu $t0, $t0, 1
        xor $t4, $t4, $t2
        dmultu $t4, $t5
        bne $t0, $t3, hash
        mflo $t4
        dsrl32 $t2, $t4, 0
        xor $v0, $t4, $t2
        jr $ra
        sll $v0, $v0, 0
