// The mean over the pixels of every map: global average pooling.

#include "operator.h"
#include "threads.h"

#include <vector>

namespace mtln {
namespace {

void mean_of(const float *x, int64_t pixels, int64_t channels, float *y) {
    thread_local std::vector<double> sums;
    sums.assign(channels, 0.0);
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t c = 0; c < channels; c++) sums[c] += x[i * channels + c];
    for (int64_t c = 0; c < channels; c++) y[c] = static_cast<float>(sums[c] / pixels);
}

void spread(const float *dy, int64_t pixels, int64_t channels, float *dx) {
    const float share = 1.0f / static_cast<float>(pixels);
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t c = 0; c < channels; c++) dx[i * channels + c] = dy[c] * share;
}

}  // namespace
}  // namespace mtln

// Input: x (N, H, W, C). Output: y (N, C).
MTLN_OPERATOR(pixel_mean) {
    const mtln::Tensor x = arguments[0], y = arguments[1];
    const int64_t images = x.shape[0], channels = x.channels(), pixels = x.rows() / images;
    mtln::parallel(images, 1, [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; n++)
            mtln::mean_of(x.floats() + n * pixels * channels, pixels, channels,
                          y.floats() + n * channels);
    });
    return 0;
}

// Input: dy (N, C). Output: dx (N, H, W, C).
MTLN_OPERATOR(pixel_mean_grad) {
    const mtln::Tensor dy = arguments[0], dx = arguments[1];
    const int64_t images = dx.shape[0], channels = dx.channels(), pixels = dx.rows() / images;
    mtln::parallel(images, 1, [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; n++)
            mtln::spread(dy.floats() + n * channels, pixels, channels,
                         dx.floats() + n * pixels * channels);
    });
    return 0;
}
