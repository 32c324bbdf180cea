# output: 1.5 -2.25 \n7.25 0.5 \ntrace 2.0, determinant 17.0625\nroot of 2: 1.414213562373095\nmean 5.75\n
# ends: exit 0
# Matrices of doubles, a root by Newton's method, and an average of integers as a float.
        .data
a:      .double 1.0, 0.5, 2.5, 3.0
b:      .double 0.5, -4.0, 2.0, 3.5
half:   .double 0.5
two:    .double 2.0
near:   .double 1e-12
c:      .space  32
list:   .word   3, 9, 4, 7
t1:     .asciiz "trace "
t2:     .asciiz ", determinant "
t3:     .asciiz "\nroot of 2: "
t4:     .asciiz "\nmean "
        .text
main:   la      $s0, a
        la      $s1, b
        la      $s2, c
        li      $t0, 0                  # i
i:      li      $t1, 0                  # j
j:      mtc1    $zero, $f4
        cvt.d.w $f4, $f4
        li      $t2, 0                  # k
k:      sll     $t3, $t0, 4
        sll     $t4, $t2, 3
        addu    $t3, $t3, $t4
        addu    $t3, $t3, $s0
        l.d     $f6, ($t3)
        sll     $t3, $t2, 4
        sll     $t4, $t1, 3
        addu    $t3, $t3, $t4
        addu    $t3, $t3, $s1
        ldc1    $f8, 0($t3)
        mul.d   $f6, $f6, $f8
        add.d   $f4, $f4, $f6
        addiu   $t2, $t2, 1
        bne     $t2, 2, k
        sll     $t3, $t0, 4
        sll     $t4, $t1, 3
        addu    $t3, $t3, $t4
        addu    $t3, $t3, $s2
        s.d     $f4, 0($t3)
        mov.d   $f12, $f4
        li      $v0, 3
        syscall
        li      $a0, 32
        li      $v0, 11
        syscall
        addiu   $t1, $t1, 1
        bne     $t1, 2, j
        li      $a0, 10
        li      $v0, 11
        syscall
        addiu   $t0, $t0, 1
        bne     $t0, 2, i

        la      $a0, t1
        li      $v0, 4
        syscall
        l.d     $f0, c
        l.d     $f2, c+24
        add.d   $f12, $f0, $f2
        li      $v0, 3
        syscall
        la      $a0, t2
        li      $v0, 4
        syscall
        mul.d   $f4, $f0, $f2
        l.d     $f6, c+8
        l.d     $f8, c+16
        mul.d   $f6, $f6, $f8
        sub.d   $f12, $f4, $f6
        li      $v0, 3
        syscall

        la      $a0, t3
        li      $v0, 4
        syscall
        l.d     $f2, two
        l.d     $f4, half
        l.d     $f10, near
        mov.d   $f12, $f2
newton: div.d   $f6, $f2, $f12
        add.d   $f6, $f6, $f12
        mul.d   $f6, $f6, $f4
        sub.d   $f8, $f12, $f6
        abs.d   $f8, $f8
        mov.d   $f12, $f6
        c.lt.d  $f8, $f10
        bc1f    newton
        li      $v0, 3
        syscall

        la      $a0, t4
        li      $v0, 4
        syscall
        li      $t0, 0
        li      $t1, 0
sum:    lw      $t2, list($t1)
        add     $t0, $t0, $t2
        add     $t1, $t1, 4
        bne     $t1, 16, sum
        mtc1    $t0, $f12
        cvt.s.w $f12, $f12
        li      $t3, 4
        mtc1    $t3, $f14
        cvt.s.w $f14, $f14
        div.s   $f12, $f12, $f14
        li      $v0, 2
        syscall
        li      $a0, 10
        li      $v0, 11
        syscall
        li      $v0, 10
        syscall
