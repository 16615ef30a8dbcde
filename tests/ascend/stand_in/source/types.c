// CANN's data types: their names, sizes and ones.
#include "stand_in.h"

#include <string.h>

static const struct type {
    int number;
    const char *name;
    uint8_t size;
    uint64_t one;
} types[] = {
    {FLOAT32, "float32", 4, 0x3f800000},
    {FLOAT16, "float16", 2, 0x3c00},
    {BFLOAT16, "bfloat16", 2, 0x3f80},
    {FLOAT64, "float64", 8, 0x3ff0000000000000},
    {INT8, "int8", 1, 1},
    {INT16, "int16", 2, 1},
    {INT32, "int32", 4, 1},
    {INT64, "int64", 8, 1},
    {UINT8, "uint8", 1, 1},
    {UINT16, "uint16", 2, 1},
    {UINT32, "uint32", 4, 1},
    {UINT64, "uint64", 8, 1},
    {BOOL, "bool", 1, 1},
};

static const struct type *find(int number) {
    static const struct type other = {-1, "other", 4, 0};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].number == number) return &types[i];
    return &other;
}

const char *type_name(int type) { return find(type)->name; }

size_t type_size(int type) { return find(type)->size; }

size_t aclDataTypeSize(int type) { return type_size(type); }

void fill_with_ones(int type, void *memory, size_t bytes) {
    const struct type *found = find(type);
    for (size_t i = 0; i + found->size <= bytes; i += found->size)
        memcpy((char *)memory + i, &found->one, found->size);
}
