// The heads of all scene tasks at once: the mean over the pixels of every image (global average
// pooling), then a linear layer, of which every task has its own.
//
// Shapes: x (N, H, W, C); for every scene task weight_t (K_t, C), bias_t (K_t,), logits_t
// (n_t, K_t) and images_t int32 (n_t,), the numbers of its images in x: no image is of two tasks,
// but some may be of none of these.

#include "onednn.h"
#include "operator.h"
#include "threads.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace mtln {
namespace {

struct Map {
    explicit Map(const Tensor &x)
        : data(x.floats()), images(x.shape[0]), pixels(x.rows() / images), channels(x.channels()) {}

    int64_t image_size() const { return pixels * channels; }

    float *data;
    int64_t images, pixels, channels;
};

// The part of one task.
struct Head {
    int64_t images, classes;
    const int32_t *numbers;  // of the images
    const float *weight;
};

// The inputs of all tasks begin with number `weights` and number `images`.
std::vector<Head> heads_of(const Map &map, const Arguments &arguments, int tasks, int weights,
                           int images) {
    std::vector<Head> heads;
    for (int t = 0; t < tasks; t++) {
        const Tensor weight = arguments[weights + t], own = arguments[images + t];
        for (int64_t n = 0; n < own.size(); n++) {
            if (own.integers()[n] < 0 || own.integers()[n] >= map.images)
                throw Failure("the map does not have the images of all tasks");
        }
        if (weight.rank != 2 || weight.shape[1] != map.channels)
            throw Failure("the weights do not fit the map");
        heads.push_back({own.size(), weight.shape[0], own.integers(), weight.floats()});
    }
    return heads;
}

void mean_of(const float *x, int64_t pixels, int64_t channels, float *mean) {
    thread_local std::vector<double> sums;
    sums.assign(channels, 0.0);
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t c = 0; c < channels; c++) sums[c] += x[i * channels + c];
    for (int64_t c = 0; c < channels; c++) mean[c] = static_cast<float>(sums[c] / pixels);
}

// (n_t, C)
std::vector<float> means_of(const Map &map, const Head &head) {
    std::vector<float> means(head.images * map.channels);
    for (int64_t n = 0; n < head.images; n++)
        mean_of(map.data + head.numbers[n] * map.image_size(), map.pixels, map.channels,
                means.data() + n * map.channels);
    return means;
}

void forward(const Map &map, const Head &head, const float *bias, float *logits) {
    const std::vector<float> means = means_of(map, head);
    for (int64_t n = 0; n < head.images; n++)
        std::memcpy(logits + n * head.classes, bias, head.classes * sizeof(float));
    onednn::multiply_rows(head.images, head.classes, map.channels, means.data(), map.channels,
                          head.weight, map.channels, 1.0F, logits, head.classes);
}

// Every pixel has an equal part of its image's gradient.
void spread(const float *dmean, int64_t pixels, int64_t channels, float *dx) {
    const float share = 1.0f / static_cast<float>(pixels);
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t c = 0; c < channels; c++) dx[i * channels + c] = dmean[c] * share;
}

void backward(const Map &map, const Head &head, const float *dlogits, float *dx, float *dweight,
              float *dbias) {
    const int64_t channels = map.channels, classes = head.classes;
    const std::vector<float> means = means_of(map, head);
    onednn::matmul(true, false, classes, channels, head.images, dlogits, classes, means.data(),
                   channels, 0.0F, dweight, channels, nullptr);
    std::fill_n(dbias, classes, 0.0F);
    for (int64_t n = 0; n < head.images; n++)
        for (int64_t k = 0; k < classes; k++) dbias[k] += dlogits[n * classes + k];
    std::vector<float> dmeans(head.images * channels);
    onednn::matmul(false, false, head.images, channels, classes, dlogits, classes, head.weight,
                   channels, 0.0F, dmeans.data(), channels, nullptr);
    for (int64_t n = 0; n < head.images; n++)
        spread(dmeans.data() + n * channels, map.pixels, channels,
               dx + head.numbers[n] * map.image_size());
}

// Calls work(t) for every task, at once in several threads.
template <typename Work> void for_every(const std::vector<Head> &heads, const Work &work) {
    parallel(static_cast<int64_t>(heads.size()), 1, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; t++) work(static_cast<int>(t));
    });
}

}  // namespace
}  // namespace mtln

// x, weights, biases, images -> logits
MTLN_OPERATOR(scene_heads) {
    using namespace mtln;
    return reported("scene_heads", [&] {
        const Map map(arguments[0]);
        const int tasks = (arguments.count - 1) / 4, biases = 1 + tasks, images = biases + tasks;
        const auto heads = heads_of(map, arguments, tasks, 1, images);
        for_every(heads, [&](int t) {
            forward(map, heads[t], arguments[biases + t].floats(),
                    arguments[images + tasks + t].floats());
        });
    });
}

// gradients of the logits, x, weights, images -> gradients of x, weights and biases. That of an
// image of none of the tasks is 0.
MTLN_OPERATOR(scene_heads_grad) {
    using namespace mtln;
    return reported("scene_heads gradient", [&] {
        const int tasks = (arguments.count - 2) / 5, weights = tasks + 1, images = weights + tasks,
                  outputs = images + tasks;
        const Map map(arguments[tasks]);
        const auto heads = heads_of(map, arguments, tasks, weights, images);
        const Tensor dx = arguments[outputs];
        int64_t covered = 0;
        for (const Head &head : heads) covered += head.images;
        if (covered < map.images) std::fill_n(dx.floats(), dx.size(), 0.0F);
        for_every(heads, [&](int t) {
            backward(map, heads[t], arguments[t].floats(), dx.floats(),
                     arguments[outputs + 1 + t].floats(),
                     arguments[outputs + 1 + tasks + t].floats());
        });
    });
}
