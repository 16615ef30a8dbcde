// Launches of operators through aclnn: a call that asks for the workspace makes an executor, and
// a second call launches it. MindSpore may keep an executor and launch it again in every step.
#define _GNU_SOURCE
#include "stand_in.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_ARGUMENTS 4096
#define LONGEST_TEXT 4096

struct executor {
    bool kept;
    const void *output;  // the tensor that the operator writes; its address may be set later
    const void *address;
    int type;
    char text[];
};

// What was made on this thread since its last operator: its arguments are among these.
static __thread struct argument {
    const void *object;
    const void *address;
    int type;
    char text[48];
} arguments[MOST_ARGUMENTS];
static __thread int num_arguments;

void note_argument(const void *object, const char *text, const void *address, int type) {
    if (num_arguments == MOST_ARGUMENTS) return;
    struct argument *argument = &arguments[num_arguments++];
    argument->object = object;
    argument->address = address;
    argument->type = type;
    snprintf(argument->text, sizeof argument->text, "%s", text);
}

static const struct argument *argument_of(uintptr_t word) {
    for (int i = num_arguments - 1; i >= 0; i--)
        if ((uintptr_t)arguments[i].object == word) return &arguments[i];
    return NULL;
}

static bool on_stack(uintptr_t word) {
    static __thread uintptr_t low, high;
    if (high == 0) {
        pthread_attr_t attributes;
        void *start;
        size_t size;
        pthread_getattr_np(pthread_self(), &attributes);
        pthread_attr_getstack(&attributes, &start, &size);
        pthread_attr_destroy(&attributes);
        low = (uintptr_t)start;
        high = low + size;
    }
    return word >= low && word < high && word % 8 == 0;
}

// The arguments of aclnnXGetWorkspaceSize end with the places of two results, the bytes of the
// workspace and the executor. Operators have different numbers of arguments before, so the places
// are found by what they are: the first two in a row that point into the caller's stack.
//
// `words` are the six registers of arguments, the return address, and what follows on the stack.
void stand_in_workspace(const uintptr_t *words, const char *name) {
    enum { REGISTERS = 6, MOST_WORDS = 70 };
    char text[LONGEST_TEXT] = "";
    size_t used = 0;
    const struct argument *last = NULL;
    for (int i = 0; i + 1 < MOST_WORDS; i++) {
        const uintptr_t *word = words + i + (i >= REGISTERS);
        uintptr_t next = words[i + 1 + (i + 1 >= REGISTERS)];
        const struct argument *argument = argument_of(*word);
        if (argument != NULL) {
            used += snprintf(text + used, sizeof text - used, " %s", argument->text);
            if (used >= sizeof text) used = sizeof text - 1;
            if (argument->type >= 0) last = argument;
        } else if (on_stack(*word) && on_stack(next)) {
            struct executor *executor = calloc(1, sizeof *executor + used + 1);
            strcpy(executor->text, text);
            if (last != NULL) {
                // Outputs come last; of several, the last is as good as any.
                executor->output = last->object;
                executor->address = last->address;
                executor->type = last->type;
            }
            *(uint64_t *)*word = 0;
            *(struct executor **)next = executor;
            num_arguments = 0;
            return;
        }
    }
    stand_in_log("PROBLEM %s: where its workspace goes was not found", name);
    num_arguments = 0;
}

int stand_in_launch(const char *name, struct executor *executor) {
    stand_in_log("LAUNCH aclnn %s%s", name, executor != NULL ? executor->text : "");
    if (executor == NULL) return 0;
    note_result(executor->address, executor->type);
    if (!executor->kept) free(executor);
    return 0;
}

int aclSetAclOpExecutorRepeatable(struct executor *executor) {
    executor->kept = true;
    return 0;
}

int aclDestroyAclOpExecutor(struct executor *executor) {
    free(executor);
    return 0;
}

int aclSetTensorAddr(struct executor *executor, uint64_t index, const void *tensor, void *address) {
    if (executor->output == tensor) executor->address = address;
    return 0;
}

int aclSetDynamicTensorAddr(struct executor *executor, uint64_t index, uint64_t relative,
                            const void *list, void *address) {
    return 0;
}

int aclnnInit(const char *config) { return 0; }

int aclnnFinalize(void) { return 0; }

// --- caches and pools of CANN's that MindSpore asks about: there are none ---

int InitHugeMemThreadLocal(void *pool, bool shared) { return 0; }

void UnInitHugeMemThreadLocal(void *pool, bool shared) {}

void ReleaseHugeMem(void *pool, bool shared) {}

void *GetOpExecCache(uint64_t hash) { return NULL; }

void *PTAGetExecCache(uint64_t hash, uint64_t *workspace) { return NULL; }

void InitPTACacheThreadLocal(void) {}

void UnInitPTACacheThreadLocal(void) {}

void SetPTAHashKey(uint64_t hash) {}

bool CanUsePTACache(const char *name) { return false; }
