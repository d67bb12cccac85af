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

namespace {

/// Of 0, 1, ... wins of `high` values against `low` ones, where both come from one distribution.
std::vector<double> rank_sum_distribution(std::size_t high, std::size_t low)
{
  // The largest of h + l values is a high one with probability h / (h + l) and wins against all l low ones then.
  std::vector<std::vector<double>> share(low + 1, std::vector<double>(high * low + 1, 0)); // by l, of the current h
  for (auto& wins : share)
    wins[0] = 1;
  for (std::size_t h = 1; h <= high; ++h)
    for (std::size_t l = 1; l <= low; ++l) {
      double const of_high = static_cast<double>(h) / static_cast<double>(h + l);
      for (std::size_t u = h * l + 1; u-- > 0;)
        share[l][u] = of_high * (u >= l ? share[l][u - l] : 0) + (1 - of_high) * share[l - 1][u];
    }
  return share[low];
}

/// Probability of at least `wins` under the hypothesis of Mann and Whitney's test.
double rank_sum_tail(std::size_t high, std::size_t low, std::size_t wins)
{
  if (high * low > 10000) {
    auto const count = static_cast<double>(high * low);
    double const sd = std::sqrt(count * static_cast<double>(high + low + 1) / 12);
    return std::min(1.0, 0.5 * std::erfc((static_cast<double>(wins) - 0.5 - 0.5 * count) / (sd * std::sqrt(2.0))));
  }
  // Files of timings ask for the same two sizes again and again.
  thread_local std::pair<std::size_t, std::size_t> sizes{0, 0};
  thread_local std::vector<double> distribution;
  if (sizes != std::pair(high, low)) {
    distribution = rank_sum_distribution(high, low);
    sizes = {high, low};
  }
  return std::min(1.0,
                  std::accumulate(distribution.begin() + static_cast<std::ptrdiff_t>(wins), distribution.end(), 0.0));
}

} // namespace

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

std::vector<std::pair<double, double>> bootstrap_medians(std::vector<double> values)
{
  require(!values.empty() && values.size() <= 1000, "a bootstrap of the median takes 1 to 1000 values, got ",
          values.size());
  std::sort(values.begin(), values.end());
  std::size_t const n = values.size(), half = (n + 1) / 2;
  auto const size = static_cast<double>(n), middle = static_cast<double>(half);
  auto const log_choose = [&](double k) {
    return std::lgamma(size + 1) - std::lgamma(k + 1) - std::lgamma(size - k + 1);
  };
  // Probability that the lower middle draw is among the `count` smallest: at least `half` of the draws are.
  auto const at_most = [&](std::size_t count) {
    if (count == 0 || count == n) return count == 0 ? 0.0 : 1.0;
    double const inside = std::log(static_cast<double>(count) / size),
                 outside = std::log1p(-static_cast<double>(count) / size);
    double sum = 0;
    for (std::size_t k = half; k <= n; ++k) {
      auto const draws = static_cast<double>(k);
      sum += std::exp(log_choose(draws) + draws * inside + (size - draws) * outside);
    }
    return std::min(1.0, sum);
  };
  std::vector<std::pair<double, double>> medians;
  double const ways = n % 2 == 0 ? std::exp(log_choose(middle)) : 0;
  std::vector<double> power; // by count: that half of the draws are among so many
  for (std::size_t count = 0; count <= n; ++count)
    power.push_back(std::pow(static_cast<double>(count) / size, middle));
  for (std::size_t i = 0; i < n; ++i) {
    double alone = at_most(i + 1) - at_most(i);
    // Even n: half of the draws have their largest at i, the other half their smallest at j.
    for (std::size_t j = i + 1; n % 2 == 0 && j < n; ++j) {
      double const both = ways * (power[i + 1] - power[i]) * (power[n - j] - power[n - j - 1]);
      medians.emplace_back(0.5 * (values[i] + values[j]), both);
      alone -= both;
    }
    medians.emplace_back(values[i], std::max(0.0, alone)); // rounding
  }
  std::sort(medians.begin(), medians.end());
  return medians;
}

double rank_sum_greater(std::span<double const> high, std::span<double const> low)
{
  if (high.empty() || low.empty()) return 1;
  std::vector<double> sorted(low.begin(), low.end());
  std::sort(sorted.begin(), sorted.end());
  std::size_t wins = 0;
  for (double const value : high)
    wins += static_cast<std::size_t>(std::lower_bound(sorted.begin(), sorted.end(), value) - sorted.begin());
  return rank_sum_tail(high.size(), low.size(), wins);
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
