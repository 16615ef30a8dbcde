// Collectives between the processes of this machine, through a file in shared memory.
#define _GNU_SOURCE
#include "stand_in.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PIECE ((uint64_t)1 << 18)

struct shared {
    uint32_t arrived;
    uint32_t round;
    char pieces[] __attribute__((aligned(64)));  // one of PIECE bytes for every process
};

struct exchange {
    uint32_t size, rank;
    struct shared *shared;
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + 1e-9 * time.tv_nsec;
}

struct exchange *exchange_open(const char *name, uint32_t size, uint32_t rank, double seconds) {
    static struct exchange alone = {1, 0, NULL};
    // For a look at one rank of many: the others need not be there.
    if (getenv("STAND_IN_ALONE") != NULL) return &alone;
    size_t bytes = sizeof(struct shared) + size * PIECE;
    int file = shm_open(name, O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, bytes) < 0) return NULL;
    struct exchange *exchange = malloc(sizeof *exchange);
    exchange->size = size;
    exchange->rank = rank;
    exchange->shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (exchange->shared == MAP_FAILED || !exchange_meet(exchange, seconds)) return NULL;
    // All have it open: nothing stays behind, however the processes end.
    if (rank == 0) shm_unlink(name);
    return exchange;
}

bool exchange_meet(struct exchange *exchange, double seconds) {
    struct shared *shared = exchange->shared;
    if (shared == NULL) return true;
    uint32_t round = __atomic_load_n(&shared->round, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&shared->arrived, 1, __ATOMIC_ACQ_REL) == exchange->size) {
        shared->arrived = 0;
        __atomic_store_n(&shared->round, round + 1, __ATOMIC_RELEASE);
        return true;
    }
    for (double end = now() + seconds; now() < end; usleep(100))
        if (__atomic_load_n(&shared->round, __ATOMIC_ACQUIRE) != round) return true;
    return false;
}

static char *piece(struct exchange *exchange, uint32_t rank) {
    return exchange->shared->pieces + rank * PIECE;
}

#define ADD(kind)                                                              \
    for (uint64_t i = 0; i < bytes / sizeof(kind); i++)                        \
        ((kind *)to)[i] += ((const kind *)from)[i]

// Add vectors; those of a type that cannot be added here stay as they are.
static void add(void *to, const void *from, uint64_t bytes, int type) {
    if (type == FLOAT32) ADD(float);
    if (type == FLOAT64) ADD(double);
    if (type == INT32) ADD(int32_t);
    if (type == INT64) ADD(int64_t);
}

bool exchange_sum(struct exchange *exchange, const void *from, void *to, uint64_t count, int type,
                  double seconds) {
    uint64_t total = count * type_size(type);
    if (exchange->shared == NULL) {
        memmove(to, from, total);
        return true;
    }
    for (uint64_t start = 0; start < total; start += PIECE) {
        uint64_t bytes = total - start < PIECE ? total - start : PIECE;
        memcpy(piece(exchange, exchange->rank), (const char *)from + start, bytes);
        if (!exchange_meet(exchange, seconds)) return false;
        // In the order of the ranks on all of them, for the same sum to the last bit.
        memcpy((char *)to + start, piece(exchange, 0), bytes);
        for (uint32_t rank = 1; rank < exchange->size; rank++)
            add((char *)to + start, piece(exchange, rank), bytes, type);
        if (!exchange_meet(exchange, seconds)) return false;
    }
    return true;
}

bool exchange_broadcast(struct exchange *exchange, void *buffer, uint64_t total, uint32_t root,
                        double seconds) {
    if (exchange->shared == NULL) return true;
    for (uint64_t start = 0; start < total; start += PIECE) {
        uint64_t bytes = total - start < PIECE ? total - start : PIECE;
        char *part = (char *)buffer + start;
        if (exchange->rank == root) memcpy(piece(exchange, root), part, bytes);
        if (!exchange_meet(exchange, seconds)) return false;
        if (exchange->rank != root) memcpy(part, piece(exchange, root), bytes);
        if (!exchange_meet(exchange, seconds)) return false;
    }
    return true;
}
