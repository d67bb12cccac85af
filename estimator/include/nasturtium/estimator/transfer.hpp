// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Estimates for a device from models of others and a few timings on it, the probes (reference section 2.9).
#pragma once

#include <nasturtium/estimator/regression.hpp>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace nasturtium::estimator {

/// one: exp(median log(measured / predicted)). two: one scale for compute-bound and one for memory-bound probes; a
/// class with fewer than three probes takes the common one. affine: a line in log time, from 20 probes on; fewer are
/// one scale.
enum class ScaleKind { one, two, affine };
std::string name(ScaleKind kind); ///< "one", "two", "affine"

/// A correction of predicted times.
class ProbeScale
{
public:
  /// Without probes predictions stay as they are. `compute_bound` is read by `two` alone, and may be empty otherwise.
  /// Throws Error for unequal numbers and times that are not positive and finite.
  ProbeScale(ScaleKind kind, std::span<double const> predicted, std::span<double const> measured,
             std::vector<bool> const& compute_bound = {});
  double operator()(double predicted, bool compute_bound = true) const;

private:
  double m_compute = 0, m_memory = 0; ///< logarithms of the scales
  double m_slope = 1, m_middle = 0;   ///< affine: about the mean logarithm of the probes' predictions
};

/// Which of a pool are timed: at random, or those on which an ensemble disagrees most, `spreads` being the deviations
/// of its logarithms. Positions in the pool; deterministic in the seed. Throws Error for count > pool.
std::vector<std::size_t> random_probes(std::size_t pool, std::size_t count, std::uint64_t seed);
std::vector<std::size_t> greedy_probes(std::span<double const> spreads, std::size_t count);

/// The project's own transfer. The estimate without probes is the geometric mean of trees on all known devices and of
/// the mean of trees on each. What the probes say against it is a Gaussian process over the features: a constant, lines
/// whose prior variances are those by which each known device differs from the others, the differences between the
/// known devices' own estimates, and a smooth rest; strength and noise maximise the probes' likelihood.
class DeviceTransfer
{
public:
  DeviceTransfer();
  ~DeviceTransfer();
  DeviceTransfer(DeviceTransfer&&) noexcept;
  DeviceTransfer& operator=(DeviceTransfer&&) noexcept;

  /// Rows of at least two known devices (FeatureRows::devices). Throws Error for fewer, for bad rows, and in a build
  /// without XGBoost. Costs one fit of trees on all rows, and one of each device's.
  void fit(FeatureRows const& rows, std::uint64_t seed);
  /// Replaces the probes; no rows are none. Only after fit. O(n^3) for n probes.
  void calibrate(FeatureRows const& probes);
  /// Seconds on the new device. Only after fit; safe to call from several threads.
  Prediction predict(std::span<double const> row, double roofline_seconds) const;

private:
  struct State;
  std::unique_ptr<State> m_state;
};

} // namespace nasturtium::estimator
