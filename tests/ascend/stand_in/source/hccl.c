// HCCL: communicators and the two collectives of the project, with real exchange between
// processes. The other collectives are generated and only write down that they were called.
#define _GNU_SOURCE
#include "stand_in.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { OK = 0, INTERNAL = 4, TIMEOUT = 9, ROOT_INFO = 4108 };

// HcclDataType, in its order.
static const int types[] = {INT8, INT16, INT32, FLOAT16, FLOAT32, INT64,
                            UINT64, UINT8, UINT16, UINT32, FLOAT64, BFLOAT16};
static const char *const reductions[] = {"sum", "product", "max", "min"};

struct communicator {
    char name[64];
    uint32_t size, rank;
    struct exchange *exchange;
};

// The first one, of all ranks.
static struct communicator *world;

static double seconds(const char *variable, double otherwise) {
    const char *text = getenv(variable);
    return text != NULL && atof(text) > 0 ? atof(text) : otherwise;
}

static int create(const char *name, uint32_t size, uint32_t rank, void **created) {
    stand_in_log("HCCL CommInit size=%u rank=%u device=%d", size, rank, current_device());
    struct communicator *communicator = calloc(1, sizeof *communicator);
    snprintf(communicator->name, sizeof communicator->name, "%s", name);
    communicator->size = size;
    communicator->rank = rank;
    double patience = seconds("HCCL_CONNECT_TIMEOUT", 120);
    communicator->exchange = exchange_open(name, size, rank, patience);
    *created = communicator;
    if (world == NULL) world = communicator;
    return communicator->exchange != NULL ? OK : TIMEOUT;
}

int HcclGetRootInfo(char *root) {
    static int number;
    memset(root, 0, ROOT_INFO);
    snprintf(root, ROOT_INFO, "/stand_in_%d_%ld_%d", getpid(), (long)time(NULL), number++);
    stand_in_log("HCCL GetRootInfo");
    return OK;
}

int HcclCommInitRootInfo(uint32_t size, const char *root, uint32_t rank, void **created) {
    return create(root, size, rank, created);
}

int HcclCommInitRootInfoConfig(uint32_t size, const char *root, uint32_t rank, void *config,
                               void **created) {
    return create(root, size, rank, created);
}

int HcclCommInitClusterInfo(const char *table, uint32_t rank, void **created) {
    char name[64];
    const char *size = getenv("RANK_SIZE");
    unsigned hash = 5381;
    for (const char *letter = table; *letter; letter++) hash = 33 * hash + (unsigned)*letter;
    snprintf(name, sizeof name, "/stand_in_table_%u_%d", hash, getppid());
    stand_in_log("HCCL CommInitClusterInfo %s", table);
    return create(name, size != NULL ? (uint32_t)atoi(size) : 1, rank, created);
}

int HcclCommInitClusterInfoConfig(const char *table, uint32_t rank, void *config, void **created) {
    return HcclCommInitClusterInfo(table, rank, created);
}

int HcclCreateSubCommConfig(void **parent, uint32_t size, uint32_t *ranks, uint64_t number,
                            uint32_t rank, void *config, void **created) {
    char name[64];
    const struct communicator *of = *parent;
    snprintf(name, sizeof name, "%.40s_%lu", of->name, (unsigned long)number);
    return create(name, size, rank, created);
}

int HcclCommDestroy(void *communicator) { return OK; }

int HcclGetCommName(const struct communicator *communicator, char *name) {
    strcpy(name, communicator->name + 1);
    return OK;
}

int HcclGetRankSize(const struct communicator *communicator, uint32_t *size) {
    *size = communicator->size;
    return OK;
}

int HcclGetRankId(const struct communicator *communicator, uint32_t *rank) {
    *rank = communicator->rank;
    return OK;
}

static double patience(void) { return seconds("HCCL_EXEC_TIMEOUT", 1836); }

int HcclAllReduce(const void *from, void *to, uint64_t count, int type, int reduction,
                  struct communicator *communicator, void *stream) {
    stand_in_log("HCCL AllReduce %s %lu %s", type_name(types[type]), (unsigned long)count,
                 reductions[reduction]);
    bool done = exchange_sum(communicator->exchange, from, to, count, types[type], patience());
    note_numbers(to);
    return done ? OK : TIMEOUT;
}

int HcclBroadcast(void *buffer, uint64_t count, int type, uint32_t root,
                  struct communicator *communicator, void *stream) {
    stand_in_log("HCCL Broadcast %s %lu root=%u", type_name(types[type]), (unsigned long)count,
                 root);
    uint64_t bytes = count * type_size(types[type]);
    bool done = exchange_broadcast(communicator->exchange, buffer, bytes, root, patience());
    note_numbers(buffer);
    return done ? OK : TIMEOUT;
}

bool reduce_in_graph(const void *from, void *to, uint64_t count, int type) {
    stand_in_log("HCCL AllReduce %s %lu sum", type_name(type), (unsigned long)count);
    bool done = world != NULL && exchange_sum(world->exchange, from, to, count, type, patience());
    note_numbers(to);
    return done;
}

bool broadcast_in_graph(void *buffer, uint64_t count, int type) {
    stand_in_log("HCCL Broadcast %s %lu root=0", type_name(type), (unsigned long)count);
    uint64_t bytes = count * type_size(type);
    bool done = world != NULL && exchange_broadcast(world->exchange, buffer, bytes, 0, patience());
    note_numbers(buffer);
    return done;
}

int HcclBarrier(struct communicator *communicator, void *stream) {
    stand_in_log("HCCL Barrier");
    return exchange_meet(communicator->exchange, patience()) ? OK : TIMEOUT;
}

const char *HcclGetErrorString(int code) {
    return code == TIMEOUT ? "the other ranks did not come in time" : "error of the stand-in";
}

int HcclGetCommAsyncError(void *communicator, int *code) {
    *code = OK;
    return OK;
}

uint32_t HcclGetCommConfigCapability(void) { return 7; }

int HcclSetConfig(int option, int64_t value) {
    stand_in_log("CALL HcclSetConfig %d=%ld", option, (long)value);
    return OK;
}
