// Rows (pixels) of maps whose images belong to tasks, one task's after the other.

#pragma once

#include "onednn.h"
#include "operator.h"
#include "threads.h"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace mtln {

// Values of the maps that a thread works on at a time: this many stay in the second-level cache.
constexpr int64_t kBlockValues = 64 * 1024;

// Rows [begin, end) of one task.
struct TaskRows {
    int task;
    int64_t begin, end;
    int64_t count() const { return end - begin; }
};

// One or two maps side by side, as one matrix with a row per pixel.
struct Halves {
    Halves(const Tensor *maps, int count)
        : data{maps[0].floats(), count > 1 ? maps[1].floats() : nullptr},
          channels{maps[0].channels(), count > 1 ? maps[1].channels() : 0}, count(count) {}

    float *data[2];
    int64_t channels[2];
    int count;
    int64_t all_channels() const { return channels[0] + (count > 1 ? channels[1] : 0); }
};

class Tasks {
  public:
    // `counts`: images of every task; `pixels`: rows of an image.
    Tasks(const Tensor &counts, int64_t images, int64_t pixels) : ends_{0} {
        for (int64_t i = 0; i < counts.size(); i++) {
            const int64_t count = counts.integers()[i];
            if (count < 1) throw Failure("every task needs at least one image");
            ends_.push_back(ends_.back() + count * pixels);
        }
        if (ends_.back() != images * pixels) {
            throw Failure("the tasks' images are not as many as the map's");
        }
    }

    int count() const { return static_cast<int>(ends_.size()) - 1; }
    int64_t rows() const { return ends_.back(); }

    // Rows [begin, end), cut where another task begins.
    std::vector<TaskRows> between(int64_t begin, int64_t end) const {
        std::vector<TaskRows> found;
        const auto after = std::upper_bound(ends_.begin(), ends_.end(), begin);
        for (int task = static_cast<int>(after - ends_.begin()) - 1; begin < end; task++) {
            const int64_t stop = std::min(end, ends_[task + 1]);
            found.push_back({task, begin, stop});
            begin = stop;
        }
        return found;
    }

    bool starts_at(const TaskRows &rows) const { return ends_[rows.task] == rows.begin; }

    // Calls work(rows of one task) for all rows, in blocks of about `block`, at once in several
    // threads; blocks depend neither on their number nor on the other tasks.
    template <typename Work>
    void in_blocks(int64_t block, const Work &work) const {
        block = std::max(block / onednn::kRowsAtOnce, int64_t{1}) * onednn::kRowsAtOnce;
        std::vector<TaskRows> blocks;
        for (int task = 0; task < count(); task++) {
            for (int64_t begin = ends_[task]; begin < ends_[task + 1]; begin += block) {
                blocks.push_back({task, begin, std::min(begin + block, ends_[task + 1])});
            }
        }
        parallel(static_cast<int64_t>(blocks.size()), 1, [&](int64_t first, int64_t last) {
            for (int64_t i = first; i < last; i++) work(blocks[i]);
        });
    }

  private:
    std::vector<int64_t> ends_;
};

// Arguments [first, first + count) as tensors.
inline std::vector<Tensor> range(const Arguments &arguments, int first, int count) {
    std::vector<Tensor> found;
    for (int i = first; i < first + count; i++) found.push_back(arguments[i]);
    return found;
}

}  // namespace mtln
