// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How far estimated times are from measured ones (reference section 4). Relative errors are |predicted - measured| /
// measured, as fractions.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace nasturtium::estimator {

/// Errors of a set of estimates.
struct ErrorMetrics
{
  std::int64_t count = 0;
  double mape = 0;              ///< mean relative error
  double median = 0;            ///< of the relative errors; of two middle ones their mean
  double p90 = 0, p99 = 0;      ///< of the relative errors, by quantile()
  double within_10_percent = 0; ///< share of relative errors <= 0.1
  double rmse = 0;              ///< seconds
  double spearman = 0;          ///< rank correlation, ties sharing their mean rank; NaN for fewer than 2 or constants
  double bias = 0;              ///< median of log(predicted / measured)
};

/// Throws Error for no values, unequal numbers, and a time that is not positive and finite. O(n log n).
ErrorMetrics error_metrics(std::span<double const> predicted, std::span<double const> measured);

/// The relative errors in their order. Throws as error_metrics.
std::vector<double> relative_errors(std::span<double const> predicted, std::span<double const> measured);

/// Between the order statistics linearly, as numpy's default; NaN for no values. Throws Error unless 0 <= q <= 1.
double quantile(std::vector<double> values, double q);

/// Interval of the middle `level` of MAPE over `resamples` resamples of the networks, drawn with replacement.
/// Deterministic in the seed. Throws as error_metrics. O(n resamples).
std::pair<double, double> bootstrap_mape(std::span<double const> predicted, std::span<double const> measured,
                                         double level = 0.95, int resamples = 1000, std::uint64_t seed = 1);

/// Rank correlation; see ErrorMetrics::spearman. Throws Error for unequal numbers.
double spearman(std::span<double const> left, std::span<double const> right);

/// The pinball loss of one prediction of the quantile q: q (t - p) above it, (1 - q) (p - t) below.
double pinball_loss(double truth, double prediction, double q);

} // namespace nasturtium::estimator
