// Launches of operators through the older interface aclop, and of single kernels.
#include "stand_in.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_TEXT 4096

struct description {
    int type;
    char text[128];
};

struct buffer {
    void *address;
};

void *aclCreateTensorDesc(int type, int count, const int64_t *dims, int format) {
    struct description *description = malloc(sizeof *description);
    description->type = type;
    describe_tensor(description->text, sizeof description->text, type, dims, count);
    return description;
}

void aclDestroyTensorDesc(void *description) { free(description); }

int aclSetTensorFormat(void *description, int format) { return 0; }

int aclSetTensorShape(void *description, int count, const int64_t *dims) { return 0; }

void aclSetTensorDescName(void *description, const char *name) {}

int aclSetTensorPlaceMent(void *description, int place) { return 0; }

int aclSetTensorConst(void *description, void *data, size_t bytes) { return 0; }

void *aclCreateDataBuffer(void *address, size_t bytes) {
    struct buffer *buffer = malloc(sizeof *buffer);
    buffer->address = address;
    return buffer;
}

int aclDestroyDataBuffer(struct buffer *buffer) {
    free(buffer);
    return 0;
}

int aclUpdateDataBuffer(struct buffer *buffer, void *address, size_t bytes) {
    buffer->address = address;
    return 0;
}

void *aclGetDataBufferAddr(const struct buffer *buffer) { return buffer->address; }

// --- attributes and options ---

void *aclopCreateAttr(void) { return malloc(1); }

void aclopDestroyAttr(void *attributes) { free(attributes); }

// Whether an operator is compiled when it is launched, instead of being taken from CANN's binaries.
static bool compiles;

int aclSetCompileopt(int option, const char *value) {
    enum { JIT_COMPILE = 10 };
    if (option == JIT_COMPILE)
        compiles = !strcmp(value, "enable");
    else
        stand_in_log("CALL aclSetCompileopt %d=%s", option, value);
    return 0;
}

int aclopSetCompileFlag(int flag) { return 0; }

// --- launches ---

int aclopCompileAndExecuteV2(const char *name, int num_inputs, struct description **inputs,
                             struct buffer **input_data, int num_outputs,
                             struct description **outputs, struct buffer **output_data,
                             void *attributes, int engine, int flag, const char *path,
                             void *stream) {
    char text[LONGEST_TEXT] = "";
    size_t used = 0;
    for (int i = 0; i < num_inputs + num_outputs && used < sizeof text; i++) {
        struct description *one = i < num_inputs ? inputs[i] : outputs[i - num_inputs];
        used += snprintf(text + used, sizeof text - used, " %s", one->text);
    }
    stand_in_log("LAUNCH %s %s%s", compiles ? "online" : "aclop", name, text);
    for (int i = 0; i < num_outputs; i++)
        note_result(output_data[i]->address, outputs[i]->type);
    return 0;
}

int aclopCompileAndExecute(const char *name, int num_inputs, struct description **inputs,
                           struct buffer **input_data, int num_outputs,
                           struct description **outputs, struct buffer **output_data,
                           void *attributes, int engine, int flag, const char *path,
                           void *stream) {
    return aclopCompileAndExecuteV2(name, num_inputs, inputs, input_data, num_outputs, outputs,
                                    output_data, attributes, engine, flag, path, stream);
}

// --- kernels that MindSpore compiles itself (fusion at O1) ---

static int kernel(void) {
    stand_in_log("LAUNCH kernel fused");
    return 0;
}

int rtDevBinaryRegister(const void *binary, void **handle) {
    *handle = new_handle();
    return 0;
}

int rtFunctionRegister(void *handle, const void *stub, const char *name, const void *device,
                       uint32_t mode) {
    return 0;
}

int rtGetC2cCtrlAddr(uint64_t *address, uint32_t *length) {
    *address = 0x10000;
    *length = 0;
    return 0;
}

int rtKernelLaunch(const void *stub, uint32_t blocks, void *arguments, uint32_t bytes, void *sm,
                   void *stream) {
    return kernel();
}

int aclrtBinaryLoadFromData(const void *data, size_t bytes, const void *options, void **handle) {
    *handle = new_handle();
    return 0;
}

int aclrtBinaryGetFunction(void *handle, const char *name, void **function) {
    *function = new_handle();
    return 0;
}

int aclrtLaunchKernelWithHostArgs(void *function, uint32_t blocks, void *stream, void *config,
                                  void *arguments, size_t bytes, void *places, size_t num_places) {
    return kernel();
}

int aclrtGetHardwareSyncAddr(void **address) {
    *address = (void *)0x10000;
    return 0;
}
