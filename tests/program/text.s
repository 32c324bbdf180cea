# input: A man, a plan, a canal: Panama\nhello\n
# output: Line? "A man, a plan, a canal: Panama" has 30 characters, 7 words, A 10 times; it is a palindrome\n
# output: Line? "hello" has 5 characters, 1 words, A 0 times; it is no palindrome\nreversed: olleh\n
# ends: exit 0
# Strings: length, words, counting, palindromes and turning round. MARS style with a macro of arguments.
        .macro  say %label
        la      $a0, %label
        li      $v0, 4
        syscall
        .end_macro
        .macro  number %register
        move    $a0, %register
        li      $v0, 1
        syscall
        .end_macro
        .data
line:   .space  100
letters: .space 100
ask:    .asciiz "Line? \""
has:    .asciiz "\" has "
characters: .asciiz " characters, "
words:  .asciiz " words, A "
times:  .asciiz " times; it is "
no:     .asciiz "no palindrome\n"
yes:    .asciiz "a palindrome\n"
turned: .asciiz "reversed: "
        .text
main:   li      $s7, 2
again:  say     ask
        la      $a0, line
        li      $a1, 100
        li      $v0, 8
        syscall
        li      $s0, 0                  # length
        li      $s1, 0                  # words
        li      $s2, 0                  # A's
        li      $s3, 0                  # letters
        li      $t9, ' '                # the character before
count:  lbu     $t0, line($s0)
        beqz    $t0, counted
        beq     $t0, '\n', counted
        bne     $t9, ' ', inside
        beq     $t0, ' ', inside
        addi    $s1, $s1, 1
inside: move    $t9, $t0
        ori     $t1, $t0, 0x20          # to lower case
        blt     $t1, 'a', other
        bgt     $t1, 'z', other
        sb      $t1, letters($s3)
        addi    $s3, $s3, 1
        seq     $t2, $t1, 'a'
        add     $s2, $s2, $t2
other:  addi    $s0, $s0, 1
        j       count
counted:
        sb      $zero, line($s0)
        say     line
        say     has
        number  $s0
        say     characters
        number  $s1
        say     words
        number  $s2
        say     times
        li      $t0, 0
        addi    $t1, $s3, -1
mirror: bge     $t0, $t1, palindrome
        lb      $t2, letters($t0)
        lb      $t3, letters($t1)
        bne     $t2, $t3, different
        addi    $t0, $t0, 1
        addi    $t1, $t1, -1
        b       mirror
different:
        say     no
        b       onward
palindrome:
        say     yes
onward: addi    $s7, $s7, -1
        bnez    $s7, again
        say     turned
        move    $s0, $s3
backward:
        addi    $s0, $s0, -1
        bltz    $s0, finished
        lb      $a0, letters($s0)
        li      $v0, 11
        syscall
        j       backward
finished:
        li      $a0, 10
        syscall
        li      $v0, 10
        syscall
