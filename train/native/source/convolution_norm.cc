// A 3x3 convolution of a trained network with the batch norms of K domains of images that follow
// it, and a ReLU, as one operator: what comes out of the convolution is normalised before it is
// written.
//
// Shapes: x (N, H, W, C_in), weight (C_out, C_in, 3, 3), bias (C_out) or absent, y (N,
// ceil(H / stride), ceil(W / stride), C_out); of every domain, gamma, beta, moving mean and moving
// variance (C_out).
// Options, the last input: stride, 1 if a ReLU follows, the images of every domain; together N.

#include "operator.h"
#include "winograd.h"

namespace mtln {
namespace {

winograd::Norms norms_of(const Arguments &a, const float *bias, int first, const Tensor &options,
                         int64_t channels) {
    const int domains = static_cast<int>(options.size()) - 2;
    winograd::Norms norms{{}, {}, options.integers()[1] == 1};
    for (int d = 0; d < domains; d++) {
        const auto input = [&](int kind) { return a[first + kind * domains + d].floats(); };
        norms.of_domains.push_back(
            trained_norm(channels, bias, input(0), input(1), input(2), input(3)));
        norms.domains.insert(norms.domains.end(), options.integers()[2 + d], d);
    }
    return norms;
}

int run(const Arguments &a, bool bias) {
    return reported("convolution_norm", [&] {
        const Tensor x = a[0], weight = a[1], options = a.from_end(2);
        const onednn::Convolution shape{x.shape[0],      x.shape[1],      x.shape[2],
                                        x.shape[3],      weight.shape[0], weight.shape[2],
                                        options.integers()[0], bias};
        if (weight.shape[1] != x.shape[3] || !winograd::suits(shape)) {
            throw Failure("a map (N, H, W, C), weights (C_out, C, 3, 3) with channels that 16 "
                          "divides and a stride of 1 or 2 are needed");
        }
        const auto norms = norms_of(a, bias ? a[2].floats() : nullptr, bias ? 3 : 2, options,
                                    shape.out_channels);
        if (static_cast<int64_t>(norms.domains.size()) != shape.images) {
            throw Failure("the domains' images are not as many as the map's");
        }
        winograd::forward(shape, x.floats(), weight.floats(), norms, a.from_end(1).floats());
    });
}

}  // namespace
}  // namespace mtln

MTLN_OPERATOR(convolution_norm) { return mtln::run(arguments, false); }
MTLN_OPERATOR(convolution_bias_norm) { return mtln::run(arguments, true); }
