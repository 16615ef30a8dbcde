// Group norm, alone or with a ReLU: every image is normalised by groups of its channels.
//
// Wu and He, "Group Normalization", ECCV 2018; epsilon as in mindspore.nn.GroupNorm.

#include "norm.h"
#include "operator.h"

#include <cmath>
#include <cstdio>

namespace mtln {
namespace {

constexpr double EPSILON = 1e-5;

struct Setting {
    // Every image is a domain.
    Rows rows;
    int64_t groups;

    int64_t images() const { return rows.domains.size(); }
    int64_t channels_per_group() const { return rows.channels / groups; }
    // Values of a group.
    double count() const {
        return static_cast<double>(rows.domains[0].rows * channels_per_group());
    }
    // The group of a channel of an image, among those of all images.
    int64_t group(int64_t image_channel) const { return image_channel / channels_per_group(); }
};

// What the statistics (2, N, groups) say of a map; false, with a line on stderr, if they do not fit
// it.
bool read(const Tensor &statistics, const Tensor &x, Setting &setting) {
    setting.groups = statistics.shape[2];
    setting.rows.channels = x.channels();
    const int64_t pixels = x.rows() / x.shape[0];
    for (int64_t n = 0; n < x.shape[0]; n++)
        setting.rows.domains.push_back({n * pixels, pixels});
    if (setting.groups > 0 && x.channels() % setting.groups == 0) return true;
    std::fprintf(stderr, "native operator group_norm: %ld channels cannot be %ld groups\n",
                 static_cast<long>(x.channels()), static_cast<long>(setting.groups));
    return false;
}

// Mean and 1 / sigma of every group, from those of its channels.
void group_statistics(const Setting &setting, const Moments &found, float *mean,
                      float *inverse_sigma) {
    const int64_t per_group = setting.channels_per_group();
    const double pixels = static_cast<double>(setting.rows.domains[0].rows);
    for (int64_t k = 0; k < setting.images() * setting.groups; k++) {
        double sum = 0, squares = 0;
        for (int64_t i = k * per_group; i < (k + 1) * per_group; i++) sum += found.mean[i];
        const double centre = sum / per_group;
        for (int64_t i = k * per_group; i < (k + 1) * per_group; i++) {
            const double apart = found.mean[i] - centre;
            squares += found.squares[i] + pixels * apart * apart;
        }
        mean[k] = static_cast<float>(centre);
        inverse_sigma[k] = static_cast<float>(1 / std::sqrt(squares / setting.count() + EPSILON));
    }
}

// Coefficients of every channel of every image.
Affine affine_of(const Setting &setting, const float *mean, const float *inverse_sigma,
                 const float *gamma, const float *beta) {
    Affine affine;
    for (int64_t i = 0; i < setting.rows.size(); i++) {
        const int64_t c = i % setting.rows.channels, k = setting.group(i);
        affine.mean.push_back(mean[k]);
        affine.scale.push_back(gamma[c] * inverse_sigma[k]);
        affine.shift.push_back(beta[c]);
    }
    return affine;
}

// dx = 1 / sigma * (gamma g - mean(gamma g) - x^ mean(gamma g x^)), means over the group.
InputGradient input_coefficients(const Setting &setting, const GradientSums &sums,
                                 const float *inverse_sigma, const Affine &affine) {
    const int64_t size = setting.rows.size(), groups = setting.images() * setting.groups;
    std::vector<double> g(groups), g_deviation(groups);
    for (int64_t i = 0; i < size; i++) {
        g[setting.group(i)] += affine.scale[i] * sums.g[i];
        g_deviation[setting.group(i)] += affine.scale[i] * sums.g_deviation[i];
    }
    InputGradient gradient;
    for (int64_t i = 0; i < size; i++) {
        const int64_t k = setting.group(i);
        const double precision = static_cast<double>(inverse_sigma[k]) * inverse_sigma[k];
        gradient.slope.push_back(
            static_cast<float>(g_deviation[k] * precision / setting.count()));
        gradient.offset.push_back(static_cast<float>(g[k] / setting.count()));
    }
    return gradient;
}

int forward(const Arguments &arguments, Activation activation) {
    const Tensor x = arguments[0], y = arguments[3], statistics = arguments[4];
    Setting setting;
    if (!read(statistics, x, setting)) return 1;
    float *mean = statistics.floats();
    float *inverse_sigma = mean + setting.images() * setting.groups;
    group_statistics(setting, moments(setting.rows, x.floats()), mean, inverse_sigma);
    const Affine affine = affine_of(setting, mean, inverse_sigma, arguments[1].floats(),
                                    arguments[2].floats());
    normalise(setting.rows, activation, affine, x.floats(), x.floats(), y.floats());
    return 0;
}

int backward(const Arguments &arguments, Activation activation) {
    const Tensor dy = arguments[0], x = arguments[1], statistics = arguments[4];
    Setting setting;
    if (!read(statistics, x, setting)) return 1;
    const float *mean = statistics.floats();
    const float *inverse_sigma = mean + setting.images() * setting.groups;
    float *dx = arguments[5].floats();
    const Affine affine = affine_of(setting, mean, inverse_sigma, arguments[2].floats(),
                                    arguments[3].floats());
    const GradientSums sums = gradient_sums(setting.rows, activation, affine, dy.floats(),
                                            x.floats(), x.floats(), dx, dx);
    std::vector<double> dgamma(x.channels()), dbeta(x.channels());
    for (int64_t i = 0; i < setting.rows.size(); i++) {
        const int64_t c = i % x.channels();
        dgamma[c] += sums.g_deviation[i] * inverse_sigma[setting.group(i)];
        dbeta[c] += sums.g[i];
    }
    for (int64_t c = 0; c < x.channels(); c++) {
        arguments[6].floats()[c] = static_cast<float>(dgamma[c]);
        arguments[7].floats()[c] = static_cast<float>(dbeta[c]);
    }
    input_gradient(setting.rows, activation, affine,
                   input_coefficients(setting, sums, inverse_sigma, affine), dy.floats(),
                   x.floats(), dx);
    return 0;
}

}  // namespace
}  // namespace mtln

// Inputs: x (N, H, W, C), gamma and beta (C,). Outputs: y, and the statistics (2, N, groups): mean
// and 1 / sigma.
MTLN_OPERATOR(group_norm) { return mtln::forward(arguments, mtln::Activation::none); }
MTLN_OPERATOR(group_norm_relu) { return mtln::forward(arguments, mtln::Activation::relu); }

// Inputs: dy and x (N, H, W, C), gamma and beta (C,), the statistics. Outputs: dx, and the
// gradients of gamma and beta.
MTLN_OPERATOR(group_norm_grad) { return mtln::backward(arguments, mtln::Activation::none); }
MTLN_OPERATOR(group_norm_relu_grad) { return mtln::backward(arguments, mtln::Activation::relu); }
