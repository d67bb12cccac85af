// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/estimator/conformal.hpp>

#include <nasturtium/core/error.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace nasturtium::estimator {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// The score of a conformal rank from below, `scores` ascending.
double limit(std::vector<double> const& scores, double alpha)
{
  auto const rank = conformal_rank(static_cast<std::int64_t>(scores.size()), alpha);
  if (rank > static_cast<std::int64_t>(scores.size())) return infinity;
  return scores[static_cast<std::size_t>(std::max<std::int64_t>(rank, 1) - 1)];
}

} // namespace

std::int64_t conformal_rank(std::int64_t n, double alpha)
{
  // (19 + 1)(1 - 0.1) must be 18 whatever the rounding of 0.9.
  return static_cast<std::int64_t>(std::ceil(static_cast<double>(n + 1) * (1 - alpha) - 1e-9));
}

double one_sided_limit(std::vector<double> scores, double alpha)
{
  std::sort(scores.begin(), scores.end());
  return limit(scores, alpha);
}

ConformalIntervals::ConformalIntervals(std::span<double const> predicted, std::span<double const> measured)
{
  require(predicted.size() == measured.size(), "calibration has ", predicted.size(), " predicted and ", measured.size(),
          " measured times");
  for (std::size_t i = 0; i < predicted.size(); ++i)
    require(predicted[i] > 0 && measured[i] > 0 && std::isfinite(predicted[i]) && std::isfinite(measured[i]),
            "calibration example ", i, " has the times ", predicted[i], " and ", measured[i],
            ", which must be positive and finite");
  std::vector<std::size_t> order(predicted.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](auto a, auto b) { return predicted[a] < predicted[b]; });
  std::size_t const classes = std::clamp<std::size_t>(order.size() / 100, 1, 3);
  for (std::size_t c = 0; c < classes; ++c) {
    std::size_t const begin = c * order.size() / classes, end = (c + 1) * order.size() / classes;
    if (c > 0) m_bounds.push_back(predicted[order[begin]]);
    auto& scores = m_scores.emplace_back();
    for (std::size_t i = begin; i < end; ++i)
      scores.push_back(std::log(measured[order[i]] / predicted[order[i]]));
    std::sort(scores.begin(), scores.end());
  }
}

std::vector<double> const& ConformalIntervals::scores(double predicted) const
{
  require(!m_scores.empty(), "intervals were not calibrated");
  auto const at = std::upper_bound(m_bounds.begin(), m_bounds.end(), predicted) - m_bounds.begin();
  return m_scores[static_cast<std::size_t>(at)];
}

std::pair<double, double> ConformalIntervals::interval(double predicted, double level) const
{
  require(level > 0 && level < 1, "the level of an interval must be in (0, 1), got ", level);
  auto const& all = scores(predicted);
  std::vector<double> turned(all.rbegin(), all.rend());
  for (double& score : turned)
    score = -score;
  double const tail = 0.5 * (1 - level), low = limit(turned, tail), high = limit(all, tail);
  return {std::isfinite(low) ? predicted * std::exp(-low) : 0, predicted * std::exp(high)};
}

double ConformalIntervals::upper(double predicted, double risk) const
{
  require(risk > 0 && risk < 1, "the risk must be in (0, 1), got ", risk);
  return predicted * std::exp(limit(scores(predicted), risk));
}

std::pair<double, double> Refined::interval(double level) const
{
  double const width = normal_quantile(0.5 + 0.5 * level) * sigma;
  return {seconds * std::exp(-width), seconds * std::exp(width)};
}

Refined refine(double prior_seconds, double sigma, int blocks, double observed_seconds, double sd)
{
  require(prior_seconds > 0 && sigma >= 0 && sd >= 0 && blocks >= 0, "refine: times must be positive and deviations ",
          "not negative, got ", prior_seconds, ", ", sigma, ", ", sd);
  if (blocks == 0) return {prior_seconds, sigma};
  require(observed_seconds > 0, "refine: observed seconds must be positive, got ", observed_seconds);
  double const variance = sd * sd / blocks + 0.01 * 0.01;
  if (sigma == 0) return {prior_seconds, 0};
  double const prior = 1 / (sigma * sigma), seen = 1 / variance;
  double const mu = (prior * std::log(prior_seconds) + seen * std::log(observed_seconds)) / (prior + seen);
  return {std::exp(mu), std::sqrt(1 / (prior + seen))};
}

double normal_quantile(double p)
{
  require(p > 0 && p < 1, "a quantile of the normal distribution is for (0, 1), got ", p);
  constexpr double a[] = {-3.969683028665376e+01, 2.209460984245205e+02,  -2.759285104469687e+02,
                          1.383577518672690e+02,  -3.066479806614716e+01, 2.506628277459239e+00};
  constexpr double b[] = {-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02, 6.680131188771972e+01,
                          -1.328068155288572e+01};
  constexpr double c[] = {-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00,
                          -2.549732539343734e+00, 4.374664141464968e+00,  2.938163982698783e+00};
  constexpr double d[] = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00};
  auto const tail = [&](double q) {
    return (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) /
           ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
  };
  if (p < 0.02425) return tail(std::sqrt(-2 * std::log(p)));
  if (p > 1 - 0.02425) return -tail(std::sqrt(-2 * std::log(1 - p)));
  double const q = p - 0.5, r = q * q;
  return (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q /
         (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
}

} // namespace nasturtium::estimator
