// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// splitmix64 (Steele, Lea and Flood, OOPSLA 2014): for synthetic benchmarks whose expected values were computed with
// it. Everything else draws from Philox.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

namespace nasturtium {

class SplitMix
{
public:
  explicit SplitMix(std::uint64_t state) : m_state(state) {}

  std::uint64_t next()
  {
    std::uint64_t z = m_state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  /// Uniform in [0, 1), 53 random bits.
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  /// Standard normal, of two uniform numbers (Box and Muller; the second value is not used).
  double normal()
  {
    double const radius = std::sqrt(-2 * std::log(1 - unit()));
    return radius * std::cos(2 * std::numbers::pi * unit());
  }

private:
  std::uint64_t m_state;
};

} // namespace nasturtium
