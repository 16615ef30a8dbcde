// Devices, contexts, streams and events of aclrt: every call succeeds, and nothing takes time.
#include "stand_in.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int last_device;
static __thread void *context;

// Handles are numbers that no one looks into.
void *new_handle(void) {
    static uintptr_t last = 0x1000;
    return (void *)__atomic_add_fetch(&last, 16, __ATOMIC_RELAXED);
}

int current_device(void) { return last_device; }

int aclInit(const char *config) {
    stand_in_log("CALL aclInit");
    return 0;
}

int aclFinalize(void) { return 0; }

// --- devices and contexts ---

const char *aclrtGetSocName(void) {
    const char *name = getenv("STAND_IN_SOC");
    return name != NULL ? name : "Ascend910B2";
}

int aclrtGetDeviceCount(uint32_t *count) {
    const char *text = getenv("STAND_IN_DEVICES");
    *count = text != NULL ? (uint32_t)atoi(text) : 8;
    return 0;
}

int aclrtSetDevice(int device) {
    static __thread int said = -1;
    uint32_t count;
    aclrtGetDeviceCount(&count);
    if (device < 0 || (uint32_t)device >= count) return 107001;  // ACL_ERROR_RT_PARAM_INVALID
    last_device = device;
    context = (void *)(uintptr_t)(0x100 + 16 * device);
    if (said != device) stand_in_log("CALL aclrtSetDevice %d", device);
    said = device;
    return 0;
}

int aclrtResetDevice(int device) { return 0; }

int aclrtGetDevice(int *device) {
    *device = last_device;
    return 0;
}

int aclrtGetRunMode(int *mode) {
    *mode = 1;  // the program runs on the host
    return 0;
}

int aclrtCreateContext(void **created, int device) {
    *created = context = new_handle();
    return 0;
}

int aclrtDestroyContext(void *old) { return 0; }

int aclrtSetCurrentContext(void *wanted) {
    context = wanted;
    return 0;
}

int aclrtGetCurrentContext(void **current) {
    *current = context;
    return 0;
}

int aclrtDeviceCanAccessPeer(int *can, int device, int peer) {
    *can = 1;
    return 0;
}

int aclrtDeviceEnablePeerAccess(int peer, uint32_t flags) { return 0; }

int aclrtDeviceGetBareTgid(int *process) {
    *process = getpid();
    return 0;
}

// Kinds of cores, and how many of them there are: cube cores, and twice as many vector cores.
static int limit(int kind, uint32_t *value) {
    *value = kind ? 48 : 24;
    return 0;
}

int aclrtGetDeviceResLimit(int device, int kind, uint32_t *value) { return limit(kind, value); }

int aclrtGetStreamResLimit(void *stream, int kind, uint32_t *value) { return limit(kind, value); }

int aclrtGetResInCurrentThread(int kind, uint32_t *value) { return limit(kind, value); }

// --- streams and events ---

int aclrtCreateStream(void **stream) {
    *stream = new_handle();
    return 0;
}

int aclrtCreateStreamWithConfig(void **stream, uint32_t priority, uint32_t flags) {
    return aclrtCreateStream(stream);
}

int aclrtDestroyStream(void *stream) { return 0; }

int aclrtDestroyStreamForce(void *stream) { return 0; }

int aclrtDeviceGetStreamPriorityRange(int *least, int *greatest) {
    *least = 7;
    *greatest = 0;
    return 0;
}

int aclrtStreamQuery(void *stream, int *status) {
    *status = 0;  // all done
    return 0;
}

int aclrtCreateEvent(void **event) {
    *event = new_handle();
    return 0;
}

int aclrtCreateEventWithFlag(void **event, uint32_t flags) { return aclrtCreateEvent(event); }

int aclrtCreateEventExWithFlag(void **event, uint32_t flags) { return aclrtCreateEvent(event); }

int aclrtDestroyEvent(void *event) { return 0; }

int aclrtRecordEvent(void *event, void *stream) {
    stand_in_log("EVENT record");
    return 0;
}

int aclrtStreamWaitEvent(void *stream, void *event) {
    stand_in_log("EVENT wait");
    return 0;
}

int aclrtResetEvent(void *event, void *stream) { return 0; }

int aclrtQueryEventStatus(void *event, int *status) {
    *status = 1;  // recorded
    return 0;
}

int aclrtEventElapsedTime(float *milliseconds, void *start, void *end) {
    *milliseconds = 0.1f;
    return 0;
}

int aclrtEventGetTimestamp(void *event, uint64_t *time) {
    *time = 0;
    return 0;
}

static int synchronized(const char *with) {
    stand_in_log("SYNC %s", with);
    return 0;
}

int aclrtSynchronizeStream(void *stream) { return synchronized("stream"); }

int aclrtSynchronizeStreamWithTimeout(void *stream, int timeout) { return synchronized("stream"); }

int aclrtSynchronizeEvent(void *event) { return synchronized("event"); }

int aclrtSynchronizeDevice(void) { return synchronized("device"); }

int aclrtSynchronizeDeviceWithTimeout(int timeout) { return synchronized("device"); }

// --- options, errors and versions ---

int aclrtCtxSetSysParamOpt(int option, int64_t value) {
    stand_in_log("CALL aclrtCtxSetSysParamOpt %d=%ld", option, (long)value);
    return 0;
}

const char *aclGetRecentErrMsg(void) { return ""; }

int aclrtGetLastError(int level) { return 0; }

// A thread of MindSpore's asks for reports again and again.
int aclrtProcessReport(int timeout) {
    usleep(20000);
    return 0;
}

void *aclrtAllocatorCreateDesc(void) { return malloc(256); }

struct version {
    char whole[128], major[64], minor[64], release[64], patch[64];
};

int aclsysGetCANNVersion(int package, struct version *version) {
    strcpy(version->whole, "9.1.0");
    strcpy(version->major, "9");
    strcpy(version->minor, "1");
    strcpy(version->release, "0");
    strcpy(version->patch, "0");
    return 0;
}
