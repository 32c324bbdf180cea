// What a guest with several CPUs measures of itself, for ../smp.sh.
// Usage: measure wake ROUNDS: how long it takes to wake a thread that sleeps on the second CPU, from the first.
//        measure timer ROUNDS: how late a process on the second CPU goes on that has slept for a while.
//        measure work PROCESSES ROUNDS: how long so many processes take that only compute, each on a CPU of its own.
// Prints microseconds: the least and the median of the rounds.
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// Longer than a vCPU that waits looks around before it sleeps, and than Linux needs to go idle.
enum { REST_NANOSECONDS = 500000, STEPS = 100000000 };

static atomic_int called, seen;
static int64_t called_at, woken_at;

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void stay_on(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) {
        perror("sched_setaffinity");
        exit(1);
    }
}

static void futex(atomic_int *word, int operation, int value)
{
    syscall(SYS_futex, word, operation, value, NULL, NULL, 0);
}

static void *sleeper(void *argument)
{
    stay_on(1);
    for (int round = 1; round <= (int)(intptr_t)argument; round++) {
        while (atomic_load(&called) != round)
            futex(&called, FUTEX_WAIT_PRIVATE, round - 1);
        woken_at = now();
        atomic_store(&seen, round);
    }
    return NULL;
}

static void wake(int64_t *results, int rounds)
{
    pthread_t thread;
    stay_on(0);
    if (pthread_create(&thread, NULL, sleeper, (void *)(intptr_t)rounds) != 0)
        exit(1);
    for (int round = 1; round <= rounds; round++) {
        for (int64_t start = now(); now() - start < REST_NANOSECONDS;)
            ;
        called_at = now();
        atomic_store(&called, round);
        futex(&called, FUTEX_WAKE_PRIVATE, 1);
        while (atomic_load(&seen) != round)
            ;
        results[round - 1] = woken_at - called_at;
    }
    pthread_join(thread, NULL);
}

static void sleep_often(int64_t *results, int rounds)
{
    stay_on(1);
    // Linux lets an ordinary process sleep 50 microseconds longer than it asks for.
    prctl(PR_SET_TIMERSLACK, 1);
    for (int round = 0; round < rounds; round++) {
        int64_t end = now() + REST_NANOSECONDS;
        struct timespec time = {.tv_sec = end / 1000000000, .tv_nsec = end % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
        results[round] = now() - end;
    }
}

static void compute(void)
{
    volatile uint32_t result;
    uint32_t value = 1;
    for (int step = 0; step < STEPS; step++)
        value = value * 1664525 + 1013904223 + (value >> 7);
    result = value;
    (void)result;
}

static int64_t work(int processes)
{
    int64_t start = now();
    for (int process = 0; process < processes; process++) {
        if (fork() == 0) {
            stay_on(process);
            compute();
            _exit(0);
        }
    }
    while (wait(NULL) > 0)
        ;
    return now() - start;
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

int main(int count, char **arguments)
{
    int rounds = count > 2 ? atoi(arguments[count - 1]) : 0;
    int64_t *results = calloc(rounds > 0 ? rounds : 1, sizeof *results);
    if (rounds < 1 || results == NULL)
        return 2;
    if (strcmp(arguments[1], "wake") == 0)
        wake(results, rounds);
    else if (strcmp(arguments[1], "timer") == 0)
        sleep_often(results, rounds);
    else
        for (int round = 0; round < rounds; round++)
            results[round] = work(atoi(arguments[2]));
    qsort(results, rounds, sizeof *results, compare);
    printf("result %.1f %.1f\n", results[0] / 1000.0, results[rounds / 2] / 1000.0);
    return 0;
}
