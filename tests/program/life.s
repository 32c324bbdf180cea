# output: ........\n..#.....\n...#....\n.###....\n........\n........\n........\n........\n--\n
# output: ........\n........\n...#....\n....#...\n..###...\n........\n........\n........\n--\n
# ends: exit 0
# Conway's game of life on a torus of 8 by 8: a glider goes one step right and down in four generations.
        .eqv SIZE 8
        .eqv CELLS 64
        .data
board:  .byte 0:CELLS
other:  .byte 0:CELLS
        .text
main:   li   $t0, 1
        la   $t1, board
        sb   $t0, 10($t1)
        sb   $t0, 19($t1)
        sb   $t0, 25($t1)
        sb   $t0, 26($t1)
        sb   $t0, 27($t1)
        jal  show
        li   $s0, 4
generation:
        jal  step
        addi $s0, $s0, -1
        bgtz $s0, generation
        jal  show
        li   $v0, 10
        syscall

step:   subi $sp, $sp, 4
        sw   $ra, ($sp)
        li   $s1, 0                     # y
row:    li   $s2, 0                     # x
column: li   $s3, 0                     # neighbours
        li   $t0, -1
dy:     li   $t1, -1
dx:     or   $t2, $t0, $t1
        beqz $t2, self
        add  $t3, $s1, $t0
        and  $t3, $t3, 7
        add  $t4, $s2, $t1
        andi $t4, $t4, 7
        mul  $t3, $t3, SIZE
        add  $t3, $t3, $t4
        lb   $t5, board($t3)
        add  $s3, $s3, $t5
self:   addi $t1, $t1, 1
        ble  $t1, 1, dx
        addi $t0, $t0, 1
        ble  $t0, 1, dy
        mul  $t3, $s1, SIZE
        add  $t3, $t3, $s2
        lb   $t5, board($t3)
        seq  $t6, $s3, 3
        seq  $t7, $s3, 2
        and  $t7, $t7, $t5
        or   $t6, $t6, $t7
        sb   $t6, other($t3)
        addi $s2, $s2, 1
        blt  $s2, SIZE, column
        addi $s1, $s1, 1
        blt  $s1, SIZE, row
        li   $t0, 0
copy:   lw   $t1, other($t0)
        sw   $t1, board($t0)
        addi $t0, $t0, 4
        bne  $t0, CELLS, copy
        lw   $ra, ($sp)
        addi $sp, $sp, 4
        jr   $ra

show:   li   $t0, 0
cell:   lb   $t1, board($t0)
        li   $a0, '.'
        beqz $t1, dead
        li   $a0, '#'
dead:   li   $v0, 11
        syscall
        addi $t0, $t0, 1
        andi $t1, $t0, 7
        bnez $t1, cell
        li   $a0, '\n'
        syscall
        blt  $t0, CELLS, cell
        li   $a0, '-'
        syscall
        syscall
        li   $a0, '\n'
        syscall
        jr   $ra
