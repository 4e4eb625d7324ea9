// A table from keys of vertices to their numbers.
#pragma once

#include "_native.h"

#include <algorithm>
#include <cstring>

namespace car {

// Numbers of keys, in the order of their first appearance. Where all keys there could be are few, they are the
// addresses; else open addressing, linear probing, at most half full.
class Table {
public:
    Table() = default;
    Table(std::size_t expected, std::uint64_t cells) {
        if (cells <= 16 * expected) {
            direct_ = Buffer<std::int32_t>(cells);
            std::fill_n(direct_.data(), cells, -1);
            return;
        }
        while ((std::size_t(1) << bits_) < expected) ++bits_;
        clear();
    }

    void prefetch(std::int64_t key) const {
        if (direct_.size())
            __builtin_prefetch(&direct_[key]);
        else
            __builtin_prefetch(&slots_[home(key)]);
    }

    // -1 for keys that have none.
    std::int32_t find(std::int64_t key) const {
        if (direct_.size()) return direct_[key];
        std::size_t at = home(key);
        while (slots_[at].number >= 0 && !holds(slots_[at], key)) at = (at + 1) & (slots_.size() - 1);
        return slots_[at].number;
    }

    std::int32_t number(std::int64_t key) {
        if (direct_.size()) {
            if (direct_[key] < 0) direct_[key] = next(key);
            return direct_[key];
        }
        std::size_t at = home(key);
        while (slots_[at].number >= 0) {
            if (holds(slots_[at], key)) return slots_[at].number;
            at = (at + 1) & (slots_.size() - 1);
        }
        if (2 * (keys.size() + 1) > slots_.size()) {
            grow();
            return number(key);
        }
        slots_[at] = {tag(key), next(key)};
        return slots_[at].number;
    }

    std::vector<std::int64_t> keys; // by number

private:
    // Slots are small, for the table to stay in the cache: a tag tells most keys apart.
    struct Slot {
        std::uint32_t tag;
        std::int32_t number;
    };

    bool holds(const Slot& slot, std::int64_t key) const { return slot.tag == tag(key) && keys[slot.number] == key; }

    std::int32_t next(std::int64_t key) {
        keys.push_back(key);
        return static_cast<std::int32_t>(keys.size() - 1);
    }

    static std::uint64_t hash(std::int64_t key) { return static_cast<std::uint64_t>(key) * 0x9E3779B97F4A7C15u; }
    static std::uint32_t tag(std::int64_t key) { return static_cast<std::uint32_t>(hash(key) >> 12); }
    std::size_t home(std::int64_t key) const { return hash(key) >> (64 - bits_); }

    void clear() {
        slots_ = Buffer<Slot>(std::size_t(1) << bits_);
        std::memset(static_cast<void*>(slots_.data()), 0xFF, slots_.size() * sizeof(Slot));
    }

    void grow() {
        ++bits_;
        clear();
        for (std::size_t number = 0; number < keys.size(); ++number) {
            std::size_t at = home(keys[number]);
            while (slots_[at].number >= 0) at = (at + 1) & (slots_.size() - 1);
            slots_[at] = {tag(keys[number]), static_cast<std::int32_t>(number)};
        }
    }

    int bits_ = 10;
    Buffer<Slot> slots_;
    Buffer<std::int32_t> direct_;
};

} // namespace car
