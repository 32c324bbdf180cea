# compat: spim
# output: 7 / 0: exception 9 at main+20\noverflow: exception 12 at main+52\nunaligned: exception 4 at main+80, address 0x10010001\ndone, 3 exceptions\n
# ends: exit 0
# A handler in the style of SPIM's own: it saves $at in .kdata, tells what happened, and goes on behind the instruction.
        .kdata
save0:  .word 0
save1:  .word 0
m_exc:  .asciiz "exception "
m_at:   .asciiz " at main+"
m_adr:  .asciiz ", address "
        .ktext 0x80000180
        .set noat
        move  $k1, $at
        .set at
        sw    $v0, save0
        sw    $a0, save1
        li    $v0, 4
        la    $a0, m_exc
        syscall
        mfc0  $k0, $13
        srl   $a0, $k0, 2
        andi  $a0, $a0, 0x1f
        li    $v0, 1
        syscall
        la    $a0, m_at
        li    $v0, 4
        syscall
        mfc0  $a0, $14
        la    $k0, main
        subu  $a0, $a0, $k0
        li    $v0, 1
        syscall
        mfc0  $k0, $13
        andi  $k0, $k0, 0x7c
        bne   $k0, 16, after
        la    $a0, m_adr
        li    $v0, 4
        syscall
        mfc0  $a0, $8
        li    $v0, 34
        syscall
after:  li    $a0, 10
        li    $v0, 11
        syscall
        addi  $s0, $s0, 1
        lw    $v0, save0
        lw    $a0, save1
        mtc0  $0, $13
        mfc0  $k0, $14
        addiu $k0, $k0, 4
        mtc0  $k0, $14
        .set noat
        move  $at, $k1
        .set at
        eret
        .data
word:   .word 5
m1:     .asciiz "7 / 0: "
m2:     .asciiz "overflow: "
m3:     .asciiz "unaligned: "
m4:     .asciiz "done, "
m5:     .asciiz " exceptions\n"
        .text
main:   la    $a0, m1
        li    $v0, 4
        syscall
        li    $t0, 7
        break 7
        la    $a0, m2
        li    $v0, 4
        syscall
        li    $t0, 0x7fffffff
        li    $t1, 1
        add   $t2, $t0, $t1
        la    $a0, m3
        li    $v0, 4
        syscall
        la    $t0, word
        lw    $t1, 1($t0)
        nop
        la    $a0, m4
        li    $v0, 4
        syscall
        move  $a0, $s0
        li    $v0, 1
        syscall
        la    $a0, m5
        li    $v0, 4
        syscall
        li    $v0, 10
        syscall
