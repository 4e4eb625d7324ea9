// Building lattices: vertices to numbers, points to bands, neighbours to chains.

#include "_native.h"
#include "_native_place.h"
#include "_native_table.h"
#include "_native_team.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace car {
namespace {

constexpr std::size_t POINTS_AT_A_TIME = 2048;
constexpr std::size_t VERTICES_AT_A_TIME = 8192;
constexpr std::size_t CHAINED_AT_A_TIME = 8192;
constexpr std::size_t MERGED_AT_A_TIME = 4096;
constexpr std::int64_t MOST_BANDS = 8, BAND = 8192; // of points: how many there are, and how many are in one at least
constexpr int AHEAD = 12; // points or vertices whose slots are fetched before they are needed

// Vertices in a plane, on lines along the first feature.
//
// With x the coordinates of a vertex, x0 + x1 says on which line it lies, and (x0 - x1) / 3 where; the two are both even
// or both odd, hence with `width` odd so is line * width + place, and half of it numbers the vertices.
struct Grid {
    std::int64_t cells, steps[3];

    Grid(const Features& features, const Placing& placing) : placing_(placing) {
        float low[2], high[2];
        for (int i = 0; i < 2; ++i) low[i] = high[i] = features.values[i];
        for (std::int64_t p = 0; p < features.points; ++p)
            for (int i = 0; i < 2; ++i) {
                low[i] = std::min(low[i], features.values[2 * p + i]);
                high[i] = std::max(high[i], features.values[2 * p + i]);
            }
        const auto begin = [&](int i, float factor) { return std::int64_t(std::floor(low[i] * factor)) - MARGIN; };
        const auto end = [&](int i, float factor) { return std::int64_t(std::ceil(high[i] * factor)) + MARGIN; };
        const float place = placing.scale[1] * 2 / 3, line = placing.scale[2] * 2;
        width_ = (end(0, place) - begin(0, place) + 1) | 1;
        first_ = begin(1, line) * width_ + begin(0, place);
        first_ -= first_ & 1;
        cells = ((end(1, line) - begin(1, line) + 1) * width_ + 2) / 2;
        steps[0] = (width_ + 1) / 2;
        steps[1] = (width_ - 1) / 2;
        steps[2] = -width_;
    }

    std::int64_t row(std::int64_t key) const {
        const std::int64_t x0 = key / placing_.stride[0] + placing_.low[0];
        const std::int64_t x1 = key % placing_.stride[0] + placing_.low[1];
        return ((x0 + x1) * width_ + (x0 - x1) / 3 - first_) / 2;
    }

private:
    static constexpr std::int64_t MARGIN = 4; // more than the vertices of a simplex are apart

    const Placing& placing_;
    std::int64_t width_, first_;
};

class Builder {
public:
    explicit Builder(const Features& features)
        : features_(features), placing_(features), corners_(features.dimensions + 1) {
        lattice.points = features.points;
        lattice.tiles = (features.points + TILE - 1) / TILE;
        lattice.corners = corners_;
        lattice.alpha = placing_.alpha;
        lattice.entries = Buffer<Entry>(lattice.tiles * TILE * corners_ + ENTRIES_AHEAD);
        keys_ = Buffer<std::int64_t>(features.points * corners_);
        const std::int64_t bands = std::max<std::int64_t>(1, std::min(MOST_BANDS, features.points / BAND));
        for (std::int64_t b = 0; b < bands; ++b)
            lattice.bands.push_back({lattice.tiles * b / bands, lattice.tiles * (b + 1) / bands, {}});
    }

    std::size_t placings() const { return (features_.points + POINTS_AT_A_TIME - 1) / POINTS_AT_A_TIME; }

    void place(std::size_t share) {
        const std::int64_t end = std::min<std::int64_t>(features_.points, (share + 1) * POINTS_AT_A_TIME);
        float weights[TILE * (MOST_DIMENSIONS + 1)];
        for (std::int64_t p = share * POINTS_AT_A_TIME; p < end; p += TILE) {
            const int count = static_cast<int>(std::min<std::int64_t>(TILE, end - p));
            const float* features = features_.values + p * features_.dimensions;
            car::place(placing_, features, count, &keys_[p * corners_], weights);
            for (int i = 0; i < count * corners_; ++i) lattice.entries[p * corners_ + i].weight = weights[i];
        }
    }

    // Number the vertices. The one step that is not shared: what has a number depends on all before.
    void number() {
        if (!lay_on_grid()) {
            look_up();
            ahead_ = Buffer<std::int32_t>(lattice.vertices * corners_);
            has_behind_ = Buffer<char>(lattice.vertices * corners_);
            std::memset(has_behind_.data(), 0, has_behind_.size());
            lattice.axes = std::vector<Axis>(corners_);
            for (auto& axis : lattice.axes) axis.chains = Buffer<std::int32_t>(lattice.vertices + CHAIN_AHEAD);
        }
        keys_ = {};
        const std::int64_t count = features_.points * corners_;
        for (std::int64_t i = count; i < std::int64_t(lattice.entries.size()); ++i) lattice.entries[i] = {0, 0, 0};
    }

    std::size_t searches() const {
        return lattice.axes.size() * ((lattice.vertices + VERTICES_AT_A_TIME - 1) / VERTICES_AT_A_TIME);
    }

    // Which vertex lies ahead of each one along an axis, or -1.
    void search(std::size_t share) {
        const std::size_t axis = share % corners_, begin = share / corners_ * VERTICES_AT_A_TIME;
        const std::size_t end = std::min<std::size_t>(lattice.vertices, begin + VERTICES_AT_A_TIME);
        const std::int64_t step = corners_ * placing_.stride[axis] - placing_.sum;
        std::int32_t* ahead = &ahead_[axis * lattice.vertices];
        char* has_behind = &has_behind_[axis * lattice.vertices];
        for (std::size_t v = begin; v < end; ++v) {
            if (v + AHEAD < end) table_.prefetch(table_.keys[v + AHEAD] + step);
            ahead[v] = table_.find(table_.keys[v] + step);
            if (ahead[v] >= 0) has_behind[ahead[v]] = 1;
        }
    }

    void chain(std::size_t number) {
        Axis& axis = lattice.axes[number];
        const std::int32_t* ahead = &ahead_[number * lattice.vertices];
        const char* has_behind = &has_behind_[number * lattice.vertices];
        std::size_t end = 0;
        axis.parts = {0};
        for (std::int64_t start = 0; start < lattice.vertices; ++start) {
            if (has_behind[start] || ahead[start] < 0) continue;
            std::int32_t at = static_cast<std::int32_t>(start);
            for (; ahead[at] >= 0; at = ahead[at]) axis.chains[end++] = at;
            axis.chains[end++] = ~at;
            if (end >= axis.parts.back() + CHAINED_AT_A_TIME) axis.parts.push_back(end);
        }
        if (end > axis.parts.back()) axis.parts.push_back(end);
        std::fill(axis.chains.data() + end, axis.chains.data() + axis.chains.size(), 0);
    }

    std::size_t axes() const { return lattice.axes.size(); }

    // Where each band splats to: rows behind those of all bands before are its own, for others it gets new ones.
    void share_out() {
        lattice.marks.resize(lattice.tiles);
        std::vector<std::int32_t> foreign_of(lattice.rows, -1), found;
        std::int32_t top = 0;
        for (auto& band : lattice.bands) {
            band.start = {top, static_cast<std::int32_t>(found.size())};
            for (std::int64_t tile = band.begin; tile < band.end; ++tile) {
                const std::int64_t end = std::min(lattice.points, (tile + 1) * TILE) * corners_;
                for (std::int64_t i = tile * TILE * corners_; i < end; ++i) {
                    Entry& entry = lattice.entries[i];
                    entry.target = entry.row;
                    top = std::max(top, entry.row + 1);
                    if (entry.row >= band.start.own) continue;
                    std::int32_t& foreign = foreign_of[entry.row];
                    if (foreign < band.start.foreign) {
                        foreign = static_cast<std::int32_t>(found.size());
                        found.push_back(entry.row);
                    }
                    entry.target = static_cast<std::int32_t>(lattice.rows + foreign);
                }
                lattice.marks[tile] = {top, static_cast<std::int32_t>(found.size())};
            }
        }
        lattice.all_rows = lattice.rows + found.size();
        if (lattice.all_rows > INT32_MAX) throw std::bad_alloc();
        sort_merges(found);
    }

    Lattice lattice;

private:
    // Points that are close to each other in a plane, as pixels are, touch all the vertices around them: these have
    // rows where they lie, on lines of `step` half cells, and no table is needed, nor chains. False if it does not pay.
    bool lay_on_grid() {
        if (features_.dimensions != 2) return false;
        const Grid grid(features_, placing_);
        if (grid.cells > 2 * features_.points + 1024) return false;
        const std::int64_t count = features_.points * corners_;
        std::vector<char> touched(grid.cells + 1, 0);
        for (std::int64_t i = 0; i < count; ++i) {
            const std::int64_t row = grid.row(keys_[i]);
            lattice.entries[i].row = static_cast<std::int32_t>(row);
            touched[row] = 1;
        }
        lattice.runs.clear();
        for (std::int64_t row = 0; row < grid.cells; ++row) {
            if (!touched[row]) continue;
            const std::int64_t begin = row;
            while (touched[row]) ++row;
            lattice.runs.push_back({begin, row});
            lattice.vertices += row - begin;
        }
        lattice.rows = grid.cells;
        std::copy_n(grid.steps, 3, lattice.steps);
        return true;
    }

    void look_up() {
        table_ = Table(features_.points, features_.cells);
        const std::int64_t count = features_.points * corners_;
        for (std::int64_t i = 0; i < count; ++i) {
            if (i + AHEAD * corners_ < count) table_.prefetch(keys_[i + AHEAD * corners_]);
            // The point before often lies in the same simplex.
            const bool same = i >= corners_ && keys_[i] == keys_[i - corners_];
            lattice.entries[i].row = same ? lattice.entries[i - corners_].row : table_.number(keys_[i]);
        }
        lattice.rows = lattice.vertices = table_.keys.size();
    }

    // From the rows that the foreign ones stand for.
    void sort_merges(const std::vector<std::int32_t>& found) {
        std::vector<std::int32_t> places(lattice.rows + 1, 0);
        for (const std::int32_t row : found) ++places[row + 1];
        for (std::int64_t row = 0; row < lattice.rows; ++row) places[row + 1] += places[row];
        lattice.merges.resize(found.size());
        for (std::size_t i = 0; i < found.size(); ++i)
            lattice.merges[places[found[i]]++] = {found[i], static_cast<std::int32_t>(lattice.rows + i)};
        auto& parts = lattice.merge_parts = {0};
        for (std::size_t i = 1; i < found.size(); ++i)
            if (i >= parts.back() + MERGED_AT_A_TIME && lattice.merges[i].row != lattice.merges[i - 1].row)
                parts.push_back(i);
        if (!found.empty()) parts.push_back(found.size());
    }

    const Features& features_;
    Placing placing_;
    int corners_;
    Table table_;
    Buffer<std::int64_t> keys_;
    Buffer<std::int32_t> ahead_;
    Buffer<char> has_behind_;
};

} // namespace

std::vector<Lattice> build(const std::vector<Features>& features, int threads) {
    std::vector<Builder> builders(features.begin(), features.end());
    // The shares of all builders as one list.
    const auto together = [&](Team& team, auto count, auto work) {
        std::size_t total = 0;
        for (const auto& builder : builders) total += count(builder);
        team.each(total, [&](std::size_t share) {
            for (auto& builder : builders) {
                const std::size_t own = count(builder);
                if (share < own) return work(builder, share);
                share -= own;
            }
        });
    };
    Team::run(threads, [&](Team& team) {
        together(team, [](auto& b) { return b.placings(); }, [](auto& b, auto share) { b.place(share); });
        team.each(builders.size(), [&](std::size_t i) { builders[i].number(); });
        // The longest tasks come first.
        const auto searches = [](auto& b) { return 1 + b.searches(); };
        together(team, searches, [](auto& b, auto share) { share == 0 ? b.share_out() : b.search(share - 1); });
        together(team, [](auto& b) { return b.axes(); }, [](auto& b, auto axis) { b.chain(axis); });
    });
    std::vector<Lattice> lattices;
    for (auto& builder : builders) lattices.push_back(std::move(builder.lattice));
    return lattices;
}

} // namespace car
