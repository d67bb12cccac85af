// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Intervals around estimates that hold whatever the method: split conformal prediction in log time (reference section
// 2.7), and what the first timed steps of a job say about the rest.
#pragma once

#include <nasturtium/core/json.hpp>
#include <nasturtium/estimator/estimator.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace nasturtium::estimator {

/// Rank (from 1) of the score among n that covers 1 - alpha: ceil((n + 1)(1 - alpha)); empty where it is beyond n, and
/// the interval therefore infinite. Throws Error unless 0 < alpha < 1 and n >= 0.
std::optional<std::int64_t> conformal_rank(std::int64_t n, double alpha);

/// Widens estimates by the scores of calibration rows, apart for the terciles of the predicted time; classes of fewer
/// than 100 rows are merged. Where a method has no quantiles, its median stands for both ends.
class Conformal
{
public:
  /// Calibration rows must be neither training nor test rows. Throws Error for no rows, unequal numbers and times that
  /// are not positive and finite. O(n log n).
  Conformal(std::span<Prediction const> predictions, std::span<double const> seconds);

  /// Seconds that hold the truth with probability 1 - alpha at least; (0, infinity) where there are too few rows.
  std::pair<double, double> interval(Prediction const& prediction, double alpha) const;
  /// Seconds that the truth exceeds with probability alpha at most; infinity where there are too few rows: it takes
  /// 1 / alpha - 1.
  double upper_limit(Prediction const& prediction, double alpha) const;

  std::size_t classes() const { return m_classes.size(); }
  std::int64_t rows(Prediction const& prediction) const; ///< calibration rows of the estimate's size class

  json::Object save() const;
  /// Throws Error naming `source` and field.
  static Conformal load(json::Value const& value, std::string const& source);

private:
  struct SizeClass
  {
    double largest = 0;                       ///< predicted seconds; of the last class infinity
    std::vector<double> two_sided, one_sided; ///< scores, ascending
  };
  Conformal() = default;
  SizeClass const& of(Prediction const& prediction) const;

  std::vector<SizeClass> m_classes;
};

/// What is known of the logarithm of a step's seconds.
struct LogNormal
{
  double mu = 0, sigma = 1;
  double median() const;
  std::pair<double, double> interval(double level) const; ///< the middle `level`
};

/// A prior combined with `blocks` observed block medians whose logarithms have this mean and deviation: their variance
/// is log_sd^2 / blocks + 0.01^2, and precisions add. Throws Error for blocks < 0, sigma <= 0 and log_sd < 0.
LogNormal refine(LogNormal const& prior, int blocks, double log_mean, double log_sd);
/// The same from the seconds of the blocks; of one block the deviation is taken as 0. Throws Error for a time that is
/// not positive and finite.
LogNormal refine(LogNormal const& prior, std::span<double const> block_seconds);

} // namespace nasturtium::estimator
