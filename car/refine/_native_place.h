// Which vertices are around a point.
#pragma once

#include "_native.h"

#include <cmath>

namespace car {

// What a point needs besides its features.
struct Placing {
    int d;
    float scale[MOST_DIMENSIONS + 1], inverse, alpha;
    std::int64_t low[MOST_DIMENSIONS + 1], stride[MOST_DIMENSIONS + 1], sum;

    explicit Placing(const Features& features) : d(features.dimensions), sum(0) {
        const double deviation = static_cast<float>(std::sqrt(2.0 / 3) * (d + 1));
        for (int j = 1; j <= d; ++j) scale[j] = static_cast<float>(deviation / std::sqrt(double(j) * (j + 1)));
        inverse = static_cast<float>(1.0 / (d + 1));
        alpha = static_cast<float>(1 / (1 + std::exp2(-d)));
        for (int j = 0; j < d; ++j) {
            low[j] = features.low[j];
            stride[j] = features.strides[j];
            sum += stride[j];
        }
        low[d] = stride[d] = 0;
    }
};

// The d + 1 vertices around each of at most TILE points: keys and barycentric weights, (count, d + 1).
void place(const Placing& placing, const float* features, int count, std::int64_t* keys, float* weights);

} // namespace car
