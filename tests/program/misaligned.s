# ends: address error: load address 0x10010002 is no multiple of 4
# The branch has its slot run first, where the load fails.
        .data
x:      .word 1, 2
        .text
        .set noreorder
main:   lui $t0, 0x1001
        b main
        lw $t1, 2($t0)
