// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One random number after another from a stream of Philox: a function of (seed, purpose, stream) and of how many
// numbers were drawn before, so that what is resumed draws what an uninterrupted run would have drawn.
#pragma once

#include <nasturtium/core/philox.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <numbers>
#include <numeric>
#include <utility>
#include <vector>

namespace nasturtium {

/// Cheap to make; copies go on from the same place independently.
class RandomStream
{
public:
  explicit RandomStream(std::uint64_t seed, std::uint32_t stream = 0, Purpose purpose = Purpose::search)
      : m_seed(seed), m_stream(stream), m_purpose(purpose)
  {
  }

  std::uint32_t word()
  {
    auto const block = random_block(m_seed, m_purpose, m_stream, m_index / 4);
    return block.word[m_index++ % 4];
  }
  /// Uniform integer in [0, bound), 1 <= bound < 2^32.
  template <std::integral T>
  T below(T bound)
  {
    return static_cast<T>(to_below(word(), static_cast<std::uint32_t>(bound)));
  }
  /// Uniform in [0, 1), with 24 bits.
  double uniform() { return to_unit_float(word()); }
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
    return values[below(values.size())];
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
  template <class T>
  void shuffle(std::vector<T>& values)
  {
    for (std::size_t i = values.size(); i > 1; --i)
      std::swap(values[i - 1], values[below(i)]);
  }
  /// 0 .. count - 1 in random order.
  std::vector<std::size_t> permutation(std::size_t count)
  {
    std::vector<std::size_t> order(count);
    std::iota(order.begin(), order.end(), std::size_t{0});
    shuffle(order);
    return order;
  }

private:
  std::uint64_t m_seed;
  std::uint32_t m_stream;
  Purpose m_purpose;
  std::uint64_t m_index = 0;
};

} // namespace nasturtium
