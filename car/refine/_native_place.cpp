// Which vertices are around a point: simplices of the permutohedral lattice.

#include "_native_place.h"
#include "_native_simd.h"

#include <cstring>

namespace car {
namespace {

// A tile of points on the lattice, coordinate by coordinate.
struct Placed {
    float elevated[MOST_DIMENSIONS + 1][TILE], nearest[MOST_DIMENSIONS + 1][TILE];
    std::int32_t rank[MOST_DIMENSIONS + 1][TILE];
};

template <int D> CAR_INLINE void elevate(const Placing& placing, const float* features, int count, Placed& placed) {
    const int d = D ? D : placing.d;
    float total[TILE] = {}, scaled[TILE];
    for (int j = d; j > 0; --j) {
        for (int t = 0; t < TILE; ++t) scaled[t] = features[(t < count ? t : 0) * d + j - 1] * placing.scale[j];
        for (int t = 0; t < TILE; ++t) {
            placed.elevated[j][t] = total[t] - float(j) * scaled[t];
            total[t] += scaled[t];
        }
    }
    std::memcpy(placed.elevated[0], total, sizeof total);
}

// The vertex of remainder 0, and the rank of each coordinate by its distance from it, largest first.
template <int D> CAR_INLINE void round_and_rank(const Placing& placing, Placed& placed) {
    constexpr float shift = 12582912; // 1.5 * 2^23: adding and subtracting it rounds half to even
    const int d = D ? D : placing.d;
    float distance[MOST_DIMENSIONS + 1][TILE], steps[TILE] = {};
    for (int i = 0; i <= d; ++i)
        for (int t = 0; t < TILE; ++t) {
            const float step = (placed.elevated[i][t] * placing.inverse + shift) - shift;
            steps[t] += step;
            placed.nearest[i][t] = step * float(d + 1);
            distance[i][t] = placed.elevated[i][t] - placed.nearest[i][t];
        }
    for (int i = 0; i <= d; ++i)
        for (int t = 0; t < TILE; ++t) placed.rank[i][t] = static_cast<std::int32_t>(steps[t]);
    for (int i = 0; i < d; ++i)
        for (int j = i + 1; j <= d; ++j)
            for (int t = 0; t < TILE; ++t) {
                const std::int32_t smaller = distance[i][t] < distance[j][t];
                placed.rank[i][t] += smaller;
                placed.rank[j][t] += 1 - smaller;
            }
    // The nearest multiples may not sum to zero; the coordinates they moved furthest go back by one step.
    for (int i = 0; i <= d; ++i)
        for (int t = 0; t < TILE; ++t) {
            const std::int32_t back = (d + 1) * ((placed.rank[i][t] < 0) - (placed.rank[i][t] > d));
            placed.rank[i][t] += back;
            placed.nearest[i][t] += float(back);
        }
}

// The d + 1 vertices around each point of a tile: keys and barycentric weights, (count, d + 1).
template <int D>
CAR_INLINE void place_body(const Placing& placing, const float* features, int count, std::int64_t* keys,
                           float* weights) {
    Placed placed;
    elevate<D>(placing, features, count, placed);
    round_and_rank<D>(placing, placed);
    const int d = D ? D : placing.d;
    for (int t = 0; t < count; ++t) {
        float by_rank[MOST_DIMENSIONS + 1] = {};
        std::int64_t stride[MOST_DIMENSIONS + 1] = {}, key = 0;
        for (int i = 0; i <= d; ++i) {
            const int rank = placed.rank[i][t];
            by_rank[rank] = (placed.elevated[i][t] - placed.nearest[i][t]) * placing.inverse;
            stride[rank] = placing.stride[i];
            key += (static_cast<std::int64_t>(placed.nearest[i][t]) - placing.low[i]) * placing.stride[i];
        }
        // Vertex k is k steps up in every coordinate, and d + 1 down in the k coordinates of the highest ranks.
        keys[0] = key;
        weights[0] = by_rank[d] - (by_rank[0] - 1);
        for (int k = 1; k <= d; ++k) {
            keys[k] = key += placing.sum - (d + 1) * stride[d + 1 - k];
            weights[k] = by_rank[d - k] - by_rank[d + 1 - k];
        }
        keys += d + 1;
        weights += d + 1;
    }
}

// Loops over the dimensions of an image are unrolled.
CAR_INLINE void place_any(const Placing& placing, const float* features, int count, std::int64_t* keys,
                          float* weights) {
    if (placing.d == 2) return place_body<2>(placing, features, count, keys, weights);
    if (placing.d == 5) return place_body<5>(placing, features, count, keys, weights);
    place_body<0>(placing, features, count, keys, weights);
}

#if CAR_VERSIONS
CAR_AVX2 void place_avx2(const Placing& placing, const float* features, int count, std::int64_t* keys,
                         float* weights) {
    place_any(placing, features, count, keys, weights);
}
#endif

} // namespace

void place(const Placing& placing, const float* features, int count, std::int64_t* keys, float* weights) {
#if CAR_VERSIONS
    if (has_avx2()) return place_avx2(placing, features, count, keys, weights);
#endif
    place_any(placing, features, count, keys, weights);
}

} // namespace car
