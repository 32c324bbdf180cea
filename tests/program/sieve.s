# output: 2 3 5 7 11 13 17 19 23 29 31 37 41 43 47 53 59 61 67 71 73 79 83 89 97 \n25 primes below 100; 1229 below 10000\n
# ends: exit 0
# The sieve of Eratosthenes in memory from sbrk, with macros as MARS has them.
.macro print_int(%x)
        move    $a0, %x
        li      $v0, 1
        syscall
.end_macro

.macro print_str(%text)
        .data
message: .asciiz %text
        .text
        la      $a0, message
        li      $v0, 4
        syscall
.end_macro

.macro done
        li      $v0, 10
        syscall
.end_macro

.eqv    LIMIT   10000
.eqv    FEW     100
.eqv    CANDIDATE $s1

.text
main:
        li      $a0, LIMIT
        li      $v0, 9
        syscall
        move    $s0, $v0                # zero: prime so far
        li      CANDIDATE, 2
        li      $s2, 0                  # primes below FEW
        li      $s3, 0                  # primes below LIMIT
next:   addu    $t0, $s0, CANDIDATE
        lbu     $t1, ($t0)
        bnez    $t1, composite
        addiu   $s3, $s3, 1
        bge     CANDIDATE, FEW, strike
        addiu   $s2, $s2, 1
        print_int(CANDIDATE)
        print_str(" ")
strike: mul     $t2, CANDIDATE, CANDIDATE
        li      $t3, 1
multiple:
        bge     $t2, LIMIT, composite
        addu    $t0, $s0, $t2
        sb      $t3, 0($t0)
        addu    $t2, $t2, CANDIDATE
        j       multiple
composite:
        add     CANDIDATE, CANDIDATE, 1
        blt     CANDIDATE, LIMIT, next
        print_str("\n")
        print_int($s2)
        print_str(" primes below 100; ")
        print_int($s3)
        print_str(" below 10000\n")
        done
