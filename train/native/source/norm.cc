#include "norm.h"

#include "sigmoid.h"
#include "threads.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace mtln {
namespace {

// Values of one tensor that are worked on at once: half of a small L1 cache.
constexpr int64_t BLOCK_VALUES = 4096;

// Fewest values side by side that loops run over: several vectors of any instruction set.
constexpr int64_t FEWEST_LANES = 128;
constexpr int64_t VECTOR = 16;

// Whole rows side by side that fill vectors.
int64_t lanes_of(int64_t channels) {
    const int64_t whole = std::lcm(channels, VECTOR);
    return whole * ((FEWEST_LANES + whole - 1) / whole);
}

// Rows of one domain that are worked on at once.
struct Block {
    int64_t domain, first, rows;
};

std::vector<Block> blocks_of(const Rows &rows) {
    const int64_t lanes = lanes_of(rows.channels);
    const int64_t most = std::max<int64_t>(1, BLOCK_VALUES / lanes) * lanes / rows.channels;
    std::vector<Block> blocks;
    for (size_t d = 0; d < rows.domains.size(); d++) {
        const Domain &domain = rows.domains[d];
        for (int64_t done = 0; done < domain.rows; done += most)
            blocks.push_back({static_cast<int64_t>(d), domain.first + done,
                              std::min(most, domain.rows - done)});
    }
    return blocks;
}

// (domains, channels) -> (domains, lanes): the values of a row again and again.
std::vector<float> spread(const Rows &rows, const std::vector<float> &values) {
    const int64_t lanes = lanes_of(rows.channels), channels = rows.channels;
    std::vector<float> wide(rows.domains.size() * lanes);
    for (size_t d = 0; d < rows.domains.size(); d++)
        for (int64_t j = 0; j < lanes; j += channels)
            std::copy_n(&values[d * channels], channels, &wide[d * lanes + j]);
    return wide;
}

// Sums of lanes -> sums of channels.
void fold(const float *sums, int64_t lanes, int64_t channels, float *out) {
    std::copy_n(sums, channels, out);
    for (int64_t j = channels; j < lanes; j += channels)
        for (int64_t c = 0; c < channels; c++) out[c] += sums[j + c];
}

// Room for `count` floats of this thread, all 0.
float *zeros(int64_t count) {
    thread_local std::vector<float> room;
    room.assign(count, 0.0f);
    return room.data();
}

void add_up(const float *__restrict x, int64_t count, int64_t lanes, float *__restrict sum) {
    int64_t i = 0;
    for (; i + 4 * lanes <= count; i += 4 * lanes) {
        const float *__restrict a = x + i, *__restrict b = a + lanes, *__restrict c = b + lanes,
                                *__restrict d = c + lanes;
        for (int64_t j = 0; j < lanes; j++) sum[j] += (a[j] + b[j]) + (c[j] + d[j]);
    }
    for (; i < count; i += lanes)
        for (int64_t j = 0; j < std::min(lanes, count - i); j++) sum[j] += x[i + j];
}

inline float square(float x) { return x * x; }

void add_squares(const float *__restrict x, int64_t count, int64_t lanes,
                 const float *__restrict mean, float *__restrict sum) {
    int64_t i = 0;
    for (; i + 4 * lanes <= count; i += 4 * lanes) {
        const float *__restrict a = x + i, *__restrict b = a + lanes, *__restrict c = b + lanes,
                                *__restrict d = c + lanes;
        for (int64_t j = 0; j < lanes; j++)
            sum[j] += (square(a[j] - mean[j]) + square(b[j] - mean[j])) +
                      (square(c[j] - mean[j]) + square(d[j] - mean[j]));
    }
    for (; i < count; i += lanes)
        for (int64_t j = 0; j < std::min(lanes, count - i); j++)
            sum[j] += square(x[i + j] - mean[j]);
}

// Mean and sum of squared deviations of a block, in two passes over what is in the cache.
void block_moments(const float *x, int64_t rows, int64_t channels, float *mean, float *squares) {
    const int64_t lanes = lanes_of(channels), count = rows * channels;
    float *sums = zeros(3 * lanes), *means = sums + lanes, *deviations = means + lanes;
    add_up(x, count, lanes, sums);
    fold(sums, lanes, channels, mean);
    for (int64_t c = 0; c < channels; c++) mean[c] /= static_cast<float>(rows);
    for (int64_t j = 0; j < lanes; j += channels) std::copy_n(mean, channels, means + j);
    add_squares(x, count, lanes, means, deviations);
    fold(deviations, lanes, channels, squares);
}

// NaN stays NaN.
inline float positive(float y) { return y < 0.0f ? 0.0f : y; }

// The gradient of y where the ReLU may have cut it off.
template <Activation activation>
inline float through(float y, float dy) {
    return activation == Activation::relu && y <= 0.0f ? 0.0f : dy;
}

// Coefficients of one domain, each as wide as the lanes.
struct Lanes {
    const float *mean, *scale, *shift;
};

// The following functions work on one row of lanes, or the part of it that is left.

template <Activation activation>
inline void normalise_row(int64_t lanes, const float *__restrict x, const float *__restrict gated,
                          const float *__restrict mean, const float *__restrict scale,
                          const float *__restrict shift, float *__restrict out) {
    for (int64_t j = 0; j < lanes; j++) {
        const float y = (x[j] - mean[j]) * scale[j] + shift[j];
        if constexpr (activation == Activation::gate)
            out[j] = sigmoid(y) * gated[j];
        else
            out[j] = activation == Activation::relu ? positive(y) : y;
    }
}

template <Activation activation>
inline void sums_row(int64_t lanes, const float *__restrict dy, const float *__restrict x,
                     const float *__restrict mean, const float *__restrict scale,
                     const float *__restrict shift, float *__restrict sum,
                     float *__restrict product) {
    for (int64_t j = 0; j < lanes; j++) {
        const float deviation = x[j] - mean[j];
        const float g = through<activation>(deviation * scale[j] + shift[j], dy[j]);
        sum[j] += g;
        product[j] += g * deviation;
    }
}

inline void gate_sums_row(int64_t lanes, const float *__restrict dy, const float *__restrict x,
                          const float *__restrict gated, const float *__restrict mean,
                          const float *__restrict scale, const float *__restrict shift,
                          float *__restrict sum, float *__restrict product,
                          float *__restrict dx, float *__restrict dgated) {
    for (int64_t j = 0; j < lanes; j++) {
        const float deviation = x[j] - mean[j];
        const Logistic mask = logistic(deviation * scale[j] + shift[j]);
        const float masked = dy[j] * mask.value;
        const float g = masked * gated[j] * mask.complement;
        dgated[j] = masked;
        dx[j] = g;
        sum[j] += g;
        product[j] += g * deviation;
    }
}

// With the gate, `dx` holds the gradient of y.
template <Activation activation>
inline void input_row(int64_t lanes, const float *__restrict dy, const float *__restrict x,
                      const float *__restrict mean, const float *__restrict scale,
                      const float *__restrict shift, const float *__restrict slope,
                      const float *__restrict offset, float *__restrict dx) {
    for (int64_t j = 0; j < lanes; j++) {
        const float deviation = x[j] - mean[j];
        float g;
        if constexpr (activation == Activation::gate)
            g = dx[j];
        else
            g = through<activation>(deviation * scale[j] + shift[j], dy[j]);
        dx[j] = scale[j] * g - (slope[j] * deviation + offset[j]);
    }
}

template <Activation activation>
void normalise_block(int64_t count, int64_t lanes, const float *x, const float *gated,
                     const Lanes &of, float *y) {
    for (int64_t i = 0; i < count; i += lanes)
        normalise_row<activation>(std::min(lanes, count - i), x + i, gated + i, of.mean, of.scale,
                                  of.shift, y + i);
}

template <Activation activation>
void sums_block(int64_t count, int64_t lanes, const float *dy, const float *x, const float *gated,
                const Lanes &of, float *sum, float *product, float *dx, float *dgated) {
    for (int64_t i = 0; i < count; i += lanes) {
        const int64_t n = std::min(lanes, count - i);
        if constexpr (activation == Activation::gate)
            gate_sums_row(n, dy + i, x + i, gated + i, of.mean, of.scale, of.shift, sum, product,
                          dx + i, dgated + i);
        else
            sums_row<activation>(n, dy + i, x + i, of.mean, of.scale, of.shift, sum, product);
    }
}

template <Activation activation>
void input_block(int64_t count, int64_t lanes, const float *dy, const float *x, const Lanes &of,
                 const float *slope, const float *offset, float *dx) {
    for (int64_t i = 0; i < count; i += lanes)
        input_row<activation>(std::min(lanes, count - i), dy + i, x + i, of.mean, of.scale,
                              of.shift, slope, offset, dx + i);
}

// Coefficients of every domain, each (domains, lanes).
class Coefficients {
  public:
    Coefficients(const Rows &rows, const Affine &affine)
        : lanes_(lanes_of(rows.channels)),
          mean_(spread(rows, affine.mean)),
          scale_(spread(rows, affine.scale)),
          shift_(spread(rows, affine.shift)) {}

    Lanes of(const Block &block) const {
        const int64_t at = block.domain * lanes_;
        return {&mean_[at], &scale_[at], &shift_[at]};
    }

  private:
    int64_t lanes_;
    std::vector<float> mean_, scale_, shift_;
};

// Adds what blocks have found to the sums of their domains: (blocks, channels) floats each.
void merge(const Rows &rows, const std::vector<Block> &blocks, const std::vector<float> &parts,
           std::vector<double> &sums) {
    for (size_t b = 0; b < blocks.size(); b++)
        for (int64_t c = 0; c < rows.channels; c++)
            sums[blocks[b].domain * rows.channels + c] += parts[b * rows.channels + c];
}

}  // namespace

TrainedNorm trained_norm(int64_t channels, const float *bias, const float *gamma,
                         const float *beta, const float *mean, const float *variance) {
    TrainedNorm norm{std::vector<float>(channels), std::vector<float>(channels)};
    for (int64_t c = 0; c < channels; c++) {
        const float inverse_sigma = static_cast<float>(1 / std::sqrt(variance[c] + kEpsilon));
        norm.scale[c] = gamma[c] * inverse_sigma;
        norm.shift[c] = beta[c] + ((bias ? bias[c] : 0.0f) - mean[c]) * norm.scale[c];
    }
    return norm;
}

Moments moments(const Rows &rows, const float *x) {
    const std::vector<Block> blocks = blocks_of(rows);
    const int64_t channels = rows.channels, count = blocks.size();
    std::vector<float> means(count * channels), squares(count * channels);
    // Backwards: what was written last, or is read next, is still in the cache.
    parallel(count, 1, [&](int64_t begin, int64_t end) {
        for (int64_t b = end - 1; b >= begin; b--)
            block_moments(x + blocks[b].first * channels, blocks[b].rows, channels,
                          &means[b * channels], &squares[b * channels]);
    });
    // Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
    // Variances", 1979: squares about the mean of all = those about the blocks' means, plus those
    // of the blocks' means about it.
    Moments all{std::vector<double>(rows.size()), std::vector<double>(rows.size())};
    for (int64_t b = 0; b < count; b++) {
        const int64_t d = blocks[b].domain;
        const double weight = static_cast<double>(blocks[b].rows) / rows.domains[d].rows;
        for (int64_t c = 0; c < channels; c++)
            all.mean[d * channels + c] += weight * means[b * channels + c];
    }
    for (int64_t b = 0; b < count; b++) {
        const int64_t d = blocks[b].domain;
        for (int64_t c = 0; c < channels; c++) {
            const double apart = means[b * channels + c] - all.mean[d * channels + c];
            all.squares[d * channels + c] +=
                squares[b * channels + c] + blocks[b].rows * apart * apart;
        }
    }
    return all;
}

void normalise(const Rows &rows, Activation activation, const Affine &affine, const float *x,
               const float *gated, float *y) {
    const auto work = activation == Activation::gate   ? normalise_block<Activation::gate>
                      : activation == Activation::relu ? normalise_block<Activation::relu>
                                                       : normalise_block<Activation::none>;
    const Coefficients coefficients(rows, affine);
    const std::vector<Block> blocks = blocks_of(rows);
    const int64_t channels = rows.channels, lanes = lanes_of(channels);
    parallel(blocks.size(), 1, [&](int64_t begin, int64_t end) {
        for (int64_t b = begin; b < end; b++) {
            const int64_t at = blocks[b].first * channels;
            work(blocks[b].rows * channels, lanes, x + at, gated + at, coefficients.of(blocks[b]),
                 y + at);
        }
    });
}

GradientSums gradient_sums(const Rows &rows, Activation activation, const Affine &affine,
                           const float *dy, const float *x, const float *gated, float *dx,
                           float *dgated) {
    const auto work = activation == Activation::gate   ? sums_block<Activation::gate>
                      : activation == Activation::relu ? sums_block<Activation::relu>
                                                       : sums_block<Activation::none>;
    const Coefficients coefficients(rows, affine);
    const std::vector<Block> blocks = blocks_of(rows);
    const int64_t channels = rows.channels, lanes = lanes_of(channels), count = blocks.size();
    std::vector<float> sums(count * channels), products(count * channels);
    parallel(count, 1, [&](int64_t begin, int64_t end) {
        for (int64_t b = end - 1; b >= begin; b--) {
            const int64_t at = blocks[b].first * channels;
            float *sum = zeros(2 * lanes), *product = sum + lanes;
            work(blocks[b].rows * channels, lanes, dy + at, x + at, gated + at,
                 coefficients.of(blocks[b]), sum, product, dx + at, dgated + at);
            fold(sum, lanes, channels, &sums[b * channels]);
            fold(product, lanes, channels, &products[b * channels]);
        }
    });
    GradientSums all{std::vector<double>(rows.size()), std::vector<double>(rows.size())};
    merge(rows, blocks, sums, all.g);
    merge(rows, blocks, products, all.g_deviation);
    return all;
}

void input_gradient(const Rows &rows, Activation activation, const Affine &affine,
                    const InputGradient &gradient, const float *dy, const float *x, float *dx) {
    const auto work = activation == Activation::gate   ? input_block<Activation::gate>
                      : activation == Activation::relu ? input_block<Activation::relu>
                                                       : input_block<Activation::none>;
    const Coefficients coefficients(rows, affine);
    const std::vector<float> slope = spread(rows, gradient.slope),
                             offset = spread(rows, gradient.offset);
    const std::vector<Block> blocks = blocks_of(rows);
    const int64_t channels = rows.channels, lanes = lanes_of(channels);
    parallel(blocks.size(), 1, [&](int64_t begin, int64_t end) {
        for (int64_t b = begin; b < end; b++) {
            const int64_t at = blocks[b].first * channels, own = blocks[b].domain * lanes;
            work(blocks[b].rows * channels, lanes, dy + at, x + at, coefficients.of(blocks[b]),
                 &slope[own], &offset[own], dx + at);
        }
    });
}

}  // namespace mtln
