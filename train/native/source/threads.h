// The threads of this process that share the work of one operator.

#pragma once

#include <cstdint>
#include <functional>

namespace mtln {

// As many as Python has set (mtln_set_threads); 1 until then.
int num_threads();

// Calls work(begin, end) for parts that together cover 0..count-1, at once in several threads.
// A part has at least `grain` numbers, except the last. Which part a number is in depends on the
// number of threads alone, so that results are repeatable.
void parallel(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)> &work);

// Calls work(part) for part 0..parts-1, at once in several threads.
void parallel_parts(int parts, const std::function<void(int)> &work);

// oneDNN's view of the same threads (dnnl::threadpool_interop::threadpool_iface *); null for one.
void *onednn_threads();

}  // namespace mtln
