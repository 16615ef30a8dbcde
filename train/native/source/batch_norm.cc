// Batch norm of the images of K tasks, each with statistics and parameters of its own, and what
// follows it: nothing, a ReLU, or the gate of an attention module.
//
// Ioffe and Szegedy, "Batch Normalization", ICML 2015; constants as in mindspore.nn.BatchNorm2d.

#include "norm.h"
#include "operator.h"

#include <cmath>
#include <cstdio>

namespace mtln {
namespace {

// Weighs the old statistics.
constexpr float MOMENTUM = 0.9f;

// What the options say: (activation, images of task 1, ..., images of task K).
struct Setting {
    Activation activation;
    int tasks;
    Rows rows;
    // Number of inputs that are maps: `gated` comes with the gate only.
    int maps() const { return activation == Activation::gate ? 2 : 1; }
};

// False, with a line on stderr, if they do not fit the map.
bool read(const Tensor &options, const Tensor &x, Setting &setting) {
    const int32_t *values = options.integers();
    setting.activation = static_cast<Activation>(values[0]);
    setting.tasks = static_cast<int>(options.size()) - 1;
    setting.rows.channels = x.channels();
    const int64_t pixels = x.rows() / x.shape[0];
    int64_t images = 0;
    for (int t = 0; t < setting.tasks; t++) {
        setting.rows.domains.push_back({images * pixels, values[1 + t] * pixels});
        images += values[1 + t];
    }
    if (images == x.shape[0]) return true;
    std::fprintf(stderr, "native operator batch_norm: the tasks have %ld images, the map %ld\n",
                 static_cast<long>(images), static_cast<long>(x.shape[0]));
    return false;
}

// Those K inputs that begin with input `first`, each (channels,), as one (K, channels).
std::vector<float> gather(const Arguments &arguments, int first, int tasks) {
    std::vector<float> all;
    for (int t = 0; t < tasks; t++) {
        const Tensor one = arguments[first + t];
        all.insert(all.end(), one.floats(), one.floats() + one.size());
    }
    return all;
}

void move_statistics(const Arguments &arguments, int first, const Setting &setting,
                     const Moments &found) {
    const int64_t channels = setting.rows.channels;
    for (int t = 0; t < setting.tasks; t++) {
        float *mean = arguments[first + t].floats();
        float *variance = arguments[first + setting.tasks + t].floats();
        const int64_t rows = setting.rows.domains[t].rows;
        // Unbiased, as in MindSpore; of a single value there is no such estimate.
        const double divisor = rows > 1 ? rows - 1 : 1;
        for (int64_t c = 0; c < channels; c++) {
            const int64_t i = t * channels + c;
            const float now = static_cast<float>(found.squares[i] / divisor);
            mean[c] = MOMENTUM * mean[c] + (1 - MOMENTUM) * static_cast<float>(found.mean[i]);
            variance[c] = MOMENTUM * variance[c] + (1 - MOMENTUM) * now;
        }
    }
}

// (x - mean) * (gamma / sigma) + beta.
Affine affine_of(std::vector<float> mean, const float *inverse_sigma, std::vector<float> gamma,
                 std::vector<float> beta) {
    for (size_t i = 0; i < gamma.size(); i++) gamma[i] *= inverse_sigma[i];
    return {std::move(mean), std::move(gamma), std::move(beta)};
}

}  // namespace
}  // namespace mtln

// Inputs: x (N, H, W, C), with the gate `gated` (N, H, W, C), gamma, beta, moving mean and moving
// variance of K tasks, each (C,), the last two written; options. Outputs: y (N, H, W, C),
// statistics (2, K, C): mean and 1 / sigma.
MTLN_OPERATOR(batch_norm) {
    using namespace mtln;
    const Tensor x = arguments[0], y = arguments.from_end(2), statistics = arguments.from_end(1);
    Setting setting;
    if (!read(arguments.from_end(3), x, setting)) return 1;
    const int first = setting.maps(), tasks = setting.tasks;
    const Moments found = moments(setting.rows, x.floats());
    move_statistics(arguments, first + 2 * tasks, setting, found);
    const int64_t size = setting.rows.size();
    float *mean = statistics.floats(), *inverse_sigma = mean + size;
    for (int64_t i = 0; i < size; i++) {
        const double variance = found.squares[i] / setting.rows.domains[i / x.channels()].rows;
        mean[i] = static_cast<float>(found.mean[i]);
        inverse_sigma[i] = static_cast<float>(1 / std::sqrt(variance + kEpsilon));
    }
    const Affine affine = affine_of({mean, mean + size}, inverse_sigma,
                                    gather(arguments, first, tasks),
                                    gather(arguments, first + tasks, tasks));
    normalise(setting.rows, setting.activation, affine, x.floats(), arguments[first - 1].floats(),
              y.floats());
    return 0;
}

// The same with the moving statistics. Output: y.
MTLN_OPERATOR(batch_norm_inference) {
    using namespace mtln;
    const Tensor x = arguments[0], y = arguments.from_end(1);
    Setting setting;
    if (!read(arguments.from_end(2), x, setting)) return 1;
    const int first = setting.maps(), tasks = setting.tasks;
    std::vector<float> inverse_sigma = gather(arguments, first + 3 * tasks, tasks);
    for (float &value : inverse_sigma)
        value = static_cast<float>(1 / std::sqrt(value + kEpsilon));
    const Affine affine = affine_of(gather(arguments, first + 2 * tasks, tasks),
                                    inverse_sigma.data(), gather(arguments, first, tasks),
                                    gather(arguments, first + tasks, tasks));
    normalise(setting.rows, setting.activation, affine, x.floats(), arguments[first - 1].floats(),
              y.floats());
    return 0;
}

// Inputs: options; dy and x (N, H, W, C), with the gate `gated`, statistics (2, K, C), gamma and
// beta of K tasks. Outputs: dx, with the gate that of `gated`, those of gamma and beta of K tasks.
MTLN_OPERATOR(batch_norm_grad) {
    using namespace mtln;
    const Tensor dy = arguments[1], x = arguments[2];
    Setting setting;
    if (!read(arguments[0], x, setting)) return 1;
    const int maps = setting.maps(), tasks = setting.tasks, first = 3 + maps;
    const int64_t size = setting.rows.size(), channels = x.channels();
    const float *mean = arguments[2 + maps].floats(), *inverse_sigma = mean + size;
    const float *gated = arguments[1 + maps].floats();
    const int outputs = first + 2 * tasks;
    float *dx = arguments[outputs].floats(), *dgated = arguments[outputs + maps - 1].floats();
    const Affine affine = affine_of({mean, mean + size}, inverse_sigma,
                                    gather(arguments, first, tasks),
                                    gather(arguments, first + tasks, tasks));
    const GradientSums sums = gradient_sums(setting.rows, setting.activation, affine, dy.floats(),
                                            x.floats(), gated, dx, dgated);
    InputGradient gradient{std::vector<float>(size), std::vector<float>(size)};
    for (int64_t i = 0; i < size; i++) {
        const int64_t task = i / channels, c = i % channels;
        const double rows = setting.rows.domains[task].rows;
        const double dgamma = sums.g_deviation[i] * inverse_sigma[i];
        arguments[outputs + maps + task].floats()[c] = static_cast<float>(dgamma);
        arguments[outputs + maps + tasks + task].floats()[c] = static_cast<float>(sums.g[i]);
        const double scale = affine.scale[i];
        gradient.slope[i] = static_cast<float>(scale * inverse_sigma[i] * dgamma / rows);
        gradient.offset[i] = static_cast<float>(scale * sums.g[i] / rows);
    }
    input_gradient(setting.rows, setting.activation, affine, gradient, dy.floats(), x.floats(), dx);
    return 0;
}
