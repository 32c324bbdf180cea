# compat: gas
# output: hello, big world\n12 is 0xc\nfib(20) = 6765\nchecksum 0x09867394\n
# ends: exit 0
# As a compiler or a GNU programmer writes: .ent and .frame, %hi and %lo, numeric labels, .macro with \names, delay
# slots by hand under .set noreorder, sections by name, and comments of both kinds.
        .file   1 "gnu.c"
        .section .mdebug.abi32
        .previous
        .abicalls
        .option pic0

        .macro  service number
        li      $2, \number
        syscall
        .endm

        .macro  print number, argument=$2
        move    $4, \argument
        service \number
        .endm

        .rdata
        .align  2
.LC0:   .ascii  "hello, \000"
.LC1:   .asciz  "big world\n"
.LC2:   .string " is "
.LC3:   .asciz  "fib(20) = "
.LC4:   .asciz  "checksum "
        .align  2
table:
        .set    value, 1
        .macro  row
        .word   value * value, value << 4 | 3
        .set    value, value + 1
        .endm
        row
        row
        row
        row
        row
        row
        row
        row
end:
        .equ    SIZE, end - table

        .text
        .align  2
        .globl  main
        .set    nomips16
        .ent    main
        .type   main, @function
main:
        .frame  $sp, 32, $31
        .mask   0x80010000, -4
        .fmask  0x00000000, 0
        .set    noreorder
        .set    nomacro
        addiu   $sp, $sp, -32
        sw      $31, 28($sp)
        sw      $16, 24($sp)
        lui     $4, %hi(.LC0)
        jal     puts
        addiu   $4, $4, %lo(.LC0)       /* in the delay slot */
        lui     $4, %hi(.LC1)
        jal     puts
        addiu   $4, $4, %lo(.LC1)
        .set    macro
        .set    reorder
        li      $16, ('h' - 'd') * 3
        print   1, $16
        la      $4, .LC2
        jal     puts
        jal     hex
        la      $4, .LC3
        jal     puts
        li      $4, 20
        jal     fib
        print   1
        print   11, $17
        la      $4, .LC4
        jal     puts
        la      $8, table
        li      $9, SIZE / 4
        li      $10, 0x1234567
1:      lw      $11, ($8)
        xor     $10, $10, $11
        rol     $10, $10, 5
        addiu   $8, $8, 4
        addiu   $9, $9, -1
        bnez    $9, 1b
        b       1f
1:      print   34, $10
        print   11, $17
        lw      $31, 28($sp)
        lw      $16, 24($sp)
        addiu   $sp, $sp, 32
        service 10
        .end    main
        .size   main, . - main

        .ent    puts
puts:   service 4
        jr      $31
        .end    puts

hex:    move    $18, $31
        li      $4, '0'
        service 11
        li      $4, 'x'
        service 11
        addiu   $4, $16, 'a' - 10
        service 11
        li      $4, '\n'
        service 11
        li      $17, 10
        jr      $18

fib:    addiu   $sp, $sp, -12
        sw      $31, 8($sp)
        sw      $16, 4($sp)
        sw      $17, 0($sp)
        move    $2, $4
        sltiu   $8, $4, 2
        bnez    $8, 2f
        move    $16, $4
        addiu   $4, $16, -1
        jal     fib
        move    $17, $2
        addiu   $4, $16, -2
        jal     fib
        addu    $2, $2, $17
2:      lw      $17, 0($sp)
        lw      $16, 4($sp)
        lw      $31, 8($sp)
        addiu   $sp, $sp, 12
        jr      $31
