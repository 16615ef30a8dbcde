// Tensors, scalars and lists, as operators of aclnn get them, and the buffers of aclop.
#include "stand_in.h"

#include <stdio.h>
#include <stdlib.h>

#define LONGEST_TEXT 256

void describe_tensor(char *text, size_t size, int type, const int64_t *dims, uint64_t count) {
    size_t used = snprintf(text, size, "%s[", type_name(type));
    for (uint64_t i = 0; i < count && used < size - 24; i++)
        used += snprintf(text + used, size - used, "%s%ld", i ? "," : "", (long)dims[i]);
    snprintf(text + used, size - used, "]");
}

void *aclCreateTensor(const int64_t *dims, uint64_t count, int type, const int64_t *strides,
                      int64_t offset, int format, const int64_t *storage, uint64_t storage_count,
                      char *data) {
    char text[LONGEST_TEXT];
    describe_tensor(text, sizeof text, type, dims, count);
    void *tensor = malloc(1);
    note_argument(tensor, text, data != NULL ? data + offset * type_size(type) : NULL, type);
    return tensor;
}

int aclDestroyTensor(void *tensor) {
    free(tensor);
    return 0;
}

int aclGetViewShape(const void *tensor, int64_t **dims, uint64_t *count) {
    *dims = NULL;
    *count = 0;
    return 0;
}

void *aclCreateScalar(const void *value, int type) { return malloc(1); }

int aclDestroyScalar(void *scalar) {
    free(scalar);
    return 0;
}

static void *list(const char *of, uint64_t count) {
    char text[64];
    snprintf(text, sizeof text, "%lux%s", (unsigned long)count, of);
    void *object = malloc(1);
    note_argument(object, text, NULL, -1);
    return object;
}

static int destroy(void *object) {
    free(object);
    return 0;
}

void *aclCreateTensorList(void *const *tensors, uint64_t count) { return list("tensor", count); }

int aclDestroyTensorList(void *object) { return destroy(object); }

void *aclCreateScalarList(void *const *scalars, uint64_t count) { return list("scalar", count); }

int aclDestroyScalarList(void *object) { return destroy(object); }

void *aclCreateIntArray(const int64_t *values, uint64_t count) { return malloc(1); }

int aclDestroyIntArray(void *object) { return destroy(object); }

void *aclCreateBoolArray(const bool *values, uint64_t count) { return malloc(1); }

int aclDestroyBoolArray(void *object) { return destroy(object); }

void *aclCreateFloatArray(const float *values, uint64_t count) { return malloc(1); }

int aclDestroyFloatArray(void *object) { return destroy(object); }
