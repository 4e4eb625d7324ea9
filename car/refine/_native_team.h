// Threads that go through the same loops together, one call long: nothing is left behind that a fork could break.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace car {

class Team {
public:
    // Run `work(team)` on every thread: calls of `each`, the same ones everywhere.
    template <class Work> static void run(int threads, const Work& work) {
        threads = std::max(1, threads);
        Shared shared(threads);
        std::vector<std::thread> others;
        {
            // No one starts before it is known how many there are.
            std::lock_guard<std::mutex> hold(shared.mutex);
            others.reserve(threads);
            for (int rank = 1; rank < threads; ++rank) {
                try {
                    others.emplace_back([&shared, &work, rank] {
                        { std::lock_guard<std::mutex> ready(shared.mutex); }
                        Team team(shared, rank);
                        work(team);
                    });
                } catch (const std::system_error&) {
                    break; // the system gives no more; fewer do
                }
            }
            shared.size = static_cast<int>(others.size()) + 1;
        }
        Team team(shared, 0);
        work(team);
        for (auto& other : others) other.join();
        if (shared.failure) std::rethrow_exception(shared.failure);
    }

    // Call `share(i)` for each i below `count`, once; all have returned at the end. A thread begins with its own part
    // of them, the same one for equal counts, whose data its cache may hold, and then helps the others.
    // What one throws is thrown at the end of `run`, and nothing more is called until then.
    template <class Share> void each(std::size_t count, const Share& share) {
        try {
            for (int i = 0; i < shared_.size; ++i) {
                const std::size_t part = (rank_ + i) % shared_.size;
                const std::size_t begin = count * part / shared_.size, end = count * (part + 1) / shared_.size;
                for (std::size_t at; !shared_.failed && (at = begin + shared_.done[part].count++) < end;) share(at);
            }
        } catch (...) {
            std::lock_guard<std::mutex> hold(shared_.mutex);
            shared_.failure = std::current_exception();
            shared_.failed = true;
        }
        meet();
    }

private:
    // Apart from one another in the cache.
    struct alignas(64) Counter {
        std::atomic<std::size_t> count{0};
    };

    struct Shared {
        explicit Shared(int threads) : done(threads) {}
        int size = 1;
        std::vector<Counter> done;
        std::atomic<int> arrived{0};
        std::atomic<unsigned> round{0};
        std::atomic<bool> failed{false};
        std::exception_ptr failure;
        std::mutex mutex;
        std::condition_variable passed;
    };

    Team(Shared& shared, int rank) : shared_(shared), rank_(rank) {}

    void meet() {
        const unsigned round = shared_.round;
        if (++shared_.arrived == shared_.size) {
            shared_.arrived = 0;
            for (auto& done : shared_.done) done.count = 0;
            {
                std::lock_guard<std::mutex> hold(shared_.mutex);
                ++shared_.round;
            }
            if (shared_.size > 1) shared_.passed.notify_all();
            return;
        }
        for (int spin = 0; spin < SPINS; ++spin)
            if (shared_.round != round) return;
        std::unique_lock<std::mutex> hold(shared_.mutex);
        shared_.passed.wait(hold, [&] { return shared_.round != round; });
    }

    static constexpr int SPINS = 4000; // some microseconds: about what it takes to sleep and wake

    Shared& shared_;
    const int rank_;
};

} // namespace car
