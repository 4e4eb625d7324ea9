// The permutohedral lattice and mean field on it, for CPUs: what car/refine/lattice.py and crf.py do in torch.
//
// Every sum is taken in an order that does not depend on how many threads there are, and rounding is the same on every
// machine (the extension is compiled with -ffp-contract=off): results are reproducible to the bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace car {

constexpr int TILE = 16;           // points worked on side by side
constexpr int MOST_DIMENSIONS = 8; // of the features
constexpr int CHAIN_AHEAD = 12;    // vertices of a chain that are fetched before they are needed
constexpr int ENTRIES_AHEAD = 36;  // and entries whose rows are

// Uninitialised memory, aligned for vectors; large blocks ask for huge pages, whose faults cost less.
template <class T> class Buffer {
public:
    Buffer() = default;
    explicit Buffer(std::size_t size) : size_(size) {
        constexpr std::size_t huge = std::size_t(1) << 21;
        if (size > SIZE_MAX / sizeof(T) - huge) throw std::bad_alloc();
        const std::size_t bytes = size * sizeof(T), align = bytes >= 2 * huge ? huge : 64;
        data_ = static_cast<T*>(std::aligned_alloc(align, (bytes + align) / align * align));
        if (!data_) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
        if (align == huge) madvise(data_, bytes, MADV_HUGEPAGE);
#endif
    }
    Buffer(Buffer&& other) noexcept { *this = std::move(other); }
    Buffer& operator=(Buffer&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~Buffer() { std::free(data_); }
    T* data() { return data_; }
    const T* data() const { return data_; }
    T& operator[](std::size_t i) { return data_[i]; }
    const T& operator[](std::size_t i) const { return data_[i]; }
    std::size_t size() const { return size_; }

private:
    T* data_ = nullptr;
    std::size_t size_ = 0;
};

// One corner of the simplex around a point: the row of its vertex, the row its value is splatted to, and its weight.
// The two differ where an earlier band of points owns the vertex: each band has rows of its own for those, so that
// bands are splatted at the same time, and the sums do not depend on which comes first.
struct Entry {
    std::int32_t row, target;
    float weight;
};

// A row that a band has for the vertex of another.
struct Merge {
    std::int32_t row, foreign;
};

// How far the rows go that a band has used up to a tile: of its own vertices, and of others.
struct Mark {
    std::int32_t own, foreign;
};

struct Band {
    std::int64_t begin, end; // tiles
    Mark start;
};

// What an axis joins, in order along it: every vertex that has a neighbour, the last of a chain as its complement.
struct Axis {
    Buffer<std::int32_t> chains;    // and zeros to the end of the buffer
    std::vector<std::size_t> parts; // where the shares of the work begin, and the end; chains are not torn
};

struct Run {
    std::int64_t begin, end;
};

struct Lattice {
    std::int64_t points = 0, tiles = 0, vertices = 0;
    std::int64_t rows = 0, all_rows = 0; // of vertices, and with those that bands have for vertices of others
    int corners = 0;
    float alpha = 0;             // what the kernel of the plain lattice is scaled by
    Buffer<Entry> entries;       // (tiles * TILE, corners), of weight 0 behind the last point
    std::vector<Band> bands;     // of tiles
    std::vector<Mark> marks;     // (tiles)
    std::vector<Merge> merges;   // by row, and by band
    std::vector<std::size_t> merge_parts; // where the shares of the work begin, and the end; rows are not torn
    std::vector<Axis> axes;      // empty if vertices lie on a grid:
    std::vector<Run> runs;       // the rows that are vertices, where not all are
    std::int64_t steps[3] = {};  // from row to row along the axes
    bool symmetric = false;      // weights are normalised
};

struct Features {
    const float* values; // (points, dimensions)
    std::int64_t points;
    int dimensions;
    std::vector<std::int64_t> low, strides; // how vertices are packed into integers
    std::uint64_t cells;                    // which are all below this
};

struct Kernel {
    const Lattice* lattice;
    float weight;
};

// The lattices of several sets of features, built together.
std::vector<Lattice> build(const std::vector<Features>& features, int threads);

// Divide the lattices' kernels by the square roots of their row sums on both sides, in place.
void normalize(std::vector<Lattice>& lattices, int threads);

// Filter values (points, channels) into `filtered`.
void filter(const Lattice& lattice, const float* values, float* filtered, std::int64_t channels, int threads);

// Q (sets, labels, points) of energies of the same shape; at least one kernel, of the same points, and two labels.
void mean_field(const std::vector<Kernel>& kernels, const float* energies, float* q, std::int64_t sets,
                std::int64_t labels, std::int64_t iterations, int threads);

} // namespace car
