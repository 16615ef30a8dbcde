// The part of oneDNN that the operators use, over its C interface (version 3).
//
// MindSpore brings the library, but no headers: the functions are declared in onednn.cc. Nothing
// here is ever freed: there is a plan per shape of a network, and a network has few.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <vector>

namespace mtln {

// What makes an operator end the run; the message is one line.
struct Failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Result of an operator whose work is `work`: 0, or 1 after a line on stderr if it throws Failure.
int reported(const char *name, const std::function<void()> &work);

// A buffer of this thread, 64-byte aligned, its content undefined; valid until the thread asks for
// the same `slot` again. Kept between calls, since fresh pages cost more than the work on them.
enum class Slot { onednn, weights, taps, maps, products, rows, count };
void *scratch(Slot slot, size_t bytes);

namespace onednn {

using Dims = std::vector<int64_t>;

// How a tensor lies in memory (dnnl_memory_desc_t).
struct Layout;

// float32 with these strides, counted in values.
const Layout *strided(const Dims &shape, const Dims &strides);
// Weights (Co, Ci, kh, kw), the first axis outermost.
const Layout *plain(const Dims &shape);
// A map (images, height, width, channels), in oneDNN's order of axes (N, C, H, W).
const Layout *channels_last(int64_t n, int64_t h, int64_t w, int64_t c);
// Weights in whatever order oneDNN finds quickest.
const Layout *any(const Dims &shape);
bool equal(const Layout *a, const Layout *b);
size_t bytes(const Layout *layout);

// What a tensor is to a primitive (DNNL_ARG_*).
enum class Role {
    source = 1,
    target = 17,
    weights = 33,
    bias = 41,
    scratchpad = 80,
    source_gradient = 129,
    target_gradient = 145,
    weights_gradient = 161,
    bias_gradient = 169,
    residual = 32770,  // the second operand of the first operation after a primitive's own
};

struct Argument {
    Role role;
    void *data;
};

// A computation on tensors of fixed layouts; may run in several threads at once. Arguments whose
// data is null are left out.
class Primitive {
  public:
    // Takes over a dnnl_primitive_desc_t.
    explicit Primitive(void *descriptor);
    const Layout *layout(Role role) const;
    void run(std::initializer_list<Argument> arguments) const;

  private:
    void *descriptor_, *primitive_;
    size_t scratchpad_;
};

// Copies from a layout into another.
class Reorder {
  public:
    Reorder(const Layout *from, const Layout *to);
    // Whether both layouts are the same, so that there is nothing to do.
    bool trivial() const { return trivial_; }
    void run(const void *from, void *to) const;

  private:
    bool trivial_;
    std::optional<Primitive> primitive_;
};

// A convolution of maps in NHWC order with square kernels and zeros around the map.
struct Convolution {
    int64_t images, height, width, in_channels, out_channels, kernel, stride;
    bool bias;

    int64_t out_height() const { return (height + stride - 1) / stride; }
    int64_t out_width() const { return (width + stride - 1) / stride; }
    // Zeros behind a map of `size`, so that `out_size` windows fit.
    int64_t padding_after(int64_t size, int64_t out_size) const {
        return (out_size - 1) * stride + kernel - kernel / 2 - size;
    }
    Dims weights() const { return {out_channels, in_channels, kernel, kernel}; }
};

// target = source * weights (+ bias) (+ residual).
Primitive convolution_forward(const Convolution &shape, bool residual);
Primitive convolution_backward_data(const Convolution &shape);
Primitive convolution_backward_weights(const Convolution &shape);

// C (m, n) = A (m, k) * B (k, n) + beta * C, row after row; a row of C is `ldc` values long and
// so on. `a_transposed`: A is stored as (k, m); `b_transposed`: B is stored as (n, k).
// `threads`: onednn_threads(), or null for this thread alone.
void matmul(bool a_transposed, bool b_transposed, int64_t m, int64_t n, int64_t k, const float *a,
            int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc,
            void *threads);

// The same of A (m, k) and B stored as (n, k), by this thread alone, with a promise: a row of C is
// the same bits wherever it stands in A, and whatever stands beside it.
void multiply_rows(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
                   int64_t ldb, float beta, float *c, int64_t ldc);

// Such products are quickest of so many rows, or a multiple.
constexpr int64_t kRowsAtOnce = 24;

}  // namespace onednn
}  // namespace mtln
