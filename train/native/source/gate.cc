// out = sigmoid(z) * gated: the mask of an attention module over a map.

#include "operator.h"
#include "sigmoid.h"
#include "threads.h"

namespace mtln {
namespace {

// Values a thread works on at least.
constexpr int64_t GRAIN = 1 << 14;

void gate(int64_t count, const float *__restrict z, const float *__restrict gated,
          float *__restrict out) {
    for (int64_t i = 0; i < count; i++) out[i] = sigmoid(z[i]) * gated[i];
}

void gate_grad(int64_t count, const float *__restrict dout, const float *__restrict z,
               const float *__restrict gated, float *__restrict dz, float *__restrict dgated) {
    for (int64_t i = 0; i < count; i++) {
        const Logistic mask = logistic(z[i]);
        const float masked = dout[i] * mask.value;
        dgated[i] = masked;
        dz[i] = masked * gated[i] * mask.complement;
    }
}

}  // namespace
}  // namespace mtln

// Inputs: z and gated, of one shape. Output: out.
MTLN_OPERATOR(gate) {
    const float *z = arguments[0].floats(), *gated = arguments[1].floats();
    float *out = arguments[2].floats();
    mtln::parallel(arguments[0].size(), mtln::GRAIN, [=](int64_t begin, int64_t end) {
        mtln::gate(end - begin, z + begin, gated + begin, out + begin);
    });
    return 0;
}

// Inputs: dout, z and gated. Outputs: dz and dgated.
MTLN_OPERATOR(gate_grad) {
    const float *dout = arguments[0].floats(), *z = arguments[1].floats(),
                *gated = arguments[2].floats();
    float *dz = arguments[3].floats(), *dgated = arguments[4].floats();
    mtln::parallel(arguments[0].size(), mtln::GRAIN, [=](int64_t begin, int64_t end) {
        mtln::gate_grad(end - begin, dout + begin, z + begin, gated + begin, dz + begin,
                        dgated + begin);
    });
    return 0;
}
