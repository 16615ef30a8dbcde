// Subtracts one flat vector from many parameters: one operator instead of three for each of them.

#include <cstring>

#include "operator.h"
#include "threads.h"

// change (P,), K parameters of any shape, which are written -> (1,), of no meaning.
// P = sum of the sizes of the parameters.
MTLN_OPERATOR(mtln_subtract) {
    const float *change = arguments[0].floats();
    int64_t total = 0;
    for (int i = 1; i < arguments.count - 1; i++) {
        float *__restrict values = arguments[i].floats();
        const int64_t size = arguments[i].size();
        const float *__restrict own = change + total;
        for (int64_t k = 0; k < size; k++) values[k] -= own[k];
        total += size;
    }
    arguments.from_end(1).floats()[0] = 0;
    return total == arguments[0].size() ? 0 : 1;
}
