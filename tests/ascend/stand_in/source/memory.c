// Memory of the device: memory of this process, zero until it is written and free until then.
#define _GNU_SOURCE
#include "stand_in.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { TO_DEVICE = 1, TO_HOST = 2, ON_DEVICE = 3 };

static const char *const directions[] = {"h2h", "h2d", "d2h", "d2d", "any"};

static const uint64_t GIB = 1ull << 30;

static void *reserve(size_t bytes) {
    void *memory = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

int aclrtGetMemInfo(int kind, size_t *available, size_t *total) {
    *available = 60 * GIB;
    *total = 64 * GIB;
    return 0;
}

int aclrtMalloc(void **memory, size_t bytes, int policy) {
    *memory = reserve(bytes);
    stand_in_log("MEMORY device %zu", bytes);
    return *memory != NULL ? 0 : 207001;  // ACL_ERROR_RT_MEMORY_ALLOCATION
}

int aclrtMallocAlign32(void **memory, size_t bytes, int policy) {
    return aclrtMalloc(memory, bytes, policy);
}

int aclrtFree(void *memory) { return 0; }

int aclrtMallocHost(void **memory, size_t bytes) {
    *memory = calloc(1, bytes + 64);
    return 0;
}

int aclrtFreeHost(void *memory) {
    free(memory);
    return 0;
}

// Virtual addresses, and the memory behind them: here the addresses come with memory.
int aclrtReserveMemAddress(void **memory, size_t bytes, size_t align, void *near, uint64_t flags) {
    return aclrtMalloc(memory, bytes, 0);
}

int aclrtReleaseMemAddress(void *memory) { return 0; }

int aclrtMallocPhysical(void **handle, size_t bytes, void *properties, uint64_t flags) {
    *handle = new_handle();
    return 0;
}

int aclrtFreePhysical(void *handle) { return 0; }

int aclrtMapMem(void *memory, size_t bytes, size_t offset, void *handle, uint64_t flags) {
    return 0;
}

int aclrtUnmapMem(void *memory) { return 0; }

static int copy(const char *how, void *to, const void *from, size_t bytes, int kind) {
    memmove(to, from, bytes);
    if (kind == TO_DEVICE) note_numbers(to);
    if (kind == ON_DEVICE) note_moved(from, to);
    if (kind == TO_HOST && result_at(from) >= 0) fill_with_ones(result_at(from), to, bytes);
    stand_in_log("COPY %s %s %zu", how, directions[kind >= 0 && kind < 4 ? kind : 4], bytes);
    return 0;
}

int aclrtMemcpy(void *to, size_t most, const void *from, size_t bytes, int kind) {
    return copy("blocking", to, from, bytes, kind);
}

int aclrtMemcpyAsync(void *to, size_t most, const void *from, size_t bytes, int kind,
                     void *stream) {
    return copy("async", to, from, bytes, kind);
}

int aclrtMemset(void *memory, size_t most, int value, size_t bytes) {
    memset(memory, value, bytes);
    note_numbers(memory);
    return 0;
}

int aclrtMemsetAsync(void *memory, size_t most, int value, size_t bytes, void *stream) {
    stand_in_log("MEMSET %zu", bytes);
    return aclrtMemset(memory, most, value, bytes);
}
