# output: unsorted: 27 -5 14 0 99 3 3 -128 42 7 \nsorted:   -128 -5 0 3 3 7 14 27 42 99 \n
# ends: exit 0
# $s7 = 99
# A recursive quicksort with frames on the stack, as in a second course.
        .data
array:  .word   27, -5, 14, 0, 99, 3, 3, -128, 42, 7
        .eqv    COUNT 10
before: .asciiz "unsorted: "
after:  .asciiz "sorted:   "

        .text
        .globl  main
main:   la      $a0, before
        la      $a1, array
        li      $a2, COUNT
        jal     show

        la      $a0, array
        li      $a1, 0
        li      $a2, COUNT
        subi    $a2, $a2, 1
        jal     quicksort

        la      $a0, after
        la      $a1, array
        li      $a2, COUNT
        jal     show
        lw      $s7, array+36
        li      $v0, 10
        syscall

# void quicksort(int *a, int low, int high)
quicksort:
        bge     $a1, $a2, nothing
        subu    $sp, $sp, 24
        sw      $ra, 20($sp)
        sw      $s0, 16($sp)
        sw      $s1, 12($sp)
        sw      $s2, 8($sp)
        sw      $s3, 4($sp)
        move    $s0, $a0
        move    $s1, $a1
        move    $s2, $a2
        sll     $t0, $a2, 2
        add     $t0, $a0, $t0
        lw      $t1, ($t0)              # the pivot is the last
        addi    $t2, $a1, -1            # i
        move    $t3, $a1                # j
split:  bge     $t3, $s2, placed
        sll     $t4, $t3, 2
        add     $t4, $s0, $t4
        lw      $t5, 0($t4)
        bgt     $t5, $t1, larger
        addi    $t2, $t2, 1
        sll     $t6, $t2, 2
        add     $t6, $s0, $t6
        lw      $t7, 0($t6)
        sw      $t5, 0($t6)
        sw      $t7, 0($t4)
larger: addi    $t3, $t3, 1
        j       split
placed: addi    $s3, $t2, 1
        sll     $t6, $s3, 2
        add     $t6, $s0, $t6
        lw      $t7, 0($t6)
        lw      $t5, 0($t0)
        sw      $t5, 0($t6)
        sw      $t7, 0($t0)
        move    $a1, $s1
        addi    $a2, $s3, -1
        jal     quicksort
        move    $a0, $s0
        addi    $a1, $s3, 1
        move    $a2, $s2
        jal     quicksort
        lw      $s3, 4($sp)
        lw      $s2, 8($sp)
        lw      $s1, 12($sp)
        lw      $s0, 16($sp)
        lw      $ra, 20($sp)
        addu    $sp, $sp, 24
nothing:
        jr      $ra

# void show(char *text, int *a, int n)
show:   li      $v0, 4
        syscall
        move    $t0, $a1
        move    $t1, $a2
each:   blez    $t1, line
        lw      $a0, 0($t0)
        li      $v0, 1
        syscall
        li      $a0, ' '
        li      $v0, 11
        syscall
        addiu   $t0, $t0, 4
        addiu   $t1, $t1, -1
        b       each
line:   li      $a0, '\n'
        li      $v0, 11
        syscall
        jr      $ra
