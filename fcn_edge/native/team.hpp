// Thread pool: `count` threads including the caller.
#pragma once

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace fcn_edge {

class Team {
  public:
    explicit Team(int threads) : process_(getpid()) {
        for (int worker = 1; worker < threads; ++worker)
            threads_.emplace_back([this, worker] { serve(worker); });
    }
    ~Team() {
        if (getpid() != process_) {  // a forked child has no threads to join
            for (auto& thread : threads_) thread.detach();
            return;
        }
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            closing_ = true;
        }
        wake_.notify_all();
        for (auto& thread : threads_) thread.join();
    }
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    int size() const { return static_cast<int>(threads_.size()) + 1; }

    // Calls work(part, worker) once for every part; returns when all are done. One caller at a time.
    void share(int parts, const std::function<void(int, int)>& work) {
        const bool alone = parts < 2 || threads_.empty() || getpid() != process_;
        next_ = 0;
        if (!alone) {
            {
                const std::lock_guard<std::mutex> lock(mutex_);
                work_ = &work, parts_ = parts, busy_ = static_cast<int>(threads_.size()), ++turn_;
            }
            wake_.notify_all();
        }
        take(work, parts, 0);
        if (!alone) {
            std::unique_lock<std::mutex> lock(mutex_);
            done_.wait(lock, [this] { return busy_ == 0; });
        }
    }

  private:
    void take(const std::function<void(int, int)>& work, int parts, int worker) {
        for (int part; (part = next_.fetch_add(1)) < parts;) work(part, worker);
    }

    void serve(int worker) {
        std::unique_lock<std::mutex> lock(mutex_);
        for (unsigned turn = 0;;) {
            wake_.wait(lock, [&] { return closing_ || turn_ != turn; });
            if (closing_) return;
            turn = turn_;
            const auto* work = work_;
            const int parts = parts_;
            lock.unlock();
            take(*work, parts, worker);
            lock.lock();
            if (--busy_ == 0) done_.notify_one();
        }
    }

    const pid_t process_;
    std::vector<std::thread> threads_;
    std::mutex mutex_;
    std::condition_variable wake_, done_;
    const std::function<void(int, int)>* work_ = nullptr;
    std::atomic<int> next_{0};
    int parts_ = 0, busy_ = 0;
    unsigned turn_ = 0;
    bool closing_ = false;
};

}  // namespace fcn_edge
