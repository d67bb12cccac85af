// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Temperature scaling of an ensemble, after pooling: members are never calibrated by themselves, for that can make the
// pool worse.
#pragma once

#include <nasturtium/ensemble/score.hpp>

#include <vector>

namespace nasturtium::ensemble {

struct Temperature
{
  double value = 1; ///< in [0.05, 20]
  int steps = 0;    ///< that were taken
};

/// The temperature T for which softmax(ln max(p, 1e-12) / T) has the least negative log-likelihood: Newton's method on
/// ln T, with bisection where the curvature is not positive or a step leaves the bracket. 1 without samples.
/// O(steps * samples * classes).
Temperature fit_temperature(ProbabilityMatrix const& matrix);

/// softmax(ln max(p, 1e-12) / temperature), sample by sample.
std::vector<double> apply_temperature(ProbabilityMatrix const& matrix, double temperature);

} // namespace nasturtium::ensemble
