// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/estimator/error_metrics.hpp>

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/philox.hpp>
#include <nasturtium/core/statistics.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace nasturtium::estimator {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// Ranks from 1; equal values share the mean of theirs.
std::vector<double> ranks(std::span<double const> values)
{
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> result(values.size());
  for (std::size_t i = 0; i < order.size();) {
    std::size_t end = i;
    while (end < order.size() && values[order[end]] == values[order[i]])
      ++end;
    for (std::size_t k = i; k < end; ++k)
      result[order[k]] = 0.5 * static_cast<double>(i + 1 + end);
    i = end;
  }
  return result;
}

} // namespace

double quantile(std::vector<double> values, double q)
{
  require(q >= 0 && q <= 1, "a quantile must be in [0, 1], got ", shortest(q));
  if (values.empty()) return nan;
  double const position = q * static_cast<double>(values.size() - 1);
  auto const low = static_cast<std::size_t>(position);
  auto const at = values.begin() + static_cast<std::ptrdiff_t>(low);
  std::nth_element(values.begin(), at, values.end());
  if (low + 1 == values.size()) return *at;
  double const next = *std::min_element(at + 1, values.end());
  return *at + (position - static_cast<double>(low)) * (next - *at);
}

double spearman(std::span<double const> left, std::span<double const> right)
{
  require(left.size() == right.size(), "rank correlation of ", left.size(), " and ", right.size(), " values");
  if (left.size() < 2) return nan;
  auto const a = ranks(left), b = ranks(right);
  double const middle = 0.5 * static_cast<double>(left.size() + 1);
  double product = 0, squares_a = 0, squares_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    product += (a[i] - middle) * (b[i] - middle);
    squares_a += (a[i] - middle) * (a[i] - middle);
    squares_b += (b[i] - middle) * (b[i] - middle);
  }
  return squares_a > 0 && squares_b > 0 ? product / std::sqrt(squares_a * squares_b) : nan;
}

std::vector<double> relative_errors(std::span<double const> predicted, std::span<double const> measured)
{
  require(!measured.empty(), "there are no estimates to compare");
  require(predicted.size() == measured.size(), predicted.size(), " estimates for ", measured.size(), " times");
  std::vector<double> errors(measured.size());
  for (std::size_t i = 0; i < errors.size(); ++i) {
    for (double const time : {predicted[i], measured[i]})
      require(std::isfinite(time) && time > 0, "time ", i, " must be positive and finite, got ", shortest(time));
    errors[i] = std::abs(predicted[i] - measured[i]) / measured[i];
  }
  return errors;
}

ErrorMetrics error_metrics(std::span<double const> predicted, std::span<double const> measured)
{
  auto const errors = relative_errors(predicted, measured);
  ErrorMetrics metrics;
  metrics.count = static_cast<std::int64_t>(errors.size());
  metrics.mape = mean(errors);
  metrics.median = median(errors);
  metrics.p90 = quantile(errors, 0.90);
  metrics.p99 = quantile(errors, 0.99);
  auto const n = static_cast<double>(errors.size());
  metrics.within_10_percent =
      static_cast<double>(std::count_if(errors.begin(), errors.end(), [](double e) { return e <= 0.1; })) / n;
  double squares = 0;
  std::vector<double> logs(errors.size());
  for (std::size_t i = 0; i < errors.size(); ++i) {
    double const difference = predicted[i] - measured[i];
    squares += difference * difference;
    logs[i] = std::log(predicted[i] / measured[i]);
  }
  metrics.rmse = std::sqrt(squares / n);
  metrics.spearman = spearman(predicted, measured);
  metrics.bias = median(std::move(logs));
  return metrics;
}

std::pair<double, double> bootstrap_mape(std::span<double const> predicted, std::span<double const> measured,
                                         double level, int resamples, std::uint64_t seed)
{
  require(level > 0 && level < 1, "the level of an interval must be in (0, 1), got ", shortest(level));
  require(resamples >= 1, "a bootstrap needs at least one resample, got ", resamples);
  auto const errors = relative_errors(predicted, measured);
  auto const n = static_cast<std::uint32_t>(errors.size());
  std::vector<double> means(static_cast<std::size_t>(resamples));
  for (std::size_t resample = 0; resample < means.size(); ++resample) {
    double sum = 0;
    for (std::uint32_t block = 0; 4 * block < n; ++block) {
      auto const words = random_block(seed, Purpose::bootstrap, static_cast<std::uint32_t>(resample), block);
      for (std::uint32_t k = 0; k < 4 && 4 * block + k < n; ++k)
        sum += errors[to_below(words.word[k], n)];
    }
    means[resample] = sum / n;
  }
  return {quantile(means, 0.5 - level / 2), quantile(means, 0.5 + level / 2)};
}

double pinball_loss(double truth, double prediction, double q)
{
  return truth >= prediction ? q * (truth - prediction) : (1 - q) * (prediction - truth);
}

} // namespace nasturtium::estimator
