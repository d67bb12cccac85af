// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One random number after another from a stream of Philox.
#pragma once

#include <nasturtium/core/philox.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <vector>

namespace nasturtium::estimator {

class Draws
{
public:
  Draws(std::uint64_t seed, Purpose purpose, std::uint32_t stream = 0)
      : m_seed(seed), m_purpose(purpose), m_stream(stream)
  {
  }

  std::uint32_t word()
  {
    if (m_next % 4 == 0) m_block = random_block(m_seed, m_purpose, m_stream, m_next / 4);
    return m_block.word[m_next++ % 4];
  }
  double unit() { return to_unit_float(word()); } ///< in [0, 1)
  std::size_t below(std::size_t bound) { return to_below(word(), static_cast<std::uint32_t>(bound)); }
  double normal()
  {
    double const radius = std::sqrt(-2 * std::log(1 - unit()));
    return radius * std::cos(2 * std::numbers::pi * unit());
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
  Purpose m_purpose;
  std::uint32_t m_stream;
  std::uint64_t m_next = 0;
  PhiloxBlock m_block{};
};

} // namespace nasturtium::estimator
