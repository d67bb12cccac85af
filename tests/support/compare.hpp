// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Comparisons that say where two runs of values first differ. Each returns an empty text where they agree, so that
// CHECK(first_difference(...) == "") prints the place.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

namespace nasturtium::testing {

namespace impl {

template <class A, class B>
std::string describe(std::string const& label, std::size_t i, std::size_t size, A actual, B expected)
{
  std::ostringstream text;
  text.precision(17);
  text << label << "[" << i << "] of " << size << ": " << +actual << " instead of " << +expected;
  return text.str();
}

template <class A, class B>
std::string compare_sizes(std::string const& label, std::vector<A> const& actual, std::vector<B> const& expected)
{
  if (actual.size() == expected.size()) return {};
  return label + ": " + std::to_string(actual.size()) + " values instead of " + std::to_string(expected.size());
}

} // namespace impl

/// Differs where |actual - expected| > absolute + relative * |expected|; a NaN equals a NaN and nothing else.
template <class A, class B>
std::string first_difference(std::string const& label, std::vector<A> const& actual, std::vector<B> const& expected,
                             double absolute = 0, double relative = 0)
{
  if (auto sizes = impl::compare_sizes(label, actual, expected); !sizes.empty()) return sizes;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    auto const a = static_cast<double>(actual[i]);
    auto const e = static_cast<double>(expected[i]);
    bool const same =
        a == e || (std::isnan(a) && std::isnan(e)) || std::abs(a - e) <= absolute + relative * std::abs(e);
    if (!same) return impl::describe(label, i, actual.size(), actual[i], expected[i]);
  }
  return {};
}

/// Differs where the bits do.
template <class T>
std::string first_bit_difference(std::string const& label, std::vector<T> const& actual, std::vector<T> const& expected)
{
  if (auto sizes = impl::compare_sizes(label, actual, expected); !sizes.empty()) return sizes;
  for (std::size_t i = 0; i < actual.size(); ++i)
    if (std::memcmp(&actual[i], &expected[i], sizeof(T)) != 0)
      return impl::describe(label, i, actual.size(), actual[i], expected[i]);
  return {};
}

} // namespace nasturtium::testing
