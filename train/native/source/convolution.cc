// Convolution of maps in NHWC order; weights are (C_out, C_in, k, k), zeros k / 2 wide around maps.
//
// Shapes: x (N, H, W, C_in), y and dy (N, ceil(H / stride), ceil(W / stride), C_out), bias (C_out).
// Options, the last input: stride.

#include "onednn.h"
#include "operator.h"
#include "threads.h"
#include "winograd.h"

#include <map>
#include <memory>
#include <mutex>
#include <tuple>

namespace mtln {
namespace {

using onednn::Convolution;
using onednn::Primitive;
using onednn::Reorder;
using onednn::Role;

// A primitive with what brings the weights into its order, or back.
struct Plan {
    Primitive primitive;
    Reorder weights;
};

enum class Kind { forward, residual, data, weights };

Plan make(Kind kind, const Convolution &shape) {
    const auto *plain = onednn::plain(shape.weights());
    if (kind == Kind::weights) {
        Primitive primitive = onednn::convolution_backward_weights(shape);
        const auto *inner = primitive.layout(Role::weights_gradient);
        return {std::move(primitive), Reorder(inner, plain)};
    }
    Primitive primitive = kind == Kind::data
                              ? onednn::convolution_backward_data(shape)
                              : onednn::convolution_forward(shape, kind == Kind::residual);
    const auto *inner = primitive.layout(Role::weights);
    return {std::move(primitive), Reorder(plain, inner)};
}

// Made once for every shape and number of threads.
const Plan &plan(Kind kind, const Convolution &s) {
    using Key = std::tuple<Kind, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t,
                           bool, int>;
    static std::mutex mutex;
    static std::map<Key, std::unique_ptr<Plan>> plans;
    const Key key{kind,     s.images, s.height, s.width,      s.in_channels, s.out_channels,
                  s.kernel, s.stride, s.bias,   num_threads()};
    std::lock_guard<std::mutex> lock(mutex);
    auto &found = plans[key];
    if (!found) found = std::make_unique<Plan>(make(kind, s));
    return *found;
}

Convolution shape_of(const Tensor &x, const Tensor &weight, const Tensor &options, bool bias) {
    const int64_t stride = options.integers()[0];
    const Convolution shape{x.shape[0],      x.shape[1],      x.shape[2], x.shape[3],
                            weight.shape[0], weight.shape[2], stride,     bias};
    if (x.rank != 4 || weight.rank != 4 || weight.shape[1] != x.shape[3] ||
        weight.shape[3] != shape.kernel || shape.kernel % 2 == 0 || stride < 1) {
        throw Failure("a map (N, H, W, C), weights (C_out, C, k, k) with odd k and a stride of 1 "
                      "or more are needed");
    }
    return shape;
}

// The weights in the order of a plan.
void *ordered(const Plan &plan, const Tensor &weight) {
    if (plan.weights.trivial()) return weight.data;
    void *inner = scratch(Slot::weights, onednn::bytes(plan.primitive.layout(Role::weights)));
    plan.weights.run(weight.data, inner);
    return inner;
}

void forward(const Tensor &x, const Tensor &weight, void *bias, void *residual,
             const Tensor &options, const Tensor &y) {
    const Convolution shape = shape_of(x, weight, options, bias != nullptr);
    if (winograd::suits(shape)) {
        return winograd::forward(shape, x.floats(), weight.floats(), static_cast<float *>(bias),
                                 static_cast<float *>(residual), y.floats());
    }
    const Plan &own = plan(residual ? Kind::residual : Kind::forward, shape);
    own.primitive.run({{Role::source, x.data},
                       {Role::weights, ordered(own, weight)},
                       {Role::bias, bias},
                       {Role::residual, residual},
                       {Role::target, y.data}});
}

void backward_data(const Tensor &dy, const Tensor &weight, const Convolution &shape,
                   const Tensor &dx) {
    if (winograd::suits(shape)) {
        return winograd::backward_data(shape, dy.floats(), weight.floats(), dx.floats());
    }
    const Plan &own = plan(Kind::data, shape);
    own.primitive.run({{Role::target_gradient, dy.data},
                       {Role::weights, ordered(own, weight)},
                       {Role::source_gradient, dx.data}});
}

void backward_weights(const Tensor &dy, const Tensor &x, const Convolution &shape,
                      const Tensor &dweight, void *dbias) {
    if (winograd::suits(shape)) {
        return winograd::backward_weights(shape, dy.floats(), x.floats(), dweight.floats(),
                                          static_cast<float *>(dbias));
    }
    const Plan &own = plan(Kind::weights, shape);
    const bool direct = own.weights.trivial();
    void *inner = direct ? dweight.data
                         : scratch(Slot::weights, onednn::bytes(own.primitive.layout(
                                                      Role::weights_gradient)));
    own.primitive.run({{Role::source, x.data},
                       {Role::target_gradient, dy.data},
                       {Role::weights_gradient, inner},
                       {Role::bias_gradient, dbias}});
    if (!direct) own.weights.run(inner, dweight.data);
}

}  // namespace
}  // namespace mtln

// x, weight, options -> y
MTLN_OPERATOR(convolution) {
    return mtln::reported("convolution", [&] {
        const auto &a = arguments;
        mtln::forward(a[0], a[1], nullptr, nullptr, a[2], a[3]);
    });
}

// x, weight, bias, options -> y
MTLN_OPERATOR(convolution_bias) {
    return mtln::reported("convolution", [&] {
        const auto &a = arguments;
        mtln::forward(a[0], a[1], a[2].data, nullptr, a[3], a[4]);
    });
}

// x, weight, residual as y, options -> y
MTLN_OPERATOR(convolution_residual) {
    return mtln::reported("convolution", [&] {
        const auto &a = arguments;
        mtln::forward(a[0], a[1], nullptr, a[2].data, a[3], a[4]);
    });
}

// x, weight, bias, residual as y, options -> y
MTLN_OPERATOR(convolution_bias_residual) {
    return mtln::reported("convolution", [&] {
        const auto &a = arguments;
        mtln::forward(a[0], a[1], a[2].data, a[3].data, a[4], a[5]);
    });
}

// dy, x, weight, options -> gradients of x (if wanted), weight, bias (if there is one); which of
// them there are, their ranks show.
MTLN_OPERATOR(convolution_grad) {
    return mtln::reported("convolution gradient", [&] {
        const auto &a = arguments;
        const bool bias = a.from_end(1).rank == 1;
        const int weight = a.count - (bias ? 2 : 1);
        const auto shape = mtln::shape_of(a[1], a[2], a[3], bias);
        if (weight == 5) mtln::backward_data(a[0], a[2], shape, a[4]);
        mtln::backward_weights(a[0], a[1], shape, a[weight],
                               bias ? a.from_end(1).data : nullptr);
    });
}
