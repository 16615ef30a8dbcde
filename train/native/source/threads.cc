#include "threads.h"

#include "operator.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace dnnl::threadpool_interop {

// The interface oneDNN calls, as its C++ header declares it.
struct threadpool_iface {
    virtual int get_num_threads() const = 0;
    virtual bool get_in_parallel() const = 0;
    virtual void parallel_for(int n, const std::function<void(int, int)> &fn) = 0;
    virtual uint64_t get_flags() const = 0;
    virtual ~threadpool_iface() = default;
};

}  // namespace dnnl::threadpool_interop

namespace mtln {
namespace {

thread_local bool in_parallel = false;

class Pool : public dnnl::threadpool_interop::threadpool_iface {
  public:
    explicit Pool(int threads) : threads_(threads) {
        for (int i = 1; i < threads; i++) workers_.emplace_back([this] { serve(); });
    }

    ~Pool() override {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            closing_ = true;
        }
        wake_.notify_all();
        for (auto &worker : workers_) worker.join();
    }

    // Parts are taken by whichever thread is free, the caller's included.
    void run(int parts, const std::function<void(int)> &work) {
        std::unique_lock<std::mutex> mine(users_, std::try_to_lock);
        // MindSpore may run two operators at once: the second one does without help.
        if (in_parallel || parts == 1 || workers_.empty() || !mine.owns_lock()) {
            for (int i = 0; i < parts; i++) work(i);
            return;
        }
        {
            std::lock_guard<std::mutex> lock(mutex_);
            work_ = &work;
            parts_ = parts;
            next_ = 0;
            left_ = parts;
        }
        wake_.notify_all();
        take_parts(work, parts);
        std::unique_lock<std::mutex> lock(mutex_);
        done_.wait(lock, [this] { return left_ == 0 && busy_ == 0; });
        work_ = nullptr;
    }

    int get_num_threads() const override { return threads_; }
    bool get_in_parallel() const override { return in_parallel; }
    uint64_t get_flags() const override { return 0; }
    void parallel_for(int n, const std::function<void(int, int)> &fn) override {
        run(n, [&](int i) { fn(i, n); });
    }

  private:
    void serve() {
        std::unique_lock<std::mutex> lock(mutex_);
        while (true) {
            wake_.wait(lock, [this] { return closing_ || (work_ && next_ < parts_); });
            if (closing_) return;
            const auto *work = work_;
            const int parts = parts_;
            busy_++;
            lock.unlock();
            take_parts(*work, parts);
            lock.lock();
            busy_--;
            if (left_ == 0 && busy_ == 0) done_.notify_one();
        }
    }

    void take_parts(const std::function<void(int)> &work, int parts) {
        in_parallel = true;
        for (int i = next_++; i < parts; i = next_++) {
            work(i);
            if (--left_ == 0) {
                std::lock_guard<std::mutex> lock(mutex_);
                done_.notify_one();
            }
        }
        in_parallel = false;
    }

    const int threads_;
    std::vector<std::thread> workers_;
    std::mutex users_, mutex_;
    std::condition_variable wake_, done_;
    const std::function<void(int)> *work_ = nullptr;
    int parts_ = 0, busy_ = 0;
    std::atomic<int> next_{0}, left_{0};
    bool closing_ = false;
};

std::unique_ptr<Pool> pool;

}  // namespace

int num_threads() { return pool ? pool->get_num_threads() : 1; }

void *onednn_threads() {
    return pool ? static_cast<dnnl::threadpool_interop::threadpool_iface *>(pool.get()) : nullptr;
}

void parallel_parts(int parts, const std::function<void(int)> &work) {
    if (pool) return pool->run(parts, work);
    for (int i = 0; i < parts; i++) work(i);
}

void parallel(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)> &work) {
    const int64_t most = std::max<int64_t>(1, count / std::max<int64_t>(1, grain));
    const int parts = static_cast<int>(std::min<int64_t>(num_threads(), most));
    if (parts == 1) return work(0, count);
    parallel_parts(parts, [&](int i) { work(count * i / parts, count * (i + 1) / parts); });
}

}  // namespace mtln

// The number of threads of every operator from now on. Not while operators run.
extern "C" MTLN_EXPORT void mtln_set_threads(int threads) {
    mtln::pool.reset(threads > 1 ? new mtln::Pool(threads) : nullptr);
}
