// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Intervals around estimated times from examples that were not trained on (split conformal prediction), and an estimate
// corrected by the first observed steps. Reference section 2.7. Pure host mathematics.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace nasturtium::estimator {

/// Rank of the score that bounds a new one with probability 1 - alpha: ceil((n + 1)(1 - alpha)); more than n: none
/// does, the limit is infinite.
std::int64_t conformal_rank(std::int64_t n, double alpha);
/// The score of that rank in ascending order.
double one_sided_limit(std::vector<double> scores, double alpha);

/// Limits in log time, apart for small, middle and large predictions.
class ConformalIntervals
{
public:
  ConformalIntervals() = default;
  /// `predicted` and `measured` seconds, one each per calibration example. Size classes are terciles of the predicted
  /// times; below 3 x 100 examples there are fewer, so that each has 100 (or all there are). Throws Error for unequal
  /// numbers and for times that are not positive and finite. O(n log n).
  ConformalIntervals(std::span<double const> predicted, std::span<double const> measured);

  /// The interval of the middle `level` around an estimate; (0, infinity) where its class has too few examples. Throws
  /// Error unless 0 < level < 1.
  std::pair<double, double> interval(double predicted, double level) const;
  /// One-sided: the time is above it with probability `risk` at most; infinite with fewer than 1/risk - 1 examples in
  /// the class. Throws Error unless 0 < risk < 1.
  double upper(double predicted, double risk) const;

  std::size_t classes() const { return m_scores.size(); }

private:
  std::vector<double> m_bounds;              ///< predicted seconds between classes
  std::vector<std::vector<double>> m_scores; ///< of each class: log(measured / predicted), ascending

  std::vector<double> const& scores(double predicted) const;
};

/// An estimate of one step, median and deviation of its logarithm.
struct Refined
{
  double seconds = 0, sigma = 0;
  std::pair<double, double> interval(double level) const; ///< of the middle `level`
};
/// Combines the estimate exp(N(log prior_seconds, sigma^2)) with `blocks` observed block medians, whose mean is
/// `observed_seconds` (mean of logarithms) and deviation of logarithms `sd`: their variance is sd^2 / blocks + 0.01^2.
/// Without blocks the estimate stays. Throws Error for times that are not positive and deviations that are negative.
Refined refine(double prior_seconds, double sigma, int blocks, double observed_seconds, double sd);

/// Quantile of the standard normal distribution, 0 < p < 1 (Acklam's rational approximation, error below 1.2e-9).
double normal_quantile(double p);

} // namespace nasturtium::estimator
