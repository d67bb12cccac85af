// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/predictor/metrics.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace nasturtium::predictor {

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

void check_sizes(std::span<double const> left, std::span<double const> right)
{
  require(left.size() == right.size(), "metrics: ", left.size(), " values against ", right.size());
}

} // namespace

std::vector<std::size_t> top(std::span<double const> values, std::size_t k)
{
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  // What is not a number is never among the best.
  auto const key = [&](std::size_t i) {
    return std::isnan(values[i]) ? -std::numeric_limits<double>::infinity() : values[i];
  };
  std::stable_sort(order.begin(), order.end(), [&](std::size_t l, std::size_t r) { return key(l) > key(r); });
  order.resize(std::min(k, order.size()));
  return order;
}

std::vector<double> ranks(std::span<double const> values)
{
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t l, std::size_t r) { return values[l] < values[r]; });
  std::vector<double> result(values.size());
  for (std::size_t i = 0; i < order.size();) {
    std::size_t j = i + 1;
    while (j < order.size() && values[order[j]] == values[order[i]])
      ++j;
    for (std::size_t k = i; k < j; ++k)
      result[order[k]] = 0.5 * static_cast<double>(i + j - 1) + 1;
    i = j;
  }
  return result;
}

double spearman(std::span<double const> left, std::span<double const> right)
{
  check_sizes(left, right);
  if (left.size() < 2) return nan;
  auto const l = ranks(left), r = ranks(right);
  double const mean = 0.5 * static_cast<double>(left.size() + 1);
  double lr = 0, ll = 0, rr = 0;
  for (std::size_t i = 0; i < l.size(); ++i) {
    lr += (l[i] - mean) * (r[i] - mean);
    ll += (l[i] - mean) * (l[i] - mean);
    rr += (r[i] - mean) * (r[i] - mean);
  }
  return ll > 0 && rr > 0 ? lr / std::sqrt(ll * rr) : nan;
}

double kendall(std::span<double const> left, std::span<double const> right)
{
  check_sizes(left, right);
  double agree = 0, left_pairs = 0, right_pairs = 0;
  for (std::size_t i = 0; i < left.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) {
      double const l = left[i] > left[j] ? 1 : left[i] < left[j] ? -1 : 0;
      double const r = right[i] > right[j] ? 1 : right[i] < right[j] ? -1 : 0;
      agree += l * r;
      left_pairs += l * l;
      right_pairs += r * r;
    }
  return left_pairs > 0 && right_pairs > 0 ? agree / std::sqrt(left_pairs * right_pairs) : nan;
}

std::size_t top_hits(std::span<double const> truth, std::span<double const> predicted, std::size_t k)
{
  check_sizes(truth, predicted);
  auto best = top(truth, k), chosen = top(predicted, k);
  std::sort(best.begin(), best.end());
  return static_cast<std::size_t>(std::count_if(
      chosen.begin(), chosen.end(), [&](std::size_t i) { return std::binary_search(best.begin(), best.end(), i); }));
}

std::size_t epsilon_hits(std::span<double const> truth, std::span<double const> predicted, std::size_t k,
                         double epsilon)
{
  check_sizes(truth, predicted);
  auto const best = top(truth, k), chosen = top(predicted, k);
  if (best.empty()) return 0;
  double const bar = truth[best.back()] - epsilon;
  return static_cast<std::size_t>(
      std::count_if(chosen.begin(), chosen.end(), [&](std::size_t i) { return truth[i] >= bar; }));
}

double mean_top_difference(std::span<double const> truth, std::span<double const> predicted, std::size_t k)
{
  check_sizes(truth, predicted);
  auto const best = top(truth, k), chosen = top(predicted, k);
  if (best.empty()) return nan;
  double difference = 0;
  for (std::size_t i = 0; i < best.size(); ++i)
    difference += truth[best[i]] - truth[chosen[i]];
  return difference / static_cast<double>(best.size());
}

double regret(std::span<double const> truth, std::span<double const> predicted)
{
  return mean_top_difference(truth, predicted, 1);
}

ErrorSummary errors(std::span<double const> truth, std::span<double const> predicted)
{
  check_sizes(truth, predicted);
  ErrorSummary summary;
  summary.count = truth.size();
  for (std::size_t i = 0; i < truth.size(); ++i) {
    double const error = predicted[i] - truth[i];
    summary.mean_absolute += std::abs(error);
    summary.bias += error;
    summary.maximum = std::max(summary.maximum, std::abs(error));
  }
  if (truth.empty()) {
    summary.mean_absolute = summary.bias = summary.maximum = nan;
  } else {
    summary.mean_absolute /= static_cast<double>(truth.size());
    summary.bias /= static_cast<double>(truth.size());
  }
  return summary;
}

double quantile_crps(double truth, std::span<double const> levels, std::span<double const> quantiles)
{
  check_sizes(levels, quantiles);
  double sum = 0;
  for (std::size_t i = 0; i < levels.size(); ++i) {
    double const error = truth - quantiles[i];
    sum += 2 * (error >= 0 ? levels[i] * error : (levels[i] - 1) * error);
  }
  return levels.empty() ? nan : sum / static_cast<double>(levels.size());
}

double quantile_log_density(double truth, std::span<double const> levels, std::span<double const> quantiles)
{
  check_sizes(levels, quantiles);
  if (levels.size() < 2) return nan;
  constexpr double least = 0.01;
  auto const tail = [&](double distance, double mass, std::size_t left) {
    // The density of the tail continues that of the piece beside it.
    double const density = (levels[left + 1] - levels[left]) / std::max(least, quantiles[left + 1] - quantiles[left]);
    return std::log(density) - distance * density / mass;
  };
  if (truth < quantiles.front()) return tail(quantiles.front() - truth, levels.front(), 0);
  if (truth > quantiles.back()) return tail(truth - quantiles.back(), 1 - levels.back(), levels.size() - 2);
  // Pieces may be empty (an interval clipped at 0 or 100): what lies there counts as one piece of the least width.
  double mass = 0, width = 0;
  for (std::size_t i = 0; i + 1 < levels.size(); ++i) {
    if (truth < quantiles[i] - least / 2 || truth > quantiles[i + 1] + least / 2) continue;
    bool const inside = truth >= quantiles[i] && truth <= quantiles[i + 1];
    if (!inside && quantiles[i + 1] - quantiles[i] >= least) continue;
    mass += levels[i + 1] - levels[i];
    width += quantiles[i + 1] - quantiles[i];
  }
  return std::log(mass / std::max(least, width));
}

} // namespace nasturtium::predictor
