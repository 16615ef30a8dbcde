// Max-pooling: H becomes ceil(H / stride), as mindspore.nn.MaxPool2d with pad_mode "same", or with
// the symmetric padding of PyTorch.
//
// Of equal values the first one in row-major order gets the gradient; of NaN the last one, since
// NaN wins over everything.

#include "operator.h"
#include "threads.h"

#include <algorithm>
#include <cstdio>
#include <vector>

namespace mtln {
namespace {

// One axis: the window of output i covers the inputs [i * stride - before, ... + kernel).
struct Axis {
    int64_t in, out, kernel, stride, before;

    Axis(int64_t in, int64_t out, int64_t kernel, int64_t stride, bool symmetric)
        : in(in), out(out), kernel(kernel), stride(stride),
          before(symmetric ? kernel / 2
                           : std::max<int64_t>((out - 1) * stride + kernel - in, 0) / 2) {}

    int64_t start(int64_t i) const { return i * stride - before; }
    int64_t begin(int64_t i) const { return std::max<int64_t>(start(i), 0); }
    int64_t end(int64_t i) const { return std::min(start(i) + kernel, in); }
    bool whole(int64_t i) const { return start(i) >= 0 && start(i) + kernel <= in; }
};

struct Pooling {
    Axis y, x;
    int64_t channels;

    int64_t in_size() const { return y.in * x.in * channels; }
    int64_t out_size() const { return y.out * x.out * channels; }
    // Where in its window an input is, as the winners say it.
    int32_t place(int64_t in_y, int64_t in_x, int64_t out_y, int64_t out_x) const {
        return static_cast<int32_t>((in_y - y.start(out_y)) * x.kernel + in_x - x.start(out_x));
    }
};

// False, with a line on stderr, if the options (kernel, stride, symmetric) or the shapes are none.
bool fits(const Tensor &options, const Tensor &in, const Tensor &out) {
    const int64_t kernel = options.integers()[0], stride = options.integers()[1];
    const bool symmetric = options.integers()[2] != 0;
    if (stride >= 1 && kernel >= stride && kernel <= 15 &&
        (!symmetric || (kernel % 2 == 1 && kernel > stride)) &&
        out.shape[1] == (in.shape[1] + stride - 1) / stride &&
        out.shape[2] == (in.shape[2] + stride - 1) / stride)
        return true;
    std::fprintf(stderr, "native operator max_pool: no kernel %ld with stride %ld from %ld x %ld to %ld x %ld\n",
                 static_cast<long>(kernel), static_cast<long>(stride),
                 static_cast<long>(in.shape[1]), static_cast<long>(in.shape[2]),
                 static_cast<long>(out.shape[1]), static_cast<long>(out.shape[2]));
    return false;
}

Pooling pooling_of(const Tensor &options, const Tensor &in, const Tensor &out) {
    const int64_t kernel = options.integers()[0], stride = options.integers()[1];
    const bool symmetric = options.integers()[2] != 0;
    return {{in.shape[1], out.shape[1], kernel, stride, symmetric},
            {in.shape[2], out.shape[2], kernel, stride, symmetric},
            in.channels()};
}

inline bool beats(float value, float best) { return value > best || value != value; }

// Places are bytes in memory and integers in the loops: with bytes, the compiler would want as many
// channels at once as a vector has bytes.
int32_t *places_of_row(int64_t count) {
    thread_local std::vector<int32_t> places;
    places.resize(count);
    return places.data();
}

// A whole window of KERNEL x KERNEL pixels; `row` is the number of values in a row of the map.
template <int KERNEL>
void pool_whole(const float *__restrict x, int64_t row, int64_t channels, float *__restrict y,
                int32_t *__restrict places) {
    for (int64_t c = 0; c < channels; c++) {
        float best = x[c];
        int32_t place = 0;
        for (int i = 1; i < KERNEL * KERNEL; i++) {
            const float value = x[i / KERNEL * row + i % KERNEL * channels + c];
            place = beats(value, best) ? i : place;
            best = beats(value, best) ? value : best;
        }
        y[c] = best;
        places[c] = place;
    }
}

// Takes one pixel of a window into account.
void pool_pixel(const float *__restrict x, int64_t channels, int32_t place, float *__restrict y,
                int32_t *__restrict places) {
    for (int64_t c = 0; c < channels; c++) {
        const float value = x[c], best = y[c];
        places[c] = beats(value, best) ? place : places[c];
        y[c] = beats(value, best) ? value : best;
    }
}

// Any window, pixel by pixel.
void pool_part(const Pooling &p, const float *image, int64_t out_y, int64_t out_x, float *y,
               int32_t *places) {
    const int64_t top = p.y.begin(out_y), left = p.x.begin(out_x);
    std::copy_n(image + (top * p.x.in + left) * p.channels, p.channels, y);
    std::fill_n(places, p.channels, p.place(top, left, out_y, out_x));
    for (int64_t in_y = top; in_y < p.y.end(out_y); in_y++)
        for (int64_t in_x = left; in_x < p.x.end(out_x); in_x++)
            if (in_y != top || in_x != left)
                pool_pixel(image + (in_y * p.x.in + in_x) * p.channels, p.channels,
                           p.place(in_y, in_x, out_y, out_x), y, places);
}

// One row of outputs.
void pool_row(const Pooling &p, const float *image, int64_t out_y, float *y, uint8_t *winners) {
    const int64_t row = p.x.in * p.channels, count = p.x.out * p.channels;
    int32_t *places = places_of_row(count);
    for (int64_t out_x = 0; out_x < p.x.out; out_x++) {
        const bool whole = p.y.whole(out_y) && p.x.whole(out_x);
        const float *x = image + p.y.start(out_y) * row + p.x.start(out_x) * p.channels;
        const int64_t at = out_x * p.channels;
        if (whole && p.x.kernel == 2)
            pool_whole<2>(x, row, p.channels, y + at, places + at);
        else if (whole && p.x.kernel == 3)
            pool_whole<3>(x, row, p.channels, y + at, places + at);
        else
            pool_part(p, image, out_y, out_x, y + at, places + at);
    }
    for (int64_t i = 0; i < count; i++) winners[i] = static_cast<uint8_t>(places[i]);
}

// The gradient of one pixel of a window, added if other windows have the pixel too.
template <bool SHARED>
void unpool_pixel(const float *__restrict dy, const int32_t *__restrict places, int64_t channels,
                  int32_t place, float *__restrict dx) {
    for (int64_t c = 0; c < channels; c++) {
        const float g = dy[c], own = places[c] == place ? g : 0.0f;
        dx[c] = SHARED ? dx[c] + own : own;
    }
}

template <bool SHARED>
void unpool_window(const Pooling &p, const float *dy, const int32_t *places, int64_t out_y,
                   int64_t out_x, float *image) {
    for (int64_t in_y = p.y.begin(out_y); in_y < p.y.end(out_y); in_y++)
        for (int64_t in_x = p.x.begin(out_x); in_x < p.x.end(out_x); in_x++)
            unpool_pixel<SHARED>(dy, places, p.channels, p.place(in_y, in_x, out_y, out_x),
                                 image + (in_y * p.x.in + in_x) * p.channels);
}

// The gradient of one image. Windows that share no pixels cover all of them.
void unpool(const Pooling &p, const float *dy, const uint8_t *winners, float *dx) {
    const bool shared = p.x.kernel > p.x.stride;
    if (shared) std::fill_n(dx, p.in_size(), 0.0f);
    const int64_t count = p.x.out * p.channels;
    int32_t *places = places_of_row(count);
    for (int64_t out_y = 0; out_y < p.y.out; out_y++, dy += count, winners += count) {
        for (int64_t i = 0; i < count; i++) places[i] = winners[i];
        for (int64_t out_x = 0; out_x < p.x.out; out_x++) {
            const int64_t at = out_x * p.channels;
            if (shared)
                unpool_window<true>(p, dy + at, places + at, out_y, out_x, dx);
            else
                unpool_window<false>(p, dy + at, places + at, out_y, out_x, dx);
        }
    }
}

}  // namespace
}  // namespace mtln

// Inputs: x (N, H, W, C); options (kernel, stride, symmetric). Outputs: y (N, ceil(H / stride), ..., C), and
// a byte for every value of y, in place of floats: where in its window the winner is.
MTLN_OPERATOR(max_pool) {
    const mtln::Tensor x = arguments[0], y = arguments[2];
    if (!mtln::fits(arguments[1], x, y)) return 1;
    const mtln::Pooling p = mtln::pooling_of(arguments[1], x, y);
    uint8_t *winners = arguments[3].bytes();
    mtln::parallel(y.shape[0] * p.y.out, 8, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++) {
            const int64_t at = i * p.x.out * p.channels;
            mtln::pool_row(p, x.floats() + i / p.y.out * p.in_size(), i % p.y.out,
                           y.floats() + at, winners + at);
        }
    });
    return 0;
}

// Inputs: dy, the winners; options (kernel, stride, symmetric). Output: dx.
MTLN_OPERATOR(max_pool_grad) {
    const mtln::Tensor dy = arguments[0], dx = arguments[3];
    if (!mtln::fits(arguments[2], dx, dy)) return 1;
    const mtln::Pooling p = mtln::pooling_of(arguments[2], dx, dy);
    const uint8_t *winners = arguments[1].bytes();
    mtln::parallel(dx.shape[0], 1, [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; n++)
            mtln::unpool(p, dy.floats() + n * p.out_size(), winners + n * p.out_size(),
                         dx.floats() + n * p.in_size());
    });
    return 0;
}
