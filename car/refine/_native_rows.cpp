// What is done with rows of channels, for each width and in each version of the instruction set.

#include "_native_rows.h"
#include "_native_simd.h"

#include <cstring>

namespace car {
namespace {

typedef float Four __attribute__((vector_size(16)));
typedef float Eight __attribute__((vector_size(32)));
typedef std::uint32_t FourBits __attribute__((vector_size(16)));
typedef std::uint32_t EightBits __attribute__((vector_size(32)));

CAR_INLINE void load(Eight& vector, const float* from) { std::memcpy(&vector, from, sizeof vector); }
CAR_INLINE void store(const Eight& vector, float* to) { std::memcpy(to, &vector, sizeof vector); }

CAR_INLINE float masked(float value, std::uint32_t mask) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits &= mask;
    std::memcpy(&value, &bits, sizeof bits);
    return value;
}

// A block of 4 x 4, between matrices of these row lengths.
CAR_INLINE void transpose(const float* from, int from_stride, float* to, int to_stride) {
    Four a, b, c, d;
    std::memcpy(&a, from, sizeof a);
    std::memcpy(&b, from + from_stride, sizeof b);
    std::memcpy(&c, from + 2 * from_stride, sizeof c);
    std::memcpy(&d, from + 3 * from_stride, sizeof d);
    const Four ab = CAR_SHUFFLE(a, b, 0, 4, 1, 5), cd = CAR_SHUFFLE(c, d, 0, 4, 1, 5);
    const Four ab2 = CAR_SHUFFLE(a, b, 2, 6, 3, 7), cd2 = CAR_SHUFFLE(c, d, 2, 6, 3, 7);
    a = CAR_SHUFFLE(ab, cd, 0, 1, 4, 5);
    b = CAR_SHUFFLE(ab, cd, 2, 3, 6, 7);
    c = CAR_SHUFFLE(ab2, cd2, 0, 1, 4, 5);
    d = CAR_SHUFFLE(ab2, cd2, 2, 3, 6, 7);
    std::memcpy(to, &a, sizeof a);
    std::memcpy(to + to_stride, &b, sizeof b);
    std::memcpy(to + 2 * to_stride, &c, sizeof c);
    std::memcpy(to + 3 * to_stride, &d, sizeof d);
}

// C channels of a point or a vertex.
template <int C> struct Row {
    Eight eights[C / 8 + 1];
    Four four;
    float ones[C % 4 + 1];

    CAR_INLINE void load(const float* from) {
        for (int i = 0; i < C / 8; ++i) std::memcpy(&eights[i], from + 8 * i, sizeof(Eight));
        if (C % 8 >= 4) std::memcpy(&four, from + C / 8 * 8, sizeof(Four));
        for (int i = 0; i < C % 4; ++i) ones[i] = from[C / 4 * 4 + i];
    }
    CAR_INLINE void store(float* to) const {
        for (int i = 0; i < C / 8; ++i) std::memcpy(to + 8 * i, &eights[i], sizeof(Eight));
        if (C % 8 >= 4) std::memcpy(to + C / 8 * 8, &four, sizeof(Four));
        for (int i = 0; i < C % 4; ++i) to[C / 4 * 4 + i] = ones[i];
    }
    CAR_INLINE void clear() {
        for (int i = 0; i < C / 8; ++i) eights[i] = Eight{};
        if (C % 8 >= 4) four = Four{};
        for (int i = 0; i < C % 4; ++i) ones[i] = 0;
    }
    CAR_INLINE void add(const Row& other, float weight) {
        for (int i = 0; i < C / 8; ++i) eights[i] += other.eights[i] * weight;
        if (C % 8 >= 4) four += other.four * weight;
        for (int i = 0; i < C % 4; ++i) ones[i] += other.ones[i] * weight;
    }
    CAR_INLINE void add(const float* from, float weight) {
        Row other;
        other.load(from);
        add(other, weight);
    }
};

// Rows may begin anywhere in a line of the cache, and end in the next.
template <int C> CAR_INLINE void prefetch_row(const float* rows, std::int64_t row) {
    __builtin_prefetch(rows + row * C);
    if (C > 8) __builtin_prefetch(rows + row * C + C - 1);
}

template <int C>
CAR_INLINE void splat_body(const Gathered* kernels, int count, std::int64_t begin, std::int64_t end,
                           const float* values) {
    for (std::int64_t p = begin; p < end; ++p, values += C) {
        Row<C> value;
        value.load(values);
        for (int k = 0; k < count; ++k) {
            const int corners = kernels[k].corners;
            const Entry* entry = kernels[k].entries + p * corners;
            for (int i = 0; i < corners; ++i) {
                if (C > 4) prefetch_row<C>(kernels[k].to, entry[i + ENTRIES_AHEAD].target);
                float* const to = kernels[k].to + std::int64_t(entry[i].target) * C;
                Row<C> sum;
                sum.load(to);
                sum.add(value, entry[i].weight);
                sum.store(to);
            }
        }
    }
}

template <int C>
CAR_INLINE void slice_body(const Gathered* kernels, int count, std::int64_t begin, std::int64_t end, float* messages) {
    for (std::int64_t p = begin; p < end; ++p, messages += C) {
        Row<C> total;
        total.clear();
        for (int k = 0; k < count; ++k) {
            const int corners = kernels[k].corners;
            const Entry* entry = kernels[k].entries + p * corners;
            Row<C> sum;
            sum.clear();
            for (int i = 0; i < corners; ++i) {
                if (C > 4) prefetch_row<C>(kernels[k].from, entry[i + ENTRIES_AHEAD].row);
                sum.add(kernels[k].from + std::int64_t(entry[i].row) * C, entry[i].weight);
            }
            total.add(sum, kernels[k].weight);
        }
        total.store(messages);
    }
}

template <int C> CAR_INLINE void merge_body(const Merge* merge, const Merge* end, float* rows) {
    for (; merge < end; ++merge) {
        Row<C> sum;
        sum.load(rows + std::int64_t(merge->row) * C);
        sum.add(rows + std::int64_t(merge->foreign) * C, 1);
        sum.store(rows + std::int64_t(merge->row) * C);
    }
}

CAR_INLINE void blend_body(const float* rows, std::int64_t step, std::int64_t count, float* blurred) {
    for (std::int64_t i = 0; i < count; ++i) blurred[i] = rows[i] + 0.5f * (rows[i - step] + rows[i + step]);
}

CAR_INLINE std::int64_t vertex_of(std::int32_t code) { return code < 0 ? ~code : code; }

// Narrow rows cost less than a branch at the end of each chain.
template <int C> CAR_INLINE void blur_narrow(const std::int32_t* chain, const std::int32_t* end, float* rows) {
    float behind[C], here[C], ahead[C];
    for (int c = 0; c < C; ++c) behind[c] = 0, here[c] = rows[*chain * std::int64_t(C) + c];
    for (; chain < end - 1; ++chain) {
        const std::uint32_t linked = *chain < 0 ? 0 : ~0u;
        float* const at = rows + vertex_of(chain[0]) * C;
        for (int c = 0; c < C; ++c) {
            ahead[c] = rows[vertex_of(chain[1]) * C + c];
            at[c] = here[c] + 0.5f * (behind[c] + masked(ahead[c], linked));
            behind[c] = masked(here[c], linked);
            here[c] = ahead[c];
        }
    }
    for (int c = 0; c < C; ++c) rows[vertex_of(*chain) * C + c] = here[c] + 0.5f * behind[c];
}

template <int C> CAR_INLINE void blur_wide(const std::int32_t* chain, const std::int32_t* end, float* rows) {
    while (chain < end) {
        std::int32_t at = *chain;
        Row<C> behind, here, ahead;
        behind.clear();
        here.load(rows + std::int64_t(at) * C);
        while (at >= 0) {
            const std::int32_t next = *++chain;
            prefetch_row<C>(rows, vertex_of(chain[CHAIN_AHEAD]));
            ahead.load(rows + vertex_of(next) * C);
            Row<C> blurred = here;
            behind.add(ahead, 1);
            blurred.add(behind, 0.5f);
            blurred.store(rows + std::int64_t(at) * C);
            behind = here;
            here = ahead;
            at = next;
        }
        here.add(behind, 0.5f);
        here.store(rows + std::int64_t(~at) * C);
        ++chain;
    }
}

// In place: a vertex plus half of each of its neighbours, along chains.
template <int C> CAR_INLINE void blur_body(const std::int32_t* chain, const std::int32_t* end, float* rows) {
    if constexpr (C < 4)
        blur_narrow<C>(chain, end, rows);
    else
        blur_wide<C>(chain, end, rows);
}

// Rows (TILE, C) to columns (C, TILE), and back.
template <int C> CAR_INLINE void to_columns(const float* rows, float* columns) {
    for (int c = 0; c + 4 <= C; c += 4)
        for (int t = 0; t < TILE; t += 4) transpose(rows + t * C + c, C, columns + c * TILE + t, TILE);
    for (int c = C / 4 * 4; c < C; ++c)
        for (int t = 0; t < TILE; ++t) columns[c * TILE + t] = rows[t * C + c];
}

template <int C> CAR_INLINE void to_rows(const float* columns, float* rows) {
    for (int c = 0; c + 4 <= C; c += 4)
        for (int t = 0; t < TILE; t += 4) transpose(columns + c * TILE + t, TILE, rows + t * C + c, C);
    for (int c = C / 4 * 4; c < C; ++c)
        for (int t = 0; t < TILE; ++t) rows[t * C + c] = columns[c * TILE + t];
}

// e^x to a relative error of 2e-7, for x clipped to [-64, 64]: what is smaller than e^-64 is nothing beside the largest
// of the labels, and products with it must not become denormal, hence slow.
CAR_INLINE void exponential(const Eight& in, Eight& out) {
    constexpr float shift = 12582912; // 1.5 * 2^23: adding it leaves the nearest integer in the last bits
    Eight x = in < -64.0f ? Eight{} - 64.0f : in;
    x = x > 64.0f ? Eight{} + 64.0f : x;
    const Eight shifted = x * 1.44269504f + shift, power = shifted - shift;
    // log 2 in two parts, of which products of the first with small integers are exact.
    const Eight r = (x - power * 0.693359375f) + power * 2.12194440e-4f;
    Eight series = r * 0.00831252503f + 0.0418901371f;
    series = series * r + 0.166671145f;
    series = series * r + 0.499992316f;
    series = series * (r * r) + r + 1.0f;
    out = series * (Eight)(((EightBits)shifted << 23) + 0x3F800000u);
}

// Two labels: a logistic function of the difference.
CAR_INLINE void update_pair(const Update& u, std::int64_t set) {
    float* const channel = u.columns + set * TILE;
    for (int t = 0; t < TILE; t += 8) {
        Eight energies, message, odds, first, last;
        load(energies, u.energies + set * TILE + t);
        load(message, channel + t);
        exponential(Eight{} - (message + energies), odds);
        first = 1.0f / (odds + 1.0f);
        last = odds * first;
        store(u.out ? first : first - last, channel + t);
        store(last, u.last + t);
    }
}

CAR_INLINE void update_set(const Update& u, std::int64_t set) {
    const std::int64_t kept = u.labels - 1;
    float* const columns = u.columns + set * kept * TILE;
    for (int t = 0; t < TILE; t += 8) {
        const float* energies = u.energies + set * kept * TILE + t;
        Eight top = {}, total, last, energy, z;
        for (std::int64_t label = 0; label < kept; ++label) {
            load(z, columns + label * TILE + t);
            load(energy, energies + label * TILE);
            z += energy;
            store(z, columns + label * TILE + t);
            top = z > top ? z : top;
        }
        exponential(Eight{} - top, last);
        total = last;
        for (std::int64_t label = 0; label < kept; ++label) {
            load(z, columns + label * TILE + t);
            exponential(z - top, z);
            store(z, columns + label * TILE + t);
            total += z;
        }
        total = 1.0f / total;
        last *= total;
        const Eight taken = u.out ? Eight{} : last;
        for (std::int64_t label = 0; label < kept; ++label) {
            load(z, columns + label * TILE + t);
            store(z * total - taken, columns + label * TILE + t);
        }
        store(last, u.last + t);
    }
}

template <int C> CAR_INLINE void update_body(const Update& u) {
    const std::int64_t kept = u.labels - 1;
    for (std::int64_t b = 0; b < u.blocks; ++b) to_columns<C>(u.rows + b * u.stride, u.columns + b * C * TILE);
    for (std::int64_t set = 0; set < u.sets; ++set) {
        u.labels == 2 ? update_pair(u, set) : update_set(u, set);
        if (!u.out) continue;
        float* out = u.out + set * u.labels * u.points;
        for (std::int64_t label = 0; label < u.labels; ++label) {
            const float* q = label < kept ? u.columns + (set * kept + label) * TILE : u.last;
            std::memcpy(out + label * u.points, q, u.count * sizeof(float));
        }
    }
    if (u.out) return;
    for (std::int64_t b = 0; b < u.blocks; ++b) to_rows<C>(u.columns + b * C * TILE, u.rows + b * u.stride);
}

#define CAR_FUNCTIONS(Name, Target)                                                                                    \
    template <int C> struct Name {                                                                                     \
        Target static void splat(const Gathered* kernels, int count, std::int64_t begin, std::int64_t end,             \
                                 const float* values) {                                                                \
            splat_body<C>(kernels, count, begin, end, values);                                                         \
        }                                                                                                              \
        Target static void merge(const Merge* begin, const Merge* end, float* rows) {                                  \
            merge_body<C>(begin, end, rows);                                                                           \
        }                                                                                                              \
        Target static void blur(const std::int32_t* chain, const std::int32_t* end, float* rows) {                     \
            blur_body<C>(chain, end, rows);                                                                            \
        }                                                                                                              \
        Target static void blend(const float* rows, std::int64_t step, std::int64_t count, float* blurred) {           \
            blend_body(rows, step, count, blurred);                                                                    \
        }                                                                                                              \
        Target static void slice(const Gathered* kernels, int count, std::int64_t begin, std::int64_t end,             \
                                 float* messages) {                                                                    \
            slice_body<C>(kernels, count, begin, end, messages);                                                       \
        }                                                                                                              \
        Target static void update(const Update& u) { update_body<C>(u); }                                              \
        static constexpr Functions all = {C, splat, merge, blur, blend, slice, update};                                \
    };

CAR_FUNCTIONS(Portable, )
#if CAR_VERSIONS
CAR_FUNCTIONS(Avx2, CAR_AVX2)
#endif

template <int C> const Functions* version() {
#if CAR_VERSIONS
    if (has_avx2()) return &Avx2<C>::all;
#endif
    return &Portable<C>::all;
}

} // namespace

const Functions& functions_for(std::int64_t channels) {
    if (channels <= 1) return *version<1>();
    if (channels <= 2) return *version<2>();
    if (channels <= 4) return *version<4>();
    if (channels <= 8) return *version<8>();
    if (channels <= 12) return *version<12>();
    if (channels <= 16) return *version<16>();
    return *version<20>();
}

} // namespace car
