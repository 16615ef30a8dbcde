// What the step does with all parameters at once: one operator instead of several for each of them.
//
// P = number of values of all parameters together.

#include <algorithm>

#include "operator.h"
#include "threads.h"

namespace {

// Values that are worth a thread.
constexpr int64_t GRAIN = 32 * 1024;

// w = mu m + g, and so on: momentum SGD, see train/optim/optimizers.py.
struct Sgd {
    float factor, rate, momentum;
    bool nesterov;

    void operator()(const float *__restrict gradient, const float *__restrict decay,
                    float *__restrict moments, float *__restrict values, int64_t begin,
                    int64_t end) const {
        for (int64_t i = begin; i < end; i++) {
            const float g = gradient[i] * factor + decay[i] * values[i];
            const float m = momentum * moments[i] + g;
            moments[i] = m;
            values[i] -= rate * (nesterov ? g + momentum * m : m);
        }
    }
};

}  // namespace

// K tensors of any shape -> all their values, one tensor after the other (P,).
MTLN_OPERATOR(flatten) {
    float *out = arguments.from_end(1).floats();
    for (int i = 0; i < arguments.count - 1; i++) {
        out = std::copy_n(arguments[i].floats(), arguments[i].size(), out);
    }
    return 0;
}

// change (P,), K parameters of any shape, which are written -> (1,), of no meaning.
MTLN_OPERATOR(subtract) {
    const float *change = arguments[0].floats();
    for (int i = 1; i < arguments.count - 1; i++) {
        float *__restrict values = arguments[i].floats();
        const int64_t size = arguments[i].size();
        mtln::parallel(size, GRAIN, [&](int64_t begin, int64_t end) {
            for (int64_t k = begin; k < end; k++) values[k] -= change[k];
        });
        change += size;
    }
    arguments.from_end(1).floats()[0] = 0;
    return 0;
}

// values (P,), whether a step counts () as a float, K parameters -> (1,), of no meaning. The
// parameters get the values back if the step does not count.
MTLN_OPERATOR(restore) {
    const float *values = arguments[0].floats();
    const bool counts = arguments[1].floats()[0] != 0;
    for (int i = 2; !counts && i < arguments.count - 1; i++) {
        std::copy_n(values, arguments[i].size(), arguments[i].floats());
        values += arguments[i].size();
    }
    arguments.from_end(1).floats()[0] = 0;
    return 0;
}

// gradient (P,), what it is multiplied by (), the learning rate (), whether the gradient is finite
// () as a float, momentum (), decay (P,), moments (P,), K parameters, options (Nesterov 0/1)
// -> (1,), of no meaning. Moments and parameters are written, unless the gradient is not finite.
MTLN_OPERATOR(sgd) {
    const bool finite = arguments[3].floats()[0] != 0;
    const int parameters = 7;
    const mtln::Tensor options = arguments.from_end(2);
    const Sgd update{arguments[1].floats()[0], arguments[2].floats()[0], arguments[4].floats()[0],
                     options.integers()[0] != 0};
    const float *gradient = arguments[0].floats(), *decay = arguments[5].floats();
    float *moments = arguments[6].floats();
    arguments.from_end(1).floats()[0] = 0;
    for (int i = parameters; finite && i < arguments.count - 2; i++) {
        const int64_t size = arguments[i].size();
        mtln::parallel(size, GRAIN, [&](int64_t begin, int64_t end) {
            update(gradient, decay, moments, arguments[i].floats(), begin, end);
        });
        gradient += size;
        decay += size;
        moments += size;
    }
    return 0;
}
