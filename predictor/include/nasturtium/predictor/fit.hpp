// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Bounded non-linear least squares of a family, as the published engines did it, and an exact one to hold against it.
#pragma once

#include <nasturtium/predictor/families.hpp>

#include <span>
#include <vector>

namespace nasturtium::predictor {

/// Where a fit starts and what its parameters may be; infinite: no bound.
struct FitRange
{
  Parameters start{}, lower{}, upper{};
};

/// What PENGUIN fits exp_default in: a in [0.5, 200], b >= 1, c >= 0, from (10, 1.001, 100).
FitRange penguin_range();
/// The same bounds from (100.25, 2, 1), where A4NN starts.
FitRange a4nn_range();

struct Fit
{
  Parameters parameters{}; ///< infinite where the fit failed
  double cost = 0;         ///< half the sum of squared residuals
  int evaluations = 0;     ///< of the residuals
  bool success = false;
};

/// Fits one family to points; keeps its scratch memory, so that a fit of no more points than before does not allocate.
class Fitter
{
public:
  /// Room for so many points.
  explicit Fitter(std::size_t points = 0);

  /// Trust-region reflective least squares (Branch, Coleman, Li 1999) with analytic gradients, in the variant and with
  /// the tolerances (1e-8) of SciPy's `curve_fit` with bounds. Fails after `max_evaluations`, and for a start outside
  /// the bounds or the family's domain.
  Fit trust_region(Family family, std::span<double const> x, std::span<double const> y, FitRange const& range,
                   int max_evaluations = 300);

  /// The least-squares optimum of exp_default inside the bounds of `range` on a (lower and upper), b >= 1 and c >= 0,
  /// found by a search over ln b; needs no start.
  Fit exact(std::span<double const> x, std::span<double const> y, FitRange const& range);

  /// Any family from several starts scaled to the data; the best of those that succeeded. x must be in the family's
  /// domain (fails otherwise). For exp_default use the two above.
  Fit multi_start(Family family, std::span<double const> x, std::span<double const> y, int max_evaluations = 300);

private:
  std::vector<double> m_residual, m_trial, m_jacobian, m_augmented, m_right;
};

} // namespace nasturtium::predictor
