// What the files of the stand-in have of each other.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// --- log.c: one line per call, in a file per process ---

void stand_in_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

// --- types.c: CANN's data types (aclDataType) ---

enum { FLOAT32 = 0, FLOAT16 = 1, INT8 = 2, INT32 = 3, UINT8 = 4, INT16 = 6, UINT16 = 7,
       UINT32 = 8, INT64 = 9, UINT64 = 10, FLOAT64 = 11, BOOL = 12, BFLOAT16 = 27 };

const char *type_name(int type);
size_t type_size(int type);
// Write ones of a type over a piece of memory.
void fill_with_ones(int type, void *memory, size_t bytes);

// --- results.c: what is read of what no one has computed ---

// Note that an operator has written a tensor of this type here.
void note_result(const void *address, int type);
// Note that a copy or a collective has written real numbers here.
void note_numbers(const void *address);
// Note that the contents of one address have been copied to another one of the device.
void note_moved(const void *from, const void *to);
// Return the type of a result that stands at an address, or -1 if there is none.
int result_at(const void *address);

// --- runtime.c ---

void *new_handle(void);
int current_device(void);

// --- launches.c: operators of aclnn ---

struct executor;
// Take note of a tensor, list or array that was made for the next call of an operator.
void note_argument(const void *object, const char *text, const void *address, int type);
// Called by the launch of every aclnn operator, generated for each.
int stand_in_launch(const char *name, struct executor *executor);
// Called by every other generated function.
void stand_in_called(const char *name);
// Write a shape as text, such as float32[2,3].
void describe_tensor(char *text, size_t size, int type, const int64_t *dims, uint64_t count);

// --- exchange.c: collectives between processes ---

struct exchange;
// Join `size` processes that know the same name; NULL if they do not come in time.
struct exchange *exchange_open(const char *name, uint32_t size, uint32_t rank, double seconds);
// Wait for the others; false if they do not come in time.
bool exchange_meet(struct exchange *exchange, double seconds);
// Give every process the sum of a vector over all of them, for types that this machine can add.
bool exchange_sum(struct exchange *exchange, const void *from, void *to, uint64_t count, int type,
                  double seconds);
// Give every process the bytes of one of them.
bool exchange_broadcast(struct exchange *exchange, void *buffer, uint64_t bytes, uint32_t root,
                        double seconds);

// --- hccl.c: collectives of all ranks, for a graph that is nothing else ---

bool reduce_in_graph(const void *from, void *to, uint64_t count, int type);
bool broadcast_in_graph(void *buffer, uint64_t count, int type);

#ifdef __cplusplus
}
#endif
