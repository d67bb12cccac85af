// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tests and intervals for paired runs: the unit is a seed, and there are few of them, so everything is exact or
// resampled.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace nasturtium {

/// Wilcoxon's signed-rank test of paired differences.
struct SignedRank
{
  double positive = 0, negative = 0; ///< sums of ranks; equal sizes share the mean of their ranks
  int count = 0;                     ///< differences that are not zero
  double two_sided = 1;              ///< probability of sums as far apart, under symmetry about 0
  double greater = 1, less = 1;      ///< one-sided: the differences tend to be > 0, < 0
};
/// Exact for any number of differences, ties included: the distribution over all signs of the given ranks, counted in
/// O(n^3). Zeros are left out (Wilcoxon). Throws Error for values that are not finite.
SignedRank signed_rank_test(std::span<double const> differences);

/// Holm's step-down adjustment of p values, in their order; each at most 1.
std::vector<double> holm(std::span<double const> p_values);

/// Percentile bootstrap of the mean: the interval of the middle `level`, from 10,000 resamples drawn with `seed`. Both
/// ends are NaN without values.
std::pair<double, double> bootstrap_mean(std::span<double const> values, double level, std::uint64_t seed = 1);

/// The values that the median of a resample (as many draws, with replacement) can take, ascending, each with its
/// probability: what a bootstrap of the median comes to with infinitely many resamples, so it needs no seed (Efron,
/// 1979; for an even number of values from the joint law of the two middle ones). O(n^2) values for even n, n for odd
/// ones. Throws Error for none and for more than 1000.
std::vector<std::pair<double, double>> bootstrap_medians(std::vector<double> values);

/// Mann and Whitney's one-sided test: the probability that as many of the pairs (high, low) would have high > low if
/// both came from one distribution. Exact up to 10,000 pairs, then by the normal approximation with continuity
/// correction; ties speak against it, so that it stays valid with them. 1 where one is empty. O(pairs^2) time.
double rank_sum_greater(std::span<double const> high, std::span<double const> low);

double mean(std::span<double const> values); ///< NaN for none
double median(std::vector<double> values);   ///< of two middle ones their mean; NaN for none

} // namespace nasturtium
