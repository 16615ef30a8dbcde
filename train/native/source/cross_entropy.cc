// The mean cross-entropies of all scene tasks at once, with smoothed labels.
//
// Shapes: K = scene tasks; for every one logits_t (n_t, C_t), label_t int32 (n_t,) and, if images
// are mixed with each other, partner_t int32 (n_t,) and share_t (n_t,): the label of what an image is
// mixed with, and what its own counts. Smoothing (): see smoothed() in train/model/layers.py.

#include "operator.h"
#include "threads.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace mtln {
namespace {

// One task; partners and shares are null where images are not mixed.
struct Scenes {
    int64_t images, classes;
    const float *logits;
    const int32_t *labels, *partners;
    const float *shares;
};

// The inputs of a task: those of all tasks begin with number `first`, `groups` (2 or 4) kinds.
Scenes scenes_of(const Arguments &arguments, int first, int groups, int tasks, int t) {
    const auto input = [&](int group) { return arguments[first + group * tasks + t]; };
    const Tensor logits = input(0);
    const bool mixed = groups == 4;
    return {logits.rows(),
            logits.channels(),
            logits.floats(),
            input(1).integers(),
            mixed ? input(2).integers() : nullptr,
            mixed ? input(3).floats() : nullptr};
}

void add_label(int32_t label, double share, double smoothing, std::vector<double> &target) {
    const int64_t classes = static_cast<int64_t>(target.size());
    for (double &probability : target) probability += share * smoothing / classes;
    if (0 <= label && label < classes) target[label] += share * (1 - smoothing);
}

// The probability that every class of image n should have.
void set_target(const Scenes &scenes, int64_t n, double smoothing, std::vector<double> &target) {
    target.assign(scenes.classes, 0.0);
    const double share = scenes.shares ? scenes.shares[n] : 1.0;
    add_label(scenes.labels[n], share, smoothing, target);
    if (scenes.partners) add_label(scenes.partners[n], 1 - share, smoothing, target);
}

// The logarithm of the probability that every class has.
void log_softmax(const float *logits, std::vector<double> &out) {
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    // NaN is lost here, and comes back with the sum.
    for (size_t c = 0; c < out.size(); c++) largest = std::max(largest, double{logits[c]});
    for (size_t c = 0; c < out.size(); c++) sum += std::exp(logits[c] - largest);
    const double offset = largest + std::log(sum);
    for (size_t c = 0; c < out.size(); c++) out[c] = logits[c] - offset;
}

double loss_of(const Scenes &scenes, double smoothing) {
    std::vector<double> target, logs(scenes.classes);
    double sum = 0;
    for (int64_t n = 0; n < scenes.images; n++) {
        set_target(scenes, n, smoothing, target);
        log_softmax(scenes.logits + n * scenes.classes, logs);
        for (int64_t c = 0; c < scenes.classes; c++) sum -= target[c] * logs[c];
    }
    return sum / scenes.images;
}

void gradient_of(const Scenes &scenes, double smoothing, double dloss, float *dlogits) {
    std::vector<double> target, logs(scenes.classes);
    for (int64_t n = 0; n < scenes.images; n++) {
        set_target(scenes, n, smoothing, target);
        log_softmax(scenes.logits + n * scenes.classes, logs);
        // The probabilities of a target are together 1.
        for (int64_t c = 0; c < scenes.classes; c++)
            dlogits[n * scenes.classes + c] =
                static_cast<float>(dloss / scenes.images * (std::exp(logs[c]) - target[c]));
    }
}

}  // namespace
}  // namespace mtln

// smoothing, logits, labels[, partners, shares] -> losses (K,)
MTLN_OPERATOR(cross_entropy) {
    using namespace mtln;
    const Tensor losses = arguments.from_end(1);
    const int tasks = static_cast<int>(losses.size()), groups = (arguments.count - 2) / tasks;
    const double smoothing = arguments[0].floats()[0];
    parallel(tasks, 1, [&](int64_t begin, int64_t end) {
        for (int t = static_cast<int>(begin); t < end; t++)
            losses.floats()[t] =
                static_cast<float>(loss_of(scenes_of(arguments, 1, groups, tasks, t), smoothing));
    });
    return 0;
}

// gradient of the losses (K,), smoothing, logits, labels[, partners, shares] -> that of the logits
MTLN_OPERATOR(cross_entropy_grad) {
    using namespace mtln;
    const Tensor dlosses = arguments[0];
    const int tasks = static_cast<int>(dlosses.size()), groups = (arguments.count - 2) / tasks - 1;
    const double smoothing = arguments[1].floats()[0];
    parallel(tasks, 1, [&](int64_t begin, int64_t end) {
        for (int t = static_cast<int>(begin); t < end; t++)
            gradient_of(scenes_of(arguments, 2, groups, tasks, t), smoothing, dlosses.floats()[t],
                        arguments.from_end(tasks - t).floats());
    });
    return 0;
}
