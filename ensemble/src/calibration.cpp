// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/ensemble/calibration.hpp>

#include <algorithm>
#include <cmath>

namespace nasturtium::ensemble {

namespace {

constexpr double smallest = 0.05, largest = 20, tolerance = 1e-10;
constexpr int most_steps = 200; // bisection alone needs 36

/// to = softmax(z / T) of one sample, z = ln max(p, 1e-12), s = 1 / T.
void soften(std::span<double const> row, double s, std::span<double> to)
{
  double const peak = std::log(std::max(*std::max_element(row.begin(), row.end()), least_probability));
  double sum = 0;
  for (std::size_t c = 0; c < row.size(); ++c)
    sum += to[c] = std::exp(s * (std::log(std::max(row[c], least_probability)) - peak));
  for (double& p : to)
    p /= sum;
}

} // namespace

Temperature fit_temperature(ProbabilityMatrix const& matrix)
{
  Temperature fitted;
  if (matrix.samples() == 0) return fitted;
  double low = std::log(smallest), high = std::log(largest), at = 0; // ln T
  std::vector<double> p(static_cast<std::size_t>(matrix.classes));
  for (; fitted.steps < most_steps; ++fitted.steps) {
    double const s = std::exp(-at);
    double d = 0, v = 0; // means of E[z] - z_y and of Var[z]
    for (std::size_t i = 0; i < matrix.samples(); ++i) {
      auto const row = matrix.row(i);
      soften(row, s, p);
      double first = 0, second = 0;
      double const own = std::log(std::max(row[static_cast<std::size_t>(matrix.labels[i])], least_probability));
      for (std::size_t c = 0; c < row.size(); ++c) {
        double const z = std::log(std::max(row[c], least_probability)) - own;
        first += p[c] * z;
        second += p[c] * z * z;
      }
      d += first;
      v += second - first * first;
    }
    d /= static_cast<double>(matrix.samples());
    v /= static_cast<double>(matrix.samples());
    double const gradient = -s * d, curvature = s * s * v + s * d;
    double const step = curvature > 0 ? -gradient / curvature : 0;
    if (curvature > 0 ? std::abs(step) < tolerance : gradient == 0) break; // all rows uniform: nothing to fit
    (gradient > 0 ? high : low) = at;
    double next = at + step;
    if (!(curvature > 0) || next <= low || next >= high) next = (low + high) / 2;
    if (high - low < tolerance) break;
    at = next;
  }
  fitted.value = std::exp(at);
  return fitted;
}

std::vector<double> apply_temperature(ProbabilityMatrix const& matrix, double temperature)
{
  require(std::isfinite(temperature) && temperature > 0, "temperature must be > 0, got ", temperature);
  std::vector<double> calibrated(matrix.probabilities.size());
  auto const classes = static_cast<std::size_t>(matrix.classes);
  for (std::size_t i = 0; i < matrix.samples(); ++i)
    soften(matrix.row(i), 1 / temperature, std::span(calibrated).subspan(i * classes, classes));
  return calibrated;
}

} // namespace nasturtium::ensemble
