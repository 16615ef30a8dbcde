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

// What the options (activation, groups) say of a map.
struct Setting {
    Activation activation;
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

// False, with a line on stderr, if they do not fit the map.
bool read(const Tensor &options, const Tensor &x, Setting &setting) {
    setting.activation = static_cast<Activation>(options.integers()[0]);
    setting.groups = options.integers()[1];
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

}  // namespace
}  // namespace mtln

// Inputs: x (N, H, W, C), gamma and beta (C,); options (activation, groups). Outputs: y, and the
// statistics (2, N, groups): mean and 1 / sigma.
MTLN_OPERATOR(group_norm) {
    using namespace mtln;
    const Tensor x = arguments[0], y = arguments[4];
    Setting setting;
    if (!read(arguments[3], x, setting)) return 1;
    float *mean = arguments[5].floats();
    float *inverse_sigma = mean + setting.images() * setting.groups;
    group_statistics(setting, moments(setting.rows, x.floats()), mean, inverse_sigma);
    const Affine affine = affine_of(setting, mean, inverse_sigma, arguments[1].floats(),
                                    arguments[2].floats());
    normalise(setting.rows, setting.activation, affine, x.floats(), x.floats(), y.floats());
    return 0;
}

// Inputs: dy and x (N, H, W, C), gamma and beta (C,), statistics; options. Outputs: dx, and the
// gradients of gamma and beta.
MTLN_OPERATOR(group_norm_grad) {
    using namespace mtln;
    const Tensor dy = arguments[0], x = arguments[1];
    Setting setting;
    if (!read(arguments[5], x, setting)) return 1;
    const float *mean = arguments[4].floats();
    const float *inverse_sigma = mean + setting.images() * setting.groups;
    float *dx = arguments[6].floats();
    const Affine affine = affine_of(setting, mean, inverse_sigma, arguments[2].floats(),
                                    arguments[3].floats());
    const GradientSums sums = gradient_sums(setting.rows, setting.activation, affine, dy.floats(),
                                            x.floats(), x.floats(), dx, dx);
    std::vector<double> dgamma(x.channels()), dbeta(x.channels());
    for (int64_t i = 0; i < setting.rows.size(); i++) {
        const int64_t c = i % x.channels();
        dgamma[c] += sums.g_deviation[i] * inverse_sigma[setting.group(i)];
        dbeta[c] += sums.g[i];
    }
    for (int64_t c = 0; c < x.channels(); c++) {
        arguments[7].floats()[c] = static_cast<float>(dgamma[c]);
        arguments[8].floats()[c] = static_cast<float>(dbeta[c]);
    }
    input_gradient(setting.rows, setting.activation, affine,
                   input_coefficients(setting, sums, inverse_sigma, affine), dy.floats(),
                   x.floats(), dx);
    return 0;
}
