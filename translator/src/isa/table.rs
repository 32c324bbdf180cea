//! The instruction table: one row an instruction, as the manual's page head says it. Nothing else in
//! the project knows a mnemonic, an encoding or a class. The order is that of the opcode map; the
//! grammar of a row, and everything made from it, is in `isa/mod.rs`.
//!
//! A row is: `Variant = "mnemonic", "operands in assembly order", "encoding", LEVEL, [CLASSES];`
//! An operand with `=` is written, with `+` read and written, otherwise read; `isa/operand.rs` lists
//! them. The encoding is the manual's picture of the word: each letter is a field that an operand
//! names (`x` is a field whose value the hardware ignores).
//!
//! Source: MIPS64 Architecture For Programmers, volume II-A (MD00087, revision 2.60) and, for
//! `hypcall`, volume IV-i (MD00847).

use super::instructions;

instructions! {
    // The SPECIAL major opcode.
    /// No operation: `sll $0, $0, 0`.
    Nop = "nop", "", "000000 00000 00000 00000 00000 000000", I, [];
    /// Superscalar no operation.
    Ssnop = "ssnop", "", "000000 00000 00000 00000 00001 000000", I, [];
    /// Execution hazard barrier.
    Ehb = "ehb", "", "000000 00000 00000 00000 00011 000000", R2, [];
    /// Wait for the LL bit to clear.
    Pause = "pause", "", "000000 00000 00000 00000 00101 000000", R2, [];
    /// Shift word left logical.
    Sll = "sll", "=rd rt sa", "000000 00000 ttttt ddddd aaaaa 000000", I, [];
    /// Shift word right logical.
    Srl = "srl", "=rd rt sa", "000000 00000 ttttt ddddd aaaaa 000010", I, [];
    /// Shift word right arithmetic.
    Sra = "sra", "=rd rt sa", "000000 00000 ttttt ddddd aaaaa 000011", I, [];
    /// Rotate word right.
    Rotr = "rotr", "=rd rt sa", "000000 00001 ttttt ddddd aaaaa 000010", R2, [];
    /// Move if the floating-point condition is false.
    Movf = "movf", "+rd rs cc", "000000 sssss ccc 00 ddddd 00000 000001", IV, [FPU];
    /// Move if the floating-point condition is true.
    Movt = "movt", "+rd rs cc", "000000 sssss ccc 01 ddddd 00000 000001", IV, [FPU];
    /// Shift word left logical variable.
    Sllv = "sllv", "=rd rt rs", "000000 sssss ttttt ddddd 00000 000100", I, [];
    /// Shift word right logical variable.
    Srlv = "srlv", "=rd rt rs", "000000 sssss ttttt ddddd 00000 000110", I, [];
    /// Shift word right arithmetic variable.
    Srav = "srav", "=rd rt rs", "000000 sssss ttttt ddddd 00000 000111", I, [];
    /// Rotate word right variable.
    Rotrv = "rotrv", "=rd rt rs", "000000 sssss ttttt ddddd 00001 000110", R2, [];
    /// Jump register.
    Jr = "jr", "rs", "000000 sssss 00000 00000 00000 001000", I, [JUMP];
    /// Jump register with hazard barrier.
    JrHb = "jr.hb", "rs", "000000 sssss 00000 00000 10000 001000", R2, [JUMP];
    /// Jump and link register.
    Jalr = "jalr", "=rd rs", "000000 sssss 00000 ddddd 00000 001001", I, [JUMP | LINK];
    /// Jump and link register with hazard barrier.
    JalrHb = "jalr.hb", "=rd rs", "000000 sssss 00000 ddddd 10000 001001", R2, [JUMP | LINK];
    /// Move if zero.
    Movz = "movz", "+rd rs rt", "000000 sssss ttttt ddddd 00000 001010", IV, [];
    /// Move if not zero.
    Movn = "movn", "+rd rs rt", "000000 sssss ttttt ddddd 00000 001011", IV, [];
    /// System call.
    Syscall = "syscall", "code20", "000000 cccccccccccccccccccc 001100", I, [TRAP | SENSITIVE];
    /// Breakpoint.
    Break = "break", "code10 codelo", "000000 cccccccccc eeeeeeeeee 001101", I, [TRAP | SENSITIVE];
    /// Order loads and stores.
    Sync = "sync", "stype", "000000 00000 00000 00000 yyyyy 001111", II, [SENSITIVE];
    /// Move from HI.
    Mfhi = "mfhi", "=rd", "000000 00000 00000 ddddd 00000 010000", I, [];
    /// Move from LO.
    Mflo = "mflo", "=rd", "000000 00000 00000 ddddd 00000 010010", I, [];
    /// Move to HI.
    Mthi = "mthi", "rs", "000000 sssss 00000 00000 00000 010001", I, [];
    /// Move to LO.
    Mtlo = "mtlo", "rs", "000000 sssss 00000 00000 00000 010011", I, [];
    /// Shift doubleword left logical variable.
    Dsllv = "dsllv", "=rd rt rs", "000000 sssss ttttt ddddd 00000 010100", III, [WIDE];
    /// Shift doubleword right logical variable.
    Dsrlv = "dsrlv", "=rd rt rs", "000000 sssss ttttt ddddd 00000 010110", III, [WIDE];
    /// Shift doubleword right arithmetic variable.
    Dsrav = "dsrav", "=rd rt rs", "000000 sssss ttttt ddddd 00000 010111", III, [WIDE];
    /// Rotate doubleword right variable.
    Drotrv = "drotrv", "=rd rt rs", "000000 sssss ttttt ddddd 00001 010110", R2, [WIDE];
    /// Multiply word into HI and LO.
    Mult = "mult", "rs rt", "000000 sssss ttttt 00000 00000 011000", I, [];
    /// Multiply unsigned word into HI and LO.
    Multu = "multu", "rs rt", "000000 sssss ttttt 00000 00000 011001", I, [];
    /// Divide word into HI and LO.
    Div = "div", "rs rt", "000000 sssss ttttt 00000 00000 011010", I, [];
    /// Divide unsigned word into HI and LO.
    Divu = "divu", "rs rt", "000000 sssss ttttt 00000 00000 011011", I, [];
    /// Multiply doubleword into HI and LO.
    Dmult = "dmult", "rs rt", "000000 sssss ttttt 00000 00000 011100", III, [WIDE];
    /// Multiply unsigned doubleword into HI and LO.
    Dmultu = "dmultu", "rs rt", "000000 sssss ttttt 00000 00000 011101", III, [WIDE];
    /// Divide doubleword into HI and LO.
    Ddiv = "ddiv", "rs rt", "000000 sssss ttttt 00000 00000 011110", III, [WIDE];
    /// Divide unsigned doubleword into HI and LO.
    Ddivu = "ddivu", "rs rt", "000000 sssss ttttt 00000 00000 011111", III, [WIDE];
    /// Add word, trap on overflow.
    Add = "add", "=rd rs rt", "000000 sssss ttttt ddddd 00000 100000", I, [OVERFLOW];
    /// Add unsigned word.
    Addu = "addu", "=rd rs rt", "000000 sssss ttttt ddddd 00000 100001", I, [];
    /// Subtract word, trap on overflow.
    Sub = "sub", "=rd rs rt", "000000 sssss ttttt ddddd 00000 100010", I, [OVERFLOW];
    /// Subtract unsigned word.
    Subu = "subu", "=rd rs rt", "000000 sssss ttttt ddddd 00000 100011", I, [];
    /// And.
    And = "and", "=rd rs rt", "000000 sssss ttttt ddddd 00000 100100", I, [];
    /// Or.
    Or = "or", "=rd rs rt", "000000 sssss ttttt ddddd 00000 100101", I, [];
    /// Exclusive or.
    Xor = "xor", "=rd rs rt", "000000 sssss ttttt ddddd 00000 100110", I, [];
    /// Not or.
    Nor = "nor", "=rd rs rt", "000000 sssss ttttt ddddd 00000 100111", I, [];
    /// Set on less than.
    Slt = "slt", "=rd rs rt", "000000 sssss ttttt ddddd 00000 101010", I, [];
    /// Set on less than unsigned.
    Sltu = "sltu", "=rd rs rt", "000000 sssss ttttt ddddd 00000 101011", I, [];
    /// Add doubleword, trap on overflow.
    Dadd = "dadd", "=rd rs rt", "000000 sssss ttttt ddddd 00000 101100", III, [WIDE | OVERFLOW];
    /// Add unsigned doubleword.
    Daddu = "daddu", "=rd rs rt", "000000 sssss ttttt ddddd 00000 101101", III, [WIDE];
    /// Subtract doubleword, trap on overflow.
    Dsub = "dsub", "=rd rs rt", "000000 sssss ttttt ddddd 00000 101110", III, [WIDE | OVERFLOW];
    /// Subtract unsigned doubleword.
    Dsubu = "dsubu", "=rd rs rt", "000000 sssss ttttt ddddd 00000 101111", III, [WIDE];
    /// Trap if greater or equal.
    Tge = "tge", "rs rt code10t", "000000 sssss ttttt cccccccccc 110000", II, [TRAP];
    /// Trap if greater or equal unsigned.
    Tgeu = "tgeu", "rs rt code10t", "000000 sssss ttttt cccccccccc 110001", II, [TRAP];
    /// Trap if less than.
    Tlt = "tlt", "rs rt code10t", "000000 sssss ttttt cccccccccc 110010", II, [TRAP];
    /// Trap if less than unsigned.
    Tltu = "tltu", "rs rt code10t", "000000 sssss ttttt cccccccccc 110011", II, [TRAP];
    /// Trap if equal.
    Teq = "teq", "rs rt code10t", "000000 sssss ttttt cccccccccc 110100", II, [TRAP];
    /// Trap if not equal.
    Tne = "tne", "rs rt code10t", "000000 sssss ttttt cccccccccc 110110", II, [TRAP];
    /// Shift doubleword left logical.
    Dsll = "dsll", "=rd rt sa", "000000 00000 ttttt ddddd aaaaa 111000", III, [WIDE];
    /// Shift doubleword right logical.
    Dsrl = "dsrl", "=rd rt sa", "000000 00000 ttttt ddddd aaaaa 111010", III, [WIDE];
    /// Shift doubleword right arithmetic.
    Dsra = "dsra", "=rd rt sa", "000000 00000 ttttt ddddd aaaaa 111011", III, [WIDE];
    /// Shift doubleword left logical plus 32.
    Dsll32 = "dsll32", "=rd rt sa", "000000 00000 ttttt ddddd aaaaa 111100", III, [WIDE];
    /// Shift doubleword right logical plus 32.
    Dsrl32 = "dsrl32", "=rd rt sa", "000000 00000 ttttt ddddd aaaaa 111110", III, [WIDE];
    /// Shift doubleword right arithmetic plus 32.
    Dsra32 = "dsra32", "=rd rt sa", "000000 00000 ttttt ddddd aaaaa 111111", III, [WIDE];
    /// Rotate doubleword right.
    Drotr = "drotr", "=rd rt sa", "000000 00001 ttttt ddddd aaaaa 111010", R2, [WIDE];
    /// Rotate doubleword right plus 32.
    Drotr32 = "drotr32", "=rd rt sa", "000000 00001 ttttt ddddd aaaaa 111110", R2, [WIDE];

    // The REGIMM major opcode.
    /// Branch on less than zero.
    Bltz = "bltz", "rs off", "000001 sssss 00000 iiiiiiiiiiiiiiii", I, [BRANCH];
    /// Branch on greater or equal to zero.
    Bgez = "bgez", "rs off", "000001 sssss 00001 iiiiiiiiiiiiiiii", I, [BRANCH];
    /// Branch on less than zero, likely.
    Bltzl = "bltzl", "rs off", "000001 sssss 00010 iiiiiiiiiiiiiiii", II, [BRANCH | LIKELY];
    /// Branch on greater or equal to zero, likely.
    Bgezl = "bgezl", "rs off", "000001 sssss 00011 iiiiiiiiiiiiiiii", II, [BRANCH | LIKELY];
    /// Branch on less than zero, and link.
    Bltzal = "bltzal", "rs off", "000001 sssss 10000 iiiiiiiiiiiiiiii", I, [BRANCH | LINK];
    /// Branch on greater or equal to zero, and link.
    Bgezal = "bgezal", "rs off", "000001 sssss 10001 iiiiiiiiiiiiiiii", I, [BRANCH | LINK];
    /// Branch on less than zero, and link, likely.
    Bltzall = "bltzall", "rs off", "000001 sssss 10010 iiiiiiiiiiiiiiii", II, [BRANCH | LINK | LIKELY];
    /// Branch on greater or equal to zero, and link, likely.
    Bgezall = "bgezall", "rs off", "000001 sssss 10011 iiiiiiiiiiiiiiii", II, [BRANCH | LINK | LIKELY];
    /// Trap if greater or equal to immediate.
    Tgei = "tgei", "rs simm", "000001 sssss 01000 iiiiiiiiiiiiiiii", II, [TRAP];
    /// Trap if greater or equal unsigned to immediate.
    Tgeiu = "tgeiu", "rs simm", "000001 sssss 01001 iiiiiiiiiiiiiiii", II, [TRAP];
    /// Trap if less than to immediate.
    Tlti = "tlti", "rs simm", "000001 sssss 01010 iiiiiiiiiiiiiiii", II, [TRAP];
    /// Trap if less than unsigned to immediate.
    Tltiu = "tltiu", "rs simm", "000001 sssss 01011 iiiiiiiiiiiiiiii", II, [TRAP];
    /// Trap if equal to immediate.
    Teqi = "teqi", "rs simm", "000001 sssss 01100 iiiiiiiiiiiiiiii", II, [TRAP];
    /// Trap if not equal to immediate.
    Tnei = "tnei", "rs simm", "000001 sssss 01110 iiiiiiiiiiiiiiii", II, [TRAP];
    /// Synchronise the instruction cache with a write to this address.
    Synci = "synci", "mem", "000001 sssss 11111 iiiiiiiiiiiiiiii", R2, [SENSITIVE];

    // Jumps, branches, immediates.
    /// Jump.
    J = "j", "target", "000010 jjjjjjjjjjjjjjjjjjjjjjjjjj", I, [BRANCH];
    /// Jump and link.
    Jal = "jal", "target", "000011 jjjjjjjjjjjjjjjjjjjjjjjjjj", I, [BRANCH | LINK];
    /// Branch on equal.
    Beq = "beq", "rs rt off", "000100 sssss ttttt iiiiiiiiiiiiiiii", I, [BRANCH];
    /// Branch on not equal.
    Bne = "bne", "rs rt off", "000101 sssss ttttt iiiiiiiiiiiiiiii", I, [BRANCH];
    /// Branch on less or equal to zero.
    Blez = "blez", "rs off", "000110 sssss 00000 iiiiiiiiiiiiiiii", I, [BRANCH];
    /// Branch on greater than zero.
    Bgtz = "bgtz", "rs off", "000111 sssss 00000 iiiiiiiiiiiiiiii", I, [BRANCH];
    /// Add immediate word, trap on overflow.
    Addi = "addi", "=rt rs simm", "001000 sssss ttttt iiiiiiiiiiiiiiii", I, [OVERFLOW];
    /// Add immediate unsigned word.
    Addiu = "addiu", "=rt rs simm", "001001 sssss ttttt iiiiiiiiiiiiiiii", I, [];
    /// Set on less than immediate.
    Slti = "slti", "=rt rs simm", "001010 sssss ttttt iiiiiiiiiiiiiiii", I, [];
    /// Set on less than immediate unsigned.
    Sltiu = "sltiu", "=rt rs simm", "001011 sssss ttttt iiiiiiiiiiiiiiii", I, [];
    /// And immediate.
    Andi = "andi", "=rt rs uimm", "001100 sssss ttttt iiiiiiiiiiiiiiii", I, [];
    /// Or immediate.
    Ori = "ori", "=rt rs uimm", "001101 sssss ttttt iiiiiiiiiiiiiiii", I, [];
    /// Exclusive or immediate.
    Xori = "xori", "=rt rs uimm", "001110 sssss ttttt iiiiiiiiiiiiiiii", I, [];
    /// Load upper immediate.
    Lui = "lui", "=rt uimm", "001111 00000 ttttt iiiiiiiiiiiiiiii", I, [];
    /// Branch on equal, likely.
    Beql = "beql", "rs rt off", "010100 sssss ttttt iiiiiiiiiiiiiiii", II, [BRANCH | LIKELY];
    /// Branch on not equal, likely.
    Bnel = "bnel", "rs rt off", "010101 sssss ttttt iiiiiiiiiiiiiiii", II, [BRANCH | LIKELY];
    /// Branch on less or equal to zero, likely.
    Blezl = "blezl", "rs off", "010110 sssss 00000 iiiiiiiiiiiiiiii", II, [BRANCH | LIKELY];
    /// Branch on greater than zero, likely.
    Bgtzl = "bgtzl", "rs off", "010111 sssss 00000 iiiiiiiiiiiiiiii", II, [BRANCH | LIKELY];
    /// Add immediate doubleword, trap on overflow.
    Daddi = "daddi", "=rt rs simm", "011000 sssss ttttt iiiiiiiiiiiiiiii", III, [WIDE | OVERFLOW];
    /// Add immediate unsigned doubleword.
    Daddiu = "daddiu", "=rt rs simm", "011001 sssss ttttt iiiiiiiiiiiiiiii", III, [WIDE];

    // Loads and stores.
    /// Load doubleword left.
    Ldl = "ldl", "+rt mem", "011010 sssss ttttt iiiiiiiiiiiiiiii", III, [LOAD | WIDE];
    /// Load doubleword right.
    Ldr = "ldr", "+rt mem", "011011 sssss ttttt iiiiiiiiiiiiiiii", III, [LOAD | WIDE];
    /// Load byte.
    Lb = "lb", "=rt mem", "100000 sssss ttttt iiiiiiiiiiiiiiii", I, [LOAD];
    /// Load halfword.
    Lh = "lh", "=rt mem", "100001 sssss ttttt iiiiiiiiiiiiiiii", I, [LOAD];
    /// Load word left.
    Lwl = "lwl", "+rt mem", "100010 sssss ttttt iiiiiiiiiiiiiiii", I, [LOAD];
    /// Load word.
    Lw = "lw", "=rt mem", "100011 sssss ttttt iiiiiiiiiiiiiiii", I, [LOAD];
    /// Load byte unsigned.
    Lbu = "lbu", "=rt mem", "100100 sssss ttttt iiiiiiiiiiiiiiii", I, [LOAD];
    /// Load halfword unsigned.
    Lhu = "lhu", "=rt mem", "100101 sssss ttttt iiiiiiiiiiiiiiii", I, [LOAD];
    /// Load word right.
    Lwr = "lwr", "+rt mem", "100110 sssss ttttt iiiiiiiiiiiiiiii", I, [LOAD];
    /// Load word unsigned.
    Lwu = "lwu", "=rt mem", "100111 sssss ttttt iiiiiiiiiiiiiiii", III, [LOAD | WIDE];
    /// Store byte.
    Sb = "sb", "rt mem", "101000 sssss ttttt iiiiiiiiiiiiiiii", I, [STORE];
    /// Store halfword.
    Sh = "sh", "rt mem", "101001 sssss ttttt iiiiiiiiiiiiiiii", I, [STORE];
    /// Store word left.
    Swl = "swl", "rt mem", "101010 sssss ttttt iiiiiiiiiiiiiiii", I, [STORE];
    /// Store word.
    Sw = "sw", "rt mem", "101011 sssss ttttt iiiiiiiiiiiiiiii", I, [STORE];
    /// Store doubleword left.
    Sdl = "sdl", "rt mem", "101100 sssss ttttt iiiiiiiiiiiiiiii", III, [STORE | WIDE];
    /// Store doubleword right.
    Sdr = "sdr", "rt mem", "101101 sssss ttttt iiiiiiiiiiiiiiii", III, [STORE | WIDE];
    /// Store word right.
    Swr = "swr", "rt mem", "101110 sssss ttttt iiiiiiiiiiiiiiii", I, [STORE];
    /// Load linked word.
    Ll = "ll", "=rt mem", "110000 sssss ttttt iiiiiiiiiiiiiiii", II, [LOAD | SENSITIVE];
    /// Load linked doubleword.
    Lld = "lld", "=rt mem", "110100 sssss ttttt iiiiiiiiiiiiiiii", III, [LOAD | WIDE | SENSITIVE];
    /// Load doubleword.
    Ld = "ld", "=rt mem", "110111 sssss ttttt iiiiiiiiiiiiiiii", III, [LOAD | WIDE];
    /// Store conditional word.
    Sc = "sc", "+rt mem", "111000 sssss ttttt iiiiiiiiiiiiiiii", II, [STORE | SENSITIVE];
    /// Store conditional doubleword.
    Scd = "scd", "+rt mem", "111100 sssss ttttt iiiiiiiiiiiiiiii", III, [STORE | WIDE | SENSITIVE];
    /// Store doubleword.
    Sd = "sd", "rt mem", "111111 sssss ttttt iiiiiiiiiiiiiiii", III, [STORE | WIDE];
    /// Perform a cache operation.
    Cache = "cache", "hint mem", "101111 sssss hhhhh iiiiiiiiiiiiiiii", III, [PRIVILEGED | SENSITIVE];
    /// Prefetch.
    Pref = "pref", "hint mem", "110011 sssss hhhhh iiiiiiiiiiiiiiii", IV, [];
    /// Load word to FPU.
    Lwc1 = "lwc1", "=ft mem", "110001 sssss TTTTT iiiiiiiiiiiiiiii", I, [LOAD | FPU];
    /// Load doubleword to FPU.
    Ldc1 = "ldc1", "=ft mem", "110101 sssss TTTTT iiiiiiiiiiiiiiii", II, [LOAD | FPU];
    /// Store word from FPU.
    Swc1 = "swc1", "ft mem", "111001 sssss TTTTT iiiiiiiiiiiiiiii", I, [STORE | FPU];
    /// Store doubleword from FPU.
    Sdc1 = "sdc1", "ft mem", "111101 sssss TTTTT iiiiiiiiiiiiiiii", II, [STORE | FPU];
    /// Load word to coprocessor 2.
    Lwc2 = "lwc2", "c2 mem", "110010 sssss TTTTT iiiiiiiiiiiiiiii", I, [COP2 | SENSITIVE];
    /// Load doubleword to coprocessor 2.
    Ldc2 = "ldc2", "c2 mem", "110110 sssss TTTTT iiiiiiiiiiiiiiii", II, [COP2 | SENSITIVE];
    /// Store word from coprocessor 2.
    Swc2 = "swc2", "c2 mem", "111010 sssss TTTTT iiiiiiiiiiiiiiii", I, [COP2 | SENSITIVE];
    /// Store doubleword from coprocessor 2.
    Sdc2 = "sdc2", "c2 mem", "111110 sssss TTTTT iiiiiiiiiiiiiiii", II, [COP2 | SENSITIVE];

    // The SPECIAL2 major opcode.
    /// Multiply and add word to HI and LO.
    Madd = "madd", "rs rt", "011100 sssss ttttt 00000 00000 000000", M32, [];
    /// Multiply and add unsigned word to HI and LO.
    Maddu = "maddu", "rs rt", "011100 sssss ttttt 00000 00000 000001", M32, [];
    /// Multiply and subtract word from HI and LO.
    Msub = "msub", "rs rt", "011100 sssss ttttt 00000 00000 000100", M32, [];
    /// Multiply and subtract unsigned word from HI and LO.
    Msubu = "msubu", "rs rt", "011100 sssss ttttt 00000 00000 000101", M32, [];
    /// Multiply word to a general register.
    Mul = "mul", "=rd rs rt", "011100 sssss ttttt ddddd 00000 000010", M32, [];
    /// Count leading zeros in word.
    Clz = "clz", "=rd2 rs", "011100 sssss xxxxx ddddd 00000 100000", M32, [];
    /// Count leading ones in word.
    Clo = "clo", "=rd2 rs", "011100 sssss xxxxx ddddd 00000 100001", M32, [];
    /// Count leading zeros in doubleword.
    Dclz = "dclz", "=rd2 rs", "011100 sssss xxxxx ddddd 00000 100100", M64, [WIDE];
    /// Count leading ones in doubleword.
    Dclo = "dclo", "=rd2 rs", "011100 sssss xxxxx ddddd 00000 100101", M64, [WIDE];
    /// Software debug breakpoint.
    Sdbbp = "sdbbp", "code20", "011100 cccccccccccccccccccc 111111", M32, [TRAP | SENSITIVE];

    // The SPECIAL3 major opcode.
    /// Extract bit field.
    Ext = "ext", "=rt rs pos extsize", "011111 sssss ttttt mmmmm aaaaa 000000", R2, [];
    /// Doubleword extract bit field, size over 32.
    Dextm = "dextm", "=rt rs pos extsizem", "011111 sssss ttttt mmmmm aaaaa 000001", R2, [WIDE];
    /// Doubleword extract bit field, position over 31.
    Dextu = "dextu", "=rt rs posu extsize", "011111 sssss ttttt mmmmm aaaaa 000010", R2, [WIDE];
    /// Doubleword extract bit field.
    Dext = "dext", "=rt rs pos extsize", "011111 sssss ttttt mmmmm aaaaa 000011", R2, [WIDE];
    /// Insert bit field.
    Ins = "ins", "+rt rs pos inssize", "011111 sssss ttttt mmmmm aaaaa 000100", R2, [];
    /// Doubleword insert bit field, end over 31.
    Dinsm = "dinsm", "+rt rs pos inssizem", "011111 sssss ttttt mmmmm aaaaa 000101", R2, [WIDE];
    /// Doubleword insert bit field, position over 31.
    Dinsu = "dinsu", "+rt rs posu inssizeu", "011111 sssss ttttt mmmmm aaaaa 000110", R2, [WIDE];
    /// Doubleword insert bit field.
    Dins = "dins", "+rt rs pos inssize", "011111 sssss ttttt mmmmm aaaaa 000111", R2, [WIDE];
    /// Swap bytes within halfwords.
    Wsbh = "wsbh", "=rd rt", "011111 00000 ttttt ddddd 00010 100000", R2, [];
    /// Sign-extend byte.
    Seb = "seb", "=rd rt", "011111 00000 ttttt ddddd 10000 100000", R2, [];
    /// Sign-extend halfword.
    Seh = "seh", "=rd rt", "011111 00000 ttttt ddddd 11000 100000", R2, [];
    /// Doubleword swap bytes within halfwords.
    Dsbh = "dsbh", "=rd rt", "011111 00000 ttttt ddddd 00010 100100", R2, [WIDE];
    /// Doubleword swap halfwords within doublewords.
    Dshd = "dshd", "=rd rt", "011111 00000 ttttt ddddd 00101 100100", R2, [WIDE];
    /// Read hardware register.
    Rdhwr = "rdhwr", "=rt hwr", "011111 00000 ttttt ddddd 00lll 111011", R2, [SENSITIVE];

    // Coprocessor 0.
    /// Move from coprocessor 0.
    Mfc0 = "mfc0", "=rt c0", "010000 00000 ttttt ddddd 00000000 lll", I, [PRIVILEGED | SENSITIVE];
    /// Doubleword move from coprocessor 0.
    Dmfc0 = "dmfc0", "=rt c0", "010000 00001 ttttt ddddd 00000000 lll", III, [PRIVILEGED | SENSITIVE | WIDE];
    /// Move to coprocessor 0.
    Mtc0 = "mtc0", "rt c0", "010000 00100 ttttt ddddd 00000000 lll", I, [PRIVILEGED | SENSITIVE];
    /// Doubleword move to coprocessor 0.
    Dmtc0 = "dmtc0", "rt c0", "010000 00101 ttttt ddddd 00000000 lll", III, [PRIVILEGED | SENSITIVE | WIDE];
    /// Read GPR from the previous shadow set.
    Rdpgpr = "rdpgpr", "=rd rt", "010000 01010 ttttt ddddd 00000 000000", R2, [PRIVILEGED | SENSITIVE];
    /// Write GPR to the previous shadow set.
    Wrpgpr = "wrpgpr", "=rd rt", "010000 01110 ttttt ddddd 00000 000000", R2, [PRIVILEGED | SENSITIVE];
    /// Disable interrupts.
    Di = "di", "=rt?", "010000 01011 ttttt 01100 00000 000000", R2, [PRIVILEGED | SENSITIVE];
    /// Enable interrupts.
    Ei = "ei", "=rt?", "010000 01011 ttttt 01100 00000 100000", R2, [PRIVILEGED | SENSITIVE];
    /// Read indexed TLB entry.
    Tlbr = "tlbr", "", "010000 1 0000000000000000000 000001", I, [PRIVILEGED | SENSITIVE];
    /// Write indexed TLB entry.
    Tlbwi = "tlbwi", "", "010000 1 0000000000000000000 000010", I, [PRIVILEGED | SENSITIVE];
    /// Invalidate the TLB entries of one address space.
    Tlbinv = "tlbinv", "", "010000 1 0000000000000000000 000011", R2, [PRIVILEGED | SENSITIVE];
    /// Invalidate the TLB.
    Tlbinvf = "tlbinvf", "", "010000 1 0000000000000000000 000100", R2, [PRIVILEGED | SENSITIVE];
    /// Write random TLB entry.
    Tlbwr = "tlbwr", "", "010000 1 0000000000000000000 000110", I, [PRIVILEGED | SENSITIVE];
    /// Probe the TLB for a matching entry.
    Tlbp = "tlbp", "", "010000 1 0000000000000000000 001000", I, [PRIVILEGED | SENSITIVE];
    /// Return from exception.
    Eret = "eret", "", "010000 1 0000000000000000000 011000", III, [PRIVILEGED | SENSITIVE | END];
    /// Return from debug exception.
    Deret = "deret", "", "010000 1 0000000000000000000 011111", M32, [PRIVILEGED | SENSITIVE | END];
    /// Wait for an interrupt.
    Wait = "wait", "code19", "010000 1 ccccccccccccccccccc 100000", M32, [PRIVILEGED | SENSITIVE];
    /// Call the hypervisor (virtualisation module).
    Hypcall = "hypcall", "hcode", "010000 1 0000 cccccccccc 00000 101000", R2, [SENSITIVE | HYPERCALL];

    // Coprocessor 1: moves and branches.
    /// Move word from FPU.
    Mfc1 = "mfc1", "=rt fs", "010001 00000 ttttt SSSSS 00000 000000", I, [FPU];
    /// Move doubleword from FPU.
    Dmfc1 = "dmfc1", "=rt fs", "010001 00001 ttttt SSSSS 00000 000000", III, [FPU | WIDE];
    /// Move control word from FPU.
    Cfc1 = "cfc1", "=rt fcr", "010001 00010 ttttt SSSSS 00000 000000", I, [FPU | SENSITIVE];
    /// Move word from the high half of an FPU register.
    Mfhc1 = "mfhc1", "=rt fs", "010001 00011 ttttt SSSSS 00000 000000", R2, [FPU];
    /// Move word to FPU.
    Mtc1 = "mtc1", "rt =fs", "010001 00100 ttttt SSSSS 00000 000000", I, [FPU];
    /// Move doubleword to FPU.
    Dmtc1 = "dmtc1", "rt =fs", "010001 00101 ttttt SSSSS 00000 000000", III, [FPU | WIDE];
    /// Move control word to FPU.
    Ctc1 = "ctc1", "rt fcr", "010001 00110 ttttt SSSSS 00000 000000", I, [FPU | SENSITIVE];
    /// Move word to the high half of an FPU register.
    Mthc1 = "mthc1", "rt +fs", "010001 00111 ttttt SSSSS 00000 000000", R2, [FPU];
    /// Branch on floating-point condition false.
    Bc1f = "bc1f", "cc off", "010001 01000 ccc 00 iiiiiiiiiiiiiiii", I, [BRANCH | FPU];
    /// Branch on floating-point condition true.
    Bc1t = "bc1t", "cc off", "010001 01000 ccc 01 iiiiiiiiiiiiiiii", I, [BRANCH | FPU];
    /// Branch on floating-point condition false, likely.
    Bc1fl = "bc1fl", "cc off", "010001 01000 ccc 10 iiiiiiiiiiiiiiii", II, [BRANCH | LIKELY | FPU];
    /// Branch on floating-point condition true, likely.
    Bc1tl = "bc1tl", "cc off", "010001 01000 ccc 11 iiiiiiiiiiiiiiii", II, [BRANCH | LIKELY | FPU];

    // Coprocessor 1: arithmetic.
    /// Add, single.
    AddS = "add.s", "=fd fs ft", "010001 10000 TTTTT SSSSS DDDDD 000000", I, [FPU];
    /// Add, double.
    AddD = "add.d", "=fd fs ft", "010001 10001 TTTTT SSSSS DDDDD 000000", I, [FPU];
    /// Add, paired single.
    AddPs = "add.ps", "=fd fs ft", "010001 10110 TTTTT SSSSS DDDDD 000000", V, [FPU | PAIRED];
    /// Subtract, single.
    SubS = "sub.s", "=fd fs ft", "010001 10000 TTTTT SSSSS DDDDD 000001", I, [FPU];
    /// Subtract, double.
    SubD = "sub.d", "=fd fs ft", "010001 10001 TTTTT SSSSS DDDDD 000001", I, [FPU];
    /// Subtract, paired single.
    SubPs = "sub.ps", "=fd fs ft", "010001 10110 TTTTT SSSSS DDDDD 000001", V, [FPU | PAIRED];
    /// Multiply, single.
    MulS = "mul.s", "=fd fs ft", "010001 10000 TTTTT SSSSS DDDDD 000010", I, [FPU];
    /// Multiply, double.
    MulD = "mul.d", "=fd fs ft", "010001 10001 TTTTT SSSSS DDDDD 000010", I, [FPU];
    /// Multiply, paired single.
    MulPs = "mul.ps", "=fd fs ft", "010001 10110 TTTTT SSSSS DDDDD 000010", V, [FPU | PAIRED];
    /// Divide, single.
    DivS = "div.s", "=fd fs ft", "010001 10000 TTTTT SSSSS DDDDD 000011", I, [FPU];
    /// Divide, double.
    DivD = "div.d", "=fd fs ft", "010001 10001 TTTTT SSSSS DDDDD 000011", I, [FPU];
    /// Square root, single.
    SqrtS = "sqrt.s", "=fd fs", "010001 10000 00000 SSSSS DDDDD 000100", II, [FPU];
    /// Square root, double.
    SqrtD = "sqrt.d", "=fd fs", "010001 10001 00000 SSSSS DDDDD 000100", II, [FPU];
    /// Absolute value, single.
    AbsS = "abs.s", "=fd fs", "010001 10000 00000 SSSSS DDDDD 000101", I, [FPU];
    /// Absolute value, double.
    AbsD = "abs.d", "=fd fs", "010001 10001 00000 SSSSS DDDDD 000101", I, [FPU];
    /// Absolute value, paired single.
    AbsPs = "abs.ps", "=fd fs", "010001 10110 00000 SSSSS DDDDD 000101", V, [FPU | PAIRED];
    /// Move, single.
    MovS = "mov.s", "=fd fs", "010001 10000 00000 SSSSS DDDDD 000110", I, [FPU];
    /// Move, double.
    MovD = "mov.d", "=fd fs", "010001 10001 00000 SSSSS DDDDD 000110", I, [FPU];
    /// Move, paired single.
    MovPs = "mov.ps", "=fd fs", "010001 10110 00000 SSSSS DDDDD 000110", V, [FPU | PAIRED];
    /// Negate, single.
    NegS = "neg.s", "=fd fs", "010001 10000 00000 SSSSS DDDDD 000111", I, [FPU];
    /// Negate, double.
    NegD = "neg.d", "=fd fs", "010001 10001 00000 SSSSS DDDDD 000111", I, [FPU];
    /// Negate, paired single.
    NegPs = "neg.ps", "=fd fs", "010001 10110 00000 SSSSS DDDDD 000111", V, [FPU | PAIRED];
    /// Round to nearest from single to long.
    RoundLS = "round.l.s", "=fd fs", "010001 10000 00000 SSSSS DDDDD 001000", III, [FPU];
    /// Round to nearest from double to long.
    RoundLD = "round.l.d", "=fd fs", "010001 10001 00000 SSSSS DDDDD 001000", III, [FPU];
    /// Round towards zero from single to long.
    TruncLS = "trunc.l.s", "=fd fs", "010001 10000 00000 SSSSS DDDDD 001001", III, [FPU];
    /// Round towards zero from double to long.
    TruncLD = "trunc.l.d", "=fd fs", "010001 10001 00000 SSSSS DDDDD 001001", III, [FPU];
    /// Round up from single to long.
    CeilLS = "ceil.l.s", "=fd fs", "010001 10000 00000 SSSSS DDDDD 001010", III, [FPU];
    /// Round up from double to long.
    CeilLD = "ceil.l.d", "=fd fs", "010001 10001 00000 SSSSS DDDDD 001010", III, [FPU];
    /// Round down from single to long.
    FloorLS = "floor.l.s", "=fd fs", "010001 10000 00000 SSSSS DDDDD 001011", III, [FPU];
    /// Round down from double to long.
    FloorLD = "floor.l.d", "=fd fs", "010001 10001 00000 SSSSS DDDDD 001011", III, [FPU];
    /// Round to nearest from single to word.
    RoundWS = "round.w.s", "=fd fs", "010001 10000 00000 SSSSS DDDDD 001100", II, [FPU];
    /// Round to nearest from double to word.
    RoundWD = "round.w.d", "=fd fs", "010001 10001 00000 SSSSS DDDDD 001100", II, [FPU];
    /// Round towards zero from single to word.
    TruncWS = "trunc.w.s", "=fd fs", "010001 10000 00000 SSSSS DDDDD 001101", II, [FPU];
    /// Round towards zero from double to word.
    TruncWD = "trunc.w.d", "=fd fs", "010001 10001 00000 SSSSS DDDDD 001101", II, [FPU];
    /// Round up from single to word.
    CeilWS = "ceil.w.s", "=fd fs", "010001 10000 00000 SSSSS DDDDD 001110", II, [FPU];
    /// Round up from double to word.
    CeilWD = "ceil.w.d", "=fd fs", "010001 10001 00000 SSSSS DDDDD 001110", II, [FPU];
    /// Round down from single to word.
    FloorWS = "floor.w.s", "=fd fs", "010001 10000 00000 SSSSS DDDDD 001111", II, [FPU];
    /// Round down from double to word.
    FloorWD = "floor.w.d", "=fd fs", "010001 10001 00000 SSSSS DDDDD 001111", II, [FPU];
    /// Move single if the condition is false.
    MovfS = "movf.s", "+fd fs cc", "010001 10000 ccc 00 SSSSS DDDDD 010001", IV, [FPU];
    /// Move double if the condition is false.
    MovfD = "movf.d", "+fd fs cc", "010001 10001 ccc 00 SSSSS DDDDD 010001", IV, [FPU];
    /// Move paired single if the condition is false.
    MovfPs = "movf.ps", "+fd fs cc", "010001 10110 ccc 00 SSSSS DDDDD 010001", V, [FPU | PAIRED];
    /// Move single if the condition is true.
    MovtS = "movt.s", "+fd fs cc", "010001 10000 ccc 01 SSSSS DDDDD 010001", IV, [FPU];
    /// Move double if the condition is true.
    MovtD = "movt.d", "+fd fs cc", "010001 10001 ccc 01 SSSSS DDDDD 010001", IV, [FPU];
    /// Move paired single if the condition is true.
    MovtPs = "movt.ps", "+fd fs cc", "010001 10110 ccc 01 SSSSS DDDDD 010001", V, [FPU | PAIRED];
    /// Move single if the general register is zero.
    MovzS = "movz.s", "+fd fs rt", "010001 10000 ttttt SSSSS DDDDD 010010", IV, [FPU];
    /// Move double if the general register is zero.
    MovzD = "movz.d", "+fd fs rt", "010001 10001 ttttt SSSSS DDDDD 010010", IV, [FPU];
    /// Move paired single if the general register is zero.
    MovzPs = "movz.ps", "+fd fs rt", "010001 10110 ttttt SSSSS DDDDD 010010", V, [FPU | PAIRED];
    /// Move single if the general register is not zero.
    MovnS = "movn.s", "+fd fs rt", "010001 10000 ttttt SSSSS DDDDD 010011", IV, [FPU];
    /// Move double if the general register is not zero.
    MovnD = "movn.d", "+fd fs rt", "010001 10001 ttttt SSSSS DDDDD 010011", IV, [FPU];
    /// Move paired single if the general register is not zero.
    MovnPs = "movn.ps", "+fd fs rt", "010001 10110 ttttt SSSSS DDDDD 010011", V, [FPU | PAIRED];
    /// Reciprocal, single.
    RecipS = "recip.s", "=fd fs", "010001 10000 00000 SSSSS DDDDD 010101", IV, [FPU];
    /// Reciprocal, double.
    RecipD = "recip.d", "=fd fs", "010001 10001 00000 SSSSS DDDDD 010101", IV, [FPU];
    /// Reciprocal square root, single.
    RsqrtS = "rsqrt.s", "=fd fs", "010001 10000 00000 SSSSS DDDDD 010110", IV, [FPU];
    /// Reciprocal square root, double.
    RsqrtD = "rsqrt.d", "=fd fs", "010001 10001 00000 SSSSS DDDDD 010110", IV, [FPU];
    /// Convert double to single.
    CvtSD = "cvt.s.d", "=fd fs", "010001 10001 00000 SSSSS DDDDD 100000", I, [FPU];
    /// Convert word to single.
    CvtSW = "cvt.s.w", "=fd fs", "010001 10100 00000 SSSSS DDDDD 100000", I, [FPU];
    /// Convert long to single.
    CvtSL = "cvt.s.l", "=fd fs", "010001 10101 00000 SSSSS DDDDD 100000", III, [FPU];
    /// Convert single to double.
    CvtDS = "cvt.d.s", "=fd fs", "010001 10000 00000 SSSSS DDDDD 100001", I, [FPU];
    /// Convert word to double.
    CvtDW = "cvt.d.w", "=fd fs", "010001 10100 00000 SSSSS DDDDD 100001", I, [FPU];
    /// Convert long to double.
    CvtDL = "cvt.d.l", "=fd fs", "010001 10101 00000 SSSSS DDDDD 100001", III, [FPU];
    /// Convert single to word.
    CvtWS = "cvt.w.s", "=fd fs", "010001 10000 00000 SSSSS DDDDD 100100", I, [FPU];
    /// Convert double to word.
    CvtWD = "cvt.w.d", "=fd fs", "010001 10001 00000 SSSSS DDDDD 100100", I, [FPU];
    /// Convert single to long.
    CvtLS = "cvt.l.s", "=fd fs", "010001 10000 00000 SSSSS DDDDD 100101", III, [FPU];
    /// Convert double to long.
    CvtLD = "cvt.l.d", "=fd fs", "010001 10001 00000 SSSSS DDDDD 100101", III, [FPU];
    /// Convert two singles to a paired single.
    CvtPsS = "cvt.ps.s", "=fd fs ft", "010001 10000 TTTTT SSSSS DDDDD 100110", V, [FPU | PAIRED];
    /// Convert the upper single of a pair to single.
    CvtSPu = "cvt.s.pu", "=fd fs", "010001 10110 00000 SSSSS DDDDD 100000", V, [FPU | PAIRED];
    /// Convert the lower single of a pair to single.
    CvtSPl = "cvt.s.pl", "=fd fs", "010001 10110 00000 SSSSS DDDDD 101000", V, [FPU | PAIRED];
    /// Pair lower with lower.
    PllPs = "pll.ps", "=fd fs ft", "010001 10110 TTTTT SSSSS DDDDD 101100", V, [FPU | PAIRED];
    /// Pair lower with upper.
    PluPs = "plu.ps", "=fd fs ft", "010001 10110 TTTTT SSSSS DDDDD 101101", V, [FPU | PAIRED];
    /// Pair upper with lower.
    PulPs = "pul.ps", "=fd fs ft", "010001 10110 TTTTT SSSSS DDDDD 101110", V, [FPU | PAIRED];
    /// Pair upper with upper.
    PuuPs = "puu.ps", "=fd fs ft", "010001 10110 TTTTT SSSSS DDDDD 101111", V, [FPU | PAIRED];
    /// Compare single, condition f.
    CFS = "c.f.s", "cc fs ft", "010001 10000 TTTTT SSSSS ccc 00 110000", I, [FPU | COMPARE];
    /// Compare double, condition f.
    CFD = "c.f.d", "cc fs ft", "010001 10001 TTTTT SSSSS ccc 00 110000", I, [FPU | COMPARE];
    /// Compare paired single, condition f.
    CFPs = "c.f.ps", "cc fs ft", "010001 10110 TTTTT SSSSS ccc 00 110000", V, [FPU | PAIRED | COMPARE];
    /// Compare single, condition un.
    CUnS = "c.un.s", "cc fs ft", "010001 10000 TTTTT SSSSS ccc 00 110001", I, [FPU | COMPARE];
    /// Compare double, condition un.
    CUnD = "c.un.d", "cc fs ft", "010001 10001 TTTTT SSSSS ccc 00 110001", I, [FPU | COMPARE];
    /// Compare paired single, condition un.
    CUnPs = "c.un.ps", "cc fs ft", "010001 10110 TTTTT SSSSS ccc 00 110001", V, [FPU | PAIRED | COMPARE];
    /// Compare single, condition eq.
    CEqS = "c.eq.s", "cc fs ft", "010001 10000 TTTTT SSSSS ccc 00 110010", I, [FPU | COMPARE];
    /// Compare double, condition eq.
    CEqD = "c.eq.d", "cc fs ft", "010001 10001 TTTTT SSSSS ccc 00 110010", I, [FPU | COMPARE];
    /// Compare paired single, condition eq.
    CEqPs = "c.eq.ps", "cc fs ft", "010001 10110 TTTTT SSSSS ccc 00 110010", V, [FPU | PAIRED | COMPARE];
    /// Compare single, condition ueq.
    CUeqS = "c.ueq.s", "cc fs ft", "010001 10000 TTTTT SSSSS ccc 00 110011", I, [FPU | COMPARE];
    /// Compare double, condition ueq.
    CUeqD = "c.ueq.d", "cc fs ft", "010001 10001 TTTTT SSSSS ccc 00 110011", I, [FPU | COMPARE];
    /// Compare paired single, condition ueq.
    CUeqPs = "c.ueq.ps", "cc fs ft", "010001 10110 TTTTT SSSSS ccc 00 110011", V, [FPU | PAIRED | COMPARE];
    /// Compare single, condition olt.
    COltS = "c.olt.s", "cc fs ft", "010001 10000 TTTTT SSSSS ccc 00 110100", I, [FPU | COMPARE];
    /// Compare double, condition olt.
    COltD = "c.olt.d", "cc fs ft", "010001 10001 TTTTT SSSSS ccc 00 110100", I, [FPU | COMPARE];
    /// Compare paired single, condition olt.
    COltPs = "c.olt.ps", "cc fs ft", "010001 10110 TTTTT SSSSS ccc 00 110100", V, [FPU | PAIRED | COMPARE];
    /// Compare single, condition ult.
    CUltS = "c.ult.s", "cc fs ft", "010001 10000 TTTTT SSSSS ccc 00 110101", I, [FPU | COMPARE];
    /// Compare double, condition ult.
    CUltD = "c.ult.d", "cc fs ft", "010001 10001 TTTTT SSSSS ccc 00 110101", I, [FPU | COMPARE];
    /// Compare paired single, condition ult.
    CUltPs = "c.ult.ps", "cc fs ft", "010001 10110 TTTTT SSSSS ccc 00 110101", V, [FPU | PAIRED | COMPARE];
    /// Compare single, condition ole.
    COleS = "c.ole.s", "cc fs ft", "010001 10000 TTTTT SSSSS ccc 00 110110", I, [FPU | COMPARE];
    /// Compare double, condition ole.
    COleD = "c.ole.d", "cc fs ft", "010001 10001 TTTTT SSSSS ccc 00 110110", I, [FPU | COMPARE];
    /// Compare paired single, condition ole.
    COlePs = "c.ole.ps", "cc fs ft", "010001 10110 TTTTT SSSSS ccc 00 110110", V, [FPU | PAIRED | COMPARE];
    /// Compare single, condition ule.
    CUleS = "c.ule.s", "cc fs ft", "010001 10000 TTTTT SSSSS ccc 00 110111", I, [FPU | COMPARE];
    /// Compare double, condition ule.
    CUleD = "c.ule.d", "cc fs ft", "010001 10001 TTTTT SSSSS ccc 00 110111", I, [FPU | COMPARE];
    /// Compare paired single, condition ule.
    CUlePs = "c.ule.ps", "cc fs ft", "010001 10110 TTTTT SSSSS ccc 00 110111", V, [FPU | PAIRED | COMPARE];
    /// Compare single, condition sf.
    CSfS = "c.sf.s", "cc fs ft", "010001 10000 TTTTT SSSSS ccc 00 111000", I, [FPU | COMPARE];
    /// Compare double, condition sf.
    CSfD = "c.sf.d", "cc fs ft", "010001 10001 TTTTT SSSSS ccc 00 111000", I, [FPU | COMPARE];
    /// Compare paired single, condition sf.
    CSfPs = "c.sf.ps", "cc fs ft", "010001 10110 TTTTT SSSSS ccc 00 111000", V, [FPU | PAIRED | COMPARE];
    /// Compare single, condition ngle.
    CNgleS = "c.ngle.s", "cc fs ft", "010001 10000 TTTTT SSSSS ccc 00 111001", I, [FPU | COMPARE];
    /// Compare double, condition ngle.
    CNgleD = "c.ngle.d", "cc fs ft", "010001 10001 TTTTT SSSSS ccc 00 111001", I, [FPU | COMPARE];
    /// Compare paired single, condition ngle.
    CNglePs = "c.ngle.ps", "cc fs ft", "010001 10110 TTTTT SSSSS ccc 00 111001", V, [FPU | PAIRED | COMPARE];
    /// Compare single, condition seq.
    CSeqS = "c.seq.s", "cc fs ft", "010001 10000 TTTTT SSSSS ccc 00 111010", I, [FPU | COMPARE];
    /// Compare double, condition seq.
    CSeqD = "c.seq.d", "cc fs ft", "010001 10001 TTTTT SSSSS ccc 00 111010", I, [FPU | COMPARE];
    /// Compare paired single, condition seq.
    CSeqPs = "c.seq.ps", "cc fs ft", "010001 10110 TTTTT SSSSS ccc 00 111010", V, [FPU | PAIRED | COMPARE];
    /// Compare single, condition ngl.
    CNglS = "c.ngl.s", "cc fs ft", "010001 10000 TTTTT SSSSS ccc 00 111011", I, [FPU | COMPARE];
    /// Compare double, condition ngl.
    CNglD = "c.ngl.d", "cc fs ft", "010001 10001 TTTTT SSSSS ccc 00 111011", I, [FPU | COMPARE];
    /// Compare paired single, condition ngl.
    CNglPs = "c.ngl.ps", "cc fs ft", "010001 10110 TTTTT SSSSS ccc 00 111011", V, [FPU | PAIRED | COMPARE];
    /// Compare single, condition lt.
    CLtS = "c.lt.s", "cc fs ft", "010001 10000 TTTTT SSSSS ccc 00 111100", I, [FPU | COMPARE];
    /// Compare double, condition lt.
    CLtD = "c.lt.d", "cc fs ft", "010001 10001 TTTTT SSSSS ccc 00 111100", I, [FPU | COMPARE];
    /// Compare paired single, condition lt.
    CLtPs = "c.lt.ps", "cc fs ft", "010001 10110 TTTTT SSSSS ccc 00 111100", V, [FPU | PAIRED | COMPARE];
    /// Compare single, condition nge.
    CNgeS = "c.nge.s", "cc fs ft", "010001 10000 TTTTT SSSSS ccc 00 111101", I, [FPU | COMPARE];
    /// Compare double, condition nge.
    CNgeD = "c.nge.d", "cc fs ft", "010001 10001 TTTTT SSSSS ccc 00 111101", I, [FPU | COMPARE];
    /// Compare paired single, condition nge.
    CNgePs = "c.nge.ps", "cc fs ft", "010001 10110 TTTTT SSSSS ccc 00 111101", V, [FPU | PAIRED | COMPARE];
    /// Compare single, condition le.
    CLeS = "c.le.s", "cc fs ft", "010001 10000 TTTTT SSSSS ccc 00 111110", I, [FPU | COMPARE];
    /// Compare double, condition le.
    CLeD = "c.le.d", "cc fs ft", "010001 10001 TTTTT SSSSS ccc 00 111110", I, [FPU | COMPARE];
    /// Compare paired single, condition le.
    CLePs = "c.le.ps", "cc fs ft", "010001 10110 TTTTT SSSSS ccc 00 111110", V, [FPU | PAIRED | COMPARE];
    /// Compare single, condition ngt.
    CNgtS = "c.ngt.s", "cc fs ft", "010001 10000 TTTTT SSSSS ccc 00 111111", I, [FPU | COMPARE];
    /// Compare double, condition ngt.
    CNgtD = "c.ngt.d", "cc fs ft", "010001 10001 TTTTT SSSSS ccc 00 111111", I, [FPU | COMPARE];
    /// Compare paired single, condition ngt.
    CNgtPs = "c.ngt.ps", "cc fs ft", "010001 10110 TTTTT SSSSS ccc 00 111111", V, [FPU | PAIRED | COMPARE];

    // Coprocessor 1 extended: indexed access and multiply-add.
    /// Load word indexed to FPU.
    Lwxc1 = "lwxc1", "=fd memx", "010011 sssss ttttt 00000 DDDDD 000000", IV, [LOAD | FPU];
    /// Load doubleword indexed to FPU.
    Ldxc1 = "ldxc1", "=fd memx", "010011 sssss ttttt 00000 DDDDD 000001", IV, [LOAD | FPU];
    /// Load doubleword indexed unaligned to FPU.
    Luxc1 = "luxc1", "=fd memx", "010011 sssss ttttt 00000 DDDDD 000101", V, [LOAD | FPU];
    /// Store word indexed from FPU.
    Swxc1 = "swxc1", "fs memx", "010011 sssss ttttt SSSSS 00000 001000", IV, [STORE | FPU];
    /// Store doubleword indexed from FPU.
    Sdxc1 = "sdxc1", "fs memx", "010011 sssss ttttt SSSSS 00000 001001", IV, [STORE | FPU];
    /// Store doubleword indexed unaligned from FPU.
    Suxc1 = "suxc1", "fs memx", "010011 sssss ttttt SSSSS 00000 001101", V, [STORE | FPU];
    /// Prefetch indexed.
    Prefx = "prefx", "hintd memx", "010011 sssss ttttt ddddd 00000 001111", IV, [FPU];
    /// Align a pair of singles by an address.
    AlnvPs = "alnv.ps", "=fd fs ft rs", "010011 sssss TTTTT SSSSS DDDDD 011110", V, [FPU | PAIRED];
    /// Multiply and add, single.
    MaddS = "madd.s", "=fd fr fs ft", "010011 RRRRR TTTTT SSSSS DDDDD 100 000", IV, [FPU];
    /// Multiply and add, double.
    MaddD = "madd.d", "=fd fr fs ft", "010011 RRRRR TTTTT SSSSS DDDDD 100 001", IV, [FPU];
    /// Multiply and add, paired single.
    MaddPs = "madd.ps", "=fd fr fs ft", "010011 RRRRR TTTTT SSSSS DDDDD 100 110", V, [FPU | PAIRED];
    /// Multiply and subtract, single.
    MsubS = "msub.s", "=fd fr fs ft", "010011 RRRRR TTTTT SSSSS DDDDD 101 000", IV, [FPU];
    /// Multiply and subtract, double.
    MsubD = "msub.d", "=fd fr fs ft", "010011 RRRRR TTTTT SSSSS DDDDD 101 001", IV, [FPU];
    /// Multiply and subtract, paired single.
    MsubPs = "msub.ps", "=fd fr fs ft", "010011 RRRRR TTTTT SSSSS DDDDD 101 110", V, [FPU | PAIRED];
    /// Negated multiply and add, single.
    NmaddS = "nmadd.s", "=fd fr fs ft", "010011 RRRRR TTTTT SSSSS DDDDD 110 000", IV, [FPU];
    /// Negated multiply and add, double.
    NmaddD = "nmadd.d", "=fd fr fs ft", "010011 RRRRR TTTTT SSSSS DDDDD 110 001", IV, [FPU];
    /// Negated multiply and add, paired single.
    NmaddPs = "nmadd.ps", "=fd fr fs ft", "010011 RRRRR TTTTT SSSSS DDDDD 110 110", V, [FPU | PAIRED];
    /// Negated multiply and subtract, single.
    NmsubS = "nmsub.s", "=fd fr fs ft", "010011 RRRRR TTTTT SSSSS DDDDD 111 000", IV, [FPU];
    /// Negated multiply and subtract, double.
    NmsubD = "nmsub.d", "=fd fr fs ft", "010011 RRRRR TTTTT SSSSS DDDDD 111 001", IV, [FPU];
    /// Negated multiply and subtract, paired single.
    NmsubPs = "nmsub.ps", "=fd fr fs ft", "010011 RRRRR TTTTT SSSSS DDDDD 111 110", V, [FPU | PAIRED];

    // Coprocessor 2: no CPU model has one, so each row is the coprocessor-unusable exception.
    /// Move between a general register and coprocessor 2.
    Mfc2 = "mfc2", "rt c2imm", "010010 00000 ttttt iiiiiiiiiiiiiiii", I, [COP2 | SENSITIVE];
    /// Move between a general register and coprocessor 2.
    Dmfc2 = "dmfc2", "rt c2imm", "010010 00001 ttttt iiiiiiiiiiiiiiii", III, [COP2 | SENSITIVE];
    /// Move between a general register and coprocessor 2.
    Cfc2 = "cfc2", "rt c2imm", "010010 00010 ttttt iiiiiiiiiiiiiiii", I, [COP2 | SENSITIVE];
    /// Move between a general register and coprocessor 2.
    Mfhc2 = "mfhc2", "rt c2imm", "010010 00011 ttttt iiiiiiiiiiiiiiii", R2, [COP2 | SENSITIVE];
    /// Move between a general register and coprocessor 2.
    Mtc2 = "mtc2", "rt c2imm", "010010 00100 ttttt iiiiiiiiiiiiiiii", I, [COP2 | SENSITIVE];
    /// Move between a general register and coprocessor 2.
    Dmtc2 = "dmtc2", "rt c2imm", "010010 00101 ttttt iiiiiiiiiiiiiiii", III, [COP2 | SENSITIVE];
    /// Move between a general register and coprocessor 2.
    Ctc2 = "ctc2", "rt c2imm", "010010 00110 ttttt iiiiiiiiiiiiiiii", I, [COP2 | SENSITIVE];
    /// Move between a general register and coprocessor 2.
    Mthc2 = "mthc2", "rt c2imm", "010010 00111 ttttt iiiiiiiiiiiiiiii", R2, [COP2 | SENSITIVE];
    /// Branch on a coprocessor 2 condition.
    Bc2f = "bc2f", "cc off", "010010 01000 ccc 00 iiiiiiiiiiiiiiii", I, [COP2 | SENSITIVE];
    /// Branch on a coprocessor 2 condition.
    Bc2t = "bc2t", "cc off", "010010 01000 ccc 01 iiiiiiiiiiiiiiii", I, [COP2 | SENSITIVE];
    /// Branch on a coprocessor 2 condition.
    Bc2fl = "bc2fl", "cc off", "010010 01000 ccc 10 iiiiiiiiiiiiiiii", II, [COP2 | SENSITIVE];
    /// Branch on a coprocessor 2 condition.
    Bc2tl = "bc2tl", "cc off", "010010 01000 ccc 11 iiiiiiiiiiiiiiii", II, [COP2 | SENSITIVE];
    /// Coprocessor 2 operation.
    Cop2 = "cop2", "code25", "010010 1 ccccccccccccccccccccccccc", I, [COP2 | SENSITIVE];
}
