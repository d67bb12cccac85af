// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
// A number is a pure function of (seed, purpose, epoch, index), so every backend and every thread count draws the same.
#pragma once

#include <array>
#include <cstdint>

#if defined(__CUDACC__) || defined(__HIPCC__)
#define NASTURTIUM_FUNCTION __host__ __device__ inline
#else
#define NASTURTIUM_FUNCTION inline
#endif

namespace nasturtium {

/// What a stream of random numbers is for; two purposes never share a number.
enum class Purpose : std::uint32_t {
  weights = 1,    ///< initial weights; epoch = node number
  shuffle = 2,    ///< order of the training samples
  split = 3,      ///< train / validation / test splits
  crop = 4,       ///< random crop offsets; index = sample
  flip = 5,       ///< horizontal flips; index = sample
  cutout = 6,     ///< cutout centres; index = sample
  dropout = 7,    ///< dropout masks; epoch = node number and step
  synthetic = 8,  ///< synthetic data sets
  search = 9,     ///< decisions of search algorithms
  bootstrap = 10, ///< resampling; epoch = resample, index = draws
};

struct PhiloxBlock
{
  std::uint32_t word[4];
};

/// Ten rounds of Philox4x32 on one counter under one key.
NASTURTIUM_FUNCTION PhiloxBlock philox4x32(std::uint32_t c0, std::uint32_t c1, std::uint32_t c2, std::uint32_t c3,
                                           std::uint32_t k0, std::uint32_t k1)
{
  for (int round = 0; round < 10; ++round) {
    std::uint64_t const p0 = std::uint64_t{0xD2511F53u} * c0;
    std::uint64_t const p1 = std::uint64_t{0xCD9E8D57u} * c2;
    std::uint32_t const n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
    std::uint32_t const n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<std::uint32_t>(p1);
    c3 = static_cast<std::uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

/// Four independent 32-bit words for (seed, purpose, epoch, index).
NASTURTIUM_FUNCTION PhiloxBlock random_block(std::uint64_t seed, Purpose purpose, std::uint32_t epoch,
                                             std::uint64_t index)
{
  return philox4x32(static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), epoch,
                    static_cast<std::uint32_t>(purpose), static_cast<std::uint32_t>(seed),
                    static_cast<std::uint32_t>(seed >> 32));
}

/// Uniform in [0, 1) with 24 random bits, exact in float32.
NASTURTIUM_FUNCTION float to_unit_float(std::uint32_t word)
{
  return static_cast<float>(word >> 8) * 0x1p-24f;
}

/// Uniform integer in [0, bound) without division (Lemire's multiply-shift; bias below 2^-32 * bound).
NASTURTIUM_FUNCTION std::uint32_t to_below(std::uint32_t word, std::uint32_t bound)
{
  return static_cast<std::uint32_t>((std::uint64_t{word} * bound) >> 32);
}

} // namespace nasturtium
