// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The random numbers of the genomes' generators and operators: a counter-based stream, a function of the seed and of
// how many numbers were drawn before.
#pragma once

#include <nasturtium/core/philox.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

namespace nasturtium::estimator {

/// Cheap to make; copies go on from the same place independently.
class Random
{
public:
  explicit Random(std::uint64_t seed, std::uint32_t stream = 0) : m_seed(seed), m_stream(stream) {}

  /// Uniform integer in [0, bound), bound >= 1.
  int below(int bound) { return static_cast<int>(to_below(word(), static_cast<std::uint32_t>(bound))); }
  /// Uniform in [0, 1), with 24 bits.
  double uniform() { return static_cast<double>(word() >> 8) * 0x1p-24; }
  /// True with the given probability.
  bool chance(double probability) { return uniform() < probability; }
  /// Standard normal (Box and Muller).
  double normal()
  {
    double const radius = std::sqrt(-2 * std::log(1 - uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }
  /// Integer in [low, high], 1 <= low, with a density of one over the value.
  int log_uniform(int low, int high)
  {
    double const value = low * std::pow((high + 1.0) / low, uniform());
    return std::clamp(static_cast<int>(value), low, high);
  }
  /// One of the values, which are not empty.
  template <class T>
  T pick(std::vector<T> const& values)
  {
    return values[static_cast<std::size_t>(below(static_cast<int>(values.size())))];
  }
  /// A position, by weights that are not negative and not all 0.
  template <class Weights>
  std::size_t weighted(Weights const& weights)
  {
    double sum = 0;
    for (double const weight : weights)
      sum += weight;
    double rest = uniform() * sum;
    std::size_t chosen = 0, position = 0;
    for (double const weight : weights) {
      if (weight > 0) {
        chosen = position; // the last of them where rounding leaves a rest
        if (rest < weight) break;
        rest -= weight;
      }
      ++position;
    }
    return chosen;
  }

private:
  std::uint64_t m_seed;
  std::uint32_t m_stream;
  std::uint64_t m_index = 0;

  std::uint32_t word()
  {
    auto const block = random_block(m_seed, Purpose::search, m_stream, m_index / 4);
    return block.word[m_index++ % 4];
  }
};

} // namespace nasturtium::estimator
