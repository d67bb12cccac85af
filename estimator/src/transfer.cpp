// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/estimator/transfer.hpp>

#include "boosted.hpp"
#include "methods.hpp"
#include "scaling.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/random.hpp>
#include <nasturtium/core/statistics.hpp>

#include <Eigen/Dense>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

namespace nasturtium::estimator {

std::string name(ScaleKind kind)
{
  return kind == ScaleKind::one ? "one" : kind == ScaleKind::two ? "two" : "affine";
}

ProbeScale::ProbeScale(ScaleKind kind, std::span<double const> predicted, std::span<double const> measured,
                       std::vector<bool> const& compute_bound)
{
  std::size_t const n = predicted.size();
  require(measured.size() == n, n, " estimates for ", measured.size(), " probes");
  require(kind != ScaleKind::two || compute_bound.size() == n, compute_bound.size(), " bounds for ", n, " probes");
  std::vector<double> all, by_class[2];
  for (std::size_t i = 0; i < n; ++i) {
    for (double const time : {predicted[i], measured[i]})
      require(std::isfinite(time) && time > 0, "probe ", i, ": a time must be positive and finite, got ",
              shortest(time));
    all.push_back(std::log(measured[i] / predicted[i]));
    if (kind == ScaleKind::two) by_class[compute_bound[i]].push_back(all.back());
  }
  if (n == 0) return;
  m_compute = m_memory = median(all);
  constexpr std::size_t enough = 3, enough_for_line = 20;
  if (by_class[0].size() >= enough) m_memory = median(by_class[0]);
  if (by_class[1].size() >= enough) m_compute = median(by_class[1]);
  if (kind != ScaleKind::affine || n < enough_for_line) return;
  double squares = 0, products = 0;
  double const middle_ratio = mean(all);
  for (double const seconds : predicted)
    m_middle += std::log(seconds) / static_cast<double>(n);
  for (std::size_t i = 0; i < n; ++i) {
    double const x = std::log(predicted[i]) - m_middle;
    squares += x * x;
    products += x * (all[i] - middle_ratio);
  }
  if (!(squares > 0)) return;
  m_slope = 1 + products / squares;
  m_compute = m_memory = middle_ratio;
}

double ProbeScale::operator()(double predicted, bool compute_bound) const
{
  double const x = std::log(predicted) - m_middle;
  return std::exp(m_middle + m_slope * x + (compute_bound ? m_compute : m_memory));
}

std::vector<std::size_t> random_probes(std::size_t pool, std::size_t count, std::uint64_t seed)
{
  require(count <= pool, count, " probes cannot be chosen among ", pool);
  auto order = RandomStream(seed, 0, Purpose::split).permutation(pool);
  order.resize(count);
  return order;
}

std::vector<std::size_t> greedy_probes(std::span<double const> spreads, std::size_t count)
{
  require(count <= spreads.size(), count, " probes cannot be chosen among ", spreads.size());
  std::vector<std::size_t> order(spreads.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return spreads[a] > spreads[b]; });
  order.resize(count);
  return order;
}

// Covariances, in the order of State::coordinates: lines over the features (variance m_lines each, from how the known
// devices differ), lines over the differences between the single devices' estimates, and a Gaussian bump.
struct DeviceTransfer::State
{
  Forest pooled;
  std::vector<Forest> singles;
  Scaling scaling;
  std::vector<std::size_t> used; ///< features that are not constants of a device
  Eigen::VectorXd line_variances, bump_weights;
  // The probes.
  Eigen::MatrixXd at; ///< coordinates, a row each
  Eigen::VectorXd weights;
  double offset = 0, bump_width = 1, bump_share = 0, line_share = 1, strength = 0;

  /// Estimates of log(time / roofline): of each known device's trees, and of those on all.
  std::vector<double> estimates(std::span<double const> row) const
  {
    std::vector<double> result;
    for (auto const& forest : singles)
      result.push_back(forest.predict(row));
    result.push_back(pooled.predict(row));
    return result;
  }
  static double base(std::vector<double> const& estimates)
  {
    auto const n = static_cast<double>(estimates.size() - 1);
    return 0.5 * (std::accumulate(estimates.begin(), estimates.end() - 1, 0.0) / n + estimates.back());
  }
  Eigen::VectorXd coordinates(std::span<double const> row, std::vector<double> const& estimates) const
  {
    auto const z = scaling(row);
    auto const features = static_cast<Eigen::Index>(used.size());
    Eigen::VectorXd result(features + static_cast<Eigen::Index>(estimates.size()) - 1);
    for (Eigen::Index k = 0; k < features; ++k)
      result(k) = z[used[static_cast<std::size_t>(k)]];
    // Differences of estimates are a few tenths, features a few units.
    for (std::size_t k = 0; k + 1 < estimates.size(); ++k)
      result(features + static_cast<Eigen::Index>(k)) = 3 * (estimates[k] - base(estimates));
    return result;
  }

  double bump(Eigen::VectorXd const& a, Eigen::VectorXd const& b, double width) const
  {
    return std::exp(-(a - b).cwiseAbs2().dot(bump_weights) / (2 * width));
  }
  double lines(Eigen::VectorXd const& a, Eigen::VectorXd const& b) const
  {
    return a.cwiseProduct(b).dot(line_variances);
  }

  void learn_prior(FeatureRows const& rows, std::map<std::string, std::vector<std::size_t>> const& by_device);
  void calibrate(FeatureRows const& probes);
};

/// Lines by which each known device differs from the others' estimates: their mean squares are the prior variances.
void DeviceTransfer::State::learn_prior(FeatureRows const& rows,
                                        std::map<std::string, std::vector<std::size_t>> const& by_device)
{
  auto const features = static_cast<Eigen::Index>(used.size());
  auto const devices = static_cast<Eigen::Index>(singles.size());
  Eigen::VectorXd squares = Eigen::VectorXd::Zero(features);
  std::size_t self = 0;
  for (auto const& [device, members] : by_device) {
    auto const count = static_cast<Eigen::Index>(std::min<std::size_t>(members.size(), 3000));
    Eigen::MatrixXd z(count, features);
    Eigen::VectorXd differences(count);
    for (Eigen::Index i = 0; i < count; ++i) {
      std::size_t const row = members[static_cast<std::size_t>(i)];
      auto const scaled = scaling(rows.row(row));
      for (Eigen::Index k = 0; k < features; ++k)
        z(i, k) = scaled[used[static_cast<std::size_t>(k)]];
      double others = 0;
      for (std::size_t k = 0; k < singles.size(); ++k)
        if (k != self) others += singles[k].predict(rows.row(row)) / static_cast<double>(devices - 1);
      differences(i) = std::log(rows.seconds[row] / rows.roofline[row]) - others;
    }
    differences.array() -= differences.mean();
    Eigen::MatrixXd gram = z.transpose() * z;
    gram.diagonal().array() += 0.01 * static_cast<double>(count);
    squares +=
        Eigen::VectorXd(gram.ldlt().solve(z.transpose() * differences)).cwiseAbs2() / static_cast<double>(devices);
    ++self;
  }
  line_variances.resize(features + devices);
  line_variances << 10 * squares, Eigen::VectorXd::Ones(devices);
  bump_weights.resize(features + devices);
  bump_weights << Eigen::VectorXd::Constant(features, 1 / static_cast<double>(features)),
      Eigen::VectorXd::Constant(devices, 0.25);
}

void DeviceTransfer::State::calibrate(FeatureRows const& probes)
{
  auto const n = static_cast<Eigen::Index>(probes.size());
  at.resize(n, line_variances.size());
  std::vector<double> differences;
  for (Eigen::Index i = 0; i < n; ++i) {
    auto const k = static_cast<std::size_t>(i);
    auto const known = estimates(probes.row(k));
    at.row(i) = coordinates(probes.row(k), known);
    differences.push_back(std::log(probes.seconds[k] / probes.roofline[k]) - base(known));
  }
  offset = n > 0 ? median(differences) : 0;
  strength = 0;
  weights = Eigen::VectorXd::Zero(n);
  if (n < 2) return;
  // Nothing is certain of a few probes: one far out must not bend the rest.
  std::vector<double> sizes;
  for (double& difference : differences) {
    difference -= offset;
    sizes.push_back(std::abs(difference));
  }
  double const far = 4 * 1.4826 * median(sizes) + 1e-6;
  Eigen::VectorXd y(n);
  for (Eigen::Index i = 0; i < n; ++i)
    y(i) = std::clamp(differences[static_cast<std::size_t>(i)], -far, far);

  Eigen::MatrixXd line(n, n);
  for (Eigen::Index i = 0; i < n; ++i)
    for (Eigen::Index j = 0; j < n; ++j)
      line(i, j) = lines(at.row(i), at.row(j));
  double best = -std::numeric_limits<double>::infinity();
  for (double const width : {1.0, 3.0}) {
    Eigen::MatrixXd smooth(n, n);
    for (Eigen::Index i = 0; i < n; ++i)
      for (Eigen::Index j = 0; j < n; ++j)
        smooth(i, j) = bump(at.row(i), at.row(j), width);
    for (auto const& [of_lines, of_bumps] :
         {std::pair{1.0, 0.0}, std::pair{1.0, 0.3}, std::pair{1.0, 1.0}, std::pair{0.3, 1.0}, std::pair{0.0, 1.0}})
      for (double const amplitude : {0.03, 0.1, 0.3, 1.0})
        for (double const noise : {0.05, 0.08, 0.12, 0.18, 0.25}) {
          Eigen::MatrixXd covariance = amplitude * (of_lines * line + of_bumps * smooth);
          covariance.array() += 1; // the constant
          covariance.diagonal().array() += noise * noise;
          Eigen::LLT<Eigen::MatrixXd> const factor(covariance);
          if (factor.info() != Eigen::Success) continue;
          Eigen::VectorXd const solved = factor.solve(y);
          double const likelihood =
              -0.5 * y.dot(solved) - Eigen::MatrixXd(factor.matrixL()).diagonal().array().log().sum();
          if (likelihood <= best) continue;
          best = likelihood;
          weights = solved;
          strength = amplitude;
          line_share = of_lines;
          bump_share = of_bumps;
          bump_width = width;
        }
  }
}

DeviceTransfer::DeviceTransfer() = default;
DeviceTransfer::~DeviceTransfer() = default;
DeviceTransfer::DeviceTransfer(DeviceTransfer&&) noexcept = default;
DeviceTransfer& DeviceTransfer::operator=(DeviceTransfer&&) noexcept = default;

void DeviceTransfer::fit(FeatureRows const& rows, std::uint64_t seed)
{
  check(rows);
  std::map<std::string, std::vector<std::size_t>> by_device;
  for (std::size_t i = 0; i < rows.devices.size(); ++i)
    by_device[rows.devices[i]].push_back(i);
  require(by_device.size() >= 2, "a transfer learns from two devices at least, got ", by_device.size());
  auto state = std::make_unique<State>();
  std::size_t const columns = rows.names.size();
  auto const targets = log_ratios(rows);
  state->pooled.fit(rows.values, columns, targets, own_tree_options(rows.size()), seed);
  std::vector<bool> varies(columns, false);
  for (auto const& [device, members] : by_device) {
    std::vector<double> values, of_device;
    for (std::size_t const i : members) {
      auto const row = rows.row(i), first = rows.row(members.front());
      values.insert(values.end(), row.begin(), row.end());
      of_device.push_back(targets[i]);
      for (std::size_t j = 0; j < columns; ++j)
        if (row[j] != first[j]) varies[j] = true;
    }
    TreeOptions const options{.trees = 200, .min_leaf = 10, .row_share = 0.8, .column_share = 0.5};
    state->singles.emplace_back().fit(values, columns, of_device, options, seed);
  }
  for (std::size_t j = 0; j < columns; ++j)
    if (varies[j]) state->used.push_back(j);
  state->scaling = Scaling::of(rows.values, columns);
  state->learn_prior(rows, by_device);
  state->calibrate({});
  m_state = std::move(state);
}

void DeviceTransfer::calibrate(FeatureRows const& probes)
{
  require(m_state != nullptr, "a transfer must be fitted before it is calibrated");
  if (probes.size() > 0) check(probes);
  m_state->calibrate(probes);
}

Prediction DeviceTransfer::predict(std::span<double const> row, double roofline_seconds) const
{
  require(m_state != nullptr, "a transfer must be fitted before it predicts");
  auto const& state = *m_state;
  auto const known = state.estimates(row);
  double value = State::base(known) + state.offset;
  if (state.strength > 0) {
    auto const here = state.coordinates(row, known);
    for (Eigen::Index i = 0; i < state.at.rows(); ++i) {
      Eigen::VectorXd const probe = state.at.row(i);
      value += state.weights(i) * (1 + state.strength * (state.line_share * state.lines(here, probe) +
                                                         state.bump_share * state.bump(here, probe, state.bump_width)));
    }
  }
  return {.seconds = roofline_seconds * std::exp(value)};
}

} // namespace nasturtium::estimator
