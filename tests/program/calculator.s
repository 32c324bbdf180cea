# input: 3 + 4 * 2 - 6 / ( 1 + 1 )\n(2 + 3) * -4\n
# output: = 8\n= -20\n
# ends: exit 0
# A calculator by recursive descent: expression, term and factor call each other. Every procedure keeps its own frame.
        .data
line:   .space 80
equals: .asciiz "= "
        .text
main:   li    $s6, 2
next:   la    $a0, line
        li    $a1, 80
        li    $v0, 8
        syscall
        la    $s0, line
        jal   expression
        move  $s1, $v0
        la    $a0, equals
        li    $v0, 4
        syscall
        move  $a0, $s1
        li    $v0, 1
        syscall
        li    $a0, '\n'
        li    $v0, 11
        syscall
        sub   $s6, $s6, 1
        bgtz  $s6, next
        li    $v0, 10
        syscall

# $s0 goes to the next character that is no blank, which is given.
peek:   lb    $v0, 0($s0)
        bne   $v0, ' ', peeked
        addiu $s0, $s0, 1
        b     peek
peeked: jr    $ra

expression:
        addiu $sp, $sp, -8
        sw    $ra, 4($sp)
        jal   term
        sw    $v0, 0($sp)
sums:   jal   peek
        beq   $v0, '+', plus
        beq   $v0, '-', minus
        lw    $v0, 0($sp)
        lw    $ra, 4($sp)
        addiu $sp, $sp, 8
        jr    $ra
plus:   addiu $s0, $s0, 1
        jal   term
        lw    $t0, 0($sp)
        add   $t0, $t0, $v0
        sw    $t0, 0($sp)
        j     sums
minus:  addiu $s0, $s0, 1
        jal   term
        lw    $t0, 0($sp)
        sub   $t0, $t0, $v0
        sw    $t0, 0($sp)
        j     sums

term:   addiu $sp, $sp, -8
        sw    $ra, 4($sp)
        jal   factor
        sw    $v0, 0($sp)
products:
        jal   peek
        beq   $v0, '*', times
        beq   $v0, '/', over
        lw    $v0, 0($sp)
        lw    $ra, 4($sp)
        addiu $sp, $sp, 8
        jr    $ra
times:  addiu $s0, $s0, 1
        jal   factor
        lw    $t0, 0($sp)
        mul   $t0, $t0, $v0
        sw    $t0, 0($sp)
        b     products
over:   addiu $s0, $s0, 1
        jal   factor
        lw    $t0, 0($sp)
        div   $t0, $t0, $v0
        sw    $t0, 0($sp)
        b     products

factor: addiu $sp, $sp, -4
        sw    $ra, 0($sp)
        jal   peek
        beq   $v0, '(', bracket
        beq   $v0, '-', negative
        li    $t0, 0
digits: lb    $t1, 0($s0)
        blt   $t1, '0', number
        bgt   $t1, '9', number
        mul   $t0, $t0, 10
        addu  $t0, $t0, $t1
        subu  $t0, $t0, '0'
        addiu $s0, $s0, 1
        j     digits
number: move  $v0, $t0
        b     factored
negative:
        addiu $s0, $s0, 1
        jal   factor
        neg   $v0, $v0
        b     factored
bracket:
        addiu $s0, $s0, 1
        jal   expression
        sw    $v0, -4($sp)
        jal   peek
        addiu $s0, $s0, 1
        lw    $v0, -4($sp)
factored:
        lw    $ra, 0($sp)
        addiu $sp, $sp, 4
        jr    $ra
