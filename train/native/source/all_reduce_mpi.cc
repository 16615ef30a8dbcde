// The sum of a vector over all ranks, by the MPI library that this process has loaded.
//
// What MPI's handles are differs from library to library (pointers or integers), so none of its
// headers is used: Python hands over the functions and the handles as they are
// (train/distributed/mpi_engine.py).

#include <algorithm>
#include <cstdint>
#include <vector>

#include "half.h"
#include "operator.h"

namespace {

using AllReduce = int (*)(const void *, void *, int, intptr_t, intptr_t, intptr_t);
// MPI_Alltoall and MPI_Allgather.
using Exchange = int (*)(const void *, int, intptr_t, void *, int, intptr_t, intptr_t);

struct Library {
    AllReduce all_reduce;
    Exchange all_to_all, all_gather;
    intptr_t float_type, half_type, sum, communicator;
    int ranks;
};

Library mpi = {};

// Values that are added up at a time: they stay in the cache.
constexpr int64_t BLOCK = 2048;

// Adds up as many values of every rank, `share` values apart, and rounds the sum only.
template <typename Half>
void add(int64_t share, const uint16_t *parts, uint16_t *sums) {
    float total[BLOCK];
    for (int64_t begin = 0; begin < share; begin += BLOCK) {
        const int64_t count = std::min(BLOCK, share - begin);
        for (int64_t i = 0; i < count; i++) total[i] = Half::decode(parts[begin + i]);
        for (int rank = 1; rank < mpi.ranks; rank++) {
            const uint16_t *part = parts + rank * share + begin;
            for (int64_t i = 0; i < count; i++) total[i] += Half::decode(part[i]);
        }
        for (int64_t i = 0; i < count; i++) sums[begin + i] = Half::encode(total[i]);
    }
}

// The sum with 16-bit numbers on the wire. Every rank adds up a share of the vector in float32, so
// what is rounded are the terms and the sum, whatever the number of ranks, and nothing in between.
// As many bytes travel as in a ring.
template <typename Half>
int all_reduce_in_half(const mtln::Tensor &vector, const mtln::Tensor &result) {
    // Between the steps they are kept: to get that much memory anew takes longer than to use it.
    static std::vector<uint16_t> sent, received;
    const int64_t size = vector.size(), share = (size + mpi.ranks - 1) / mpi.ranks;
    sent.resize(share * mpi.ranks);
    received.resize(share * mpi.ranks);
    const float *__restrict values = vector.floats();
    float *__restrict sums = result.floats();
    uint16_t *__restrict out = sent.data(), *__restrict in = received.data();
    const int count = static_cast<int>(share);

    for (int64_t i = 0; i < size; i++) out[i] = Half::encode(values[i]);
    std::fill(out + size, out + share * mpi.ranks, uint16_t{0});
    if (int error = mpi.all_to_all(out, count, mpi.half_type, in, count, mpi.half_type,
                                   mpi.communicator))
        return error;
    add<Half>(share, in, out);
    if (int error = mpi.all_gather(out, count, mpi.half_type, in, count, mpi.half_type,
                                   mpi.communicator))
        return error;
    for (int64_t i = 0; i < size; i++) sums[i] = Half::decode(in[i]);
    return 0;
}

}  // namespace

extern "C" MTLN_EXPORT void mtln_set_mpi(void *all_reduce, void *all_to_all, void *all_gather,
                                         intptr_t float_type, intptr_t half_type, intptr_t sum,
                                         intptr_t communicator, int ranks) {
    mpi.all_reduce = reinterpret_cast<AllReduce>(all_reduce);
    mpi.all_to_all = reinterpret_cast<Exchange>(all_to_all);
    mpi.all_gather = reinterpret_cast<Exchange>(all_gather);
    mpi.float_type = float_type;
    mpi.half_type = half_type;
    mpi.sum = sum;
    mpi.communicator = communicator;
    mpi.ranks = ranks;
}

// vector (n,) -> its sum over the ranks (n,).
MTLN_OPERATOR(all_reduce_float32) {
    const mtln::Tensor vector = arguments[0];
    return mpi.all_reduce(vector.data, arguments[1].data, static_cast<int>(vector.size()),
                          mpi.float_type, mpi.sum, mpi.communicator);
}

// The same with numbers of 16 bits on the wire; vector and sum are float32.
MTLN_OPERATOR(all_reduce_float16) {
    return all_reduce_in_half<mtln::Float16>(arguments[0], arguments[1]);
}

MTLN_OPERATOR(all_reduce_bfloat16) {
    return all_reduce_in_half<mtln::BFloat16>(arguments[0], arguments[1]);
}
