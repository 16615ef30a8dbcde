#include "onednn.h"

#include "threads.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <string>

// As oneDNN's documentation of the C interface declares them; handles are pointers to hidden types.
extern "C" {
using dnnl_handle = void *;
struct dnnl_exec_arg_t {
    int arg;
    dnnl_handle memory;
};
int dnnl_engine_create(dnnl_handle *engine, int kind, size_t index);
int dnnl_threadpool_interop_stream_create(dnnl_handle *stream, dnnl_handle engine, void *pool);
int dnnl_threadpool_interop_set_max_concurrency(int threads);
int dnnl_threadpool_interop_get_max_concurrency(int *threads);
int dnnl_threadpool_interop_sgemm(char transa, char transb, int64_t m, int64_t n, int64_t k,
                                  float alpha, const float *a, int64_t lda, const float *b,
                                  int64_t ldb, float beta, float *c, int64_t ldc, void *pool);
int dnnl_memory_desc_create_with_strides(dnnl_handle *layout, int rank, const int64_t *shape,
                                         int type, const int64_t *strides);
int dnnl_memory_desc_create_with_tag(dnnl_handle *layout, int rank, const int64_t *shape, int type,
                                     int tag);
int dnnl_memory_desc_equal(const void *a, const void *b);
size_t dnnl_memory_desc_get_size(const void *layout);
int dnnl_memory_create(dnnl_handle *memory, const void *layout, dnnl_handle engine, void *data);
int dnnl_memory_destroy(dnnl_handle memory);
int dnnl_post_ops_create(dnnl_handle *ops);
int dnnl_post_ops_append_binary(dnnl_handle ops, int algorithm, const void *layout);
int dnnl_primitive_attr_create(dnnl_handle *attributes);
int dnnl_primitive_attr_set_scratchpad_mode(dnnl_handle attributes, int mode);
int dnnl_primitive_attr_set_post_ops(dnnl_handle attributes, dnnl_handle ops);
const void *dnnl_primitive_desc_query_md(const void *descriptor, int what, int index);
int dnnl_primitive_create(dnnl_handle *primitive, dnnl_handle descriptor);
int dnnl_primitive_execute(dnnl_handle primitive, dnnl_handle stream, int count,
                           const dnnl_exec_arg_t *arguments);
int dnnl_stream_destroy(dnnl_handle stream);
int dnnl_reorder_primitive_desc_create(dnnl_handle *descriptor, const void *from,
                                       dnnl_handle from_engine, const void *to,
                                       dnnl_handle to_engine, const void *attributes);
int dnnl_convolution_forward_primitive_desc_create(
    dnnl_handle *descriptor, dnnl_handle engine, int kind, int algorithm, const void *source,
    const void *weights, const void *bias, const void *target, const int64_t *strides,
    const int64_t *dilations, const int64_t *before, const int64_t *after, const void *attributes);
int dnnl_convolution_backward_data_primitive_desc_create(
    dnnl_handle *descriptor, dnnl_handle engine, int algorithm, const void *source,
    const void *weights, const void *target, const int64_t *strides, const int64_t *dilations,
    const int64_t *before, const int64_t *after, const void *forward, const void *attributes);
int dnnl_convolution_backward_weights_primitive_desc_create(
    dnnl_handle *descriptor, dnnl_handle engine, int algorithm, const void *source,
    const void *weights, const void *bias, const void *target, const int64_t *strides,
    const int64_t *dilations, const int64_t *before, const int64_t *after, const void *forward,
    const void *attributes);
}

namespace mtln {
namespace {

// Values of its enumerations.
constexpr int kCpu = 1;
constexpr int kFloat32 = 3;
constexpr int kAnyTag = 1;
constexpr int kForwardTraining = 64;
constexpr int kDirect = 1;
constexpr int kAdd = 0x1fff0;
constexpr int kUserScratchpad = 1;
constexpr int kQueryArgument = 255;

constexpr const char *kStatus[] = {"success",       "out of memory",     "invalid arguments",
                                   "unimplemented", "last item reached", "runtime error",
                                   "not required"};

void check(int status, const char *what) {
    if (status == 0) return;
    const bool known = status > 0 && status < static_cast<int>(std::size(kStatus));
    throw Failure(std::string("oneDNN, ") + what + ": " +
                  (known ? kStatus[status] : std::to_string(status).c_str()));
}

void *engine() {
    static void *const engine = [] {
        void *created;
        check(dnnl_engine_create(&created, kCpu, 0), "engine");
        return created;
    }();
    return engine;
}

// A stream is cheap, and one of each call is the simplest way to be safe with several threads.
struct Stream {
    Stream() {
        check(dnnl_threadpool_interop_stream_create(&handle, engine(), onednn_threads()),
              "stream");
    }
    ~Stream() { dnnl_stream_destroy(handle); }
    void *handle;
};

struct Memory {
    Memory(const void *layout, void *data) {
        check(dnnl_memory_create(&handle, layout, engine(), data), "memory");
    }
    ~Memory() { dnnl_memory_destroy(handle); }
    Memory(const Memory &) = delete;
    void *handle;
};

// oneDNN divides a primitive's work among the threads that it is told of when it is made.
struct Concurrency {
    Concurrency() {
        check(dnnl_threadpool_interop_get_max_concurrency(&before), "threads");
        check(dnnl_threadpool_interop_set_max_concurrency(num_threads()), "threads");
    }
    ~Concurrency() { dnnl_threadpool_interop_set_max_concurrency(before); }
    int before;
};

// A residual lies in memory as `residual`; none is added if that is null.
void *attributes(const void *residual) {
    void *created, *ops;
    check(dnnl_primitive_attr_create(&created), "attributes");
    check(dnnl_primitive_attr_set_scratchpad_mode(created, kUserScratchpad), "attributes");
    check(dnnl_post_ops_create(&ops), "attributes");
    if (residual) check(dnnl_post_ops_append_binary(ops, kAdd, residual), "attributes");
    check(dnnl_primitive_attr_set_post_ops(created, ops), "attributes");
    return created;
}

}  // namespace

int reported(const char *name, const std::function<void()> &work) {
    try {
        work();
        return 0;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "native operator %s: %s\n", name, error.what());
        return 1;
    }
}

void *scratch(Slot slot, size_t bytes) {
    struct Buffer {
        void *data = nullptr;
        size_t size = 0;
        ~Buffer() { std::free(data); }
    };
    constexpr size_t kAlignment = 64;
    thread_local Buffer buffers[static_cast<int>(Slot::count)];
    Buffer &buffer = buffers[static_cast<int>(slot)];
    if (buffer.size < bytes) {
        const size_t size = (bytes + kAlignment - 1) / kAlignment * kAlignment;
        std::free(buffer.data);
        buffer.data = std::aligned_alloc(kAlignment, size);
        buffer.size = buffer.data ? size : 0;
        if (!buffer.data) throw Failure("no memory for " + std::to_string(size) + " bytes");
    }
    return buffer.data;
}

namespace onednn {

const Layout *strided(const Dims &shape, const Dims &strides) {
    void *created;
    check(dnnl_memory_desc_create_with_strides(&created, static_cast<int>(shape.size()),
                                               shape.data(), kFloat32, strides.data()),
          "layout");
    return static_cast<const Layout *>(created);
}

const Layout *plain(const Dims &shape) {
    Dims strides(shape.size(), 1);
    for (size_t i = shape.size() - 1; i > 0; i--) strides[i - 1] = strides[i] * shape[i];
    return strided(shape, strides);
}

const Layout *channels_last(int64_t n, int64_t h, int64_t w, int64_t c) {
    return strided({n, c, h, w}, {h * w * c, 1, w * c, c});
}

const Layout *any(const Dims &shape) {
    void *created;
    check(dnnl_memory_desc_create_with_tag(&created, static_cast<int>(shape.size()), shape.data(),
                                           kFloat32, kAnyTag),
          "layout");
    return static_cast<const Layout *>(created);
}

bool equal(const Layout *a, const Layout *b) { return dnnl_memory_desc_equal(a, b); }

size_t bytes(const Layout *layout) { return dnnl_memory_desc_get_size(layout); }

Primitive::Primitive(void *descriptor) : descriptor_(descriptor) {
    Concurrency threads;
    check(dnnl_primitive_create(&primitive_, descriptor), "primitive");
    scratchpad_ = bytes(layout(Role::scratchpad));
}

const Layout *Primitive::layout(Role role) const {
    return static_cast<const Layout *>(
        dnnl_primitive_desc_query_md(descriptor_, kQueryArgument, static_cast<int>(role)));
}

void Primitive::run(std::initializer_list<Argument> arguments) const {
    constexpr int kMost = 8;
    dnnl_exec_arg_t handles[kMost];
    std::optional<Memory> memories[kMost];
    int count = 0;
    const auto add = [&](Role role, void *data) {
        memories[count].emplace(layout(role), data);
        handles[count] = {static_cast<int>(role), memories[count]->handle};
        count++;
    };
    for (const Argument &argument : arguments) {
        if (argument.data) add(argument.role, argument.data);
    }
    if (scratchpad_) add(Role::scratchpad, scratch(Slot::onednn, scratchpad_));
    Stream stream;
    check(dnnl_primitive_execute(primitive_, stream.handle, count, handles), "execution");
}

Reorder::Reorder(const Layout *from, const Layout *to) : trivial_(equal(from, to)) {
    if (trivial_) return;
    void *descriptor;
    check(dnnl_reorder_primitive_desc_create(&descriptor, from, engine(), to, engine(),
                                             attributes(nullptr)),
          "reorder");
    primitive_.emplace(descriptor);
}

void Reorder::run(const void *from, void *to) const {
    // oneDNN's interface takes no pointers to const; a source is only read.
    primitive_->run({{Role::source, const_cast<void *>(from)}, {Role::target, to}});
}

namespace {

// What all three computations of a convolution share.
struct Description {
    explicit Description(const Convolution &s)
        : source(channels_last(s.images, s.height, s.width, s.in_channels)),
          weights(any(s.weights())),
          bias(s.bias ? plain({s.out_channels}) : nullptr),
          target(channels_last(s.images, s.out_height(), s.out_width(), s.out_channels)),
          strides{s.stride, s.stride},
          before{s.kernel / 2, s.kernel / 2},
          after{s.padding_after(s.height, s.out_height()), s.padding_after(s.width, s.out_width())} {}

    const Layout *source, *weights, *bias, *target;
    int64_t strides[2], dilations[2] = {0, 0}, before[2], after[2];
};

void *forward_descriptor(const Description &d, bool residual) {
    Concurrency threads;
    void *created;
    check(dnnl_convolution_forward_primitive_desc_create(
              &created, engine(), kForwardTraining, kDirect, d.source, d.weights, d.bias, d.target,
              d.strides, d.dilations, d.before, d.after, attributes(residual ? d.target : nullptr)),
          "convolution");
    return created;
}

}  // namespace

Primitive convolution_forward(const Convolution &shape, bool residual) {
    return Primitive(forward_descriptor(Description(shape), residual));
}

Primitive convolution_backward_data(const Convolution &shape) {
    const Description d(shape);
    void *const forward = forward_descriptor(d, false);
    Concurrency threads;
    void *created;
    check(dnnl_convolution_backward_data_primitive_desc_create(
              &created, engine(), kDirect, d.source, d.weights, d.target, d.strides, d.dilations,
              d.before, d.after, forward, attributes(nullptr)),
          "gradient of a map");
    return Primitive(created);
}

Primitive convolution_backward_weights(const Convolution &shape) {
    const Description d(shape);
    void *const forward = forward_descriptor(d, false);
    Concurrency threads;
    void *created;
    check(dnnl_convolution_backward_weights_primitive_desc_create(
              &created, engine(), kDirect, d.source, d.weights, d.bias, d.target, d.strides,
              d.dilations, d.before, d.after, forward, attributes(nullptr)),
          "gradient of weights");
    return Primitive(created);
}

void matmul(bool a_transposed, bool b_transposed, int64_t m, int64_t n, int64_t k, const float *a,
            int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc,
            void *threads) {
    check(dnnl_threadpool_interop_sgemm(a_transposed ? 'T' : 'N', b_transposed ? 'T' : 'N', m, n, k,
                                        1.0F, a, lda, b, ldb, beta, c, ldc, threads),
          "matrix product");
}

// oneDNN takes some rows at once (6 with AVX2), and adds up the products of the last ones
// in another order where fewer are left. So the last rows are filled up here.
void multiply_rows(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
                   int64_t ldb, float beta, float *c, int64_t ldc) {
    const int64_t rest = m % kRowsAtOnce, whole = m - rest;
    if (whole) matmul(false, true, whole, n, k, a, lda, b, ldb, beta, c, ldc, nullptr);
    if (!rest) return;
    float *source = static_cast<float *>(
        scratch(Slot::rows, kRowsAtOnce * (k + n) * static_cast<int64_t>(sizeof(float))));
    float *target = source + kRowsAtOnce * k;
    std::fill_n(source, kRowsAtOnce * (k + n), 0.0F);
    a += whole * lda;
    c += whole * ldc;
    for (int64_t i = 0; i < rest; i++) {
        std::copy_n(a + i * lda, k, source + i * k);
        if (beta != 0.0F) std::copy_n(c + i * ldc, n, target + i * n);
    }
    matmul(false, true, kRowsAtOnce, n, k, source, k, b, ldb, beta, target, n, nullptr);
    for (int64_t i = 0; i < rest; i++) std::copy_n(target + i * n, n, c + i * ldc);
}

}  // namespace onednn
}  // namespace mtln
