// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An estimator of other devices, corrected by a few timings (probes) on a new one. Reference section 2.9.
#pragma once

#include <nasturtium/estimator/estimator.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace nasturtium::estimator {

enum class TransferRule {
  scale,      ///< all estimates by exp(median log(measured / estimated))
  two_scales, ///< one for what the roofline calls compute-bound, one for the rest, each shrunk towards the common one
  affine      ///< log measured = a + b log estimated by least squares; with fewer than 20 probes as `scale`
};
std::string name(TransferRule rule); ///< "scale", "two-scales", "affine"

/// What probes say about an estimator's errors on a device.
class DeviceTransfer
{
public:
  /// Without probes estimates stay as they are. Throws Error for probes without a positive, finite time.
  DeviceTransfer(Estimator const& estimator, std::span<Example const> probes, TransferRule rule);

  /// The estimate of a step, corrected. `estimator` as it was given, on the probes' device.
  double seconds(Estimator const& estimator, Description const& description, Device const& device) const;

private:
  double m_slope = 1, m_compute = 0, m_memory = 0; ///< of log time: slope and two offsets
};

} // namespace nasturtium::estimator
