// Bilinear interpolation of maps to any other size, pixel centres at half-integers:
// mindspore.ops.ResizeBilinearV2 with half_pixel_centers.

#include "operator.h"
#include "threads.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace mtln {
namespace {

// An output is (1 - weight) * the input at `low` + weight * the one at `high`.
struct Tap {
    int64_t low, high;
    float weight;
};

std::vector<Tap> taps_of(int64_t in, int64_t out) {
    std::vector<Tap> taps;
    for (int64_t i = 0; i < out; i++) {
        const double at = (static_cast<double>(i) + 0.5) * in / out - 0.5, low = std::floor(at);
        taps.push_back({std::max<int64_t>(static_cast<int64_t>(low), 0),
                        std::min<int64_t>(static_cast<int64_t>(low) + 1, in - 1),
                        static_cast<float>(at - low)});
    }
    return taps;
}

void blend(const float *__restrict a, const float *__restrict b, float weight, int64_t count,
           float *__restrict out) {
    for (int64_t i = 0; i < count; i++) out[i] = (1.0f - weight) * a[i] + weight * b[i];
}

void add_scaled(const float *__restrict x, float weight, int64_t count, float *__restrict out) {
    for (int64_t i = 0; i < count; i++) out[i] += weight * x[i];
}

// A row of `width` pixels of this thread, all 0.
float *zero_row(int64_t count) {
    thread_local std::vector<float> row;
    row.assign(count, 0.0f);
    return row.data();
}

struct Resizing {
    int64_t channels, in_width;
    std::vector<Tap> y, x;

    Resizing(const Tensor &in, const Tensor &out)
        : channels(in.channels()), in_width(in.shape[2]),
          y(taps_of(in.shape[1], out.shape[1])), x(taps_of(in.shape[2], out.shape[2])) {}

    int64_t in_row() const { return in_width * channels; }
    int64_t out_row() const { return static_cast<int64_t>(x.size()) * channels; }
    int64_t out_height() const { return y.size(); }
};

// One row of an image: the two rows it lies between are blended first.
void resize_row(const Resizing &r, const float *image, const Tap &tap, float *out) {
    float *row = zero_row(r.in_row());
    blend(image + tap.low * r.in_row(), image + tap.high * r.in_row(), tap.weight, r.in_row(), row);
    for (size_t i = 0; i < r.x.size(); i++)
        blend(row + r.x[i].low * r.channels, row + r.x[i].high * r.channels, r.x[i].weight,
              r.channels, out + i * r.channels);
}

// The transpose of that, added to the gradient of the image.
void resize_row_grad(const Resizing &r, const float *dout, const Tap &tap, float *image) {
    float *row = zero_row(r.in_row());
    for (size_t i = 0; i < r.x.size(); i++) {
        const float *pixel = dout + i * r.channels;
        add_scaled(pixel, 1.0f - r.x[i].weight, r.channels, row + r.x[i].low * r.channels);
        add_scaled(pixel, r.x[i].weight, r.channels, row + r.x[i].high * r.channels);
    }
    add_scaled(row, 1.0f - tap.weight, r.in_row(), image + tap.low * r.in_row());
    add_scaled(row, tap.weight, r.in_row(), image + tap.high * r.in_row());
}

}  // namespace
}  // namespace mtln

// Input: x (N, H, W, C). Output: y (N, H', W', C).
MTLN_OPERATOR(resize) {
    const mtln::Tensor x = arguments[0], y = arguments[1];
    const mtln::Resizing r(x, y);
    const int64_t image = x.shape[1] * r.in_row();
    mtln::parallel(x.shape[0] * r.out_height(), 4, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++)
            mtln::resize_row(r, x.floats() + i / r.out_height() * image, r.y[i % r.out_height()],
                             y.floats() + i * r.out_row());
    });
    return 0;
}

// Input: dy (N, H', W', C). Output: dx (N, H, W, C).
MTLN_OPERATOR(resize_grad) {
    const mtln::Tensor dy = arguments[0], dx = arguments[1];
    const mtln::Resizing r(dx, dy);
    const int64_t image = dx.shape[1] * r.in_row();
    mtln::parallel(dx.shape[0], 1, [&](int64_t begin, int64_t end) {
        std::fill(dx.floats() + begin * image, dx.floats() + end * image, 0.0f);
        for (int64_t i = begin * r.out_height(); i < end * r.out_height(); i++)
            mtln::resize_row_grad(r, dy.floats() + i * r.out_row(), r.y[i % r.out_height()],
                                  dx.floats() + i / r.out_height() * image);
    });
    return 0;
}
