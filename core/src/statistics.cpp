// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/philox.hpp>
#include <nasturtium/core/statistics.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace nasturtium {

SignedRank signed_rank_test(std::span<double const> differences)
{
  std::vector<double> values;
  for (double const value : differences) {
    require(std::isfinite(value), "signed-rank test: the difference ", shortest(value), " is not finite");
    if (value != 0) values.push_back(value);
  }
  SignedRank result;
  result.count = static_cast<int>(values.size());
  if (values.empty()) return result;
  std::sort(values.begin(), values.end(), [](double a, double b) { return std::abs(a) < std::abs(b); });
  // Twice the ranks, which are integers with ties too.
  std::size_t const n = values.size();
  std::vector<std::size_t> ranks(n);
  for (std::size_t i = 0; i < n;) {
    std::size_t end = i;
    while (end < n && std::abs(values[end]) == std::abs(values[i]))
      ++end;
    for (std::size_t k = i; k < end; ++k)
      ranks[k] = i + 1 + end;
    i = end;
  }
  std::size_t positive = 0, total = 0;
  for (std::size_t i = 0; i < n; ++i) {
    total += ranks[i];
    if (values[i] > 0) positive += ranks[i];
  }
  // Share of the 2^n sign patterns with each sum.
  std::vector<double> share(total + 1, 0);
  share[0] = 1;
  std::size_t reached = 0;
  for (std::size_t const rank : ranks) {
    reached += rank;
    for (std::size_t sum = reached + 1; sum-- > 0;)
      share[sum] = 0.5 * (share[sum] + (sum >= rank ? share[sum - rank] : 0));
  }
  auto const at = share.begin() + static_cast<std::ptrdiff_t>(positive);
  result.greater = std::min(1.0, std::accumulate(at, share.end(), 0.0));
  result.less = std::min(1.0, std::accumulate(share.begin(), at + 1, 0.0));
  result.two_sided = std::min(1.0, 2 * std::min(result.greater, result.less));
  result.positive = 0.5 * static_cast<double>(positive);
  result.negative = 0.5 * static_cast<double>(total - positive);
  return result;
}

std::vector<double> holm(std::span<double const> p_values)
{
  std::vector<std::size_t> order(p_values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return p_values[a] < p_values[b]; });
  std::vector<double> adjusted(p_values.size());
  double largest = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    largest = std::max(largest, std::min(1.0, static_cast<double>(order.size() - i) * p_values[order[i]]));
    adjusted[order[i]] = largest;
  }
  return adjusted;
}

std::pair<double, double> bootstrap_mean(std::span<double const> values, double level, std::uint64_t seed)
{
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  if (values.empty()) return {nan, nan};
  constexpr std::size_t resamples = 10000;
  std::vector<double> means(resamples);
  auto const n = static_cast<std::uint32_t>(values.size());
  for (std::size_t r = 0; r < resamples; ++r) {
    double sum = 0;
    for (std::uint32_t i = 0; i < n; ++i) {
      auto const block = random_block(seed, Purpose::bootstrap, static_cast<std::uint32_t>(r), i / 4);
      sum += values[to_below(block.word[i % 4], n)];
    }
    means[r] = sum / n;
  }
  std::sort(means.begin(), means.end());
  auto const at = [&](double quantile) {
    return means[static_cast<std::size_t>(std::lround(quantile * static_cast<double>(resamples - 1)))];
  };
  return {at((1 - level) / 2), at((1 + level) / 2)};
}

double mean(std::span<double const> values)
{
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double median(std::vector<double> values)
{
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::sort(values.begin(), values.end());
  std::size_t const half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : 0.5 * (values[half - 1] + values[half]);
}

} // namespace nasturtium
