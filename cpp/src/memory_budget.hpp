// Memory that threads share: whoever needs some of it waits until there is enough. It allocates nothing.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace ghostclas {

class MemoryBudget {
  public:
    // As many bytes as one image of ordinary size may take.
    explicit MemoryBudget(std::uint64_t size = 400'000'000) : size_(size), free_(size) {}

    // Holds a part until it is destroyed. More bytes than there are mean all of them. A thread that holds one
    // must not ask for another: it would wait for itself.
    class Part {
      public:
        Part(MemoryBudget* budget, std::uint64_t count) : budget_(budget) {
            if (budget_ == nullptr) return;
            count_ = std::min(count, budget_->size_);
            // Whoever waits keeps the turn: small holders that come later do not overtake a large one for ever.
            const std::lock_guard<std::mutex> turn(budget_->turn_);
            std::unique_lock<std::mutex> lock(budget_->mutex_);
            budget_->returned_.wait(lock, [this] { return budget_->free_ >= count_; });
            budget_->free_ -= count_;
        }
        Part(const Part&) = delete;
        Part& operator=(const Part&) = delete;
        ~Part() {
            if (budget_ == nullptr) return;
            {
                const std::lock_guard<std::mutex> lock(budget_->mutex_);
                budget_->free_ += count_;
            }
            budget_->returned_.notify_one();
        }

      private:
        MemoryBudget* budget_;
        std::uint64_t count_ = 0;
    };

  private:
    const std::uint64_t size_;
    std::uint64_t free_;
    std::mutex turn_;
    std::mutex mutex_;
    std::condition_variable returned_;
};

}  // namespace ghostclas
