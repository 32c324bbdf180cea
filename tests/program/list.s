# input: 5\n3\n9\n-1\n7\n0\n
# output: Numbers, 0 ends: -1 3 5 7 9\nsum 23\n
# ends: exit 0
# $s0 = 0x10040020
# A linked list that is kept sorted; its nodes come from sbrk. Input until 0.
.eqv    value   0
.eqv    link    4
        .data
head:   .word   0
ask:    .asciiz "Numbers, 0 ends: "
sum:    .asciiz "\nsum "
        .text
main:   la      $a0, ask
        li      $v0, 4
        syscall
read:   li      $v0, 5
        syscall
        beqz    $v0, print
        move    $s1, $v0
        li      $a0, 8
        li      $v0, 9
        syscall
        move    $s0, $v0
        sw      $s1, value($s0)
        la      $t0, head               # where the pointer to the new node goes
search: lw      $t1, ($t0)
        beqz    $t1, insert
        lw      $t2, value($t1)
        bgt     $t2, $s1, insert
        addi    $t0, $t1, link
        j       search
insert: sw      $t1, link($s0)
        sw      $s0, ($t0)
        j       read
print:  lw      $s2, head
        li      $s3, 0
        li      $s4, 0
node:   beqz    $s2, total
        beqz    $s4, first
        li      $a0, ' '
        li      $v0, 11
        syscall
first:  li      $s4, 1
        lw      $a0, value($s2)
        add     $s3, $s3, $a0
        li      $v0, 1
        syscall
        lw      $s2, link($s2)
        b       node
total:  la      $a0, sum
        li      $v0, 4
        syscall
        move    $a0, $s3
        li      $v0, 1
        syscall
        li      $a0, 10
        li      $v0, 11
        syscall
        li      $v0, 10
        syscall
