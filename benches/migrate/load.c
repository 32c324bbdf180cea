// The load of a guest that moves: writes so many megabytes a second into a buffer, page after page in a random order,
// and keeps in another place what each page must hold. Once a second it looks at all pages and says whether they do.
// Usage: load MEGABYTES_A_SECOND MEGABYTES_OF_BUFFER
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { PAGE = 4096, WORDS = PAGE / 8, TURNS = 100 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static uint64_t next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

int main(int count, char **arguments) {
    if (count != 3)
        return 2;
    size_t rate = strtoul(arguments[1], NULL, 10) << 20, pages = (strtoul(arguments[2], NULL, 10) << 20) / PAGE;
    uint64_t(*buffer)[WORDS] = aligned_alloc(PAGE, pages * PAGE);
    uint64_t *expected = calloc(pages, sizeof *expected), state = 88172645463325252u;
    if (!buffer || !expected)
        return 1;
    for (size_t page = 0; page < pages; page++)
        for (size_t word = 0; word < WORDS; word++)
            buffer[page][word] = 0;
    for (unsigned second = 1;; second++) {
        double begun = now();
        size_t written = 0;
        for (int turn = 1; turn <= TURNS; turn++) {
            for (; written < rate / PAGE * turn / TURNS; written++) {
                size_t page = next(&state) % pages;
                uint64_t value = next(&state);
                // A word of each cache line, so that most of the time goes to the pages and not to their words.
                for (size_t word = 0; word < WORDS; word += 8)
                    buffer[page][word] = value + word;
                expected[page] = value;
            }
            double left = begun + (double)turn / TURNS - now();
            if (left > 0)
                nanosleep(&(struct timespec){.tv_nsec = left * 1e9}, NULL);
        }
        double took = now() - begun;
        size_t wrong = 0;
        for (size_t page = 0; page < pages; page++)
            for (size_t word = 0; word < WORDS; word += 8)
                wrong += expected[page] != 0 && buffer[page][word] != expected[page] + word;
        printf("load %u: %s, %.1f MB/s\n", second, wrong ? "WRONG" : "right", rate / took / (1 << 20));
        fflush(stdout);
        if (wrong)
            return 1;
    }
}
