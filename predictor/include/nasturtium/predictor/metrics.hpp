// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a prediction was worth: ranks, errors and probabilities against true final values. Larger is better everywhere;
// ties go to the smaller position.
#pragma once

#include <nasturtium/core/statistics.hpp>

#include <cstddef>
#include <span>
#include <vector>

namespace nasturtium::predictor {

/// The positions of the k largest values, largest first.
std::vector<std::size_t> top(std::span<double const> values, std::size_t k);
/// Half-integer ranks from 1; equal values share the mean of theirs.
std::vector<double> ranks(std::span<double const> values);
/// Pearson correlation of the ranks; NaN for fewer than two values or where one side is constant.
double spearman(std::span<double const> left, std::span<double const> right);
/// Kendall's tau-b in O(n^2); NaN as above.
double kendall(std::span<double const> left, std::span<double const> right);

/// How many of the true k best are among the predicted k best.
std::size_t top_hits(std::span<double const> truth, std::span<double const> predicted, std::size_t k);
/// How many of the predicted k best are within `epsilon` of the true k-th best value.
std::size_t epsilon_hits(std::span<double const> truth, std::span<double const> predicted, std::size_t k,
                         double epsilon = 0.5);
/// Mean true value over the true k best minus that over the predicted k best; >= 0.
double mean_top_difference(std::span<double const> truth, std::span<double const> predicted, std::size_t k);
/// The best true value minus the true value of the predicted best.
double regret(std::span<double const> truth, std::span<double const> predicted);

/// Errors predicted - truth; all NaN for no values.
struct ErrorSummary
{
  std::size_t count = 0;
  double mean_absolute = 0, bias = 0, maximum = 0;
};
ErrorSummary errors(std::span<double const> truth, std::span<double const> predicted);

using nasturtium::median;

/// Mean over quantile levels of twice the pinball loss: the continuous ranked probability score of a distribution that
/// is known by these quantiles.
double quantile_crps(double truth, std::span<double const> levels, std::span<double const> quantiles);

/// Natural logarithm of the density at `truth` of that distribution: uniform between neighbouring quantiles, beyond the
/// outer ones exponential with the slope of the last piece's. Pieces are at least 0.01 wide (no accuracy is finer).
double quantile_log_density(double truth, std::span<double const> levels, std::span<double const> quantiles);

} // namespace nasturtium::predictor
