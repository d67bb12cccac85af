// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The random numbers of a search: a counter-based stream, so that a decision depends on (seed, number of the decision)
// alone and a resumed search draws what an uninterrupted one would have drawn.
#pragma once

#include <nasturtium/core/philox.hpp>

#include <cstdint>

namespace nasturtium::nas {

/// The stream of one decision. Cheap to make; copies go on from the same place independently.
class Random
{
public:
  Random(std::uint64_t seed, std::uint32_t decision) : m_seed(seed), m_decision(decision) {}

  /// Uniform integer in [0, bound), bound >= 1.
  int below(int bound) { return static_cast<int>(to_below(word(), static_cast<std::uint32_t>(bound))); }
  /// Uniform in [0, 1).
  double uniform() { return static_cast<double>(word() >> 8) * 0x1p-24; }
  /// True with the given probability.
  bool chance(double probability) { return uniform() < probability; }

private:
  std::uint64_t m_seed;
  std::uint32_t m_decision;
  std::uint64_t m_index = 0;

  std::uint32_t word()
  {
    auto const block = random_block(m_seed, Purpose::search, m_decision, m_index / 4);
    return block.word[m_index++ % 4];
  }
};

} // namespace nasturtium::nas
