// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "features.hpp"

#include <Eigen/Dense>

#include <algorithm>

namespace nasturtium::predictor::impl {

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

double middle_of_three(double a, double b, double c)
{
  return std::max(std::min(a, b), std::min(std::max(a, b), c));
}

} // namespace

Features features(Curve const& curve, std::size_t points)
{
  Features f;
  f.fill(nan);
  auto const& y = curve.values;
  double best = y[0], sum = 0, best_at_half = y[0], rate_max = -std::numeric_limits<double>::infinity();
  double const half = 0.5 * curve.epochs[points - 1] * (1 + 1e-9);
  for (std::size_t i = 0; i < points; ++i) {
    best = std::max(best, y[i]);
    sum += y[i];
    if (curve.epochs[i] <= half) best_at_half = best;
    rate_max = std::max(rate_max, curve.learning_rates[i]);
  }
  std::size_t const last = points - 1, window = std::min<std::size_t>(3, points);
  double first_sum = 0, last_sum = 0;
  for (std::size_t i = 0; i < window; ++i) {
    first_sum += y[i];
    last_sum += y[last - i];
  }
  f[best_feature] = best;
  f[last_feature] = y[last];
  f[mean_feature] = sum / static_cast<double>(points);
  f[recent_feature] = points >= 3 ? middle_of_three(y[last], y[last - 1], y[last - 2]) : y[last];
  f[doubling_feature] = best - best_at_half;
  f[trend_feature] = (last_sum - first_sum) / static_cast<double>(window);
  f[train_feature] = curve.train_accuracies[last];
  f[gap_feature] = curve.train_accuracies[last] - best;
  if (double const rate = curve.learning_rates[last]; rate > 0) {
    f[rate_feature] = std::log(rate);
    f[decay_feature] = std::log(rate / rate_max);
  }
  return f;
}

void Regression::reserve(std::size_t rows)
{
  for (auto* const vector : {&m_residuals, &m_fitted, &m_weights, &m_scratch})
    vector->reserve(rows);
  m_projected.reserve(rows * size);
}

void Regression::fit(std::span<Features const> rows, std::span<double const> targets, Options const& options)
{
  std::size_t const n = rows.size();
  m_residuals.resize(n);
  m_fitted.resize(n);
  m_projected.resize(n * size);
  m_weights.assign(n, 1);
  m_lambda = options.lambda;
  solve(rows, targets, options);
  if (!options.robust || n < 5) return;
  // One step of Huber's weights from the leave-one-out residuals.
  m_scratch.resize(n);
  for (std::size_t i = 0; i < n; ++i)
    m_scratch[i] = std::abs(m_residuals[i]);
  auto const middle = m_scratch.begin() + static_cast<std::ptrdiff_t>(n / 2);
  std::nth_element(m_scratch.begin(), middle, m_scratch.end());
  double const limit = 1.5 * 1.4826 * *middle;
  if (!(limit > 0)) return;
  for (std::size_t i = 0; i < n; ++i)
    m_weights[i] = std::min(1.0, limit / std::max(1e-300, std::abs(m_residuals[i])));
  solve(rows, targets, options);
}

void Regression::solve(std::span<Features const> rows, std::span<double const> targets, Options const& options)
{
  std::size_t const n = rows.size();
  Features sum{}, squares{}, weight{};
  double target_sum = 0;
  m_weight = 0;
  for (std::size_t i = 0; i < n; ++i) {
    double const w = m_weights[i];
    m_weight += w;
    target_sum += w * targets[i];
    for (int k = 0; k < size; ++k) {
      double const x = rows[i][k];
      if (!options.use[k] || std::isnan(x)) continue;
      weight[k] += w;
      sum[k] += w * x;
      squares[k] += w * x * x;
    }
  }
  for (int k = 0; k < size; ++k) {
    m_mean[k] = weight[k] > 0 ? sum[k] / weight[k] : 0;
    double const variance = weight[k] > 0 ? squares[k] / weight[k] - m_mean[k] * m_mean[k] : 0;
    // A constant feature says nothing; its coefficient stays zero.
    m_scale[k] = variance > 1e-10 * (1 + m_mean[k] * m_mean[k]) ? 1 / std::sqrt(variance) : 0;
  }
  m_intercept = target_sum / (m_weight + options.intercept_prior);

  Eigen::Matrix<double, size, size> gram = Eigen::Matrix<double, size, size>::Zero();
  Eigen::Matrix<double, size, 1> right = Eigen::Matrix<double, size, 1>::Zero();
  for (std::size_t i = 0; i < n; ++i) {
    Eigen::Matrix<double, size, 1> z;
    for (int k = 0; k < size; ++k) {
      double const x = rows[i][k];
      z[k] = m_scale[k] > 0 && !std::isnan(x) ? (x - m_mean[k]) * m_scale[k] : 0;
      m_projected[i * size + static_cast<std::size_t>(k)] = z[k];
    }
    gram.noalias() += m_weights[i] * (z * z.transpose());
    right += m_weights[i] * (targets[i] - m_intercept) * z;
  }
  Eigen::SelfAdjointEigenSolver<Eigen::Matrix<double, size, size>> const solver(gram);
  auto const& vectors = solver.eigenvectors();
  for (int k = 0; k < size; ++k) {
    m_eigenvalues[k] = std::max(0.0, solver.eigenvalues()[k]);
    for (int i = 0; i < size; ++i)
      m_vectors[k][i] = vectors(i, k);
  }
  Eigen::Matrix<double, size, 1> const rotated = vectors.transpose() * right;
  for (std::size_t i = 0; i < n; ++i) {
    Eigen::Map<Eigen::Matrix<double, size, 1>> z(m_projected.data() + i * size);
    Eigen::Matrix<double, size, 1> const turned = vectors.transpose() * z;
    z = turned;
  }
  // Fitted value and leverage of a row for a penalty; the intercept counts as a row's share of the mean.
  auto const row = [&](std::size_t i, double lambda, double& leverage) {
    double value = 0, h = 0;
    double const* const z = m_projected.data() + i * size;
    for (int k = 0; k < size; ++k) {
      double const denominator = m_eigenvalues[k] + lambda;
      value += z[k] * rotated[k] / denominator;
      h += z[k] * z[k] / denominator;
    }
    leverage = m_weights[i] * (h + 1 / (m_weight + options.intercept_prior));
    return m_intercept + value;
  };
  auto const leave_one_out = [&](double lambda) {
    double error = 0;
    for (std::size_t i = 0; i < n; ++i) {
      double leverage = 0;
      double const value = row(i, lambda, leverage);
      error += std::abs(targets[i] - value) / std::max(0.02, 1 - leverage);
    }
    return error;
  };
  if (options.choose_lambda) {
    double least = std::numeric_limits<double>::infinity();
    for (double const factor : {100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1}) {
      double const error = leave_one_out(factor * options.lambda);
      if (error < 0.995 * least) { // the stronger penalty unless the weaker one is really better
        least = error;
        m_lambda = factor * options.lambda;
      }
    }
  }
  double const lambda = std::max(m_lambda, 1e-9);
  for (std::size_t i = 0; i < n; ++i) {
    double leverage = 0;
    m_fitted[i] = row(i, lambda, leverage);
    m_residuals[i] = (targets[i] - m_fitted[i]) / std::max(0.02, 1 - leverage);
  }
  m_lambda = lambda;
  for (int i = 0; i < size; ++i) {
    m_coefficients[i] = 0;
    for (int k = 0; k < size; ++k)
      m_coefficients[i] += m_vectors[k][i] * rotated[k] / (m_eigenvalues[k] + lambda);
  }
}

double Regression::predict(Features const& row) const
{
  double value = m_intercept;
  for (int k = 0; k < size; ++k)
    if (m_scale[k] > 0 && !std::isnan(row[k])) value += m_coefficients[k] * (row[k] - m_mean[k]) * m_scale[k];
  return value;
}

double Regression::spread(Features const& row) const
{
  Features z{};
  for (int k = 0; k < size; ++k)
    z[k] = m_scale[k] > 0 && !std::isnan(row[k]) ? (row[k] - m_mean[k]) * m_scale[k] : 0;
  double h = 1 / std::max(1.0, m_weight);
  for (int k = 0; k < size; ++k) {
    double turned = 0;
    for (int i = 0; i < size; ++i)
      turned += m_vectors[k][i] * z[i];
    h += turned * turned / (m_eigenvalues[k] + m_lambda);
  }
  return std::sqrt(1 + h);
}

} // namespace nasturtium::predictor::impl
