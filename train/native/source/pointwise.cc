// 1x1 convolutions of the maps of several tasks at once: every task has its own weights.
//
// Shapes: x1 (N, H, W, C1), x2 (N, H, W, C2) or absent, y and dy (N, H, W, C_out); for every task
// weight_t (C_out, C1 + C2, 1, 1) and bias_t (C_out). x2 stands for the channels after x1's.
// Options, the last input: the number of images of every task; together N.

#include "task_rows.h"
#include "threads.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace mtln {
namespace {

// The tensors of an operator whose inputs are (maps..., weights of K tasks..., rest...).
struct Layer {
    Layer(const Tensor *maps, int halves, const Tensor &y, const Tensor &counts)
        : x(maps, halves),
          out_channels(y.channels()),
          tasks(counts, y.shape[0], y.shape[1] * y.shape[2]) {
        for (int i = 0; i < halves; i++) {
            if (maps[i].rows() != y.rows()) throw Failure("the maps differ in size");
        }
        block = std::max<int64_t>(64, kBlockValues / (x.all_channels() + out_channels));
    }

    void check(const Tensor &weight) const {
        if (weight.rank != 4 || weight.shape[0] != out_channels ||
            weight.shape[1] != x.all_channels() || weight.size() != out_channels * weight.shape[1]) {
            throw Failure("the weights do not fit the maps");
        }
    }

    Halves x;
    int64_t out_channels;
    Tasks tasks;
    int64_t block;  // rows at a time
};

// Of rows of one task, a block at most.
void forward(const Layer &layer, const TaskRows &rows, const float *weight, const float *bias,
             float *y) {
    const int64_t c_out = layer.out_channels, c_in = layer.x.all_channels();
    const int64_t count = rows.count();
    float *out = y + rows.begin * c_out;
    for (int64_t i = 0; i < count; i++) std::memcpy(out + i * c_out, bias, c_out * sizeof(float));
    int64_t first = 0;
    for (int half = 0; half < layer.x.count; half++) {
        const int64_t c = layer.x.channels[half];
        onednn::multiply_rows(count, c_out, c, layer.x.data[half] + rows.begin * c, c,
                              weight + first, c_in, 1.0F, out, c_out);
        first += c;
    }
}

void add_rows(const float *from, int64_t count, int64_t channels, float *__restrict to) {
    for (int64_t i = 0; i < count; i++) {
        for (int64_t c = 0; c < channels; c++) to[c] += from[i * channels + c];
    }
}

// Adds what the rows give to dweight and dbias; writes dx.
void backward(const Layer &layer, const TaskRows &rows, const float *weight, const float *dy,
              float *const *dx, float *dweight, float *dbias) {
    const int64_t c_out = layer.out_channels, c_in = layer.x.all_channels();
    for (int64_t at = rows.begin; at < rows.end; at += layer.block) {
        const int64_t count = std::min(layer.block, rows.end - at);
        const float *own = dy + at * c_out;
        int64_t first = 0;
        for (int half = 0; half < layer.x.count; half++) {
            const int64_t c = layer.x.channels[half];
            onednn::matmul(false, false, count, c, c_out, own, c_out, weight + first, c_in, 0.0F,
                           dx[half] + at * c, c, nullptr);
            onednn::matmul(true, false, c_out, c, count, own, c_out, layer.x.data[half] + at * c, c,
                           1.0F, dweight + first, c_in, nullptr);
            first += c;
        }
        add_rows(own, count, c_out, dbias);
    }
}

// Gradients of the task that a thread continues where another one began it.
struct Remainder {
    int task = -1;
    std::vector<float> dweight, dbias;
};

void backward_all(const Layer &layer, const Tensor *weights, const Tensor &dy, float *const *dx,
                  const Tensor *dweights, const Tensor *dbiases) {
    const int64_t weight_size = layer.out_channels * layer.x.all_channels();
    const int64_t rows = layer.tasks.rows();
    const int parts = static_cast<int>(
        std::clamp<int64_t>(rows / layer.block, 1, static_cast<int64_t>(num_threads())));
    std::vector<Remainder> remainders(parts);
    parallel_parts(parts, [&](int part) {
        const int64_t begin = rows * part / parts, end = rows * (part + 1) / parts;
        for (const TaskRows &own : layer.tasks.between(begin, end)) {
            float *dweight = dweights[own.task].floats(), *dbias = dbiases[own.task].floats();
            if (layer.tasks.starts_at(own)) {
                std::fill_n(dweight, weight_size, 0.0F);
                std::fill_n(dbias, layer.out_channels, 0.0F);
            } else {
                Remainder &mine = remainders[part];
                mine.task = own.task;
                mine.dweight.assign(weight_size, 0.0F);
                mine.dbias.assign(layer.out_channels, 0.0F);
                dweight = mine.dweight.data();
                dbias = mine.dbias.data();
            }
            backward(layer, own, weights[own.task].floats(), dy.floats(), dx, dweight, dbias);
        }
    });
    for (const Remainder &rest : remainders) {
        if (rest.task < 0) continue;
        add_rows(rest.dweight.data(), 1, weight_size, dweights[rest.task].floats());
        add_rows(rest.dbias.data(), 1, layer.out_channels, dbiases[rest.task].floats());
    }
}

// maps (1 or 2), weights, biases, options -> y
int forward_operator(const Arguments &a, int halves) {
    return reported("pointwise", [&] {
        const Tensor y = a.from_end(1), counts = a.from_end(2);
        const int tasks = static_cast<int>(counts.size());
        const auto maps = range(a, 0, halves), weights = range(a, halves, tasks),
                   biases = range(a, halves + tasks, tasks);
        const Layer layer(maps.data(), halves, y, counts);
        for (const Tensor &weight : weights) layer.check(weight);
        layer.tasks.in_blocks(layer.block, [&](const TaskRows &rows) {
            forward(layer, rows, weights[rows.task].floats(), biases[rows.task].floats(),
                    y.floats());
        });
    });
}

// dy, maps (1 or 2), weights, options -> gradients of the maps, weights and biases
int gradient_operator(const Arguments &a, int halves) {
    return reported("pointwise gradient", [&] {
        const int tasks = (a.count - 2 - 2 * halves) / 3;
        const Tensor dy = a[0], counts = a[1 + halves + tasks];
        const int outputs = 2 + halves + tasks;
        const auto maps = range(a, 1, halves), weights = range(a, 1 + halves, tasks),
                   dweights = range(a, outputs + halves, tasks),
                   dbiases = range(a, outputs + halves + tasks, tasks);
        const Layer layer(maps.data(), halves, dy, counts);
        for (const Tensor &weight : weights) layer.check(weight);
        float *const dx[] = {a[outputs].floats(), a[outputs + halves - 1].floats()};
        backward_all(layer, weights.data(), dy, dx, dweights.data(), dbiases.data());
    });
}

}  // namespace
}  // namespace mtln

MTLN_OPERATOR(pointwise) { return mtln::forward_operator(arguments, 1); }
MTLN_OPERATOR(pointwise_pair) { return mtln::forward_operator(arguments, 2); }
MTLN_OPERATOR(pointwise_grad) { return mtln::gradient_operator(arguments, 1); }
MTLN_OPERATOR(pointwise_pair_grad) { return mtln::gradient_operator(arguments, 2); }
