// What the kernels of this crate are made of: numbers in f32 and bf16, an exponential that compilers turn into vector instructions, and the
// choice of an instruction set at run time.

#pragma once

#include <cstdint>
#include <cstring>

namespace {

#define MILL_INLINE inline __attribute__((always_inline))

MILL_INLINE float from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

MILL_INLINE uint32_t to_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

// Exponential of numbers that are not positive, to 2e-7 of the value: 2^n times a polynomial (Cephes) of what is left within half of ln 2.
MILL_INLINE float exponential(float x) {
  x = x < -87.0f ? -87.0f : x;
  const float magic = 12582912.0f;  // 1.5 × 2^23: adding it rounds to an integer
  float shifted = x * 1.44269504088896341f + magic;
  float n = shifted - magic;
  float r = x - n * 0.693359375f + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return p * from_bits(((to_bits(shifted) - to_bits(magic)) << 23) + 0x3f800000u);
}

MILL_INLINE float load(const float* row, int64_t i) { return row[i]; }
MILL_INLINE float load(const uint16_t* row, int64_t i) { return from_bits(uint32_t(row[i]) << 16); }
MILL_INLINE void store(float* row, int64_t i, float value) { row[i] = value; }
MILL_INLINE void store(uint16_t* row, int64_t i, float value) {  // to the nearest, ties to even
  uint32_t bits = to_bits(value);
  row[i] = uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// Functions for one instruction set each; what they call is inlined and so compiled for it too.
#if defined(__x86_64__)
#define MILL_AVX2 __attribute__((target("avx2,fma")))
#define MILL_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512")))

inline bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

inline bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}
#else
#define MILL_AVX2
#define MILL_AVX512

inline bool has_avx2() { return false; }
inline bool has_avx512() { return false; }
#endif

}  // namespace
