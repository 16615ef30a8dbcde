// What the host reads of results that no one has computed: ones, in the type of the result.
//
// Zeros would be as good a lie, but a training program reads from the device whether its step was
// finite: with ones it goes on to its end. Memory that was filled by a copy or a collective is
// read as it is, so what the ranks tell each other arrives.
#include "stand_in.h"

#include <pthread.h>

// Far more than the addresses of a memory pool that are in use in a step.
#define SLOTS (1u << 18)

static struct slot {
    const void *address;
    int type;
} slots[SLOTS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct slot *find(const void *address) {
    uint32_t start = (uint32_t)(((uintptr_t)address >> 4) * 2654435761u);
    for (uint32_t i = 0; i < 64; i++) {
        struct slot *slot = &slots[(start + i) % SLOTS];
        if (slot->address == address || slot->address == NULL) return slot;
    }
    return &slots[start % SLOTS];  // forget another one
}

static void set(const void *address, int type) {
    pthread_mutex_lock(&lock);
    struct slot *slot = find(address);
    slot->address = address;
    slot->type = type;
    pthread_mutex_unlock(&lock);
}

void note_result(const void *address, int type) {
    if (address != NULL) set(address, type);
}

void note_numbers(const void *address) { set(address, -1); }

void note_moved(const void *from, const void *to) { set(to, result_at(from)); }

int result_at(const void *address) {
    pthread_mutex_lock(&lock);
    struct slot *slot = find(address);
    int type = slot->address == address ? slot->type : -1;
    pthread_mutex_unlock(&lock);
    return type;
}
