// Threads that race on purpose, each kept on a CPU of its own, and what must not come of it: the memory model of MIPS
// where SYNC is between accesses, LL and SC, locks, sleeping and waking, and code that another CPU has written.
// Usage: litmus THREADS ROUNDS. Prints a line a test; the status is 1 if one saw what must not be.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST_THREADS = 16, LINE = 64, CELLS = 8192, TICKET_ROUNDS_DIVISOR = 100,
       CODE_ROUNDS_DIVISOR = 100, TOKEN_ROUNDS_DIVISOR = 100 };

static int threads;
static long rounds;
static atomic_long failures;
static pthread_barrier_t meeting;

static void sync_accesses(void) { __asm__ volatile("sync" ::: "memory"); }

static void pause_cpu(void) { __asm__ volatile("pause" ::: "memory"); }

static void fail(const char *test, const char *what)
{
    atomic_fetch_add(&failures, 1);
    printf("litmus: WRONG: %s: %s\n", test, what);
}

// One thread comes back with 1.
static int meet(void) { return pthread_barrier_wait(&meeting) == PTHREAD_BARRIER_SERIAL_THREAD; }

static void *must_have(void *memory)
{
    if (memory == NULL || memory == MAP_FAILED) {
        perror("litmus: no memory");
        exit(2);
    }
    return memory;
}

// --- Small races, each on a cell of its own, thousands of cells one after the other ---

struct cell {
    _Alignas(LINE) volatile int x;
    _Alignas(LINE) volatile int y;
    // What each role saw first and second.
    _Alignas(LINE) struct { volatile int first, second; } saw[4];
};

struct race {
    const char *name;
    int roles;
    void (*play)(int role, struct cell *cell);
    // What of `saw` makes an outcome, a bit each from the lowest on.
    int (*outcome)(const struct cell *cell);
    // A bit for each outcome that must not be.
    unsigned forbidden;
};

static void store_then_load(int role, struct cell *cell)
{
    volatile int *mine = role == 0 ? &cell->x : &cell->y, *theirs = role == 0 ? &cell->y : &cell->x;
    *mine = 1;
    sync_accesses();
    cell->saw[role].first = *theirs;
}

static void load_then_store(int role, struct cell *cell)
{
    volatile int *mine = role == 0 ? &cell->x : &cell->y, *theirs = role == 0 ? &cell->y : &cell->x;
    cell->saw[role].first = *theirs;
    sync_accesses();
    *mine = 1;
}

static int first_of_two(const struct cell *cell) { return cell->saw[0].first | cell->saw[1].first << 1; }

static void send_message(int role, struct cell *cell)
{
    if (role == 0) {
        cell->x = 1;
        sync_accesses();
        cell->y = 1;
    } else {
        cell->saw[1].first = cell->y;
        sync_accesses();
        cell->saw[1].second = cell->x;
    }
}

static int message(const struct cell *cell) { return cell->saw[1].first | cell->saw[1].second << 1; }

static void read_same_twice(int role, struct cell *cell)
{
    if (role == 0) {
        cell->x = 1;
    } else {
        cell->saw[1].first = cell->x;
        cell->saw[1].second = cell->x;
    }
}

// Two threads store, and two others must agree on who was first.
static void independent_reads(int role, struct cell *cell)
{
    switch (role) {
    case 0: cell->x = 1; break;
    case 1: cell->y = 1; break;
    case 2:
        cell->saw[2].first = cell->x;
        sync_accesses();
        cell->saw[2].second = cell->y;
        break;
    default:
        cell->saw[3].first = cell->y;
        sync_accesses();
        cell->saw[3].second = cell->x;
    }
}

static int two_readers(const struct cell *cell)
{
    return cell->saw[2].first | cell->saw[2].second << 1 | cell->saw[3].first << 2 | cell->saw[3].second << 3;
}

static const struct race races[] = {
    { "store buffering", 2, store_then_load, first_of_two, 1u << 0 },
    { "load buffering", 2, load_then_store, first_of_two, 1u << 3 },
    { "message passing", 2, send_message, message, 1u << 1 },
    { "coherent reads", 2, read_same_twice, message, 1u << 1 },
    { "independent reads", 4, independent_reads, two_readers, 1u << 5 },
};

static struct cell *cells[MOST_THREADS];
static struct { _Alignas(LINE) volatile int cell; } reached[MOST_THREADS];
static long outcomes[16];

// Waits a little for the threads from `first` on to come to the cell, so that they are there at once if they run at once.
static void approach(int self, int first, int roles, int cell)
{
    reached[self].cell = cell;
    for (int other = first; other < first + roles; other++)
        for (int patience = 200; patience > 0 && reached[other].cell < cell; patience--)
            ;
}

static void judge(const struct race *race)
{
    for (int group = 0; group < threads / race->roles; group++) {
        for (int at = 0; at < CELLS; at++)
            outcomes[race->outcome(&cells[group][at])]++;
        memset(cells[group], 0, CELLS * sizeof(struct cell));
    }
    memset((void *)reached, 0, sizeof reached);
}

static void report(const struct race *race)
{
    printf("litmus: %s:", race->name);
    for (int outcome = 0; outcome < 16; outcome++) {
        if (outcomes[outcome] != 0)
            printf(" %ld of %#x", outcomes[outcome], outcome);
        if (race->forbidden >> outcome & 1 && outcomes[outcome] != 0)
            fail(race->name, "an outcome that SYNC forbids");
    }
    printf("\n");
    memset(outcomes, 0, sizeof outcomes);
}

static void run_races(int self)
{
    for (const struct race *race = races; race < races + sizeof races / sizeof *races; race++) {
        int group = self / race->roles, role = self % race->roles;
        int plays = group < threads / race->roles;
        for (long done = 0; done < rounds; done += CELLS) {
            meet();
            for (int at = 0; plays && at < CELLS; at++) {
                approach(self, self - role, race->roles, at);
                race->play(role, &cells[group][at]);
            }
            if (meet())
                judge(race);
        }
        if (meet())
            report(race);
    }
}

// --- Counters ---

static struct { _Alignas(LINE) uint32_t word; _Alignas(LINE) uint64_t both; _Alignas(LINE) uint8_t bytes[4]; } counters;

static void count_word(void)
{
    uint32_t value;
    __asm__ volatile("1: ll %0, %1\n addiu %0, %0, 1\n sc %0, %1\n beqz %0, 1b\n"
                     : "=&r"(value), "+R"(counters.word)::"memory");
}

static void count_double(void)
{
    uint64_t value;
    __asm__ volatile("1: lld %0, %1\n daddiu %0, %0, 1\n scd %0, %1\n beqz %0, 1b\n"
                     : "=&r"(value), "+R"(counters.both)::"memory");
}

static void run_counters(int self)
{
    if (meet())
        memset(&counters, 0, sizeof counters);
    meet();
    for (long round = 0; round < rounds; round++) {
        count_word();
        count_double();
        __atomic_fetch_add(&counters.bytes[self % 4], 1, __ATOMIC_RELAXED);
    }
    if (!meet())
        return;
    uint64_t all = (uint64_t)threads * rounds;
    if (counters.word != (uint32_t)all || counters.both != all)
        fail("counters", "LL and SC have lost counts");
    for (int byte = 0; byte < 4; byte++) {
        int who = threads / 4 + (byte < threads % 4);
        if (counters.bytes[byte] != (uint8_t)(who * rounds))
            fail("counters", "bytes of one word have lost counts");
    }
    printf("litmus: counters: %llu of each kind\n", (unsigned long long)all);
}

// --- Locks: two plain variables under each must stay equal ---

static struct {
    _Alignas(LINE) atomic_int taken;
    _Alignas(LINE) atomic_uint next;
    _Alignas(LINE) atomic_uint serving;
    _Alignas(LINE) volatile long guarded[3][2];
} locks;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

// The holder may have lost its CPU, so that a thread that spun for long lets others run.
static void wait_a_little(int *patience)
{
    pause_cpu();
    if (++*patience % 256 == 0)
        sched_yield();
}

static void take(int kind)
{
    int patience = 0;
    if (kind == 0) {
        while (atomic_exchange_explicit(&locks.taken, 1, memory_order_acquire))
            wait_a_little(&patience);
    } else if (kind == 1) {
        unsigned ticket = atomic_fetch_add_explicit(&locks.next, 1, memory_order_relaxed);
        while (atomic_load_explicit(&locks.serving, memory_order_acquire) != ticket)
            wait_a_little(&patience);
    } else {
        pthread_mutex_lock(&mutex);
    }
}

static void give_back(int kind)
{
    if (kind == 0)
        atomic_store_explicit(&locks.taken, 0, memory_order_release);
    else if (kind == 1)
        atomic_fetch_add_explicit(&locks.serving, 1, memory_order_release);
    else
        pthread_mutex_unlock(&mutex);
}

static void run_locks(void)
{
    static const char *const names[] = { "spin lock", "ticket lock", "mutex" };
    if (meet())
        memset((void *)locks.guarded, 0, sizeof locks.guarded);
    meet();
    for (int kind = 0; kind < 3; kind++) {
        volatile long *guarded = locks.guarded[kind];
        // A lock that is handed on waits each time until the host runs the one whose turn it is: 16 ms where other
        // programs keep the host busy.
        long turns = kind == 1 ? rounds / TICKET_ROUNDS_DIVISOR : rounds;
        for (long turn = 0; turn < turns; turn++) {
            take(kind);
            if (guarded[0] != guarded[1])
                fail(names[kind], "two threads are in at once");
            guarded[0]++;
            guarded[1]++;
            give_back(kind);
        }
        if (meet()) {
            if (guarded[0] != threads * turns || guarded[1] != guarded[0])
                fail(names[kind], "turns are lost");
            printf("litmus: %s: %ld turns\n", names[kind], guarded[0]);
        }
    }
}

// --- A sequence lock: one thread writes triples of equal numbers, the others never see any that differ ---

static struct { _Alignas(LINE) atomic_ulong sequence; atomic_ulong numbers[3]; _Alignas(LINE) atomic_int over; } sequence;

static void write_sequence(void)
{
    for (long round = 1; round <= rounds; round++) {
        atomic_store_explicit(&sequence.sequence, 2 * round - 1, memory_order_relaxed);
        sync_accesses();
        for (int at = 0; at < 3; at++)
            atomic_store_explicit(&sequence.numbers[at], round, memory_order_relaxed);
        sync_accesses();
        atomic_store_explicit(&sequence.sequence, 2 * round, memory_order_relaxed);
    }
    atomic_store(&sequence.over, 1);
}

static long read_sequence(void)
{
    long reads = 0;
    while (!atomic_load(&sequence.over)) {
        unsigned long numbers[3], before = atomic_load_explicit(&sequence.sequence, memory_order_relaxed);
        sync_accesses();
        for (int at = 0; at < 3; at++)
            numbers[at] = atomic_load_explicit(&sequence.numbers[at], memory_order_relaxed);
        sync_accesses();
        if (before % 2 != 0 || before != atomic_load_explicit(&sequence.sequence, memory_order_relaxed))
            continue;
        reads++;
        if (numbers[0] != before / 2 || numbers[1] != numbers[0] || numbers[2] != numbers[0])
            fail("sequence lock", "a read in the middle of a write");
    }
    return reads;
}

static void run_sequence(int self)
{
    static atomic_long reads;
    if (meet())
        memset(&sequence, 0, sizeof sequence), atomic_store(&reads, 0);
    meet();
    if (self == 0)
        write_sequence();
    else
        atomic_fetch_add(&reads, read_sequence());
    if (meet())
        printf("litmus: sequence lock: %ld writes, %ld whole reads\n", rounds, atomic_load(&reads));
}

// --- A token that goes round: every hop wakes a sleeping thread ---

static struct { pthread_mutex_t mutex; pthread_cond_t changed[MOST_THREADS]; long hops; } token;

static void run_token(int self)
{
    long last = rounds / TOKEN_ROUNDS_DIVISOR * threads;
    if (meet())
        token.hops = 0;
    meet();
    pthread_mutex_lock(&token.mutex);
    for (long turn = 0; turn < rounds / TOKEN_ROUNDS_DIVISOR; turn++) {
        while (token.hops % threads != self)
            pthread_cond_wait(&token.changed[self], &token.mutex);
        token.hops++;
        pthread_cond_signal(&token.changed[(self + 1) % threads]);
    }
    pthread_mutex_unlock(&token.mutex);
    if (meet()) {
        if (token.hops != last)
            fail("token", "hops are lost");
        printf("litmus: token: %ld hops\n", token.hops);
    }
}

// --- Code: one thread writes a function anew, the others call it ---

static struct { uint32_t *function; _Alignas(LINE) atomic_long version; _Alignas(LINE) atomic_long called; } code;

static void write_function(long version)
{
    code.function[0] = 0x03e00008;                               // jr $ra
    code.function[1] = 0x24020000 | (uint32_t)(version & 0x7fff); // addiu $v0, $zero, version
    __builtin___clear_cache((char *)code.function, (char *)(code.function + 2));
}

// What this CPU has fetched may be older than what another has written: a jump with a hazard barrier.
static void forget_fetched_code(void)
{
    void *next;
    __asm__ volatile("dla %0, 1f\n jr.hb %0\n nop\n 1:" : "=&r"(next)::"memory");
}

static void run_code(int self)
{
    long last = rounds / CODE_ROUNDS_DIVISOR;
    if (meet()) {
        atomic_store(&code.version, 0);
        atomic_store(&code.called, 0);
    }
    meet();
    for (long version = 1; version <= last; version++) {
        int patience = 0;
        if (self == 0) {
            while (atomic_load(&code.called) != (version - 1) * (threads - 1))
                wait_a_little(&patience);
            write_function(version);
            atomic_store(&code.version, version);
            continue;
        }
        while (atomic_load(&code.version) != version)
            wait_a_little(&patience);
        forget_fetched_code();
        long (*function)(void) = (long (*)(void))code.function;
        if (function() != (version & 0x7fff))
            fail("code", "a call ran what was there before");
        atomic_fetch_add(&code.called, 1);
    }
    if (meet())
        printf("litmus: code: %ld functions on %d CPUs\n", last, threads - 1);
}

static void *body(void *argument)
{
    int self = (int)(intptr_t)argument;
    cpu_set_t cpu;
    CPU_ZERO(&cpu);
    CPU_SET(self % (int)sysconf(_SC_NPROCESSORS_ONLN), &cpu);
    if (sched_setaffinity(0, sizeof cpu, &cpu) != 0)
        fail("litmus", "a thread does not get its CPU");
    run_races(self);
    run_counters(self);
    run_locks();
    run_sequence(self);
    run_token(self);
    run_code(self);
    return NULL;
}

static void prepare(void)
{
    pthread_barrier_init(&meeting, NULL, threads);
    pthread_mutex_init(&token.mutex, NULL);
    for (int thread = 0; thread < threads; thread++) {
        pthread_cond_init(&token.changed[thread], NULL);
        cells[thread] = must_have(aligned_alloc(LINE, CELLS * sizeof(struct cell)));
        memset(cells[thread], 0, CELLS * sizeof(struct cell));
    }
    int protection = PROT_READ | PROT_WRITE | PROT_EXEC;
    code.function = must_have(mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

int main(int count, char **arguments)
{
    threads = count == 3 ? atoi(arguments[1]) : 0;
    rounds = count == 3 ? atol(arguments[2]) : 0;
    if (threads < 2 || threads > MOST_THREADS || rounds < CODE_ROUNDS_DIVISOR) {
        fprintf(stderr, "usage: litmus THREADS ROUNDS, 2 to %d threads\n", MOST_THREADS);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    prepare();
    pthread_t others[MOST_THREADS];
    for (int thread = 0; thread < threads; thread++) {
        if (pthread_create(&others[thread], NULL, body, (void *)(intptr_t)thread) != 0) {
            perror("litmus: a thread");
            return 2;
        }
    }
    for (int thread = 0; thread < threads; thread++)
        pthread_join(others[thread], NULL);
    return atomic_load(&failures) != 0;
}
