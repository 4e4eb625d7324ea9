// Rows of channels: of points next to each other, or of vertices.
#pragma once

#include "_native.h"

namespace car {

constexpr std::int64_t MOST_CHANNELS = 20; // of a row

// A lattice while values are splatted to it and sliced from it.
struct Gathered {
    const Entry* entries;
    int corners;
    float weight; // of what is sliced
    const float* from;
    float* to;
};

// What the pixels of a tile need to be normalised. Channels are the differences of each label's Q from the last one's:
// one channel less than labels, and labels that are alike stay so to the bit.
struct Update {
    const float* energies; // (sets, labels - 1, TILE): of the last label less each one's own
    float* rows;           // (blocks, TILE, C), `stride` from block to block: messages, then channels
    float *columns, *last; // (blocks * C, TILE) and (TILE), to work in
    float* out;            // (sets, labels, points) at the first of `count` pixels, or null: Q goes there instead
    std::int64_t sets, labels, blocks, stride, points, count;
};

// For rows of so many channels, in the version that suits the CPU.
struct Functions {
    int channels;
    // Add values (end - begin, C) of points to the rows of the vertices around them.
    void (*splat)(const Gathered* kernels, int count, std::int64_t begin, std::int64_t end, const float* values);
    void (*merge)(const Merge* begin, const Merge* end, float* rows);
    // In place: a vertex plus half of each of its neighbours, along chains.
    void (*blur)(const std::int32_t* chain, const std::int32_t* end, float* rows);
    // The same for `count` floats, whose neighbours are `step` floats away.
    void (*blend)(const float* rows, std::int64_t step, std::int64_t count, float* blurred);
    // Messages (end - begin, C) of points, summed over the kernels.
    void (*slice)(const Gathered* kernels, int count, std::int64_t begin, std::int64_t end, float* messages);
    void (*update)(const Update&);
};

// Rows wide enough for so many channels, of at most MOST_CHANNELS.
const Functions& functions_for(std::int64_t channels);

} // namespace car
