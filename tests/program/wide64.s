# cpu: mips64r2
# endian: big
# output: 13! = 6227020800\n2432902008176640000 is 20!\nhash 0x21dce860d4865674\n0.1 + 0.2 = 0.30000000000000004\n
# ends: exit 0
# 64-bit arithmetic: factorials, a Fowler-Noll-Vo hash in both halves, and doubles in odd registers.
        .data
        .align  3
prime:  .dword  0x100000001b3
basis:  .dword  0xcbf29ce484222325
tenth:  .double 0.1
text:   .asciiz "MIPS64"
m1:     .asciiz "13! = "
m2:     .asciiz " is 20!\n"
m3:     .asciiz "hash 0x"
m4:     .asciiz "\n0.1 + 0.2 = "
digits: .ascii  "0123456789abcdef"
        .text
main:   la      $a0, m1
        li      $v0, 4
        syscall
        li      $a0, 13
        jal     factorial
        move    $a0, $v0
        li      $v0, 1
        syscall
        li      $a0, '\n'
        li      $v0, 11
        syscall
        li      $a0, 20
        jal     factorial
        move    $a0, $v0
        li      $v0, 1
        syscall
        la      $a0, m2
        li      $v0, 4
        syscall
        ld      $s0, basis
        ld      $t1, prime
        la      $t0, text
hash:   lbu     $t2, ($t0)
        beqz    $t2, hashed
        xor     $s0, $s0, $t2
        dmultu  $s0, $t1
        mflo    $s0
        daddiu  $t0, $t0, 1
        j       hash
hashed: la      $a0, m3
        li      $v0, 4
        syscall
        li      $s1, 60
digit:  dsrlv   $t0, $s0, $s1
        andi    $t0, $t0, 15
        lbu     $a0, digits($t0)
        li      $v0, 11
        syscall
        addi    $s1, $s1, -4
        bgez    $s1, digit
        la      $a0, m4
        li      $v0, 4
        syscall
        l.d     $f1, tenth
        add.d   $f3, $f1, $f1
        add.d   $f12, $f1, $f3
        li      $v0, 3
        syscall
        li      $a0, '\n'
        li      $v0, 11
        syscall
        li      $v0, 10
        syscall

factorial:
        li      $v0, 1
product:
        blez    $a0, made
        dmult   $v0, $a0
        mflo    $v0
        daddi   $a0, $a0, -1
        b       product
made:   jr      $ra
