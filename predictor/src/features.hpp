// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A curve's beginning as a handful of numbers, and a regression on them that knows how good it is on curves that it has
// not seen.
#pragma once

#include "watched.hpp"

#include <array>
#include <span>

namespace nasturtium::predictor::impl {

inline constexpr int feature_count = 10;
using Features = std::array<double, feature_count>; ///< NaN: not known

enum Feature : int {
  best_feature,
  last_feature,
  mean_feature,
  recent_feature,   ///< median of the last three
  doubling_feature, ///< what the second half of the time brought: best now minus best at half the time
  trend_feature,    ///< mean of the last three minus mean of the first three
  train_feature,    ///< training accuracy
  gap_feature,      ///< training accuracy minus best
  rate_feature,     ///< logarithm of the learning rate
  decay_feature     ///< logarithm of the learning rate over its maximum so far
};

/// Features of the first `points` points (>= 1) of a curve.
Features features(Curve const& curve, std::size_t points);

/// Linear regression of a target on features: standardised, with a penalty that is chosen by leave-one-out error among
/// multiples of `lambda`, and outliers given less weight (Huber). Unknown features count as average.
class Regression
{
public:
  struct Options
  {
    std::array<bool, feature_count> use{};
    double lambda = 1;
    bool choose_lambda = false; ///< by leave-one-out among 0.1, 0.3, 1, 3, 10, 30, 100 times lambda
    bool robust = false;
    double intercept_prior = 0; ///< rows of target 0 that the mean starts from
  };

  /// Memory for so many rows.
  void reserve(std::size_t rows);
  /// Fits rows[i] -> targets[i].
  void fit(std::span<Features const> rows, std::span<double const> targets, Options const& options);
  double predict(Features const& row) const;
  /// sqrt(1 + leverage) of a new row: how much less is known far from the rows.
  double spread(Features const& row) const;
  std::size_t rows() const { return m_residuals.size(); }
  /// Target minus the prediction of a fit without that row.
  std::span<double const> residuals() const { return m_residuals; }
  /// The fitted values.
  std::span<double const> fitted() const { return m_fitted; }

private:
  static constexpr int size = feature_count;
  using Square = std::array<std::array<double, size>, size>;
  void solve(std::span<Features const> rows, std::span<double const> targets, Options const& options);

  Features m_mean{}, m_scale{}, m_coefficients{}, m_eigenvalues{};
  Square m_vectors{}; // by columns
  double m_intercept = 0, m_weight = 0, m_lambda = 1;
  std::vector<double> m_residuals, m_fitted, m_weights, m_projected, m_scratch;
};

} // namespace nasturtium::predictor::impl
