// What MindSpore hands to an operator (mindspore.ops.Custom, func_type "aot").
//
// Maps are float32 in NHWC order: (images, height, width, channels). An operator returns 0, or
// another number to make MindSpore end the run.

#pragma once

#include <cstdint>
#include <functional>
#include <numeric>

namespace mtln {

// A view of one input or output.
struct Tensor {
    void *data;
    const int64_t *shape;
    int rank;

    float *floats() const { return static_cast<float *>(data); }
    const int32_t *integers() const { return static_cast<const int32_t *>(data); }
    uint8_t *bytes() const { return static_cast<uint8_t *>(data); }
    int64_t size() const {
        return std::accumulate(shape, shape + rank, int64_t{1}, std::multiplies<int64_t>());
    }
    // Size of all axes but the last.
    int64_t rows() const { return size() / shape[rank - 1]; }
    int64_t channels() const { return shape[rank - 1]; }
};

// All inputs, then all outputs, in the order of the Python side.
struct Arguments {
    int count;
    void **data;
    int *ranks;
    int64_t **shapes;

    Tensor operator[](int i) const { return {data[i], shapes[i], ranks[i]}; }
    Tensor from_end(int i) const { return (*this)[count - i]; }
};

}  // namespace mtln

// The rest of the library is hidden.
#define MTLN_EXPORT __attribute__((visibility("default")))

// Defines an operator that Python knows as NAME; its body sees `arguments`.
#define MTLN_OPERATOR(NAME)                                                              \
    static int NAME##_body(const mtln::Arguments &arguments);                            \
    extern "C" MTLN_EXPORT int NAME(int count, void **data, int *ranks, int64_t **shapes, \
                                    const char **, void *, void *) {                     \
        return NAME##_body(mtln::Arguments{count, data, ranks, shapes});                 \
    }                                                                                    \
    static int NAME##_body(const mtln::Arguments &arguments)
