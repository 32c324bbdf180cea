# input: look\nnorth\nsouth\nfly\neast\nquit\n
# output: You are in a hall. Doors lead north and east.\n> You are in a hall. Doors lead north and east.\n
# output: > You are in a library. A door leads south.\n> You are in a hall. Doors lead north and east.\n
# output: > I do not understand "fly".\n> You are in a garden. A path leads west.\n> Bye after 6 commands.\n
# ends: exit 6
# A text adventure: words are read, compared and looked up in tables; a jump table holds the verbs' code.
        .data
        .align  2
verbs:  .word   w_look, do_look, w_north, do_north, w_south, do_south
        .word   w_east, do_east, w_west, do_west, w_quit, do_quit
        .word   0, 0
# Each room: text, north, south, east, west.
hall:    .word  t_hall, library, 0, garden, 0
library: .word  t_library, 0, hall, 0, 0
garden:  .word  t_garden, 0, 0, 0, hall
w_look:  .asciiz "look"
w_north: .asciiz "north"
w_south: .asciiz "south"
w_east:  .asciiz "east"
w_west:  .asciiz "west"
w_quit:  .asciiz "quit"
t_hall:    .asciiz "You are in a hall. Doors lead north and east.\n"
t_library: .asciiz "You are in a library. A door leads south.\n"
t_garden:  .asciiz "You are in a garden. A path leads west.\n"
prompt:  .asciiz "> "
unknown: .asciiz "I do not understand \""
closing: .asciiz "\".\n"
nowhere: .asciiz "You cannot go there.\n"
bye:     .asciiz "Bye after "
bye2:    .asciiz " commands.\n"
buffer:  .space 32

        .text
main:   la      $s0, hall               # where
        li      $s1, 0                  # commands
do_look:
        lw      $a0, 0($s0)
        jal     print
command:
        la      $a0, prompt
        jal     print
        la      $a0, buffer
        li      $a1, 32
        li      $v0, 8
        syscall
        addi    $s1, $s1, 1
        la      $t0, buffer             # cut the newline off
cut:    lb      $t1, 0($t0)
        beq     $t1, $zero, search
        beq     $t1, 10, found_newline
        addi    $t0, $t0, 1
        b       cut
found_newline:
        sb      $zero, 0($t0)
search: la      $s2, verbs
try:    lw      $a0, 0($s2)
        beqz    $a0, not_understood
        la      $a1, buffer
        jal     compare
        beqz    $v0, matched
        addi    $s2, $s2, 8
        j       try
matched:
        lw      $t0, 4($s2)
        jr      $t0
not_understood:
        la      $a0, unknown
        jal     print
        la      $a0, buffer
        jal     print
        la      $a0, closing
        jal     print
        j       command
do_north:
        lw      $t0, 4($s0)
        b       go
do_south:
        lw      $t0, 8($s0)
        b       go
do_east:
        lw      $t0, 12($s0)
        b       go
do_west:
        lw      $t0, 16($s0)
go:     beqz    $t0, wall
        move    $s0, $t0
        j       do_look
wall:   la      $a0, nowhere
        jal     print
        j       command
do_quit:
        la      $a0, bye
        jal     print
        move    $a0, $s1
        li      $v0, 1
        syscall
        la      $a0, bye2
        jal     print
        move    $a0, $s1
        li      $v0, 17
        syscall

print:  li      $v0, 4
        syscall
        jr      $ra

# compare(a, b): 0 if the strings are equal
compare:
        lbu     $t0, ($a0)
        lbu     $t1, ($a1)
        sub     $v0, $t0, $t1
        bnez    $v0, compared
        addi    $a0, $a0, 1
        addi    $a1, $a1, 1
        bnez    $t0, compare
compared:
        jr      $ra
