// Calls an operator as MindSpore does: the places of the results are on its stack.
#include <stdint.h>
#include <stdio.h>

int aclrtMalloc(void **memory, size_t bytes, int policy);
int aclrtMemcpy(void *to, size_t most, const void *from, size_t bytes, int kind);
void *aclCreateTensor(const int64_t *dims, uint64_t count, int type, const int64_t *strides,
                      int64_t offset, int format, const int64_t *storage, uint64_t storage_count,
                      void *data);
int aclSetAclOpExecutorRepeatable(void *executor);
int aclSetTensorAddr(void *executor, size_t index, void *tensor, void *address);
int aclnnConvolutionGetWorkspaceSize(void *input, void *weight, void *bias, void *stride,
                                     void *padding, void *dilation, _Bool transposed,
                                     void *output_padding, int64_t groups, void *output,
                                     int8_t math, uint64_t *bytes, void **executor);
int aclnnConvolution(void *workspace, uint64_t bytes, void *executor, void *stream);

int main(void) {
    enum { INT32 = 3, FLOAT32 = 0 };
    const int64_t two[] = {2}, three[] = {3};
    void *memory, *other;
    aclrtMalloc(&memory, 64, 0);
    aclrtMalloc(&other, 64, 0);
    void *output = aclCreateTensor(two, 1, INT32, NULL, 0, 2, two, 1, memory);
    void *input = aclCreateTensor(three, 1, FLOAT32, NULL, 0, 2, three, 1, memory);
    uint64_t bytes = 5;
    void *executor = NULL;
    aclnnConvolutionGetWorkspaceSize(input, input, NULL, NULL, NULL, NULL, 0, NULL, 1, output, 0,
                                     &bytes, &executor);
    aclSetAclOpExecutorRepeatable(executor);
    int32_t numbers[] = {7, 7};
    aclrtMemcpy(other, 8, numbers, 8, 1);
    aclnnConvolution(NULL, bytes, executor, NULL);
    aclrtMemcpy(numbers, 8, other, 8, 2);
    printf("%d %d ", numbers[0], numbers[1]);
    aclSetTensorAddr(executor, 2, output, other);
    aclnnConvolution(NULL, bytes, executor, NULL);
    aclrtMemcpy(numbers, 8, other, 8, 2);
    printf("%d %d %lu\n", numbers[0], numbers[1], (unsigned long)bytes);
    return 0;
}
