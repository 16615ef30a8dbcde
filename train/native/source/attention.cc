// The attention modules of K tasks on one level of a trained network, as one operator: two 1x1
// convolutions, each with a batch norm of moving statistics, a ReLU after the first and the gate
// after the second. What lies between the convolutions never leaves the cache.
//
// Shapes: x1 (N1, H, W, C), the map that is masked, x2 (N, H, W, C2) or absent, y (N, H, W, C); for
// every task weight1_t (M, C + C2, 1, 1), weight2_t (C, M, 1, 1), and bias, gamma, beta, moving
// mean and moving variance of both, (M) and (C).
// Options, the last input: the number of images of every task, together N, and where its first one
// is in x1: several tasks may have the same.

#include "norm.h"
#include "sigmoid.h"
#include "task_rows.h"

namespace mtln {
namespace {

// A 1x1 convolution of one task, without its bias, and the bias and norm that follow.
struct Stage {
    const float *weight;
    TrainedNorm after;
};

// Inputs [first, first + 6 * tasks): weights, biases, gammas, betas, means, variances.
std::vector<Stage> stages(const Arguments &a, int first, int tasks, int64_t in, int64_t out) {
    std::vector<Stage> found;
    for (int t = 0; t < tasks; t++) {
        const auto input = [&](int kind) { return a[first + kind * tasks + t]; };
        if (input(0).size() != in * out || input(0).shape[0] != out) {
            throw Failure("the weights do not fit the maps");
        }
        found.push_back({input(0).floats(),
                         trained_norm(out, input(1).floats(), input(2).floats(), input(3).floats(),
                                      input(4).floats(), input(5).floats())});
    }
    return found;
}

// NaN stays NaN.
void relu(const TrainedNorm &after, int64_t rows, int64_t channels, float *__restrict x) {
    const float *__restrict scale = after.scale.data(), *__restrict shift = after.shift.data();
    for (int64_t i = 0; i < rows; i++, x += channels) {
        for (int64_t c = 0; c < channels; c++) {
            const float y = x[c] * scale[c] + shift[c];
            x[c] = y < 0.0F ? 0.0F : y;
        }
    }
}

void gate(const TrainedNorm &after, int64_t rows, int64_t channels, const float *__restrict gated,
          float *__restrict x) {
    const float *__restrict scale = after.scale.data(), *__restrict shift = after.shift.data();
    for (int64_t i = 0; i < rows; i++, x += channels, gated += channels) {
        for (int64_t c = 0; c < channels; c++) {
            x[c] = sigmoid(x[c] * scale[c] + shift[c]) * gated[c];
        }
    }
}

void check(const std::vector<Tensor> &maps, const Tensor &y) {
    const bool same_images = maps.size() < 2 || maps[1].shape[0] == y.shape[0];
    for (const Tensor &map : maps) {
        if (map.shape[1] != y.shape[1] || map.shape[2] != y.shape[2] || !same_images) {
            throw Failure("the maps differ in size");
        }
    }
    if (maps[0].channels() != y.channels()) {
        throw Failure("the first map is the one that is masked");
    }
}

// For every task, how many rows further its images are in the shared map than in the result.
std::vector<int64_t> shifts_of(const Tasks &tasks, const Tensor &options, const Tensor &shared) {
    const int64_t pixels = shared.shape[1] * shared.shape[2];
    std::vector<int64_t> shifts;
    int64_t images = 0;
    for (int t = 0; t < tasks.count(); t++) {
        const int64_t count = options.integers()[t], first = options.integers()[tasks.count() + t];
        if (first < 0 || first + count > shared.shape[0]) {
            throw Failure("the tasks' images are not in the shared map");
        }
        shifts.push_back((first - images) * pixels);
        images += count;
    }
    return shifts;
}

// maps (1 or 2), both stages, options -> y
int attend(const Arguments &a, int halves) {
    return reported("attention", [&] {
        const Tensor y = a.from_end(1), options = a.from_end(2);
        const int64_t half_of_them[] = {options.size() / 2};
        const Tasks tasks({options.data, half_of_them, 1}, y.shape[0], y.shape[1] * y.shape[2]);
        const int second = halves + 6 * tasks.count();
        const auto maps = range(a, 0, halves);
        const Halves x(maps.data(), halves);
        const int64_t in = x.all_channels(), middle = a[halves].shape[0], out = y.channels();
        check(maps, y);
        const auto shifts = shifts_of(tasks, options, maps[0]);
        const auto inner = stages(a, halves, tasks.count(), in, middle),
                   outer = stages(a, second, tasks.count(), middle, out);
        const int64_t block = std::max<int64_t>(64, kBlockValues / (in + middle + out));
        tasks.in_blocks(block, [&](const TaskRows &rows) {
            const int64_t count = rows.count();
            float *hidden = static_cast<float *>(
                scratch(Slot::products, count * middle * static_cast<int64_t>(sizeof(float))));
            float *result = y.floats() + rows.begin * out;
            const Stage &one = inner[rows.task], &two = outer[rows.task];
            const float *shared = x.data[0] + (rows.begin + shifts[rows.task]) * out;
            onednn::multiply_rows(count, middle, out, shared, out, one.weight, in, 0.0F, hidden,
                                  middle);
            if (halves > 1) {
                const int64_t c = x.channels[1];
                onednn::multiply_rows(count, middle, c, x.data[1] + rows.begin * c, c,
                                      one.weight + out, in, 1.0F, hidden, middle);
            }
            relu(one.after, count, middle, hidden);
            onednn::multiply_rows(count, out, middle, hidden, middle, two.weight, middle, 0.0F,
                                  result, out);
            gate(two.after, count, out, shared, result);
        });
    });
}

}  // namespace
}  // namespace mtln

MTLN_OPERATOR(attention) { return mtln::attend(arguments, 1); }
MTLN_OPERATOR(attention_pair) { return mtln::attend(arguments, 2); }
