// One source for several instruction sets: a kernel is inlined into a version for each, and the CPU is asked which to
// run. The versions give the same numbers to the bit.
#pragma once

#define CAR_INLINE inline __attribute__((always_inline))

#if defined(__x86_64__)
#define CAR_VERSIONS 1
#define CAR_AVX2 __attribute__((target("avx2")))
#else
#define CAR_VERSIONS 0
#endif

// Elements of two vectors of four, numbered through.
#if defined(__clang__)
#define CAR_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define CAR_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, FourBits{__VA_ARGS__})
#endif

// Vectors are passed between inlined functions only, so that how they are passed does not matter.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

namespace car {

// Whether the kernels compiled for AVX2 run here; `allow_avx2(false)` is for comparing.
bool has_avx2();
void allow_avx2(bool allowed);

} // namespace car
