// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What predicted probabilities are worth, and how much models differ.
#pragma once

#include <nasturtium/ensemble/prediction_pool.hpp>

#include <cstdint>
#include <span>

namespace nasturtium::ensemble {

/// Probabilities smaller than this count as this in logarithms.
inline constexpr double least_probability = 1e-12;

/// Probabilities of N samples, sample by sample, with their labels; does not own them.
struct ProbabilityMatrix
{
  std::span<double const> probabilities; ///< N * classes
  int classes = 0;
  std::span<std::int32_t const> labels; ///< N

  std::size_t samples() const { return labels.size(); }
  std::span<double const> row(std::size_t sample) const
  {
    return probabilities.subspan(sample * static_cast<std::size_t>(classes), static_cast<std::size_t>(classes));
  }
};

// Means over the samples, in nats where there is a logarithm; NaN without samples.
double negative_log_likelihood(ProbabilityMatrix const& matrix);
/// Squared errors, summed over the classes: in [0, 2].
double brier_score(ProbabilityMatrix const& matrix);
/// Fraction whose first most probable class is the label.
double accuracy(ProbabilityMatrix const& matrix);

/// Expected calibration error: sum over bins of |correct - sum of confidences| / N, the confidence of a sample being
/// its highest probability. Bins of equal width, closed on the right; or of equal size after sorting by confidence,
/// equal confidences in the order of the samples.
double calibration_error_by_width(ProbabilityMatrix const& matrix, int bins = 15);
double calibration_error_by_mass(ProbabilityMatrix const& matrix, int bins = 15);

/// Means over all pairs of models.
struct Diversity
{
  double disagreement = 0; ///< fraction of samples on which the two predict different classes
  /// (ad - bc) / (ad + bc) of the samples that both (a), one (b, c) and none (d) have right: 1 where they fail
  /// together, 0 where they fail independently. Pairs without such a number (0/0) are left out; NaN where all are.
  double q = 0;
};
/// Of these models; NaN for fewer than two. O(models^2 samples).
Diversity diversity(Predictions const& predictions, std::span<int const> models);

} // namespace nasturtium::ensemble
