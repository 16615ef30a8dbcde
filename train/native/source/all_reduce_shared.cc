// The sum of a vector over all ranks of one machine, through memory that they share.
//
// The vector goes piece by piece: every rank copies its piece into a slot of its own, sums a part of
// all slots, in the order of the ranks, so that every value has been summed by one rank only, and
// copies the result. p = number of ranks.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <cstdint>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "operator.h"

namespace {

using Word = std::atomic<uint32_t>;
static_assert(sizeof(Word) == sizeof(uint32_t) && Word::is_always_lock_free,
              "the kernel and other processes have to see the same word");

// Looks at a word before the kernel is asked to wait: a rank is often late by microseconds.
constexpr int LOOKS = 4000;

// What the memory begins with. All zero when it is made.
struct Header {
    alignas(64) Word arrived;
    alignas(64) Word round;
};

// The memory: a header, then the result and the slots, `piece` values each.
struct Group {
    Header *header = nullptr;
    float *result = nullptr;
    int64_t piece = 0;
    uint32_t rank = 0, ranks = 0;
    std::chrono::seconds patience{0};

    float *slot(uint32_t r) const { return result + (r + 1) * piece; }
};

Group group;

// Sleeps until the word has changed, a signal comes, or a second is over.
void sleep_while(Word &word, uint32_t value) {
    const timespec second{1, 0};
    syscall(SYS_futex, &word, FUTEX_WAIT, value, &second, nullptr, 0);
}

// Waits for all ranks; false if one does not come.
bool meet() {
    Header &header = *group.header;
    const uint32_t round = header.round.load(std::memory_order_acquire);
    if (header.arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == group.ranks) {
        header.arrived.store(0, std::memory_order_relaxed);
        header.round.fetch_add(1, std::memory_order_release);
        syscall(SYS_futex, &header.round, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
        return true;
    }
    for (int i = 0; i < LOOKS; i++)
        if (header.round.load(std::memory_order_acquire) != round) return true;
    const auto give_up = std::chrono::steady_clock::now() + group.patience;
    while (header.round.load(std::memory_order_acquire) == round) {
        if (std::chrono::steady_clock::now() > give_up) return false;
        sleep_while(header.round, round);
    }
    return true;
}

// This rank's part of the sums of `size` values.
void sum_part(int64_t size) {
    const int64_t begin = size * group.rank / group.ranks;
    const int64_t end = size * (group.rank + 1) / group.ranks;
    float *__restrict result = group.result;
    std::copy(group.slot(0) + begin, group.slot(0) + end, result + begin);
    for (uint32_t r = 1; r < group.ranks; r++) {
        const float *__restrict other = group.slot(r);
        for (int64_t i = begin; i < end; i++) result[i] += other[i];
    }
}

bool all_reduce(const float *in, float *out, int64_t size) {
    for (int64_t done = 0; done < size; done += group.piece) {
        const int64_t count = std::min(group.piece, size - done);
        // Nobody reads a slot after the second meeting, nor the result after the next first one.
        std::copy_n(in + done, count, group.slot(group.rank));
        if (!meet()) return false;
        sum_part(count);
        if (!meet()) return false;
        std::copy_n(group.result, count, out + done);
    }
    return true;
}

}  // namespace

// memory: zeros, of mtln_shared_bytes(ranks, piece) bytes, mapped by all ranks of the group.
extern "C" MTLN_EXPORT void mtln_share(void *memory, int64_t piece, int rank, int ranks,
                                       int patience) {
    group.header = static_cast<Header *>(memory);
    group.result = reinterpret_cast<float *>(group.header + 1);
    group.piece = piece;
    group.rank = static_cast<uint32_t>(rank);
    group.ranks = static_cast<uint32_t>(ranks);
    group.patience = std::chrono::seconds(patience);
}

extern "C" MTLN_EXPORT int64_t mtln_shared_bytes(int ranks, int64_t piece) {
    return static_cast<int64_t>(sizeof(Header)) + (ranks + 1) * piece * 4;
}

// vector (n,) -> its sum over the ranks (n,).
MTLN_OPERATOR(all_reduce_shared) {
    const mtln::Tensor vector = arguments[0];
    return all_reduce(vector.floats(), arguments[1].floats(), vector.size()) ? 0 : 1;
}
