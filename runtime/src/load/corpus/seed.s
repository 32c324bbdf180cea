# What the ELF files beside this one are made from: a little of everything that a loader looks at.
        .globl  main
        .type   main, @function
        .ent    main
main:   lw      $2, value
        jr      $31
        nop
        .end    main
        .size   main, . - main
        .data
        .globl  value
        .type   value, @object
        .size   value, 4
value:  .word   7
        .bss
        .globl  room
        .type   room, @object
        .size   room, 64
room:   .space  64
