// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the generators share: random numbers, and their options as text.
#pragma once

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/philox.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace nasturtium::datasets::impl {

/// Numbers of Purpose::synthetic; every generator has streams of its own.
inline PhiloxBlock draw(std::uint64_t seed, std::uint32_t stream, std::uint64_t index)
{
  return random_block(seed, Purpose::synthetic, stream, index);
}

/// About normal with deviation 1: the sum of eight bytes, exact in integers.
inline double noise_of(std::uint32_t a, std::uint32_t b)
{
  int sum = 0;
  for (int shift = 0; shift < 32; shift += 8)
    sum += static_cast<int>((a >> shift & 255) + (b >> shift & 255));
  constexpr double deviation = 209.02312070453504; // sqrt(8 * (256^2 - 1) / 12)
  return (sum - 1020) / deviation;
}

/// Uniform in [-1, 1).
inline double to_signed_unit(std::uint32_t word)
{
  return 2.0 * to_unit_float(word) - 1.0;
}

/// Throws Error for an option of `generator` that is not in [low, high].
template <class Value>
void check_within(char const* generator, char const* name, Value value, Value low, Value high)
{
  require(value >= low && value <= high, generator, ": ", name, " must be in [", low, ", ", high, "], got ", value);
}

/// "key=value[:key=value...]". Throws Error naming `generator` for unknown, doubled and malformed options.
class OptionText
{
public:
  OptionText(std::string generator, std::string const& text, std::vector<std::string> const& known)
      : m_generator(std::move(generator))
  {
    for (std::size_t begin = 0; begin < text.size();) {
      std::size_t const end = std::min(text.size(), text.find(':', begin));
      std::string const item = text.substr(begin, end - begin);
      begin = end + 1;
      auto const equals = item.find('=');
      require(equals != std::string::npos, m_generator, ": options are key=value, got ", quoted(item));
      std::string const key = item.substr(0, equals);
      std::string all;
      for (auto const& name : known)
        all += (all.empty() ? "" : ", ") + name;
      require(std::find(known.begin(), known.end(), key) != known.end(), m_generator, ": unknown option ", quoted(key),
              " (known: ", all, ")");
      require(m_values.emplace(key, item.substr(equals + 1)).second, m_generator, ": option '", key,
              "' is given twice");
    }
  }

  /// Null where the option is not given.
  std::string const* find(char const* key) const
  {
    auto const found = m_values.find(key);
    return found == m_values.end() ? nullptr : &found->second;
  }

  /// Sets `target` where the option is given.
  template <class Target>
  void read(char const* key, Target& target) const
  {
    auto const* const text = find(key);
    if (text == nullptr) return;
    if constexpr (std::is_integral_v<Target>) {
      auto const number = parse_integer(*text);
      require(number && *number >= 0 &&
                  static_cast<std::uint64_t>(*number) <= static_cast<std::uint64_t>(std::numeric_limits<Target>::max()),
              m_generator, ": ", key, " must be a whole number, got ", quoted(*text));
      target = static_cast<Target>(*number);
    } else {
      auto const number = parse_double(*text);
      require(number && std::isfinite(*number), m_generator, ": ", key, " must be a finite number, got ",
              quoted(*text));
      target = *number;
    }
  }

private:
  std::string m_generator;
  std::map<std::string, std::string> m_values;
};

} // namespace nasturtium::datasets::impl
