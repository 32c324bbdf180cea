# output: before
# ends: arithmetic overflow at 0x00400018 <fails>: add $t1, $t0, $t0
# $t1 = 0
        .data
text:   .asciiz "before"
        .text
main:   la $a0, text
        li $v0, 4
        syscall
        li $t0, 0x7fffffff
fails:  add $t1, $t0, $t0
        jr $ra
