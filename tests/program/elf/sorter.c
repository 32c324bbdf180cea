// What a compiler makes of tables, strings, a switch, floating point and 64-bit numbers, without a C library. It asks
// for services as programs in assembly do.

static long call(long number, long argument)
{
    register long v0 __asm__("$2") = number;
    register long a0 __asm__("$4") = argument;
    __asm__ volatile("syscall" : "+r"(v0), "+r"(a0) : : "memory");
    return v0;
}

static int table[8] = {5, 3, 9, -1, 7, 0, 2, 8};
static int sums[4];
static const char *names[] = {"even", "odd"};
static double half = 0.5;
static unsigned long long big = 0x123456789abcdefull;

static void print(const char *text)
{
    call(4, (long)text);
}

static void sort(int *numbers, int count)
{
    for (int i = 1; i < count; i++)
        for (int j = i; j > 0 && numbers[j] < numbers[j - 1]; j--) {
            int larger = numbers[j - 1];
            numbers[j - 1] = numbers[j];
            numbers[j] = larger;
        }
}

__attribute__((noinline)) static int pick(int number)
{
    switch (number) {
    case 0: return 10;
    case 1: return 22;
    case 2: return 31;
    case 3: return 43;
    case 4: return 5;
    case 5: return 61;
    default: return -1;
    }
}

static int program(void)
{
    sort(table, 8);
    for (int i = 0; i < 8; i++) {
        call(1, table[i]);
        print(" ");
        print(names[table[i] & 1]);
        print("\n");
        sums[i & 3] += pick(i);
    }
    double x = 1;
    for (int i = 0; i < 10; i++)
        x = x * half + table[i & 7];
    call(1, (int)(x * 1000));
    print(" ");
    call(1, sums[0] + sums[1] * 3 + sums[2] * 5 + sums[3] * 7);
    print(" ");
    call(34, (int)(big >> 20));
    print("\n");
    return 7;
}

void __start(void)
{
    call(17, program());
}
