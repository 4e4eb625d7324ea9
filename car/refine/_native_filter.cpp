// Filtering on lattices, and mean field.

#include "_native.h"
#include "_native_rows.h"
#include "_native_team.h"

#include <algorithm>
#include <cmath>

namespace car {
namespace {

constexpr std::int64_t BLURRED_AT_A_TIME = 1 << 16; // floats on a grid: two steps of the blur stay in the cache

// The blur on a grid, of rows of some channels.
class GridBlur {
public:
    GridBlur(const Lattice& lattice, const Functions& functions, const float* rows, float* blurred)
        : lattice_(lattice), functions_(functions), rows_(rows), blurred_(blurred) {}

    void operator()(Team& team, std::vector<float>& scratch) const {
        const std::int64_t width = -lattice_.steps[2];
        const std::int64_t chunk = std::max(2 * width, BLURRED_AT_A_TIME / std::max(4, functions_.channels));
        team.each((lattice_.rows + chunk - 1) / chunk, [&](std::int64_t share) {
            const Run whole = {share * chunk, std::min(lattice_.rows, (share + 1) * chunk)};
            // Each axis needs somewhat more of the one before.
            const Run second = wider(whole, width), first = wider(second, lattice_.steps[1]);
            const std::int64_t size = (first.end - first.begin) * functions_.channels;
            if (std::int64_t(scratch.size()) < 2 * size) scratch.resize(2 * size);
            float* const one = scratch.data();
            float* const two = one + size;
            along(0, first, rows_, one);
            along(1, second, one - first.begin * functions_.channels, two);
            along(2, whole, two - second.begin * functions_.channels, blurred_ + whole.begin * functions_.channels);
        });
    }

private:
    Run wider(const Run& run, std::int64_t by) const {
        return {std::max<std::int64_t>(0, run.begin - by), std::min(lattice_.rows, run.end + by)};
    }

    // The rows within `part`, zero where there is no vertex.
    void along(int axis, const Run& part, const float* in, float* out) const {
        const int channels = functions_.channels;
        auto run = std::upper_bound(lattice_.runs.begin(), lattice_.runs.end(), part.begin,
                                    [](std::int64_t row, const Run& other) { return row < other.end; });
        std::int64_t at = part.begin;
        for (; run < lattice_.runs.end() && run->begin < part.end; ++run) {
            const std::int64_t begin = std::max(at, run->begin), end = std::min(part.end, run->end);
            out = std::fill_n(out, (begin - at) * channels, 0.0f);
            functions_.blend(in + begin * channels, lattice_.steps[axis] * channels, (end - begin) * channels, out);
            out += (end - begin) * channels;
            at = end;
        }
        std::fill_n(out, (part.end - at) * channels, 0.0f);
    }

    const Lattice& lattice_;
    const Functions& functions_;
    const float* rows_;
    float* blurred_;
};

// What several lattices hold while they filter the same channels together, turn after turn: points are splatted, band
// by band, then the lattice settles, then points are sliced, while the next turn may be splatted already.
class Filter {
public:
    Filter(const std::vector<Kernel>& kernels, const Functions& functions) : functions_(functions) {
        for (const auto& [lattice, weight] : kernels) {
            Held held;
            held.lattice = lattice;
            held.weight = weight * lattice->alpha;
            for (auto& rows : held.rows) rows = Buffer<float>(lattice->all_rows * functions.channels);
            // What lies behind the last vertex is read on a grid, and never splatted to.
            const std::int64_t used = lattice->marks.back().own * std::int64_t(functions.channels);
            std::fill(held.rows[0].data() + used, held.rows[0].data() + lattice->rows * functions.channels, 0.0f);
            held_.push_back(std::move(held));
        }
    }

    // A tile of a band: slice the turn before this one, then splat this one.
    class Cursor {
    public:
        Cursor(Filter& filter, std::size_t band, std::int64_t turn) : filter_(filter) {
            for (auto& held : filter.held_) {
                const Lattice& lattice = *held.lattice;
                gathered_.push_back({lattice.entries.data(), lattice.corners, held.weight, held.blurred(turn - 1),
                                     held.splatted(turn)});
                marks_.push_back(lattice.bands[band].start);
            }
        }

        void slice(std::int64_t tile, float* messages) const {
            filter_.functions_.slice(gathered_.data(), int(gathered_.size()), tile * TILE, (tile + 1) * TILE, messages);
        }

        // All tiles of the band, in order.
        void splat(std::int64_t tile, const float* values) {
            std::int64_t end = (tile + 1) * TILE;
            for (std::size_t k = 0; k < gathered_.size(); ++k) {
                const Lattice& lattice = *filter_.held_[k].lattice;
                const Mark &from = marks_[k], &to = lattice.marks[tile];
                clear(gathered_[k].to, from.own, to.own);
                clear(gathered_[k].to, lattice.rows + from.foreign, lattice.rows + to.foreign);
                marks_[k] = to;
                end = std::min(end, lattice.points);
            }
            filter_.functions_.splat(gathered_.data(), int(gathered_.size()), tile * TILE, end, values);
        }

    private:
        void clear(float* rows, std::int64_t begin, std::int64_t end) const {
            const int channels = filter_.functions_.channels;
            std::fill(rows + begin * channels, rows + end * channels, 0.0f);
        }

        const Filter& filter_;
        std::vector<Gathered> gathered_;
        std::vector<Mark> marks_;
    };

    // Values (points, C), from beginning to end; they become what is sliced.
    void operator()(Team& team, std::int64_t turn, float* rows) {
        std::vector<float> scratch;
        splat(team, turn, rows);
        settle(team, turn, scratch);
        slice(team, turn, rows);
    }

    void splat(Team& team, std::int64_t turn, const float* rows) {
        each_tile(team, turn, [&](Cursor& cursor, std::int64_t tile) {
            cursor.splat(tile, rows + tile * TILE * functions_.channels);
        });
    }

    void slice(Team& team, std::int64_t turn, float* rows) {
        each_tile(team, turn + 1, [&](Cursor& cursor, std::int64_t tile) {
            cursor.slice(tile, rows + tile * TILE * functions_.channels);
        });
    }

    // Call `work(cursor, tile)` for all tiles, those of a band in order.
    template <class Work> void each_tile(Team& team, std::int64_t turn, const Work& work) {
        const auto& bands = held_[0].lattice->bands;
        team.each(bands.size(), [&](std::size_t number) {
            Cursor cursor(*this, number, turn);
            for (std::int64_t tile = bands[number].begin; tile < bands[number].end; ++tile) work(cursor, tile);
        });
    }

    // Blur what was splatted in a turn.
    void settle(Team& team, std::int64_t turn, std::vector<float>& scratch) {
        for (auto& held : held_) {
            const Lattice& lattice = *held.lattice;
            float* const rows = held.splatted(turn);
            const auto& parts = lattice.merge_parts;
            team.each(parts.size() - 1, [&](std::size_t share) {
                functions_.merge(&lattice.merges[parts[share]], lattice.merges.data() + parts[share + 1], rows);
            });
            if (lattice.axes.empty()) GridBlur(lattice, functions_, rows, held.blurred(turn))(team, scratch);
            for (const auto& axis : lattice.axes)
                team.each(axis.parts.size() - 1, [&](std::size_t share) {
                    const std::int32_t* chains = axis.chains.data();
                    functions_.blur(chains + axis.parts[share], chains + axis.parts[share + 1], rows);
                });
        }
    }

private:
    struct Held {
        const Lattice* lattice;
        float weight;
        Buffer<float> rows[2];

        // Chains are blurred in place, and a grid from one buffer to the other.
        float* splatted(std::int64_t turn) { return rows[lattice->axes.empty() ? 0 : turn & 1].data(); }
        float* blurred(std::int64_t turn) { return rows[lattice->axes.empty() ? 1 : turn & 1].data(); }
    };

    const Functions& functions_;
    std::vector<Held> held_;
};

// The bands of points are the same for all lattices of the same points.
template <class Work> void each_band(Team& team, const Lattice& lattice, const Work& work) {
    team.each(lattice.bands.size(), [&](std::size_t band) { work(band, lattice.bands[band]); });
}

// Iterations for sets of labels on one image.
class MeanField {
public:
    MeanField(const std::vector<Kernel>& kernels, const float* energies, float* q, std::int64_t sets,
              std::int64_t labels)
        : lattice_(*kernels[0].lattice), input_(energies), output_(q), points_(lattice_.points), sets_(sets),
          labels_(labels), channels_(sets * (labels - 1)), blocks_((channels_ + MOST_CHANNELS - 1) / MOST_CHANNELS),
          functions_(functions_for((channels_ + blocks_ - 1) / blocks_)), filter_(kernels, functions_),
          energies_(lattice_.tiles * channels_ * TILE), rows_(blocks_ > 1 ? blocks_ * block() : 0) {}

    void run(std::int64_t iterations, int threads) {
        Team::run(threads, [&](Team& team) {
            std::vector<float> scratch;
            blocks_ > 1 ? block_by_block(team, iterations, scratch) : at_once(team, iterations, scratch);
        });
    }

private:
    // Where all channels fit a row, a tile is sliced, normalised and splatted again while it is in the cache.
    void at_once(Team& team, std::int64_t iterations, std::vector<float>& scratch) {
        for (std::int64_t turn = 0; turn <= iterations; ++turn) {
            if (turn) filter_.settle(team, turn - 1, scratch);
            each_band(team, [&](std::size_t number) {
                Filter::Cursor cursor(filter_, number, turn);
                std::vector<float> columns(room()), rows(functions_.channels * TILE, 0.0f);
                const Band& band = lattice_.bands[number];
                for (std::int64_t tile = band.begin; tile < band.end; ++tile) {
                    turn ? cursor.slice(tile, rows.data()) : begin(tile, rows.data());
                    update(tile, columns.data(), rows.data(), turn == iterations);
                    if (turn < iterations) cursor.splat(tile, rows.data());
                }
            });
        }
    }

    // Else so many channels at a time are filtered, and all of them wait for the rest.
    void block_by_block(Team& team, std::int64_t iterations, std::vector<float>& scratch) {
        for (std::int64_t done = 0, turn = 0; done <= iterations; ++done) {
            each_band(team, [&](std::size_t number) {
                std::vector<float> columns(room());
                const Band& band = lattice_.bands[number];
                for (std::int64_t tile = band.begin; tile < band.end; ++tile) {
                    float* const rows = &rows_[tile * TILE * functions_.channels];
                    if (!done) begin(tile, rows);
                    update(tile, columns.data(), rows, done == iterations);
                }
            });
            for (std::int64_t b = 0; done < iterations && b < blocks_; ++b, ++turn) {
                float* const rows = &rows_[b * block()];
                filter_.splat(team, turn, rows);
                filter_.settle(team, turn, scratch);
                filter_.slice(team, turn, rows);
            }
        }
    }

    template <class Work> void each_band(Team& team, const Work& work) { team.each(lattice_.bands.size(), work); }

    std::int64_t block() const { return lattice_.tiles * TILE * functions_.channels; }
    std::size_t room() const { return (blocks_ * functions_.channels + 1) * TILE; }

    // The energies of a tile, of the last label less each other's; no messages yet.
    void begin(std::int64_t tile, float* rows) {
        const std::int64_t count = std::min<std::int64_t>(TILE, points_ - tile * TILE);
        float* energies = &energies_[tile * channels_ * TILE];
        for (std::int64_t set = 0; set < sets_; ++set) {
            const float* in = input_ + set * labels_ * points_ + tile * TILE;
            const float* last = in + (labels_ - 1) * points_;
            for (; in < last; in += points_, energies += TILE)
                for (std::int64_t t = 0; t < TILE; ++t) energies[t] = t < count ? last[t] - in[t] : 0;
        }
        for (std::int64_t b = 0; b < blocks_; ++b) std::fill_n(rows + b * block(), TILE * functions_.channels, 0.0f);
    }

    void update(std::int64_t tile, float* columns, float* rows, bool last) {
        Update u;
        u.energies = &energies_[tile * channels_ * TILE];
        u.rows = rows;
        u.last = columns;
        u.columns = columns + TILE;
        u.out = last ? output_ + tile * TILE : nullptr;
        u.sets = sets_, u.labels = labels_, u.blocks = blocks_, u.stride = block(), u.points = points_;
        u.count = std::min<std::int64_t>(TILE, points_ - tile * TILE);
        functions_.update(u);
    }

    const Lattice& lattice_;
    const float* input_;
    float* output_;
    std::int64_t points_, sets_, labels_, channels_, blocks_;
    const Functions& functions_;
    Filter filter_;
    Buffer<float> energies_, rows_;
};

} // namespace

void filter(const Lattice& lattice, const float* values, float* filtered, std::int64_t channels, int threads) {
    const std::int64_t blocks = (channels + MOST_CHANNELS - 1) / MOST_CHANNELS;
    if (!blocks) return;
    const Functions& functions = functions_for((channels + blocks - 1) / blocks);
    const std::int64_t width = functions.channels;
    Filter filter({{&lattice, 1.0f}}, functions);
    Buffer<float> rows(lattice.tiles * TILE * width);
    for (std::int64_t first = 0, turn = 0; first < channels; first += width, ++turn) {
        const std::int64_t count = std::min<std::int64_t>(width, channels - first);
        std::fill(rows.data(), rows.data() + rows.size(), 0.0f);
        for (std::int64_t p = 0; p < lattice.points; ++p)
            std::copy_n(values + p * channels + first, count, &rows[p * width]);
        Team::run(threads, [&](Team& team) { filter(team, turn, rows.data()); });
        for (std::int64_t p = 0; p < lattice.points; ++p)
            std::copy_n(&rows[p * width], count, filtered + p * channels + first);
    }
}

void normalize(std::vector<Lattice>& lattices, int threads) {
    for (auto& lattice : lattices) {
        const std::int64_t corners = lattice.corners;
        Buffer<float> sums(lattice.tiles * TILE);
        std::fill_n(sums.data(), sums.size(), 1.0f);
        Filter filter({{&lattice, 1.0f}}, functions_for(1));
        Team::run(threads, [&](Team& team) {
            filter(team, 0, sums.data());
            team.each(lattice.bands.size(), [&](std::size_t number) {
                const Band& band = lattice.bands[number];
                for (std::int64_t p = band.begin * TILE; p < band.end * TILE; ++p) {
                    const float norm = 1 / std::sqrt(sums[p] + 1e-20f);
                    for (std::int64_t i = p * corners; i < (p + 1) * corners; ++i) lattice.entries[i].weight *= norm;
                }
            });
        });
        lattice.symmetric = true;
    }
}

void mean_field(const std::vector<Kernel>& kernels, const float* energies, float* q, std::int64_t sets,
                std::int64_t labels, std::int64_t iterations, int threads) {
    MeanField(kernels, energies, q, sets, labels).run(iterations, threads);
}

} // namespace car
