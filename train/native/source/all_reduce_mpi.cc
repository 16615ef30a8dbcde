// The sum of a vector over all ranks, by the MPI library that this process has loaded.
//
// What MPI's handles are differs from library to library (pointers or integers), so none of its
// headers is used: Python hands over the function and the handles as they are (train/native/mpi.py).

#include <cstdint>

#include "operator.h"

namespace {

using AllReduce = int (*)(const void *, void *, int, intptr_t, intptr_t, intptr_t);

AllReduce all_reduce = nullptr;
intptr_t float_type, sum, communicator;

}  // namespace

extern "C" MTLN_EXPORT void mtln_set_all_reduce(void *function, intptr_t type, intptr_t operation,
                                                intptr_t comm) {
    all_reduce = reinterpret_cast<AllReduce>(function);
    float_type = type;
    sum = operation;
    communicator = comm;
}

// vector (n,) -> its sum over the ranks (n,).
MTLN_OPERATOR(all_reduce_mpi) {
    const mtln::Tensor vector = arguments[0];
    return all_reduce(vector.data, arguments[1].data, static_cast<int>(vector.size()), float_type,
                      sum, communicator);
}
