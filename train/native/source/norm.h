// What batch norm and group norm share: statistics and affine maps per channel of parts of a map.
//
// A map is seen as rows of `channels` values. A domain is a stretch of rows with statistics and
// coefficients of its own: the images of one task, or one image.

#pragma once

#include <cstdint>
#include <vector>

namespace mtln {

// What batch norm adds to a variance; as in mindspore.nn.BatchNorm2d.
constexpr double kEpsilon = 1e-5;

struct Domain {
    int64_t first, rows;
};

struct Rows {
    int64_t channels;
    std::vector<Domain> domains;

    int64_t size() const { return channels * static_cast<int64_t>(domains.size()); }
};

// What follows y = (x - mean) * scale + shift: nothing, max(y, 0), or sigmoid(y) * gated.
enum class Activation { none, relu, gate };

// Coefficients, each (domains, channels).
struct Affine {
    std::vector<float> mean, scale, shift;
};

// Moments of every channel, each (domains, channels): the mean, and the sum of squared deviations.
struct Moments {
    std::vector<double> mean, squares;
};

// Sums over the rows of a domain, each (domains, channels): of the gradient g of y, and of
// g * (x - mean).
struct GradientSums {
    std::vector<double> g, g_deviation;
};

// dx = scale * g - slope * (x - mean) - offset; slope and offset are (domains, channels).
struct InputGradient {
    std::vector<float> slope, offset;
};

// A batch norm with moving statistics after a convolution without its bias: x * scale + shift, for
// every channel.
struct TrainedNorm {
    std::vector<float> scale, shift;
};

// `bias` may be null; all others are of `channels` values.
TrainedNorm trained_norm(int64_t channels, const float *bias, const float *gamma,
                         const float *beta, const float *mean, const float *variance);

Moments moments(const Rows &rows, const float *x);

// `gated` is read with Activation::gate only.
void normalise(const Rows &rows, Activation activation, const Affine &affine, const float *x,
               const float *gated, float *y);

// The first pass of the gradient. With Activation::gate it writes the gradient of `gated`, and
// that of y to `dx`, where the second pass finds it.
GradientSums gradient_sums(const Rows &rows, Activation activation, const Affine &affine,
                           const float *dy, const float *x, const float *gated, float *dx,
                           float *dgated);

// The second pass.
void input_gradient(const Rows &rows, Activation activation, const Affine &affine,
                    const InputGradient &gradient, const float *dy, const float *x, float *dx);

}  // namespace mtln
