# Races between vCPUs, a phase each. $a0: the number of the vCPU, $a1: rounds, $a2: how many vCPUs there are.
# What must not happen is counted in `bad`.
        .data
        .align 7
x:      .word 0
        .align 7
y:      .word 0
        .align 7
arrived: .word 0
        .align 7
saw:    .word 0, 0
        .align 7
counter: .word 0
        .align 7
lock:   .word 0
guarded: .word 0, 0
        .align 7
sequence: .word 0
pair:   .word 0, 0
        .align 7
bad:    .word 0, 0, 0, 0

        .text
        .set noreorder
main:   move $s3, $zero
        la $s1, x
        la $s2, y
        beqz $a0, stores
        move $s0, $zero
        la $s1, y
        la $s2, x

# Store buffering: of two vCPUs that each store and then load what the other stores, with SYNC between, one sees it.
stores: addiu $s0, $s0, 1
        jal meet
        nop
        sltiu $t0, $a0, 2
        beqz $t0, stored
        nop
        sw $s0, 0($s1)
        sync
        lw $t0, 0($s2)
        la $t1, saw
        sll $t2, $a0, 2
        addu $t1, $t1, $t2
        sw $t0, 0($t1)
stored: jal meet
        nop
        bnez $a0, stores_on
        nop
        lw $t0, saw
        lw $t1, saw + 4
        beq $t0, $s0, stores_on
        nop
        beq $t1, $s0, stores_on
        nop
        lw $t2, bad
        addiu $t2, $t2, 1
        sw $t2, bad
stores_on:
        bne $s0, $a1, stores
        nop

# Message passing: who sees a flag sees what was stored before it. The flag is y, the message x.
        sw $zero, x
        sw $zero, y
        jal meet
        nop
        la $s1, x
        la $s2, y
        li $t1, 1
        beqz $a0, send
        move $s0, $zero
        bne $a0, $t1, passed
        nop
receive: lw $s0, 0($s2)
        sync
        lw $t0, 0($s1)
        sltu $t2, $t0, $s0
        beqz $t2, receive_on
        nop
        lw $t2, bad + 4
        addiu $t2, $t2, 1
        sw $t2, bad + 4
receive_on:
        bne $s0, $a1, receive
        nop
        b passed
        nop
send:   addiu $s0, $s0, 1
        sw $s0, 0($s1)
        sync
        sw $s0, 0($s2)
        bne $s0, $a1, send
        nop
passed: jal meet
        move $s0, $zero

# A counter by LL and SC, and two more under a spin lock that must be equal.
        la $s1, counter
        la $s2, lock
count:  ll $t0, 0($s1)
        addiu $t0, $t0, 1
        sc $t0, 0($s1)
        beqz $t0, count
        nop
take:   ll $t0, 0($s2)
        bnez $t0, take
        li $t1, 1
        sc $t1, 0($s2)
        beqz $t1, take
        nop
        sync
        lw $t0, 4($s2)
        lw $t1, 8($s2)
        addiu $t2, $t0, 1
        sw $t2, 4($s2)
        sw $t2, 8($s2)
        beq $t0, $t1, release
        nop
        lw $t2, bad + 8
        addiu $t2, $t2, 1
        sw $t2, bad + 8
release: sync
        sw $zero, 0($s2)
        addiu $s0, $s0, 1
        bne $s0, $a1, count
        nop
        jal meet
        move $s0, $zero

# A sequence lock: the first vCPU writes pairs of equal words, and the others never see two that differ.
        la $s1, sequence
        bnez $a0, reads
        sll $t4, $a1, 1
writes: addiu $s0, $s0, 1
        sw $s0, 0($s1)
        sync
        sw $s0, 4($s1)
        sw $s0, 8($s1)
        sync
        addiu $s0, $s0, 1
        sw $s0, 0($s1)
        bne $s0, $t4, writes
        nop
        b end
        nop
reads:  lw $t0, 0($s1)
        andi $t1, $t0, 1
        bnez $t1, reads
        sync
        lw $t1, 4($s1)
        lw $t2, 8($s1)
        sync
        lw $t3, 0($s1)
        bne $t0, $t3, reads
        nop
        beq $t1, $t2, reads_on
        nop
        lw $t2, bad + 12
        addiu $t2, $t2, 1
        sw $t2, bad + 12
reads_on:
        bne $t0, $t4, reads
        nop
end:    jal meet
        nop
        hypcall 1

# Waits until all vCPUs are here. $s3 is how many have come here by then.
meet:   la $t8, arrived
        addu $s3, $s3, $a2
come:   ll $t9, 0($t8)
        addiu $t9, $t9, 1
        sc $t9, 0($t8)
        beqz $t9, come
        sync
wait:   lw $t9, 0($t8)
        sltu $t7, $t9, $s3
        bnez $t7, wait
        sync
        jr $ra
        nop
